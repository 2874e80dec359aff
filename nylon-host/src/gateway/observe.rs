//! What the gateway says of itself to those who watch it: `/metrics`, `/livez` and `/readyz`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};

use super::traffic::{Traffic, TrafficCollector};
use crate::admin::view::{Health, NotReady};
use crate::body::Body;
use crate::host::{Host, Roster};
use crate::metrics::{Format, RoomsCollector, text};
use crate::supervisor::{Plugin, PluginState};

/// Answers those who watch the gateway.
#[derive(Debug)]
pub(crate) struct Observer {
    registry: Registry,
    plugins: Roster,
    draining: AtomicBool,
}

impl Observer {
    pub(super) fn new(host: &Host, traffic: Arc<Traffic>) -> Self {
        let mut registry = Registry::default();
        host.register_metrics(&mut registry);
        registry.register_collector(Box::new(TrafficCollector(traffic)));
        registry.register_collector(Box::new(RoomsCollector(host.sockets().hub.clone())));
        Self { registry, plugins: host.roster(), draining: AtomicBool::new(false) }
    }

    /// From now on the gateway is not ready: it takes no new connections.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Answers one request; its body, if it has one, is not looked at.
    pub(crate) async fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        let uri = request.uri();
        let verbose = || uri.query().is_some_and(|q| q.split('&').any(|p| p == "verbose"));
        let mut response = match (uri.path(), request.method()) {
            ("/metrics" | "/livez" | "/readyz", method)
                if *method != Method::GET && *method != Method::HEAD =>
            {
                let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
                let allow = HeaderValue::from_static("GET, HEAD");
                response.headers_mut().insert(header::ALLOW, allow);
                response
            }
            ("/metrics", _) => self.metrics(Format::accepted(request.headers())),
            ("/livez", _) => plain(StatusCode::OK, "ok"),
            ("/readyz", _) => self.readyz(verbose()),
            _ => plain(StatusCode::NOT_FOUND, "there are /metrics, /livez and /readyz"),
        };
        // What is true of this moment is of no other.
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn metrics(&self, format: Format) -> Response<Body> {
        match text(&self.registry, format) {
            Ok(text) => typed(StatusCode::OK, format.content_type(), text),
            Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written"),
        }
    }

    fn readyz(&self, verbose: bool) -> Response<Body> {
        let health = self.health();
        let status = if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        if !verbose {
            return plain(status, if health.ready { "ok" } else { "not ready" });
        }
        let text = serde_json::to_string(&health).unwrap_or_default();
        typed(status, HeaderValue::from_static("application/json"), text + "\n")
    }

    /// Whether the gateway can do its work.
    pub(crate) fn health(&self) -> Health {
        let draining = self.draining.load(Ordering::Relaxed);
        let not_ready: Vec<_> =
            self.plugins.all().iter().filter_map(|plugin| not_ready(plugin)).collect();
        Health { ready: !draining && not_ready.is_empty(), draining, not_ready }
    }
}

fn not_ready(plugin: &Plugin) -> Option<NotReady> {
    let required = plugin.binding().is_none_or(|binding| binding.spec.required);
    if !required || !plugin.lanes().is_empty() {
        return None;
    }
    let status = plugin.board.snapshot(&[]);
    let reason = match status.state {
        PluginState::Paused | PluginState::Drained => "an operator wants it so".to_owned(),
        _ if status.last_end.is_empty() => "no worker is ready yet".to_owned(),
        _ => status.last_end,
    };
    let (plugin, state) = (plugin.name.to_string(), status.state.name().to_owned());
    Some(NotReady { plugin, state, reason })
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    typed(status, kind, format!("{text}\n"))
}

fn typed(status: StatusCode, kind: HeaderValue, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes::Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Time an observer has to send the head of a request, and the longest it keeps an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves those who watch on `listener`, for as long as it is awaited.
pub(super) async fn serve(listener: TcpListener, observer: Arc<Observer>) {
    let (connections, mut incoming) = tokio::sync::mpsc::channel::<(TcpStream, SocketAddr)>(8);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(super::accept(listener, connections));
    while let Some((stream, peer)) = incoming.recv().await {
        while tasks.try_join_next().is_some() {}
        let observer = observer.clone();
        tasks.spawn(async move {
            let service = hyper::service::service_fn(|request| {
                let observer = observer.clone();
                async move { Ok::<_, std::convert::Infallible>(observer.answer(&request).await) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(e) = served.await {
                tracing::debug!(%peer, error = %e, "observer");
            }
        });
    }
}
