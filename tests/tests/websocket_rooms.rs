//! Rooms of WebSockets: who is in one, what reaches whom, and what does not stop for a slow member.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nylon_tests::websocket::WebSocket;
use nylon_tests::{Client, Exposition, Gateway, Site, ports, watchdog};
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite::Message;

/// Long enough for what should not come; what should come is waited for.
const A_MOMENT: Duration = Duration::from_millis(30);

/// A connection that is in `room`.
async fn member(addr: SocketAddr, room: &str) -> WebSocket {
    WebSocket::member(addr, "/rooms", room).await
}

/// Two plugins of the same program: `/rooms` and `/other`.
fn site() -> Site {
    let site = Site::new().plugin("probe").plugin_with("other", "probe", json!({}));
    let site = site.service("rooms", "probe", "ws-rooms", Value::Null);
    let site = site.service("other", "other", "ws-rooms", Value::Null);
    site.path("/rooms", "rooms", &[]).path("/other", "other", &[])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b17_a_broadcast_reaches_every_member() {
    let _dog = watchdog(60);
    let gateway = Gateway::start(&site()).await;
    let (mut a, mut b) = (member(gateway.addr, "lobby").await, member(gateway.addr, "lobby").await);
    let mut other = WebSocket::open(gateway.addr, "/other").await;
    let mut outside = member(gateway.addr, "elsewhere").await;

    // From a member: to itself too, and before the answer to its order.
    a.broadcast("lobby", "one ü").await;
    // From one that is none, of another plugin: names are those of the gateway.
    other.broadcast("lobby", "two").await;
    for socket in [&mut a, &mut b] {
        assert_eq!(socket.text().await, "one ü");
        assert_eq!(socket.text().await, "two");
    }
    other.ok(json!({"op": "broadcast-binary", "room": "lobby", "text": "three"})).await;
    // A message of many frames on the ring is one for each.
    let long = "0123456789".repeat(40_000);
    other.broadcast("lobby", &long).await;
    other.broadcast("lobby", "").await;
    for socket in [&mut a, &mut b] {
        assert_eq!(socket.binary().await, "three");
        assert!(socket.text().await == long, "400 kB come as they were");
        assert_eq!(socket.text().await, "");
    }

    // Joined twice is joined once; one of another plugin is a member as any.
    b.ok(json!({"op": "join", "room": "lobby"})).await;
    other.ok(json!({"op": "join", "room": "lobby"})).await;
    assert_eq!(outside.size("lobby").await, 3);
    b.broadcast("lobby", "four").await;
    for socket in [&mut a, &mut b, &mut other] {
        assert_eq!(socket.text().await, "four");
    }
    for socket in [&mut a, &mut b, &mut other, &mut outside] {
        assert!(socket.quiet(A_MOMENT).await, "nothing else");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_leave_by_themselves_and_with_their_connection() {
    let _dog = watchdog(60);
    let site = site();
    let gateway = Gateway::start(&site).await;
    let mut a = member(gateway.addr, "lobby").await;
    let mut b = member(gateway.addr, "lobby").await;
    b.ok(json!({"op": "leave", "room": "lobby"})).await;
    // A room one is not in can be left, and told something; nobody hears it.
    b.ok(json!({"op": "leave", "room": "lobby"})).await;
    b.broadcast("empty", "x").await;
    assert_eq!((b.size("lobby").await, b.size("empty").await), (1, 0));
    a.broadcast("lobby", "to me").await;
    assert_eq!(a.text().await, "to me");
    assert!(b.quiet(A_MOMENT).await);

    // However a connection ends, its OnClose still says goodbye in its rooms.
    for end in ["close", "plugin", "gone", "reset"] {
        let mut guest = WebSocket::open(gateway.addr, "/rooms?join=lobby&bye=lobby").await;
        guest.text().await;
        let id = guest.id().await;
        assert_eq!(a.size("lobby").await, 2);
        match end {
            "close" => guest.close(Some(1000), "").await,
            "plugin" => guest.tell(json!({"op": "close", "code": 4000})).await,
            "gone" => drop(guest),
            _ => guest.reset(),
        }
        assert_eq!(a.text().await, format!("bye {id}"), "{end}");
        a.size_becomes("lobby", 1).await;
    }
    // Without a word in OnClose: it is out of all its rooms all the same.
    for room in ["x", "y"] {
        b.ok(json!({"op": "join", "room": room})).await;
    }
    drop(b);
    a.size_becomes("x", 0).await;
    a.size_becomes("y", 0).await;
    assert_eq!(site.trace().iter().filter(|l| l.starts_with("ws bye:")).count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_is_reached_by_its_id() {
    let _dog = watchdog(60);
    let gateway = Gateway::start(&site()).await;
    let mut a = WebSocket::open(gateway.addr, "/rooms").await;
    let mut b = WebSocket::open(gateway.addr, "/other").await;
    let (id_a, id_b) = (a.id().await, b.id().await);
    assert_ne!(id_a, id_b);
    for to in [&id_b, &id_a] {
        a.ok(json!({"op": "send-to", "to": to, "text": "hi"})).await;
        a.ok(json!({"op": "send-binary-to", "to": to, "text": "ho"})).await;
    }
    for socket in [&mut a, &mut b] {
        assert_eq!(socket.text().await, "hi");
        assert_eq!(socket.binary().await, "ho");
    }
    // One that is not there is no error: it may have gone a moment ago.
    for to in ["nobody", &format!("{id_b}0"), "00000000-0000-0000-0000-000000000000:1"] {
        a.ok(json!({"op": "send-to", "to": to, "text": "hi"})).await;
    }
    for to in ["", "a\nb", &"x".repeat(129)] {
        let answer = a.order(json!({"op": "send-to", "to": to, "text": "hi"})).await;
        assert_eq!(answer["error"], "not the id of a connection", "{to:?}");
    }
    b.close(Some(1000), "").await;
    b.closed().await;
    a.ok(json!({"op": "send-to", "to": id_b, "text": "hi"})).await;
    assert!(a.quiet(A_MOMENT).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_checked_and_rooms_are_64_at_a_time() {
    let _dog = watchdog(60);
    let gateway = Gateway::start(&site()).await;
    let mut a = WebSocket::open(gateway.addr, "/rooms").await;
    let long = "x".repeat(128);
    for room in [&long, &"ü".repeat(64), " ", "a/b:c*?[]{}", "𝕣oom \"1\""] {
        a.ok(json!({"op": "join", "room": room})).await;
        a.broadcast(room, room).await;
        assert_eq!(a.text().await, *room);
        assert_eq!(a.size(room).await, 1);
        a.ok(json!({"op": "leave", "room": room})).await;
        assert_eq!(a.size(room).await, 0);
    }
    let wrong = "a room's name has 1 to 128 bytes of UTF-8, none of them a control character";
    for room in ["", &format!("{long}x"), "a\0b", "\n", "\u{7f}", "a\u{1f}b"] {
        for op in ["join", "leave", "broadcast", "broadcast-binary", "size"] {
            let answer = a.order(json!({"op": op, "room": room, "text": "x"})).await;
            assert_eq!(answer["error"], wrong, "{op} {room:?}");
        }
    }
    for n in 0..64 {
        a.ok(json!({"op": "join", "room": format!("room {n}")})).await;
    }
    a.ok(json!({"op": "join", "room": "room 7"})).await;
    let answer = a.order(json!({"op": "join", "room": "one more"})).await;
    assert_eq!(answer["error"], "a connection is in 64 rooms at most");
    assert_eq!((a.size("one more").await, a.size("room 63").await), (0, 1));
    a.ok(json!({"op": "leave", "room": "room 7"})).await;
    a.ok(json!({"op": "join", "room": "one more"})).await;
    assert_eq!((a.size("one more").await, a.size("room 7").await), (1, 0));
    let mut b = WebSocket::open(gateway.addr, "/rooms").await;
    drop(a);
    for room in ["room 0", "room 63", "one more"] {
        b.size_becomes(room, 0).await;
    }
}

/// Does not read, and its kernel holds little for it.
async fn lazy(addr: SocketAddr, path: &str) -> WebSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("an option");
    let stream = socket.connect(addr).await.expect("it listens");
    let mut socket = WebSocket::over(stream, path, &[]).await.expect("a 101");
    assert_eq!(socket.text().await, r#"{"op":"join"}"#);
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_member_does_not_stop_a_room() {
    const MESSAGES: usize = 80;
    let _dog = watchdog(60);
    let metrics = ports::free();
    let mut site = site().runtime(json!({"metrics": [metrics.to_string()]}));
    for policy in ["block", "drop-oldest", "close"] {
        let keys = json!({"slow_client": policy, "send_queue": "256KiB", "close_timeout": "20s"});
        site = site.path_with(&format!("/{policy}"), "rooms", &[], json!({"websocket": keys}));
    }
    let gateway = Gateway::start(&site).await;
    let (mut a, mut b) = (member(gateway.addr, "lobby").await, member(gateway.addr, "lobby").await);
    let mut block = lazy(gateway.addr, "/block?join=lobby").await;
    let mut oldest = lazy(gateway.addr, "/drop-oldest?join=lobby").await;
    let mut close = lazy(gateway.addr, "/close?join=lobby").await;

    // Far more than all buffers on the way hold. The others have each before the next is sent.
    let body = "x".repeat(128 << 10);
    for n in 0..MESSAGES {
        let text = format!("{n} {body}");
        a.tell(json!({"op": "broadcast", "room": "lobby", "text": text})).await;
        assert!(a.text().await == text, "the sender has {n}");
        assert!(b.text().await == text, "a member has {n}");
        assert_eq!(a.text().await, r#"{"op":"broadcast"}"#);
    }
    // Those that were slow missed some, none came twice or late, and the newest is there.
    for (slow, policy) in [(&mut block, "block"), (&mut oldest, "drop-oldest")] {
        let mut seen = Vec::new();
        while seen.last() != Some(&(MESSAGES - 1)) {
            let text = slow.text().await;
            assert!(text.ends_with(&body), "{policy}: a message is whole");
            seen.push(text[..text.len() - body.len() - 1].parse::<usize>().expect("a number"));
        }
        assert!(seen.is_sorted_by(|a, b| a < b), "{policy}: {seen:?}");
        assert!(seen.len() < MESSAGES, "{policy}: it was not slow");
        slow.id().await;
    }
    assert_eq!(close.closed().await, (1008, "too slow".to_owned()));
    // It has left, however long its client keeps the connection.
    a.size_becomes("lobby", 4).await;

    drop(close);
    let (watch, end) = (Client::new(metrics), Instant::now() + Duration::from_secs(10));
    while !Exposition::read(&watch.get("/metrics").await.text()).samples.iter().any(|s| {
        s.name == "nylon_websocket_closed_total" && s.labels["reason"] == "slow" && s.value > 0.0
    }) {
        assert!(Instant::now() < end, "it is not counted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_may_have_rooms_of_their_own() {
    let _dog = watchdog(60);
    let site = site().runtime(json!({"websocket": {"rooms": "per-plugin"}}));
    let gateway = Gateway::start(&site).await;
    let (mut a, mut b) = (member(gateway.addr, "lobby").await, member(gateway.addr, "lobby").await);
    let mut other = WebSocket::open(gateway.addr, "/other?join=lobby").await;
    other.text().await;
    assert_eq!((a.size("lobby").await, other.size("lobby").await), (2, 1));
    other.broadcast("lobby", "ours").await;
    a.broadcast("lobby", "mine").await;
    assert_eq!((a.text().await, b.text().await), ("mine".to_owned(), "mine".to_owned()));
    assert_eq!(other.text().await, "ours");
    // An id is nobody's room: it reaches across.
    let id = b.id().await;
    other.ok(json!({"op": "send-to", "to": id, "text": "hi"})).await;
    assert_eq!(b.next().await, Message::text("hi"));
    for socket in [&mut a, &mut b, &mut other] {
        assert!(socket.quiet(A_MOMENT).await, "nothing else");
    }
}
