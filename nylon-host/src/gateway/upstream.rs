//! The servers behind an `http` service: plain HTTP, one endpoint after the other.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ::http::uri::{Authority, PathAndQuery, Scheme};
use ::http::{Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as PoolError};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::body::Body;
use crate::dispatch::{ServiceError, is_hop_by_hop};
use crate::error::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Connections to all upstreams of a gateway.
pub(super) type Pool = Client<HttpConnector, Body>;

/// A pool that keeps `idle` connections to each endpoint.
pub(super) fn pool(idle: usize) -> Pool {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(idle)
        .retry_canceled_requests(true)
        .build(connector)
}

/// One `http` service.
#[derive(Debug)]
pub(super) struct Upstream {
    endpoints: Vec<Authority>,
    next: AtomicUsize,
    pool: Pool,
}

impl Upstream {
    pub(super) fn new(endpoints: &[SocketAddr], pool: Pool) -> Self {
        let endpoints = endpoints.iter().filter_map(|e| e.to_string().parse().ok()).collect();
        Self { endpoints, next: AtomicUsize::new(0), pool }
    }

    /// Forwards a request to the next endpoint.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, ServiceError> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(endpoint) = self.endpoints.get(turn % self.endpoints.len().max(1)) else {
            return Err(bad_gateway("the service has no endpoint".into()));
        };
        let target = request.uri().path_and_query().cloned();
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(endpoint.clone())
            .path_and_query(target.unwrap_or_else(|| PathAndQuery::from_static("/")))
            .build();
        *request.uri_mut() = uri.map_err(|e| bad_gateway(e.to_string()))?;
        *request.version_mut() = Version::HTTP_11;
        strip_own(request.headers_mut());
        request.headers_mut().remove(header::EXPECT);
        frame(&mut request);
        let response = self.ask(request).await.map_err(|e| explain(&e, endpoint))?;
        let (mut parts, body) = response.into_parts();
        if parts.status.is_informational() {
            let why = format!("upstream {endpoint}: {} that nobody asked for", parts.status);
            return Err(bad_gateway(why));
        }
        if parts.headers.contains_key(header::TRANSFER_ENCODING) {
            // RFC 9112 section 6.3: the length is not to be believed.
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        strip_named(&mut parts.headers);
        strip_own(&mut parts.headers);
        parts.version = Version::HTTP_11;
        Ok(Response::from_parts(parts, body.into()))
    }

    /// Asks once, and once more when a kept connection closed under a request that may be repeated (RFC 9110 section
    /// 9.2.2).
    async fn ask(&self, request: Request<Body>) -> Result<Response<Incoming>, PoolError> {
        let again = repeatable(&request);
        match self.pool.request(request).await {
            Err(e) if was_closed(&e) => match again {
                Some(request) => self.pool.request(request).await,
                None => Err(e),
            },
            done => done,
        }
    }
}

/// A copy of a request that has no body and changes nothing.
fn repeatable(request: &Request<Body>) -> Option<Request<Body>> {
    let bare = request.method().is_safe() && http_body::Body::is_end_stream(request.body());
    bare.then(|| {
        let mut copy = Request::new(Body::empty());
        copy.method_mut().clone_from(request.method());
        copy.uri_mut().clone_from(request.uri());
        copy.headers_mut().clone_from(request.headers());
        copy
    })
}

/// Whether the connection ended before anything of a response came.
fn was_closed(error: &PoolError) -> bool {
    let cause = error.source().and_then(|e| e.downcast_ref::<hyper::Error>());
    cause.is_some_and(|e| e.is_incomplete_message() || e.is_canceled())
}

/// Says how a body of unknown length is framed: hyper takes a GET without a word on it for one without a body.
fn frame(request: &mut Request<Body>) {
    let body = request.body();
    let open =
        !http_body::Body::is_end_stream(body) && http_body::Body::size_hint(body).exact().is_none();
    if open && !request.headers().contains_key(header::CONTENT_LENGTH) {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(header::TRANSFER_ENCODING, chunked);
    }
}

/// Removes what `Connection` names (RFC 9110 section 7.6.1), but for what a message cannot be without.
pub(super) fn strip_named(headers: &mut HeaderMap) {
    if !headers.contains_key(header::CONNECTION) {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
        .filter(|name| !is_hop_by_hop(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Removes the headers that always belong to one connection.
fn strip_own(headers: &mut HeaderMap) {
    let own: Vec<HeaderName> = headers.keys().filter(|n| is_hop_by_hop(n)).cloned().collect();
    for name in own {
        headers.remove(name);
    }
}

/// A request that failed because a plugin refused its body says so, as does one whose client sent half of it; everything
/// else is the upstream's doing.
fn explain(error: &(dyn Error + 'static), endpoint: &Authority) -> ServiceError {
    let mut cause = Some(error);
    let mut innermost = error.to_string();
    let mut of_client = false;
    while let Some(e) = cause {
        if let Some(failure) = e.downcast_ref::<Failure>() {
            return failure.clone().into();
        }
        of_client |= e.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_user);
        innermost = e.to_string();
        cause = e.source();
    }
    if of_client {
        let message = format!("the request body: {innermost}");
        return ServiceError { status: StatusCode::BAD_REQUEST, code: "BAD_REQUEST", message };
    }
    bad_gateway(format!("upstream {endpoint}: {innermost}"))
}

fn bad_gateway(message: String) -> ServiceError {
    // The code of the original's proxy errors (CONTRACT 3).
    ServiceError { status: StatusCode::BAD_GATEWAY, code: "PINGORA_ERROR", message }
}
