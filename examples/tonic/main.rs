//! Go plugins in front of a gRPC service: tonic's health service over HTTP/2, unary and streaming, trailers untouched.
//!
//! `cargo run -p nylon-example-tonic --example tonic`, then ask 127.0.0.1:3001 for grpc.health.v1.Health/Check.

use std::sync::Arc;
use std::time::Duration;

use nylon_host::{Chain, Client, Host, Item, NylonLayer, PluginSpec};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::transport::server::TcpConnectInfo;
use tonic_health::server::health_reporter;

#[tokio::main]
async fn main() {
    let host = start().await;
    let (reporter, health) = health_reporter();
    reporter.set_service_status("shop", tonic_health::ServingStatus::Serving).await;
    let listener = TcpListener::bind("127.0.0.1:3001").await.expect("port 3001 is free");
    println!("listening on {}", listener.local_addr().expect("it is bound"));
    let stop = async { tokio::signal::ctrl_c().await.expect("a signal handler") };
    Server::builder()
        .layer(layer(plugins(&host)))
        .add_service(health)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop)
        .await
        .expect("it serves");
    host.stop(Duration::from_secs(5)).await;
}

/// Starts the Go plugin in `plugin/`.
async fn start() -> Host {
    let spec = PluginSpec::new("tonic", nylon_tests::program::plugin("tonic"));
    Host::start(vec![spec]).await.expect("the plugin starts")
}

/// Both of its entries: one sees the head of a response, one its pieces.
fn plugins(host: &Host) -> Arc<Chain> {
    let chain = host.chain().item(Item::new("tonic", "sign"));
    let chain = chain.and_then(|c| c.item(Item::new("tonic", "measure")));
    chain.expect("the host has the plugin").build()
}

/// tonic knows its peer by an extension of its own.
fn layer(chain: Arc<Chain>) -> NylonLayer {
    NylonLayer::new(chain).client_from(|extensions| {
        let peer = extensions.get::<TcpConnectInfo>()?.remote_addr()?;
        Some(Client { ip: peer.ip(), tls: false })
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use nylon_tests::watchdog;
    use tonic::Code;
    use tonic::transport::{Channel, Endpoint};
    use tonic_health::ServingStatus;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus as Status;
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::server::HealthReporter;

    use super::*;

    struct Site {
        host: Host,
        addr: SocketAddr,
        reporter: HealthReporter,
    }

    /// The health service of `shop` behind the plugins, on a port of its own.
    async fn site() -> Site {
        let host = start().await;
        let (reporter, health) = health_reporter();
        reporter.set_service_status("shop", ServingStatus::Serving).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = Server::builder().layer(layer(plugins(&host))).add_service(health);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Site { host, addr, reporter }
    }

    impl Site {
        async fn client(&self) -> HealthClient<Channel> {
            let endpoint = Endpoint::from_shared(format!("http://{}", self.addr)).unwrap();
            HealthClient::new(endpoint.connect().await.unwrap())
        }
    }

    fn of(service: &str) -> HealthCheckRequest {
        HealthCheckRequest { service: service.into() }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_check_is_answered_and_signed() {
        let _dog = watchdog(60);
        let site = site().await;
        let mut client = site.client().await;
        let answer = client.check(of("shop")).await.expect("serving");
        assert_eq!(answer.metadata().get("x-signed").unwrap(), "/grpc.health.v1.Health/Check");
        assert_eq!(answer.into_inner().status(), Status::Serving);

        let unknown = client.check(of("cellar")).await.unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound);
        assert!(unknown.metadata().contains_key("x-signed"), "an error has a head as well");
        site.host.stop(Duration::from_secs(5)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn trailers_arrive_after_the_body() {
        let _dog = watchdog(60);
        let site = site().await;
        let socket = tokio::net::TcpStream::connect(site.addr).await.unwrap();
        let connected =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket));
        let (mut send, connection) = connected.await.unwrap();
        tokio::spawn(connection);
        // One message: not compressed, six bytes long, field 1 = "shop".
        let message = Bytes::from_static(b"\0\0\0\0\x06\x0a\x04shop");
        let request =
            http::Request::post(format!("http://{}/grpc.health.v1.Health/Check", site.addr))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Full::new(message))
                .unwrap();
        let response = send.send_request(request).await.unwrap();
        assert_eq!(response.headers()["x-signed"], "/grpc.health.v1.Health/Check");
        assert!(!response.headers().contains_key("grpc-status"), "not known before the body");
        let whole = response.into_body().collect().await.unwrap();
        let trailers = whole.trailers().expect("gRPC ends with trailers").clone();
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(whole.to_bytes(), &b"\0\0\0\0\x02\x08\x01"[..], "status = SERVING");
        site.host.stop(Duration::from_secs(5)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_watch_goes_on_as_things_change() {
        let _dog = watchdog(60);
        let site = site().await;
        let answer = site.client().await.watch(of("shop")).await.expect("a stream");
        assert_eq!(answer.metadata().get("x-signed").unwrap(), "/grpc.health.v1.Health/Watch");
        let mut changes = answer.into_inner();
        for (now, seen) in [
            (None, Status::Serving),
            (Some(ServingStatus::NotServing), Status::NotServing),
            (Some(ServingStatus::Serving), Status::Serving),
        ] {
            if let Some(now) = now {
                site.reporter.set_service_status("shop", now).await;
            }
            assert_eq!(changes.message().await.unwrap().expect("it goes on").status(), seen);
        }
        drop(changes);
        site.host.stop(Duration::from_secs(5)).await;
    }
}
