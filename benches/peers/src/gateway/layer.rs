//! A plugin over gRPC, as one would write it: a tower layer that makes one unary call per phase, with the record of the
//! request and then with that of the response.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use nylon_host::Body;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tower::{Layer, Service};

use crate::Result;
use crate::contender::grpc::unary;

/// `peers.v1.Header` of proto/peers.proto.
#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// `peers.v1.RequestHead`.
#[derive(Clone, PartialEq, prost::Message)]
struct RequestHead {
    #[prost(string, tag = "1")]
    method: String,
    #[prost(string, tag = "2")]
    path: String,
    #[prost(string, tag = "3")]
    query: String,
    #[prost(message, repeated, tag = "4")]
    headers: Vec<Header>,
    #[prost(string, tag = "5")]
    client_ip: String,
    #[prost(bool, tag = "6")]
    tls: bool,
    #[prost(int64, tag = "7")]
    timestamp_ms: i64,
}

/// `peers.v1.ResponseHead`.
#[derive(Clone, PartialEq, prost::Message)]
struct ResponseHead {
    #[prost(uint32, tag = "1")]
    status: u32,
    #[prost(message, repeated, tag = "2")]
    headers: Vec<Header>,
}

/// `peers.v1.Mutation`.
#[derive(Clone, PartialEq, prost::Message)]
struct Mutation {
    #[prost(uint32, tag = "1")]
    status: u32,
    #[prost(message, repeated, tag = "2")]
    set: Vec<Header>,
}

#[derive(Clone)]
pub(crate) struct GrpcLayer {
    channel: Channel,
}

impl GrpcLayer {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { channel }
    }
}

impl<S> Layer<S> for GrpcLayer {
    type Service = GrpcService<S>;

    fn layer(&self, inner: S) -> GrpcService<S> {
        GrpcService { channel: self.channel.clone(), inner }
    }
}

#[derive(Clone)]
pub(crate) struct GrpcService<S> {
    channel: Channel,
    inner: S,
}

impl<S> Service<Request<Incoming>> for GrpcService<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future =
        Pin<Box<dyn Future<Output = std::result::Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let next = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, next);
        let mut grpc = Grpc::new(self.channel.clone());
        Box::pin(async move {
            let head = request_head(&request);
            let asked: Result<Mutation> = unary(&mut grpc, "/peers.v1.Filter/Request", head).await;
            let first = match asked {
                Ok(mutation) if mutation.status == 0 => mutation,
                Ok(mutation) => return Ok(refusal(mutation.status)),
                Err(_) => return Ok(refusal(StatusCode::BAD_GATEWAY.as_u16().into())),
            };
            let mut response = inner.call(request.map(Body::new)).await?;
            apply(first, &mut response);
            let head = ResponseHead {
                status: response.status().as_u16().into(),
                headers: headers(response.headers()),
            };
            match unary(&mut grpc, "/peers.v1.Filter/Response", head).await {
                Ok(second) => apply(second, &mut response),
                Err(_) => return Ok(refusal(StatusCode::BAD_GATEWAY.as_u16().into())),
            }
            Ok(response)
        })
    }
}

fn request_head(request: &Request<Incoming>) -> RequestHead {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    RequestHead {
        method: request.method().as_str().to_owned(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        headers: headers(request.headers()),
        client_ip: "127.0.0.1".to_owned(),
        tls: false,
        timestamp_ms: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
    }
}

fn headers(map: &HeaderMap) -> Vec<Header> {
    let header = |(name, value): (&HeaderName, &HeaderValue)| Header {
        name: name.as_str().to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    map.iter().map(header).collect()
}

/// Headers that are none are left out.
fn apply(mutation: Mutation, response: &mut Response<Body>) {
    for header in mutation.set {
        let name = HeaderName::try_from(header.name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_maybe_shared(header.value)) {
            response.headers_mut().insert(name, value);
        }
    }
}

fn refusal(status: u32) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    *response.status_mut() = status.unwrap_or(StatusCode::BAD_GATEWAY);
    response
}
