//! A client of the admin endpoint that sends what it is told to, right or wrong.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::Answer;

/// A request: method, path, headers, body.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// `GET`, say.
    pub method: &'a str,
    /// With its query.
    pub path: &'a str,
    /// All of them; none is added.
    pub headers: &'a [(&'a str, &'a str)],
    /// May be empty.
    pub body: &'a str,
}

impl<'a> Ask<'a> {
    /// Without headers but Host.
    pub fn get(path: &'a str) -> Self {
        Self { method: "GET", path, headers: &[("host", "localhost")], body: "" }
    }

    /// With a JSON body.
    pub fn post(path: &'a str, body: &'a str) -> Self {
        let headers = &[("host", "localhost"), ("content-type", "application/json")];
        Self { method: "POST", path, headers, body }
    }

    /// What the socket answers; panics if it does not.
    pub async fn socket(self, socket: &Path) -> Answer {
        self.send(UnixStream::connect(socket).await.expect("the admin socket")).await
    }

    /// What the address answers; panics if it does not.
    pub async fn tcp(self, addr: SocketAddr) -> Answer {
        self.send(TcpStream::connect(addr).await.expect("the admin address")).await
    }

    async fn send(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Answer {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.expect("a connection");
        tokio::spawn(connection);
        let mut request = Request::builder().method(self.method).uri(self.path);
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::from(self.body.to_owned()));
        let request = request.body(body).expect("a request");
        let (head, body) = sender.send_request(request).await.expect("an answer").into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }
}
