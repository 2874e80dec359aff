//! A client of WebSockets: messages over tungstenite, and bytes as they are for what no library would send.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Request};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

/// No message of a gateway takes longer, whatever goes wrong.
const LIMIT: Duration = Duration::from_secs(20);

/// One that is open. A ping is answered whenever something is read.
#[derive(Debug)]
pub struct WebSocket {
    inner: WebSocketStream<TcpStream>,
    /// Those of the 101.
    pub headers: HeaderMap,
    /// Texts that came before the answer to an order.
    earlier: VecDeque<String>,
}

impl WebSocket {
    /// Opens one; panics if the answer is no 101.
    pub async fn open(addr: SocketAddr, path: &str) -> WebSocket {
        WebSocket::open_with(addr, path, &[]).await
    }

    /// The same with more headers in the request.
    pub async fn open_with(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> WebSocket {
        let opened = WebSocket::try_open(addr, path, headers).await;
        opened.unwrap_or_else(|e| panic!("WebSocket {path}: {e}"))
    }

    /// Opens one, where the answer may be another or none: in words, "HTTP error: 503 Service Unavailable".
    pub async fn try_open(
        addr: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<WebSocket, String> {
        let stream = TcpStream::connect(addr).await.map_err(|e| e.to_string())?;
        WebSocket::over(stream, path, headers).await
    }

    /// The same over a connection with options of its own.
    pub async fn over(
        stream: TcpStream,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<WebSocket, String> {
        let addr = stream.peer_addr().map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let request = request(addr, path, headers);
        // Tests have thousands of them, and messages of all sizes.
        let config = WebSocketConfig::default().read_buffer_size(4 << 10);
        let shaken = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        let shaken = tokio::time::timeout(LIMIT, shaken).await.map_err(|e| e.to_string())?;
        let (inner, answer) = shaken.map_err(|e| e.to_string())?;
        Ok(WebSocket { inner, headers: answer.into_parts().0.headers, earlier: VecDeque::new() })
    }

    /// A header of the 101, or "".
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// Sends a text.
    pub async fn send_text(&mut self, text: &str) {
        self.send(Message::text(text)).await;
    }

    /// Sends a binary message.
    pub async fn send_binary(&mut self, bytes: impl Into<Bytes>) {
        self.send(Message::binary(bytes)).await;
    }

    /// Sends anything; panics if the socket is closed.
    pub async fn send(&mut self, message: Message) {
        self.try_send(message).await.expect("it is open");
    }

    /// Sends anything, where the socket may be closed.
    pub async fn try_send(&mut self, message: Message) -> Result<(), tungstenite::Error> {
        self.inner.send(message).await
    }

    /// Sends bytes as they are, see [`frame`].
    pub async fn send_raw(&mut self, bytes: &[u8]) {
        self.inner.get_mut().write_all(bytes).await.expect("it is open");
    }

    /// Sends a close; [`Self::closed`] has the answer. Without a code the close frame is empty.
    pub async fn close(&mut self, code: Option<u16>, reason: &str) {
        let close =
            code.map(|code| CloseFrame { code: code.into(), reason: reason.to_owned().into() });
        self.send(Message::Close(close)).await;
    }

    /// The next message of any kind; panics if there is none within 20 s.
    pub async fn next(&mut self) -> Message {
        self.try_next().await.unwrap_or_else(|e| panic!("no message: {e}"))
    }

    /// The next message of any kind, where the connection may end.
    pub async fn try_next(&mut self) -> Result<Message, String> {
        if let Some(text) = self.earlier.pop_front() {
            return Ok(Message::text(text));
        }
        self.receive().await
    }

    /// The next message, which is to be a text; pings and pongs are passed over.
    pub async fn text(&mut self) -> String {
        match self.data().await {
            Message::Text(text) => text.as_str().to_owned(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// The next message, which is to be binary; pings and pongs are passed over.
    pub async fn binary(&mut self) -> Bytes {
        match self.data().await {
            Message::Binary(bytes) => bytes,
            other => panic!("not binary: {other:?}"),
        }
    }

    /// Whether nothing but pings and pongs comes for that long.
    pub async fn quiet(&mut self, within: Duration) -> bool {
        tokio::time::timeout(within, self.data()).await.is_err()
    }

    /// Orders something of the entry ws-rooms, without an answer.
    pub async fn tell(&mut self, order: Value) {
        self.send_text(&order.to_string()).await;
    }

    /// Orders something of the entry ws-rooms: its answer. Texts that come before are for [`Self::text`].
    pub async fn order(&mut self, order: Value) -> Value {
        let op = order["op"].clone();
        self.tell(order).await;
        loop {
            let text = match self.receive().await {
                Ok(Message::Text(text)) => text.as_str().to_owned(),
                Ok(Message::Ping(_) | Message::Pong(_)) => continue,
                other => panic!("no answer to {op}: {other:?}"),
            };
            let answer: Value = serde_json::from_str(&text).unwrap_or_default();
            if answer["op"] == op {
                return answer;
            }
            self.earlier.push_back(text);
        }
    }

    /// Reads to the end: the code of the close and its reason, 1005 for an empty close frame, 1006 for none.
    pub async fn closed(&mut self) -> (u16, String) {
        let mut said = (1006, String::new());
        loop {
            match self.try_next().await {
                Ok(Message::Close(None)) => said.0 = 1005,
                Ok(Message::Close(Some(close))) => {
                    said = (close.code.into(), close.reason.as_str().to_owned());
                }
                Ok(_) => {}
                Err(_) => return said,
            }
        }
    }

    /// The connection under it: options, or reading it byte by byte. What was read ahead stays above.
    pub fn stream(&mut self) -> &mut TcpStream {
        self.inner.get_mut()
    }

    async fn data(&mut self) -> Message {
        loop {
            match self.next().await {
                Message::Ping(_) | Message::Pong(_) => {}
                other => return other,
            }
        }
    }

    async fn receive(&mut self) -> Result<Message, String> {
        let next = tokio::time::timeout(LIMIT, self.inner.next()).await;
        match next {
            Err(late) => panic!("no message within {LIMIT:?}: {late}"),
            Ok(None) => Err("the connection is closed".into()),
            Ok(Some(message)) => message.map_err(|e| e.to_string()),
        }
    }
}

/// A frame as a client is to send it: masked. `first` is its first byte (RFC 6455 5.2): 0x81 a whole text, 0x01 the
/// first piece of one, 0x00 and 0x80 another piece and the last, 0x89 a ping, 0x88 a close.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut out = head(first, 0x80, payload.len());
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// The same without a mask, as only a server may.
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = head(first, 0, payload.len());
    out.extend_from_slice(payload);
    out
}

fn head(first: u8, mask: u8, len: usize) -> Vec<u8> {
    let mut out = vec![first];
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..126), _) => out.push(mask | len),
        (_, Ok(len)) => {
            out.push(mask | 126);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(mask | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out
}

fn request(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let request = format!("ws://{addr}{path}").into_client_request();
    let mut request = request.unwrap_or_else(|e| panic!("{path}: {e}"));
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().expect("a name");
        request.headers_mut().append(name, value.parse().expect("a value"));
    }
    request
}
