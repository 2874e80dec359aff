//! One connection, which sends one request at a time and is made anew when it is gone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Target, Trouble};

/// A connection to the target, or the wish for one.
#[derive(Debug)]
pub(super) struct Connection {
    target: Arc<Target>,
    sender: Option<SendRequest<Full<Bytes>>>,
    /// How often it was made; whoever counts it takes it.
    pub(super) opened: u64,
}

/// A whole answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Bytes of its body.
    pub(super) bytes: u64,
}

impl Connection {
    pub(super) fn new(target: Arc<Target>) -> Self {
        Self { target, sender: None, opened: 0 }
    }

    /// Connects, if it is not connected.
    pub(super) async fn open(&mut self, within: Duration) -> std::io::Result<()> {
        if self.sender.as_ref().is_some_and(|s| !s.is_closed()) {
            return Ok(());
        }
        let connect = TcpStream::connect(&self.target.addrs[..]);
        let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
        let stream = tokio::time::timeout(within, connect).await.unwrap_or(Err(late))?;
        stream.set_nodelay(true)?;
        let (sender, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(driver);
        self.sender = Some(sender);
        self.opened += 1;
        Ok(())
    }

    /// Sends the request and reads the whole answer, not longer than `within`. A connection that failed is not used again.
    pub(super) async fn send(&mut self, within: Duration) -> Result<Answer, Trouble> {
        let sent = tokio::time::timeout(within, self.exchange(within)).await;
        let sent = sent.unwrap_or(Err(Trouble::Timeout));
        if sent.is_err() {
            self.sender = None;
        }
        sent
    }

    async fn exchange(&mut self, within: Duration) -> Result<Answer, Trouble> {
        self.open(within).await.map_err(|_| Trouble::Connect)?;
        let Some(sender) = &mut self.sender else { return Err(Trouble::Connect) };
        sender.ready().await.map_err(|e| Trouble::of(&e))?;
        let response = sender.send_request(self.target.request()).await;
        let response = response.map_err(|e| Trouble::of(&e))?;
        let status = response.status().as_u16();
        let (mut body, mut bytes) = (response.into_body(), 0);
        while !body.is_end_stream() {
            let Some(frame) = body.frame().await else { break };
            let frame = frame.map_err(|_| Trouble::CutOff)?;
            bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok(Answer { status, bytes })
    }
}
