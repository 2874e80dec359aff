//! Messages over WebSockets: as they were sent, in their order, and how a socket comes to its end.

use std::time::Duration;

use nylon_tests::websocket::{frame, unmasked};
use nylon_tests::{Gateway, Site, WebSocket, eventually, watchdog};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// How long something that is about to happen may take on a loaded machine.
const SOON: Duration = Duration::from_secs(15);

fn site() -> Site {
    let small = json!({"websocket": {"max_message": "64KiB", "max_frame": "32KiB"}});
    let site = Site::new().plugin("probe");
    let site = site.service("echo", "probe", "ws-echo", Value::Null).path("/echo", "echo", &[]);
    let site = site.service("rooms", "probe", "ws-rooms", Value::Null).path("/rooms", "rooms", &[]);
    site.path_with("/small", "rooms", &[], small)
}

/// A socket of ws-rooms, and the id it has in the trace.
async fn rooms(gateway: &Gateway, path: &str) -> (WebSocket, String) {
    let mut ws = WebSocket::open(gateway.addr, path).await;
    let id = ws.order(json!({"op": "id"})).await["value"].as_str().expect("an id").to_owned();
    (ws, id)
}

/// What the plugin traced of a connection when it was over, from its `OnError` on.
async fn end(site: &Site, id: &str) -> Vec<String> {
    let close = format!("ws close {id} ");
    let about = |line: &String| line.contains(id) && !line.starts_with("ws open");
    let lines = || -> Vec<String> { site.trace().into_iter().filter(about).collect() };
    let over = || lines().iter().any(|line| line.starts_with(&close)).then_some(());
    eventually(&format!("OnClose of {id}"), SOON, over).await;
    lines().into_iter().map(|line| line.replace(&format!(" {id}"), "")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_is_what_was_sent() {
    let _dog = watchdog(60);
    let site = site();
    let gateway = Gateway::start(&site).await;
    let mut ws = WebSocket::open(gateway.addr, "/echo").await;
    for size in [0, 1, 125, 126, 65_535, 65_536, 131_072, 1 << 20] {
        // Two bytes a letter, and one more where it is odd.
        let text = "é".repeat(size / 2) + &"x"[..size % 2];
        ws.send_text(&text).await;
        assert!(ws.text().await == text, "a text of {size} bytes");
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().skip(size).take(size).collect();
        ws.send_binary(bytes.clone()).await;
        assert!(ws.binary().await == bytes, "{size} bytes");
    }

    // B16 of the original: a fragment was a message. Pings may stand between fragments, and are answered there.
    let (head, tail) = "grün".as_bytes().split_at(3);
    for bytes in [
        frame(0x01, head),
        frame(0x89, b"between"),
        frame(0x00, b""),
        frame(0x00, tail),
        frame(0x89, b""),
        frame(0x80, b"!"),
    ] {
        ws.send_raw(&bytes).await;
    }
    assert_eq!(ws.next().await, Message::Pong("between".into()));
    assert_eq!(ws.next().await, Message::Pong("".into()));
    assert_eq!(ws.text().await, "grün!");
    // Byte by byte.
    for byte in frame(0x82, b"slow") {
        ws.send_raw(&[byte]).await;
    }
    assert_eq!(ws.binary().await, "slow");
    // Many in one piece.
    ws.send_raw(&frame(0x81, b"same").repeat(500)).await;
    for _ in 0..500 {
        assert_eq!(ws.text().await, "same");
    }
    // From the plugin, larger than any window.
    let (mut ws, _) = rooms(&gateway, "/rooms").await;
    ws.tell(json!({"op": "big", "n": 10 << 20})).await;
    assert!(ws.text().await == "x".repeat(10 << 20));
    assert_eq!(gateway.workers().len(), 1);
}

/// B15 of the original: messages overtook each other. More connections than CPUs, all of them busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_handled_and_sent_in_their_order() {
    let _dog = watchdog(60);
    let site = site();
    let gateway = Gateway::start(&site).await;
    let sockets = (0..20).map(async |_| {
        let mut ws = WebSocket::open(gateway.addr, "/rooms").await;
        ws.tell(json!({"op": "each", "n": 300})).await;
        for n in 0..300 {
            // Sizes on both sides of what goes through at once.
            let size = if n % 50 == 0 { 100_000 } else { 4 };
            ws.send_binary([u32::to_be_bytes(n).repeat(size / 4)].concat()).await;
        }
        for n in 0..300 {
            assert_eq!(ws.text().await, n.to_string());
        }
        for n in 0..300 {
            assert_eq!(ws.binary().await[..4], u32::to_be_bytes(n), "in its order");
        }
    });
    futures_util::future::join_all(sockets).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_breaks_the_rules_is_told_and_closed() {
    let _dog = watchdog(60);
    let site = site();
    let gateway = Gateway::start(&site).await;
    let cases = [
        ("no UTF-8", "/rooms", frame(0x81, &[b'a', 0xff]), 1007),
        ("half a letter", "/rooms", frame(0x81, &[0xc3]), 1007),
        ("no UTF-8 in a fragment", "/rooms", frame(0x01, &[0xf8]), 1007),
        ("no mask", "/rooms", unmasked(0x81, b"hello"), 1002),
        ("a reserved bit", "/rooms", frame(0xc1, b"hello"), 1002),
        ("a reserved opcode", "/rooms", frame(0x83, b""), 1002),
        ("a fragmented ping", "/rooms", frame(0x09, b""), 1002),
        ("a long ping", "/rooms", frame(0x89, &[0; 126]), 1002),
        ("the rest of nothing", "/rooms", frame(0x80, b""), 1002),
        (
            "a new one within another",
            "/rooms",
            [frame(0x01, b"a"), frame(0x81, b"b")].concat(),
            1002,
        ),
        ("half a code", "/rooms", frame(0x88, &[3]), 1002),
        ("a code that nobody sends", "/rooms", frame(0x88, &1005_u16.to_be_bytes()), 1002),
        ("a large frame", "/small", frame(0x82, &vec![0; (32 << 10) + 1]), 1009),
        (
            "a large message",
            "/small",
            [frame(0x02, &vec![0; 32 << 10]), frame(0x00, &vec![0; 32 << 10]), frame(0x80, b"x")]
                .concat(),
            1009,
        ),
        (
            "a size that nobody has",
            "/small",
            vec![0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4],
            1009,
        ),
    ];
    for (what, path, bytes, code) in cases {
        let (mut ws, id) = rooms(&gateway, path).await;
        ws.send_raw(&bytes).await;
        let (told, reason) = ws.closed().await;
        assert_eq!(told, code, "{what}: {reason}");
        let end = end(&site, &id).await;
        let [error, close] = &end[..] else { panic!("{what}: {end:?}") };
        assert!(error.starts_with("ws error "), "{what}: {end:?}");
        assert!(close.starts_with(&format!("ws close {code}")), "{what}: {end:?}");
    }
    // What is as large as it may be passes, and nobody else was troubled.
    let (mut ws, _) = rooms(&gateway, "/small").await;
    let half = vec![1; 32 << 10];
    ws.send_raw(&[frame(0x02, &half), frame(0x80, &half)].concat()).await;
    assert_eq!(ws.binary().await.len(), 64 << 10);
    assert_eq!(gateway.workers().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_may_close_and_each_hears_how() {
    let _dog = watchdog(60);
    let site = site();
    let gateway = Gateway::start(&site).await;
    // The client: its code comes back, and goes to the plugin.
    let long = "r".repeat(123);
    for (code, reason, heard) in [
        (Some(1000), "bye", "ws close 1000 bye"),
        (Some(4999), long.as_str(), "ws close 4999 "),
        (Some(3000), "", "ws close 3000 "),
        (None, "", "ws close 1005 "),
    ] {
        let (mut ws, id) = rooms(&gateway, "/rooms").await;
        ws.close(code, reason).await;
        assert_eq!(ws.closed().await, (code.unwrap_or(1005), reason.to_owned()));
        let end = end(&site, &id).await;
        assert_eq!(end.len(), 1, "{end:?}");
        assert!(end[0].starts_with(heard), "{end:?}");
    }
    // What was sent before the close is answered before it.
    let (mut ws, _) = rooms(&gateway, "/rooms").await;
    ws.tell(json!({"op": "sleep", "n": 30})).await;
    ws.send_binary("last words").await;
    ws.close(Some(1000), "").await;
    assert_eq!(ws.text().await, r#"{"op":"sleep"}"#);
    assert_eq!(ws.binary().await, "last words");
    assert_eq!(ws.closed().await.0, 1000);

    // The plugin, behind what it sent.
    for (code, reason, told) in [(0, "", 1005), (1000, "done", 1000), (4001, long.as_str(), 4001)] {
        let (mut ws, id) = rooms(&gateway, "/rooms").await;
        ws.tell(json!({"op": "each", "n": 3})).await;
        ws.tell(json!({"op": "close", "code": code, "text": reason})).await;
        for n in 0..3 {
            assert_eq!(ws.text().await, n.to_string());
        }
        assert_eq!(ws.closed().await, (told, reason.to_owned()));
        let end = end(&site, &id).await;
        assert_eq!(end.len(), 1, "{end:?}");
        assert!(end[0].starts_with(&format!("ws close {told} {reason}")), "{end:?}");
    }
    let (mut ws, _) = rooms(&gateway, "/rooms").await;
    let refused = ws.order(json!({"op": "close", "code": 1006})).await;
    assert!(refused["error"].is_string(), "{refused}");

    // Nobody: the connection is gone.
    let (ws, id) = rooms(&gateway, "/rooms").await;
    drop(ws);
    let end_of = end(&site, &id).await;
    assert!(end_of.last().is_some_and(|line| line.starts_with("ws close 1006")), "{end_of:?}");

    // A callback that panics costs its own connection.
    for (path, order) in
        [("/rooms", Some(json!({"op": "panic", "text": "ouch"}))), ("/rooms?panic=open", None)]
    {
        let mut ws = WebSocket::open(gateway.addr, path).await;
        if let Some(order) = order {
            ws.tell(order).await;
        }
        assert_eq!(ws.closed().await.0, 1011, "{path}");
    }
    let mut ws = WebSocket::open(gateway.addr, "/rooms?panic=close").await;
    ws.close(Some(1000), "").await;
    assert_eq!(ws.closed().await.0, 1000);
    assert_eq!(gateway.workers().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_go_both_ways() {
    let _dog = watchdog(60);
    let site = site();
    let gateway = Gateway::start(&site).await;
    let (mut ws, id) = rooms(&gateway, "/rooms").await;
    ws.send(Message::Ping("are you there".into())).await;
    assert_eq!(ws.next().await, Message::Pong("are you there".into()));
    // By the gateway: a plugin that is busy does not matter.
    ws.tell(json!({"op": "sleep", "n": 50})).await;
    ws.send(Message::Ping("now".into())).await;
    assert_eq!(ws.next().await, Message::Pong("now".into()));
    assert_eq!(ws.text().await, r#"{"op":"sleep"}"#);

    ws.tell(json!({"op": "ping", "text": "and you"})).await;
    assert_eq!(ws.next().await, Message::Ping("and you".into()));
    assert_eq!(ws.text().await, r#"{"op":"ping"}"#);
    let refused = ws.order(json!({"op": "ping", "text": "x".repeat(126)})).await;
    assert!(refused["error"].is_string(), "{refused}");
    // A pong that nobody asked for is nothing.
    ws.send(Message::Pong("never asked".into())).await;
    ws.close(Some(1000), "").await;
    assert_eq!(ws.closed().await.0, 1000);
    assert_eq!(end(&site, &id).await, ["ws close 1000 "]);
}
