//! The upgrade to a WebSocket: what a client has to say for it, what it is told, and what of its request goes on.

use std::time::Duration;

use nylon_tests::{
    Client, Exposition, Gateway, Site, Upstream, WebSocket, eventually, ports, raw, step,
    step_with, watchdog,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long something that is about to happen may take on a loaded machine.
const SOON: Duration = Duration::from_secs(15);
/// A handshake that is right.
const UPGRADE: &str = "Host: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

fn site() -> Site {
    let site = Site::new().plugin("probe");
    site.path("/rooms", "ready-probe", &[step("probe", "ws-rooms")])
}

/// The head of the answer to `request`, and the connection.
async fn head(gateway: &Gateway, request: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(gateway.addr).await.expect("connect");
    stream.write_all(request.as_bytes()).await.expect("write");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
    (String::from_utf8(head).expect("ASCII").to_lowercase(), stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_101_has_what_plugins_and_modifiers_set() {
    let _dog = watchdog(60);
    let set = json!({"set": [{"name": "x-set", "value": "yes"}], "remove": ["x-ws-not"]});
    let modifier = json!({"plugin": "ResponseHeaderModifier", "payload": set});
    let site = site().service("rooms", "probe", "ws-rooms", Value::Null).path(
        "/modified",
        "rooms",
        &[modifier],
    );
    let gateway = Gateway::start(&site).await;

    let path = "/modified?header=mine&protocol=v2.chat";
    let offered = [("sec-websocket-protocol", "v1.chat, v2.chat")];
    let mut ws = WebSocket::open_with(gateway.addr, path, &offered).await;
    assert_eq!(ws.header("x-ws"), "mine");
    assert_eq!(ws.header("x-set"), "yes");
    assert_eq!(ws.header("sec-websocket-protocol"), "v2.chat");
    assert_eq!(ws.order(json!({"op": "protocol"})).await["value"], "v2.chat");
    assert_eq!(ws.order(json!({"op": "path"})).await["value"], "/modified");
    let answer = ws.order(json!({"op": "header", "text": "sec-websocket-protocol"})).await;
    assert_eq!(answer["value"], "v1.chat, v2.chat", "the request is there");

    // RFC 6455 1.3 has the proof of this key. A subprotocol that was not offered is none.
    let request = format!(
        "GET /rooms?protocol=v2.chat&greet HTTP/1.1\r\n{UPGRADE}Sec-WebSocket-Protocol: v1.chat\r\n\r\n"
    );
    let (head, mut stream) = head(&gateway, &request).await;
    assert!(head.starts_with("http/1.1 101 switching protocols\r\n"), "{head}");
    for line in [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
    }
    for name in
        ["sec-websocket-protocol", "sec-websocket-extensions", "content-length", "transfer-"]
    {
        assert!(!head.contains(&format!("\r\n{name}")), "{name} in {head}");
    }
    let mut greeting = vec![0; 2];
    stream.read_exact(&mut greeting).await.expect("the greeting of OnOpen");
    assert_eq!(greeting[0], 0x81, "a whole text");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_handshake_is_refused_and_says_why() {
    let _dog = watchdog(60);
    let watched = ports::free();
    let origins =
        json!({"websocket": {"origins": ["https://example.com", "https://*.example.org"]}});
    let site = site().path_with("/mine", "ready-probe", &[step("probe", "ws-rooms")], origins);
    let site = site.runtime(json!({"metrics": [watched.to_string()]}));
    let gateway = Gateway::start(&site).await;
    let without = |name: &str| -> String {
        UPGRADE.split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect()
    };
    let key = "Sec-WebSocket-Key";
    let cases = [
        ("GET /rooms HTTP/1.1", without(key), 400, "Missing Sec-WebSocket-Key"),
        ("GET /rooms HTTP/1.1", "Host: localhost\r\n".into(), 400, "Missing Sec-WebSocket-Key"),
        ("GET /rooms HTTP/1.1", without(key) + "Sec-WebSocket-Key: c2hvcnQ=\r\n", 400, "16 bytes"),
        (
            "GET /rooms HTTP/1.1",
            UPGRADE.to_owned() + "Sec-WebSocket-Key: x\r\n",
            400,
            "More than one",
        ),
        ("GET /rooms HTTP/1.1", without("Upgrade"), 426, "upgrade: websocket"),
        ("GET /rooms HTTP/1.1", UPGRADE.replace(": 13", ": 8"), 426, "sec-websocket-version: 13"),
        ("GET /rooms HTTP/1.1", without("Sec-WebSocket-Version"), 426, "sec-websocket-version: 13"),
        ("POST /rooms HTTP/1.1", UPGRADE.into(), 400, "by GET"),
        ("GET /rooms HTTP/1.1", UPGRADE.to_owned() + "Content-Length: 1\r\n", 400, "no body"),
        ("GET /rooms HTTP/1.0", UPGRADE.into(), 400, "HTTP/1.1"),
        (
            "GET /mine HTTP/1.1",
            UPGRADE.to_owned() + "Origin: https://example.net\r\n",
            403,
            "Origin",
        ),
        ("GET /mine HTTP/1.1", UPGRADE.to_owned() + "Origin: null\r\n", 403, "Origin"),
    ];
    for (line, headers, status, why) in &cases {
        // Whatever else it says, it is to be the last on its connection.
        let close = match headers.contains("Connection: keep-alive, Upgrade") {
            true => headers.replace("keep-alive, Upgrade", "close, Upgrade"),
            false => headers.clone() + "Connection: close\r\n",
        };
        let answer = raw(gateway.addr, format!("{line}\r\n{close}\r\nx").as_bytes(), SOON).await;
        let is = answer.split(' ').nth(1).unwrap_or_default();
        assert_eq!(is, status.to_string(), "{line}\n{headers}\n{answer}");
        assert!(answer.contains(why), "{why}:\n{answer}");
    }
    // Each was the plugin's to log, and none was open.
    let logged =
        |status: u16| site.trace().iter().filter(|l| **l == format!("ws logged {status}")).count();
    let all = || (logged(400) == 7 && logged(426) == 3 && logged(403) == 2).then_some(());
    eventually("all are logged", SOON, all).await;
    assert!(!site.trace().iter().any(|line| line.starts_with("ws open")));

    for origin in ["https://example.com", "https://a.example.org"] {
        WebSocket::open_with(gateway.addr, "/mine", &[("origin", origin)]).await;
    }
    let scrape = Exposition::read(&Client::new(watched).get("/metrics").await.text());
    let count = |name| scrape.sum(name, &[("plugin", "probe")]);
    let refused = count("nylon_websocket_refused_total");
    assert_eq!((refused, count("nylon_websocket_opened_total")), (cases.len() as f64, 2.0));
}

/// A connection whose upgrade was refused is an ordinary one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_leaves_the_connection_to_other_requests() {
    let _dog = watchdog(60);
    let gateway = Gateway::start(&site()).await;
    let first = format!("GET /rooms HTTP/1.1\r\n{}\r\n", UPGRADE.replace(": 13", ": 8"));
    let (refused, mut stream) = head(&gateway, &first).await;
    assert!(refused.starts_with("http/1.1 426"), "{refused}");
    let last = "GET /ready/probe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(last.as_bytes()).await.expect("it is open");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.expect("an answer");
    assert!(rest.contains("HTTP/1.1 200"), "{rest}");
}

/// B14 of the original: what a handler says after the upgrade took the socket down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_handler_does_behind_the_upgrade_counts() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let late = [step("probe", "ws-late")];
    let middle = [step("probe", "ws-rooms"), step("probe", "ws-echo")];
    let site = site().upstream("up", up.addr).path("/middle", "up", &middle);
    let gateway = Gateway::start(&site.path("/late", "up", &late)).await;
    // Also as middleware: neither what stands behind it nor the service sees the request.
    for path in ["/rooms", "/rooms?next", "/rooms?end", "/rooms?next&end&late=20", "/middle?next"] {
        let mut ws = WebSocket::open(gateway.addr, path).await;
        assert_eq!(ws.order(json!({"op": "pid"})).await["error"], Value::Null, "{path}");
        ws.send_binary("still there").await;
        assert_eq!(ws.binary().await, "still there", "{path}");
    }
    assert_eq!(up.seen().len(), 0);

    let request = format!("GET /late HTTP/1.1\r\n{UPGRADE}\r\n");
    let (answer, _) = head(&gateway, &request).await;
    assert!(answer.starts_with("http/1.1 200"), "the service's: {answer}");
    assert_eq!(up.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_on_before_the_upgrade_gets_none() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = site().upstream("up", up.addr);
    let site = site.path("/late", "up", &[step("probe", "ws-late")]);
    let site = site.path("/refuse", "up", &[step_with("probe", "ws-refuse", json!({}))]);
    let gateway = Gateway::start(&site).await;
    let refused = WebSocket::try_open(gateway.addr, "/late", &[]).await;
    assert_eq!(refused.expect_err("200").as_str(), "HTTP error: 200 OK");
    let told = || site.trace().into_iter().find(|line| line.starts_with("ws-late "));
    let told = eventually("the handler is told", SOON, told).await;
    assert_ne!(told, "ws-late <nil>");

    let refused = WebSocket::try_open(gateway.addr, "/refuse", &[]).await;
    assert_eq!(refused.expect_err("403").as_str(), "HTTP error: 403 Forbidden");
    let mut ws = WebSocket::open(gateway.addr, "/refuse?ok").await;
    ws.send_text("hello").await;
    assert_eq!(ws.text().await, "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_logged_when_it_is_over_with_what_was_sent() {
    let _dog = watchdog(60);
    let site = site().runtime(json!({"log": {"access": true}}));
    let gateway = Gateway::start(&site).await;
    let mut ws = WebSocket::open(gateway.addr, "/rooms").await;
    for size in [0, 1000, 100_000] {
        ws.send_binary(vec![7; size]).await;
        assert_eq!(ws.binary().await.len(), size);
    }
    let held = Duration::from_millis(60);
    tokio::time::sleep(held).await;
    let about = |line: &str| line.contains("path=/rooms");
    assert_eq!(gateway.log_lines(about), [""; 0]);
    let logged = || site.trace().iter().find(|line| line.starts_with("ws logged")).cloned();
    assert_eq!(logged(), None);

    ws.close(Some(1000), "").await;
    assert_eq!(ws.closed().await.0, 1000);
    drop(ws);
    assert_eq!(eventually("Logging", SOON, logged).await, "ws logged 101");
    let trace = site.trace();
    let at = |start: &str| trace.iter().position(|line| line.starts_with(start));
    assert!(at("ws close") < at("ws logged"), "{trace:?}");
    let line = gateway.logged("path=/rooms", SOON).await;
    let field = |name: &str| {
        let (_, rest) = line.split_once(&format!(" {name}=")).unwrap_or_else(|| panic!("{line}"));
        rest.split(' ').next().unwrap_or_default().to_owned()
    };
    assert_eq!(
        (field("status"), field("bytes"), field("end")),
        ("101".into(), "101000".into(), "complete".into())
    );
    let duration: f64 = field("duration_ms").parse().expect("a number");
    assert!(duration >= held.as_secs_f64() * 1000.0, "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_no_more_than_the_plugin_may_have() {
    let _dog = watchdog(60);
    let watched = ports::free();
    let more = json!({"limits": {"websockets": 2, "concurrency": 1}});
    let site = Site::new().plugin_with("p", "probe", more);
    let site = site.service("echo", "p", "ws-echo", Value::Null).path("/echo", "echo", &[]);
    let site = site.runtime(json!({"metrics": [watched.to_string()]}));
    let gateway = Gateway::start(&site).await;
    let scrape = async || Exposition::read(&Client::new(watched).get("/metrics").await.text());
    let open = async || scrape().await.sum("nylon_websocket_connections", &[("plugin", "p")]);

    // One that is open has no place among the requests any more.
    let mut first = WebSocket::open(gateway.addr, "/echo").await;
    let _second = WebSocket::open(gateway.addr, "/echo").await;
    for _ in 0..3 {
        let request =
            format!("GET /echo HTTP/1.1\r\n{}\r\n", UPGRADE.replace("keep-alive", "close"));
        let answer = raw(gateway.addr, request.as_bytes(), SOON).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("PLUGIN_UNAVAILABLE"), "{answer}");
    }
    assert_eq!(open().await, 2.0);
    assert_eq!(scrape().await.sum("nylon_websocket_refused_total", &[("plugin", "p")]), 3.0);

    first.close(None, "").await;
    assert_eq!(first.closed().await.0, 1005);
    drop(first);
    let end = tokio::time::Instant::now() + SOON;
    let mut third = loop {
        match WebSocket::try_open(gateway.addr, "/echo", &[]).await {
            Ok(ws) => break ws,
            Err(e) => assert!(tokio::time::Instant::now() < end, "a place is free: {e}"),
        }
    };
    third.send_text("in").await;
    assert_eq!(third.text().await, "in");
    let scrape = scrape().await;
    assert_eq!(scrape.problems(), [""; 0]);
    let is = |name: &str, labels: &[(&str, &str)]| {
        scrape.sum(&format!("nylon_websocket_{name}"), labels)
    };
    assert_eq!(is("connections", &[]), 2.0);
    assert_eq!(is("opened_total", &[]), 3.0);
    assert_eq!(is("closed_total", &[("reason", "client")]), 1.0);
    assert_eq!(is("messages_total", &[("direction", "in")]), 1.0);
    assert_eq!(is("payload_bytes_total", &[("direction", "in")]), 2.0);
}
