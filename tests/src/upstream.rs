//! An upstream that says what it saw.
//!
//! | path | answer |
//! |---|---|
//! | `/chunked` | "one ", "two ", "three" as three pieces, 60 ms apart |
//! | `/sized/N` | N bytes of [`pattern`] with Content-Length |
//! | `/slow/MS` | the echo, after MS milliseconds |
//! | `/status/N` | status N, body "status N" |
//! | `/text` | "hello from upstream" with a few headers, one of them twice |
//! | `/sse` | five events, 60 ms apart |
//! | `/sum` | `{len, hash}` of the request body, read to its end |
//! | anything | `{method, path, query, headers, len, body}` as JSON: the echo |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

use crate::Hash;

type Body = BoxBody<Bytes, Infallible>;

/// Pieces of streamed answers.
const PAUSE: Duration = Duration::from_millis(60);

/// Size of the pieces of `/sized`.
const PIECE: usize = 64 * 1024;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// In capitals.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Without `?`, "" if none.
    pub query: String,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// Of the body.
    pub len: u64,
    /// Of the body.
    pub hash: Hash,
    /// Its first 64 KiB.
    pub body: Vec<u8>,
}

impl Seen {
    /// The first header of that name, or "".
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(k, _)| k == name).map_or("", |(_, v)| v)
    }
}

/// Serves until dropped.
#[derive(Debug)]
pub struct Upstream {
    /// Where it listens.
    pub addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Upstream {
    /// On a port the kernel chooses.
    pub async fn start() -> Upstream {
        Upstream::on(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// On `addr`.
    pub async fn on(addr: SocketAddr) -> Upstream {
        let listener = TcpListener::bind(addr).await.expect("bind the upstream");
        let addr = listener.local_addr().expect("address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(accept(listener, Arc::clone(&seen)));
        Upstream { addr, seen, task }
    }

    /// What arrived so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// The last request that arrived.
    pub fn last(&self) -> Seen {
        self.seen().pop().expect("a request reached the upstream")
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `len` bytes starting at `from` of an endless body; a period of 251 shows a piece lost or doubled.
pub fn pattern(from: u64, len: usize) -> Bytes {
    let start = u8::try_from(from % 251).expect("< 251");
    let mut next = start;
    let bytes = std::iter::repeat_with(|| {
        let byte = next;
        next = if next == 250 { 0 } else { next + 1 };
        byte
    });
    bytes.take(len).collect()
}

async fn accept(listener: TcpListener, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let _ = socket.set_nodelay(true);
        let seen = Arc::clone(&seen);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&seen)));
            let connection = hyper::server::conn::http1::Builder::new();
            let _ = connection.serve_connection(TokioIo::new(socket), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(
    request: Request<Incoming>,
    all: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Body>, hyper::Error> {
    let seen = read(request).await?;
    {
        // A long load must not fill the test's memory.
        let mut all = all.lock().unwrap_or_else(|e| e.into_inner());
        if all.len() < 10_000 {
            all.push(seen.clone());
        }
    }
    let path = seen.path.clone();
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (name, argument) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let number: u64 = argument.parse().unwrap_or(0);
    let response = Response::builder().header("x-upstream", "echo");
    let response = match name {
        "chunked" => response.body(pieces(["one ", "two ", "three"].map(Bytes::from).to_vec())),
        "sse" => {
            let events = (1..=5).map(|n| Bytes::from(format!("data: {n}\n\n"))).collect();
            response.header("content-type", "text/event-stream").body(pieces(events))
        }
        "sized" => response.header("content-length", number).body(sized(number)),
        "status" => {
            let status = u16::try_from(number).unwrap_or(500);
            response.status(status).body(full(format!("status {number}")))
        }
        "text" => response
            .header("content-type", "text/plain")
            .header("x-dup", "first")
            .header("x-dup", "second")
            .header("X-Mixed-Case", "kept")
            .body(full("hello from upstream")),
        "sum" => response.body(full(json!({"len": seen.len, "hash": seen.hash.0}).to_string())),
        _ => {
            if name == "slow" {
                tokio::time::sleep(Duration::from_millis(number)).await;
            }
            response.header("content-type", "application/json").body(full(echo(&seen)))
        }
    };
    Ok(response.expect("a response"))
}

async fn read(request: Request<Incoming>) -> Result<Seen, hyper::Error> {
    let (head, mut body) = request.into_parts();
    let headers = head.headers.iter();
    let headers = headers
        .map(|(k, v)| (k.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
        .collect();
    let mut seen = Seen {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers,
        len: 0,
        hash: Hash::default(),
        body: Vec::new(),
    };
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            seen.len += data.len() as u64;
            seen.hash.update(&data);
            let room = PIECE - seen.body.len();
            seen.body.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok(seen)
}

fn echo(seen: &Seen) -> String {
    json!({
        "method": seen.method, "path": seen.path, "query": seen.query, "headers": seen.headers,
        "len": seen.len, "body": String::from_utf8_lossy(&seen.body),
    })
    .to_string()
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

fn pieces(pieces: Vec<Bytes>) -> Body {
    let (mut send, body) = Channel::<Bytes, Infallible>::new(1);
    tokio::spawn(async move {
        for (i, piece) in pieces.into_iter().enumerate() {
            if i > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            if send.send_data(piece).await.is_err() {
                return;
            }
        }
    });
    body.boxed()
}

fn sized(len: u64) -> Body {
    let (send, body) = Channel::<Bytes, Infallible>::new(4);
    tokio::spawn(send_pattern(send, len));
    body.boxed()
}

async fn send_pattern(mut send: Sender<Bytes, Infallible>, len: u64) {
    let mut from = 0;
    while from < len {
        let piece = usize::try_from(len - from).unwrap_or(PIECE).min(PIECE);
        if send.send_data(pattern(from, piece)).await.is_err() {
            return;
        }
        from += piece as u64;
    }
}
