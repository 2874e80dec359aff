//! What the gateway owes both ends of a request it passes on: one message in, the same message out, and plugins that
//! can rely on what they set and what they read (CONTRACT 2, 5, 6; RFC 9110, RFC 9112).

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use nylon_tests::{
    Client, Gateway, Hash, Site, Upstream, eventually, pattern, ports, raw, step, watchdog,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_secs(3);

/// What the probe says of a body.
fn sum(body: &[u8]) -> String {
    format!("{} {}", body.len(), Hash::of(body).0)
}

/// A server that answers every request with these bytes and closes.
async fn says(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    addr
}

/// The probe with these items in front of an echo at `/x`.
async fn in_front(entries: &[&str]) -> (Upstream, Site, Gateway) {
    let up = Upstream::start().await;
    let steps: Vec<Value> = entries.iter().map(|e| step("probe", e)).collect();
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let site = site.path("/x", "up", &steps).path("/status/{n}", "up", &steps);
    let gateway = Gateway::start(&site).await;
    (up, site, gateway)
}

/// A POST whose body comes in two pieces.
async fn two_pieces(addr: SocketAddr, path: &str, body: &[u8]) -> String {
    let mut socket = tokio::net::TcpStream::connect(addr).await.expect("connect");
    let len = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.expect("write");
    let (first, second) = body.split_at(len / 2);
    socket.write_all(first).await.expect("write");
    tokio::time::sleep(Duration::from_millis(50)).await;
    socket.write_all(second).await.expect("write");
    let mut out = String::new();
    socket.read_to_string(&mut out).await.expect("an answer");
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_readers_of_a_body_get_all_of_it() {
    let _dog = watchdog(60);
    let site = Site::new().plugin("probe").service("end", "probe", "answer-raw-body", Value::Null);
    let site = site.path("/x", "end", &[step("probe", "raw-body")]);
    let gateway = Gateway::start(&site).await;
    let body = pattern(0, 20_000);
    let answer = two_pieces(gateway.addr, "/x", &body).await;
    let header = format!("x-body: {}\r\n", sum(&body));
    assert!(answer.contains(&header), "the middleware: {answer}");
    assert!(answer.ends_with(&sum(&body)), "the service: {answer}");
}

/// In middleware; a plugin service keeps nothing of what `Body` read, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_can_be_read_in_part_and_then_whole() {
    let _dog = watchdog(60);
    let (_up, site, gateway) = in_front(&["body-thrice"]).await;
    let body = pattern(0, 2 << 20);
    let answer = Client::new(gateway.addr).post("/x", body.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.text(), format!("{0}, {0}, <nil>", sum(&body)));
    drop((site, gateway));

    let site = Site::new().plugin("probe").service("end", "probe", "body-thrice", Value::Null);
    let site = site.path("/x", "end", &[]);
    let gateway = Gateway::start(&site).await;
    let answer = Client::new(gateway.addr).post("/x", body).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(answer.text().contains("not kept"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_body_can_be_read_after_it_was_forwarded() {
    let _dog = watchdog(60);
    let (up, site, gateway) = in_front(&["late-body"]).await;
    let body = pattern(0, 10_000);
    let answer = two_pieces(gateway.addr, "/x", &body).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(&format!("x-late-body: {}\r\n", sum(&body))), "{answer}");
    assert_eq!(up.last().hash, Hash::of(&body));
    let line = format!("late-body {}", sum(&body));
    eventually("Logging reads it too", SOON, || site.trace().contains(&line).then_some(())).await;
    // One that is not kept is no empty one.
    let answer = two_pieces(gateway.addr, "/x", &pattern(0, 70_000)).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert!(answer.contains("65536 bytes are kept"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_can_echo_the_body() {
    let _dog = watchdog(60);
    let site = Site::new().plugin("probe").service("echo", "probe", "stream-echo", Value::Null);
    let site = site.path("/x", "echo", &[]);
    let gateway = Gateway::start(&site).await;
    let body = pattern(0, 1 << 20);
    let answer = Client::new(gateway.addr).post("/x", body.clone()).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body == body, "{} bytes, {:?}", answer.body.len(), site.trace());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_cannot_take_away_what_a_plugin_set() {
    let _dog = watchdog(60);
    let (up, _site, gateway) = in_front(&["role"]).await;
    let request = "GET /x HTTP/1.1\r\nhost: localhost\r\nx-role: mine\r\nx-own: 1\r\n\
                   connection: close, x-role, x-own, host\r\n\r\n";
    let answer = raw(gateway.addr, request.as_bytes(), SOON).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = up.last();
    assert_eq!(seen.header("x-role"), "admin");
    assert_eq!(seen.header("x-own"), "", "named by Connection, it was for the gateway");
    assert_eq!(seen.header("host"), "localhost");
}

/// An upgrade that nobody takes is a request like any other, on a connection that goes on (RFC 9110 section 7.8).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_nobody_takes_is_passed_on_without_it() {
    let _dog = watchdog(60);
    let (up, _site, gateway) = in_front(&["role"]).await;
    let ask = |connection| {
        format!(
            "GET /x HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: {connection}\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    let twice = [ask("Upgrade"), ask("Upgrade, sec-websocket-key, close")].concat();
    let answer = raw(gateway.addr, twice.as_bytes(), SOON).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
    let seen = up.last();
    assert_eq!((seen.header("upgrade"), seen.header("connection")), ("", ""));
    assert_eq!(seen.header("x-role"), "admin");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_target_names_the_host() {
    let _dog = watchdog(60);
    let (up, _site, gateway) = in_front(&[]).await;
    let request =
        "GET http://localhost/x HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    let answer = raw(gateway.addr, request.as_bytes(), SOON).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(up.last().header("host"), "localhost", "RFC 9112 section 3.2.2");
    let answer = raw(gateway.addr, b"GET /x HTTP/1.1\r\nconnection: close\r\n\r\n", SOON).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "RFC 9112 section 3.2: {answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_keeps_its_body() {
    let _dog = watchdog(60);
    let (up, _site, gateway) = in_front(&[]).await;
    let request = "GET /x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                   transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let answer = raw(gateway.addr, request.as_bytes(), SOON).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(up.last().body, b"hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_upload_is_the_clients_fault() {
    let _dog = watchdog(60);
    let (_up, _site, gateway) = in_front(&[]).await;
    let request = "POST /x HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n\
                   5\r\nhello\r\nnonsense\r\n";
    let answer = raw(gateway.addr, request.as_bytes(), SOON).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_is_held_to_the_rules() {
    let _dog = watchdog(60);
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\
                connection: close\r\n\r\n5\r\nabcde\r\n0\r\n\r\n";
    let site = Site::new()
        .upstream("both", says(both).await)
        .upstream("switch", says("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n").await);
    let site = site.path("/both", "both", &[]).path("/switch", "switch", &[]).plugin("probe");
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);
    let answer = client.get("/both").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "abcde"), "RFC 9112 section 6.3");
    assert_eq!(client.get("/switch").await.status, 502, "nobody asked for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_keep_the_headers_plugins_set_before() {
    let _dog = watchdog(60);
    let site = Site::new().upstream("nobody", ports::free()).plugin("probe");
    let site = site.path("/x", "nobody", &[step("probe", "headers-early")]);
    let gateway = Gateway::start(&site).await;
    let answer = Client::new(gateway.addr).get("/x").await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("content-type"), "application/json", "of the error, not of the draft");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_entry_logs_its_failure() {
    let _dog = watchdog(60);
    let (_up, site, gateway) = in_front(&["fails-and-logs"]).await;
    assert_eq!(Client::new(gateway.addr).get("/x").await.status, 502);
    let logged = || site.trace().iter().any(|l| l == "failed with 502").then_some(());
    eventually("its Logging", SOON, logged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_head_is_shown_in_part_and_passed_whole() {
    let _dog = watchdog(60);
    let huge: &'static str = format!(
        "HTTP/1.1 404 Not Found\r\nx-huge: {}\r\ncontent-type: text/x-small\r\ncontent-length: 0\r\n\r\n",
        "h".repeat(66_000)
    )
    .leak();
    let site = Site::new().upstream("huge", says(huge).await).plugin("probe");
    let site = site.path("/x", "huge", &[step("probe", "read-head")]);
    let gateway = Gateway::start(&site).await;
    let answer = Client::new(gateway.addr).get("/x").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header("x-saw-status"), "404");
    assert_eq!(answer.header("x-saw-type"), "text/x-small");
    assert_eq!(answer.header("x-huge").len(), 66_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_without_a_body_is_no_failure() {
    let _dog = watchdog(60);
    let site = Site::new().plugin("probe").service("events", "probe", "events", Value::Null);
    let site = site.path("/x", "events", &[step("probe", "log")]);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);
    let answer = client.send(client.request("HEAD", "/x"), Bytes::new()).await.expect("an answer");
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    let logged = || site.trace().into_iter().find(|l| l.starts_with("log /x"));
    assert_eq!(eventually("Logging", SOON, logged).await, "log /x 200 0 ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_a_filter_refused_is_logged() {
    let _dog = watchdog(60);
    let site = Site::new().plugin("probe").service("events", "probe", "events", Value::Null);
    let site = site.path("/fails", "events", &[step("probe", "log"), step("probe", "fails-late")]);
    let site = site.path("/body", "events", &[step("probe", "body-late")]);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);
    let answer = client.get("/fails").await;
    assert_eq!((answer.status, answer.json()["error"].as_str()), (502, Some("PLUGIN_PANICKED")));
    let logged = || site.trace().into_iter().find(|l| l.starts_with("log /fails 502"));
    eventually("Logging", SOON, logged).await;
    let answer = client.get("/body").await;
    assert!(answer.text().starts_with("data: 1"), "a filter sees a copy: {}", answer.text());
}
