//! The gateway process: hyper and tokio with one thread for the CPU it has, as `nylon` runs on two CPUs.

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nylon_host::{Body, Host, Item, NylonLayer, PluginSpec};
use tokio::net::TcpListener;
use tower::util::MapRequestLayer;
use tower::{Layer, Service, service_fn};

use super::layer::GrpcLayer;
use crate::Result;
use crate::contender::grpc::Server;
use crate::cpus::Cpus;
use crate::process::beside;

/// What is answered: 100 bytes.
pub(crate) const BODY: &str = "A static answer of one hundred bytes, sent by the service behind the plugin, whatever it was asked.\n";

/// Serves until standard input ends.
pub(crate) fn serve(name: &str, cpus: &Cpus) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    match name {
        "gateway-none" => {
            let boxed = MapRequestLayer::new(|request: Request<Incoming>| request.map(Body::new));
            runtime.block_on(accept(boxed.layer(behind()), 0))
        }
        "gateway-grpc" => {
            let server = Server::start(cpus)?;
            let channel = runtime.block_on(server.connect())?;
            let service = GrpcLayer::new(channel).layer(behind());
            runtime.block_on(accept(service, server.child.pid()))
        }
        "gateway-nylon" => {
            let spec = PluginSpec::new("peer", beside("peer-nylon")?);
            // The host starts its workers from a thread of its own, which starts here.
            let host = cpus.on_server(|| runtime.block_on(Host::start(vec![spec])))?;
            let host = host.map_err(|e| e.to_string())?;
            let item = Item::new("peer", "bench");
            let chain = host.chain().item(item).map_err(|e| e.to_string())?.build();
            let pid = host.status("peer").map_or(0, |status| status.pid);
            let done = runtime.block_on(accept(NylonLayer::new(chain).layer(behind()), pid));
            runtime.block_on(host.stop(Duration::from_secs(2)));
            done
        }
        _ => Err(format!("no gateway {name:?}")),
    }
}

/// The service behind.
fn behind()
-> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    service_fn(async |_request| {
        let body = Body::new(http_body_util::Full::new(BODY.into()));
        let mut response = Response::new(body);
        let plain = http::HeaderValue::from_static("text/plain");
        response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
        Ok(response)
    })
}

async fn accept<S>(service: S, plugin: u32) -> Result<()>
where
    S: Service<Request<Incoming>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|e| e.to_string())?;
    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
    println!("ready {port} {plugin}");
    let connections = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let service = TowerToHyperService::new(service.clone());
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    let ended =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    let _ = ended.await;
    connections.abort();
    Ok(())
}
