//! Go plugins in front of an axum router: every phase, and bodies that stream both ways.
//!
//! `cargo run -p nylon-example-axum --example axum`, then
//! `curl -H 'authorization: Bearer ada' http://127.0.0.1:3000/hello`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use nylon_host::{Chain, Client, Host, Item, NylonLayer, PluginSpec};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() {
    let host = start().await;
    let app = service(Router::new(), plugins(&host));
    let listener = TcpListener::bind("127.0.0.1:3000").await.expect("port 3000 is free");
    println!("listening on http://{}", listener.local_addr().expect("it is bound"));
    let stop = async { tokio::signal::ctrl_c().await.expect("a signal handler") };
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(stop)
        .await
        .expect("it serves");
    host.stop(Duration::from_secs(5)).await;
}

/// Starts the Go plugin in `plugin/`.
async fn start() -> Host {
    let spec = PluginSpec::new("axum", nylon_tests::program::plugin("axum"));
    Host::start(vec![spec]).await.expect("the plugin starts")
}

/// Three of its entries, in the order requests pass them.
fn plugins(host: &Host) -> Arc<Chain> {
    let entries = ["journal", "guard", "rewrite"];
    let chain = entries.into_iter().try_fold(host.chain(), |c, e| c.item(Item::new("axum", e)));
    chain.expect("the host has the plugin").build()
}

/// `more` routes and our own, behind the plugins.
fn service(more: Router, chain: Arc<Chain>) -> Router {
    let routes = more.route("/hello", get(hello)).route("/echo", post(echo));
    routes.fallback(async || "nothing here\n").layer(NylonLayer::new(chain).client_from(peer))
}

/// axum knows its peer by an extension of its own.
fn peer(extensions: &Extensions) -> Option<Client> {
    let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(Client { ip: peer.ip(), tls: false })
}

/// Greets whom the plugin says it is.
async fn hello(headers: HeaderMap) -> impl IntoResponse {
    let user = headers.get("x-user").and_then(|v| v.to_str().ok()).unwrap_or("nobody");
    let token = headers.contains_key("authorization");
    ([("x-secret", "42")], format!("hello {user}, token seen: {token}\n"))
}

