//! A client of the admin endpoint, over its Unix socket.

use std::io;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use nylon_host::admin::view::Refusal;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;

/// The gateway at the other end of a socket.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Nobody listens there, or it went away meanwhile.
    #[error("no gateway answers at {}: {why}", .socket.display())]
    Gone { socket: PathBuf, why: io::Error },
    /// No gateway was found to ask.
    #[error("{0}")]
    Nobody(String),
    /// More than one was.
    #[error("{0}")]
    Several(String),
    /// It was asked, and did not do it.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// Its answer makes no sense.
    #[error("the gateway's answer cannot be read: {0}")]
    Odd(String),
    /// What it said cannot be printed.
    #[error(transparent)]
    Print(#[from] io::Error),
}

/// Most bytes of one line of a stream.
const LINE_MAX: usize = 1 << 20;

impl Client {
    pub(super) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Asks what changes nothing.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<(T, Value), Trouble> {
        parse(self.send("GET", path, None).await?).await
    }

    /// Asks for a change.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<(T, Value), Trouble> {
        parse(self.send("POST", path, Some(body)).await?).await
    }

    /// Hands each line of a stream to `each`, until either ends it.
    pub(super) async fn lines(
        &self,
        path: &str,
        mut each: impl FnMut(&[u8]) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let response = self.send("GET", path, None).await?;
        if response.status() != StatusCode::OK {
            return parse::<Value>(response).await.map(drop);
        }
        let mut body = response.into_body();
        let mut held = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| self.gone(io::Error::other(e)))?;
            let Ok(data) = frame.into_data() else { continue };
            held.extend_from_slice(&data);
            while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                let line = held.split_to(end + 1);
                each(&line[..end])?;
            }
            if held.len() > LINE_MAX {
                return Err(Trouble::Odd("a line without end".to_owned()));
            }
        }
        Ok(())
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>, Trouble> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| self.gone(e))?;
        let other = |e: hyper::Error| self.gone(io::Error::other(e));
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(other)?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let text = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(text)));
        let request = request.map_err(|e| Trouble::Odd(e.to_string()))?;
        sender.send_request(request).await.map_err(other)
    }

    fn gone(&self, why: io::Error) -> Trouble {
        Trouble::Gone { socket: self.socket.clone(), why }
    }
}

/// The answer as what it should be, and as it came.
async fn parse<T: DeserializeOwned>(response: Response<Incoming>) -> Result<(T, Value), Trouble> {
    let odd = |e: &dyn std::fmt::Display| Trouble::Odd(e.to_string());
    let status = response.status();
    let bytes = response.into_body().collect().await.map_err(|e| odd(&e))?.to_bytes();
    if !status.is_success() {
        let refusal = serde_json::from_slice(&bytes);
        return Err(refusal.map_or_else(|_| odd(&status), Trouble::Refused));
    }
    let value: Value = serde_json::from_slice(&bytes).map_err(|e| odd(&e))?;
    Ok((T::deserialize(&value).map_err(|e| odd(&e))?, value))
}
