//! The servers behind an `http` service: plain HTTP, one endpoint after the other.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::http::header::{self, HeaderMap, HeaderName};
use ::http::uri::{Authority, PathAndQuery, Scheme};
use ::http::{Request, Response, StatusCode, Uri, Version};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
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
        strip_connection(request.headers_mut());
        request.headers_mut().remove(header::EXPECT);
        match self.pool.request(request).await {
            Ok(response) => {
                let (mut parts, body) = response.into_parts();
                strip_connection(&mut parts.headers);
                parts.version = Version::HTTP_11;
                Ok(Response::from_parts(parts, body.into()))
            }
            Err(e) => Err(explain(&e, endpoint)),
        }
    }
}

/// Removes what belongs to one connection (RFC 9110 section 7.6.1), also what `Connection` names.
fn strip_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    let own: Vec<HeaderName> = headers.keys().filter(|n| is_hop_by_hop(n)).cloned().collect();
    for name in own {
        headers.remove(name);
    }
}

/// A request that failed because a plugin refused its body says so; everything else is the upstream's doing.
fn explain(error: &(dyn Error + 'static), endpoint: &Authority) -> ServiceError {
    let mut cause = Some(error);
    let mut innermost = error.to_string();
    while let Some(e) = cause {
        if let Some(failure) = e.downcast_ref::<Failure>() {
            return failure.clone().into();
        }
        innermost = e.to_string();
        cause = e.source();
    }
    bad_gateway(format!("upstream {endpoint}: {innermost}"))
}

fn bad_gateway(message: String) -> ServiceError {
    // The code of the original's proxy errors (CONTRACT 3).
    ServiceError { status: StatusCode::BAD_GATEWAY, code: "PINGORA_ERROR", message }
}