/// Sends back what comes, as it comes.
async fn echo(body: Body) -> Body {
    body
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::channel::{Channel, Sender};
    use http_body_util::{BodyExt as _, Empty};
    use hyper::body::Incoming;
    use nylon_tests::Client as Web;
    use nylon_tests::watchdog;
    use tokio::sync::Notify;
    use tower::{Layer as _, Service as _, service_fn};

    use super::*;

    /// Bytes of the bodies that do not fit anywhere but have to flow.
    const LARGE: u64 = 48 << 20;
    /// What sockets, windows and channels may hold of them together.
    const HELD: u64 = 20 << 20;
    const PIECE: usize = 64 << 10;

    struct Site {
        host: Host,
        web: Web,
        addr: SocketAddr,
    }

    /// The app with `more` routes, on a port of its own.
    async fn site(more: Router) -> Site {
        let host = start().await;
        let app = service(more, plugins(&host));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Site { host, web: Web::new(addr), addr }
    }

    impl Site {
        fn request(&self, method: &str, path: &str) -> http::request::Builder {
            let uri = format!("http://{}{path}", self.addr);
            Request::builder().method(method).uri(uri).header("authorization", "Bearer ada")
        }

        async fn get(&self, path: &str) -> nylon_tests::Answer {
            self.web.send(self.request("GET", path), Bytes::new()).await.unwrap()
        }

        /// Begins a POST whose body is sent by the caller.
        fn post(&self, path: &str) -> (Sender<Bytes, std::io::Error>, Opening) {
            let (sender, body) = Channel::new(1);
            let request = self.request("POST", path).body(body.boxed()).unwrap();
            let web = self.web.clone();
            (sender, tokio::spawn(async move { web.open(request).await.unwrap() }))
        }

        /// Waits until the journal, in capitals as all answers, has a line that begins so.
        async fn journal(&self, begin: &str) -> String {
            for _ in 0..500 {
                let text = self.get("/journal").await.text();
                if let Some(line) = text.lines().find(|l| l.starts_with(begin)) {
                    return line.to_owned();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            panic!("no line of the journal begins with {begin}");
        }
    }

    type Opening = tokio::task::JoinHandle<Response<Incoming>>;

    /// Waits until a counter has stood still for half a second.
    async fn still(counter: &AtomicU64) -> u64 {
        let mut last = (0, 0);
        while last.1 < 25 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let now = counter.load(Ordering::SeqCst);
            last = if now == last.0 && now > 0 { (now, last.1 + 1) } else { (now, 0) };
        }
        last.0
    }

    /// Reads a body to its end: bytes, and how many of them are not `expected`.
    async fn read<B>(mut body: B, expected: u8) -> (u64, usize)
    where
        B: http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Unpin,
    {
        let (mut bytes, mut other) = (0, 0);
        while let Some(frame) = body.frame().await {
            let piece = frame.expect("not cut off").into_data().unwrap_or_default();
            bytes += piece.len() as u64;
            other += piece.iter().filter(|b| **b != expected).count();
        }
        (bytes, other)
    }

    /// Sends `LARGE` bytes, counting them as they leave.
    async fn feed(mut to: Sender<Bytes, std::io::Error>, byte: u8, counter: Arc<AtomicU64>) {
        let piece = Bytes::from(vec![byte; PIECE]);
        while counter.load(Ordering::SeqCst) < LARGE {
            if to.send_data(piece.clone()).await.is_err() {
                return;
            }
            counter.fetch_add(PIECE as u64, Ordering::SeqCst);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn request_and_response_pass_all_phases() {
        let _dog = watchdog(60);
        let site = site(Router::new()).await;
        let answer = site.get("/hello").await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "HELLO ADA, TOKEN SEEN: FALSE\n")
        );
        assert_eq!(answer.headers("x-guard"), ["nylon"]);
        assert_eq!(answer.headers("x-secret"), [""; 0], "removed by the plugin");
        let line = site.journal("GET /HELLO").await;
        assert_eq!(line, "GET /HELLO FROM 127.0.0.1: 200, 29 BYTES");
        site.host.stop(Duration::from_secs(5)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_shows_no_token_does_not_reach_the_router() {
        let _dog = watchdog(60);
        let site = site(Router::new()).await;
        let answer = site.web.get("/hello").await;
        assert_eq!((answer.status, answer.text().as_str()), (403, "WHO ARE YOU?\n"));
        assert_eq!(
            answer.header("x-guard"),
            "nylon",
            "an answer of a plugin passes ResponseFilter"
        );
        site.journal("GET /HELLO FROM 127.0.0.1: 403").await;
        site.host.stop(Duration::from_secs(5)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn pieces_pass_both_ways_while_the_request_is_still_being_sent() {
        let _dog = watchdog(60);
        let site = site(Router::new()).await;
        let (mut sender, answer) = site.post("/echo");
        sender.send_data("card 0\n".into()).await.unwrap();
        let mut answer = answer.await.unwrap().into_body();
        for n in 1..=20 {
            let piece = answer.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(piece, "CARD *\n", "piece {n}, before the next is sent");
            sender.send_data(format!("card {}\n", n % 10).into()).await.unwrap();
        }
        drop(sender);
        assert_eq!(answer.collect().await.unwrap().to_bytes(), "CARD *\n");
        site.journal("POST /ECHO FROM 127.0.0.1: 200, 147 BYTES").await;
        site.host.stop(Duration::from_secs(5)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_client_that_does_not_read_stops_the_handler() {
        let _dog = watchdog(120);
        let made = Arc::new(AtomicU64::new(0));
        let counter = made.clone();
        let many = get(async move || {
            let (sender, body) = Channel::new(1);
            tokio::spawn(feed(sender, b'a', counter));
            Body::new(body)
        });
        let site = site(Router::new().route("/many", many)).await;
        let empty = Empty::new().map_err(|never| match never {}).boxed();
        let request = site.request("GET", "/many").body(empty).unwrap();
        let answer = site.web.open(request).await.unwrap();
        let held = still(&made).await;
        assert!(held < HELD, "{held} bytes were made for a client that reads none");
        assert_eq!(read(answer.into_body(), b'A').await, (LARGE, 0));
        site.host.stop(Duration::from_secs(5)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_handler_that_does_not_read_stops_the_client() {
        let _dog = watchdog(120);
        let go = Arc::new(Notify::new());
        let read_on = go.clone();
        let sink = post(async move |body: Body| {
            read_on.notified().await;
            format!("{:?}", read(body, b'*').await)
        });
        let site = site(Router::new().route("/sink", sink)).await;
        let (sender, answer) = site.post("/sink");
        let sent = Arc::new(AtomicU64::new(0));
        tokio::spawn(feed(sender, b'7', sent.clone()));
        let held = still(&sent).await;
        assert!(held < HELD, "{held} bytes left a client whom nobody reads");
        go.notify_one();
        let text = answer.await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(text, format!("({LARGE}, 0)"));
        site.host.stop(Duration::from_secs(5)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_error_of_the_service_passes_on_and_is_logged() {
        let _dog = watchdog(60);
        let site = site(Router::new()).await;
        let broken = async |_: Request<nylon_host::Body>| {
            Err::<Response<nylon_host::Body>, _>("the database is gone")
        };
        let mut broken = NylonLayer::new(plugins(&site.host)).layer(service_fn(broken));
        let asked = site.request("GET", "/broken").body(nylon_host::Body::empty()).unwrap();
        assert_eq!(broken.call(asked).await.unwrap_err(), "the database is gone");
        let line = site.journal("GET /BROKEN FROM 0.0.0.0: 502").await;
        assert!(line.ends_with(", THE DATABASE IS GONE"), "{line}");
        site.host.stop(Duration::from_secs(5)).await;
    }
}
