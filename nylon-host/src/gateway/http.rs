//! One request: finds its route, sends it through dispatch, and has its service answer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ::http::header::{self, HeaderName, HeaderValue};
use ::http::{Request, Response, StatusCode, Version};

use super::files::Files;
use super::traffic::Traffic;
use super::upstream::{Upstream, strip_named};
use crate::body::Body;
use crate::dispatch::route::{Found, Matched, Router, Target, host_without_port};
use crate::dispatch::{Account, Chain, Client, ServiceError, error_response};
use crate::websocket::Offer;

/// Everything needed to answer requests.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) selector: HeaderName,
    pub(super) router: Router,
    pub(super) paths: HashMap<Target, Result<Served, String>>,
    /// Names of the routes, by their indices.
    pub(super) routes: Vec<Arc<str>>,
    /// Whether each request is logged.
    pub(super) access: bool,
    pub(super) traffic: Arc<Traffic>,
}

/// A path of a route, ready to serve.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) chain: Arc<Chain>,
    pub(super) service: Service,
    pub(super) rewrite: Option<String>,
}

/// Who answers behind the middleware.
#[derive(Debug, Clone)]
pub(super) enum Service {
    Http(Arc<Upstream>),
    Static(Arc<Files>),
    /// The chain itself ends in a plugin.
    Plugin,
}

impl Site {
    /// Answers one request of `peer`.
    pub(super) async fn answer(
        &self,
        request: Request<hyper::body::Incoming>,
        peer: SocketAddr,
    ) -> Response<Body> {
        let mut request = request.map(Body::from);
        let account = self.access.then(|| Account::open(&mut request, peer.ip()));
        let found = admit(&mut request).and_then(|()| self.find(&request));
        let response = match found {
            Ok((served, matched)) => {
                if let Some(access) = account.as_ref().and_then(|account| account.access()) {
                    access.routed(self.routes[matched.target.route].clone());
                }
                served.answer(request, peer, matched).await
            }
            Err(error) => {
                let mut response = error_response(&error.error);
                if let Some(allow) = error.allow {
                    response.headers_mut().insert(header::ALLOW, allow);
                }
                response
            }
        };
        match account {
            Some(account) => account.close(response),
            None => response,
        }
    }

    fn find(&self, request: &Request<Body>) -> Result<(&Served, Matched), NotServed> {
        let headers = request.headers();
        let host = headers.get(header::HOST).and_then(|v| v.to_str().ok());
        let host = host.map_or("", host_without_port);
        let selector = headers.get(&self.selector).and_then(|v| v.to_str().ok());
        let path = request.uri().path();
        match self.router.find(selector, host, request.method(), path) {
            Found::Matched(matched) => match self.paths.get(&matched.target) {
                Some(Ok(served)) => Ok((served, matched)),
                Some(Err(why)) => Err(NotServed::config(why.clone())),
                None => Err(NotServed::config("a route without a path".into())),
            },
            Found::MethodNotAllowed { allow } => {
                let why = format!("{} is not allowed here", request.method());
                let error =
                    NotServed::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", why);
                Err(NotServed { allow: HeaderValue::from_str(&allow).ok(), ..error })
            }
            Found::NotFound => {
                let why = format!("no route for {host}{path}");
                Err(NotServed::new(StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND", why))
            }
        }
    }
}

/// Makes one request of what came: one host, that of the target where it names one (RFC 9112 section 3.2.2), and nothing
/// that the client meant for this connection alone, so that it cannot take away later what plugins set. `Upgrade` and
/// `Connection` stay for plugins to look at; no upstream gets them.
fn admit(request: &mut Request<Body>) -> Result<(), NotServed> {
    let bad = |why: &str| NotServed::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", why.to_owned());
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 {
        return Err(bad("more than one Host header"));
    }
    if hosts == 0 && request.version() == Version::HTTP_11 {
        return Err(bad("no Host header"));
    }
    if let Some(authority) = request.uri().authority() {
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        let host = HeaderValue::from_str(host).map_err(|_| bad("no host"))?;
        request.headers_mut().insert(header::HOST, host);
    }
    if let Some(offer) = Offer::of(request) {
        request.extensions_mut().insert(offer);
    }
    strip_named(request.headers_mut());
    Ok(())
}

/// Why a request goes nowhere.
struct NotServed {
    error: ServiceError,
    allow: Option<HeaderValue>,
}

impl NotServed {
    fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        Self { error: ServiceError { status, code, message }, allow: None }
    }

    fn config(why: String) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "CONFIG_ERROR", why)
    }
}

impl Served {
    async fn answer(
        &self,
        request: Request<Body>,
        peer: SocketAddr,
        matched: Matched,
    ) -> Response<Body> {
        let client = Client { ip: peer.ip(), tls: false };
        let params = matched.params.clone();
        let service = async |mut request: Request<Body>| match &self.service {
            Service::Http(upstream) => {
                if let Some(prefix) = &self.rewrite {
                    rewrite(&mut request, &matched, prefix);
                }
                upstream.send(request).await
            }
            Service::Static(files) => {
                let (method, path) = (request.method().clone(), request.uri().path().to_owned());
                drop(request);
                files.send(&method, &path, self.rewrite.as_deref(), &matched).await
            }
            Service::Plugin => Err(ServiceError {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                code: "SERVICE_NOT_FOUND",
                message: "no service answers here".into(),
            }),
        };
        self.chain.call(request, client, params, service).await
    }
}

/// Replaces the literal prefix of the matched path.
fn rewrite(request: &mut Request<Body>, matched: &Matched, prefix: &str) {
    let target = request.uri().path_and_query().map_or("/", |t| t.as_str());
    if let Ok(target) = matched.rewrite(prefix, target).parse() {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(target);
        if let Ok(uri) = ::http::Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
}
