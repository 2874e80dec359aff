//! Clients: one over hyper that keeps connections, one that writes bytes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use nylon_host::bench::Trouble;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

type Body = BoxBody<Bytes, std::io::Error>;

/// No answer of a gateway takes longer, whatever goes wrong.
const LIMIT: Duration = Duration::from_secs(30);

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Repeated headers kept.
    pub headers: HeaderMap,
    /// All of it.
    pub body: Bytes,
}

impl Answer {
    /// The first header of that name, or "".
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// All headers of that name, in order.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Why there is no whole answer.
#[derive(Debug, Clone)]
pub struct NoAnswer {
    /// By kind.
    pub trouble: Trouble,
    /// In words.
    why: String,
}

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl NoAnswer {
    fn of(trouble: Trouble, e: &(dyn std::error::Error + 'static)) -> NoAnswer {
        let cause = e.source().map(|s| format!(": {s}"));
        NoAnswer { trouble, why: format!("{e}{}", cause.unwrap_or_default()) }
    }
}

/// Keeps connections alive, as browsers do.
#[derive(Clone, Debug)]
pub struct Client {
    inner: hyper_util::client::legacy::Client<HttpConnector, Body>,
    addr: SocketAddr,
}

impl Client {
    /// For one address.
    pub fn new(addr: SocketAddr) -> Client {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let inner =
            hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
        Client { inner, addr }
    }

    /// A request to `path`, to be given a body.
    pub fn request(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(format!("http://{}{path}", self.addr))
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.unwrap_or_else(|e| panic!("GET {path}: {e}"))
    }

    /// GET, where the connection may be cut.
    pub async fn try_get(&self, path: &str) -> Result<Answer, String> {
        self.send(self.request("GET", path), Bytes::new()).await
    }

    /// GET with headers.
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = headers.iter().fold(self.request("GET", path), |r, (k, v)| r.header(*k, *v));
        self.send(request, Bytes::new()).await.unwrap_or_else(|e| panic!("GET {path}: {e}"))
    }

    /// POST.
    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        let sent = self.send(self.request("POST", path), body.into()).await;
        sent.unwrap_or_else(|e| panic!("POST {path}: {e}"))
    }

    /// Sends it and reads the whole answer; an answer cut off is an error.
    pub async fn send(
        &self,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<Answer, String> {
        self.exchange(request, body).await.map_err(|e| e.to_string())
    }

    /// As [`Client::send`], with the kind of the error.
    pub async fn exchange(
        &self,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<Answer, NoAnswer> {
        let body = Full::new(body).map_err(|never| match never {}).boxed();
        let request = request.body(body).map_err(|e| NoAnswer::of(Trouble::Other, &e))?;
        let whole = async {
            let sent = self.inner.request(request).await;
            let response = sent.map_err(|e| NoAnswer::of(Trouble::of(&e), &e))?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|e| {
                let why = format!("body cut off: {e}");
                NoAnswer { trouble: Trouble::CutOff, why }
            })?;
            Ok(Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.to_bytes(),
            })
        };
        let late = NoAnswer { trouble: Trouble::Timeout, why: format!("no answer in {LIMIT:?}") };
        tokio::time::timeout(LIMIT, whole).await.unwrap_or(Err(late))
    }

    /// Sends it; the caller reads the body piece by piece.
    pub async fn open(&self, request: Request<Body>) -> Result<Response<Incoming>, String> {
        let sent = self.inner.request(request).await;
        sent.map_err(|e| NoAnswer::of(Trouble::of(&e), &e).to_string())
    }

    /// GET; the caller reads the body piece by piece.
    pub async fn stream(&self, path: &str) -> Response<Incoming> {
        let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed();
        let request = self.request("GET", path).body(body).expect("a request");
        self.open(request).await.unwrap_or_else(|e| panic!("GET {path}: {e}"))
    }
}

/// Writes `bytes` and reads until the peer closes or `within` has passed.
pub async fn raw(addr: SocketAddr, bytes: &[u8], within: Duration) -> String {
    let mut socket = tokio::net::TcpStream::connect(addr).await.expect("connect");
    socket.write_all(bytes).await.expect("write");
    let mut out = Vec::new();
    let _ = tokio::time::timeout(within, socket.read_to_end(&mut out)).await;
    String::from_utf8_lossy(&out).into_owned()
}
