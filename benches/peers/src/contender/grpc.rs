//! `grpc`: unary calls of tonic to a server of grpc-go, over one HTTP/2 connection on a Unix socket.

use std::process::Command;

use bytes::Bytes;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use crate::cell::Round;
use crate::client::Client;
use crate::cpus::Cpus;
use crate::process::{Child, beside};
use crate::taker::Taker;
use crate::{Result, payload, socket, tasks};

/// Holds the payloads of many calls; the default of 64 KiB is less than one of the bench.
const WINDOW: u32 = 16 << 20;

/// `peers.v1.Payload` of proto/peers.proto.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Payload {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) data: Bytes,
}

pub(crate) struct GrpcClient {
    runtime: Runtime,
    channel: Channel,
    server: Child,
}

impl GrpcClient {
    pub(crate) fn start(cpus: &Cpus) -> Result<Self> {
        let server = Server::start(cpus)?;
        // One thread: the client has one CPU.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|e| e.to_string())?;
        let channel = runtime.block_on(server.connect())?;
        Ok(Self { runtime, channel, server: server.child })
    }
}

/// A server written in Go, on the CPU of servers.
pub(crate) struct Server {
    pub(crate) child: Child,
    path: std::path::PathBuf,
}

impl Server {
    pub(crate) fn start(cpus: &Cpus) -> Result<Self> {
        let path = socket::path();
        let mut command = Command::new(beside("peer-grpc")?);
        let child = cpus.on_server(|| Child::start(command.arg(&path)))??;
        Ok(Self { child, path })
    }

    /// One connection.
    pub(crate) async fn connect(&self) -> Result<Channel> {
        let path = self.path.clone();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://peer")
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        let channel = endpoint.connect_with_connector(connector).await.map_err(|e| e.to_string());
        let _ = std::fs::remove_file(&self.path);
        channel
    }
}

/// One unary call.
pub(crate) async fn unary<M, R>(
    grpc: &mut Grpc<Channel>,
    path: &'static str,
    message: M,
) -> Result<R>
where
    M: prost::Message + Send + Sync + 'static,
    R: prost::Message + Default + Send + Sync + 'static,
{
    grpc.ready().await.map_err(|e| e.to_string())?;
    let codec = ProstCodec::<M, R>::default();
    let path = PathAndQuery::from_static(path);
    let answer = grpc.unary(tonic::Request::new(message), path, codec).await;
    answer.map(tonic::Response::into_inner).map_err(|e| e.to_string())
}

impl Client for GrpcClient {
    fn server(&self) -> Option<u32> {
        Some(self.server.pid())
    }

    fn round(&mut self, round: &Round, taker: &mut Taker) -> Result<()> {
        let (size, channel) = (round.cell.size, self.channel.clone());
        tasks::run(&self.runtime, round, taker, move |number| {
            let mut grpc = Grpc::new(channel.clone());
            async move {
                let mut data = payload::fresh(size);
                payload::stamp(&mut data, number);
                let message = Payload { data: data.into() };
                let answer: Payload = unary(&mut grpc, "/peers.v1.Echo/Call", message).await?;
                match payload::check(&answer.data, size) {
                    Some(found) if found == number => Ok(()),
                    found => Err(format!("call {number} came back as {found:?}")),
                }
            }
        })
    }
}
