//! Rooms of two gateways at a real Redis.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nylon_tests::redis::{Redis, Wire};
use nylon_tests::websocket::WebSocket;
use nylon_tests::{Client, Exposition, Gateway, Site, eventually, ports, watchdog};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);
const A_MOMENT: Duration = Duration::from_millis(50);

fn site(redis: SocketAddr, more: Value) -> Site {
    let redis = json!({"host": redis.ip().to_string(), "port": redis.port()});
    let site = Site::new().plugin("probe").service("rooms", "probe", "ws-rooms", Value::Null);
    let site = site.runtime(json!({"websocket": {"adapter_type": "redis", "redis": redis}}));
    site.path("/rooms", "rooms", &[]).runtime(more)
}

/// Asks until what is counted is at least `wanted`.
async fn counted(watch: &Client, reason: &str, wanted: f64) -> f64 {
    let end = Instant::now() + SOON;
    loop {
        let scrape = Exposition::read(&watch.get("/metrics").await.text());
        let now = scrape.sum("nylon_redis_dropped_total", &[("reason", reason)]);
        if now >= wanted {
            return now;
        }
        assert!(Instant::now() < end, "{now} of {wanted} {reason}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_spans_gateways() {
    let _dog = watchdog(60);
    let Some(redis) = Redis::start(&[]) else { return };
    let (wire, metrics) = (Wire::to(redis.addr()).await, ports::free());
    let near = site(wire.addr(), json!({"metrics": [metrics.to_string()]}));
    let far = site(redis.addr(), json!({}));
    let (one, mut two) = tokio::join!(Gateway::start(&near), Gateway::start(&far));
    let watch = Client::new(metrics);

    let mut a = WebSocket::member(one.addr, "/rooms", "lobby").await;
    let mut b = WebSocket::member(two.addr, "/rooms", "lobby").await;
    let mut c = WebSocket::member(two.addr, "/rooms", "lobby").await;
    let mut outside = WebSocket::open(two.addr, "/rooms").await;
    for socket in [&mut a, &mut outside] {
        socket.size_becomes("lobby", 3).await;
    }
    // To members on both sides, by members and by others: each has it once.
    a.broadcast("lobby", "one \"ü\" \u{1f600}").await;
    for socket in [&mut a, &mut b, &mut c] {
        assert_eq!(socket.text().await, "one \"ü\" \u{1f600}");
    }
    outside.ok(json!({"op": "broadcast-binary", "room": "lobby", "text": "t\u{0}wo"})).await;
    let long = "0123456789".repeat(20_000);
    outside.broadcast("lobby", &long).await;
    for socket in [&mut a, &mut b, &mut c] {
        assert_eq!(socket.binary().await, "t\u{0}wo");
        assert!(socket.text().await == long, "200 kB come as they were");
    }
    // In the order in which one says it.
    for n in 0..200 {
        b.tell(json!({"op": "broadcast", "room": "lobby", "text": n.to_string()})).await;
    }
    for n in 0..200 {
        assert_eq!(a.text().await, n.to_string());
        assert_eq!(c.text().await, n.to_string());
    }
    let mut both: Vec<String> = Vec::new();
    while both.len() < 400 {
        both.push(b.text().await);
    }
    both.retain(|text| !text.starts_with('{'));
    assert_eq!(both, (0..200).map(|n| n.to_string()).collect::<Vec<_>>());

    let id = a.id().await;
    outside.ok(json!({"op": "send-to", "to": id, "text": "hi"})).await;
    assert_eq!(a.text().await, "hi");
    outside.ok(json!({"op": "send-binary-to", "to": id, "text": "ho"})).await;
    assert_eq!(a.binary().await, "ho");
    let id = outside.id().await;
    a.ok(json!({"op": "send-to", "to": id, "text": "back"})).await;
    assert_eq!(outside.text().await, "back");

    // Whoever may publish there is not believed.
    let junk: [&[u8]; 5] = [
        b"",
        b"junk",
        b"\xff\xfe",
        br#"{"BroadcastToRoom":{"room":"lobby"}}"#,
        br#"{"BroadcastToRoom":{"room":"a\u0000b","message":{"Text":"x"},"exclude_connection":null,"sender_node_id":"x"}}"#,
    ];
    for json in junk {
        assert_eq!(redis.ask(&[b"PUBLISH", b"nylon:ws:events", json]), "2", "both listen");
    }
    assert!((counted(&watch, "junk", 5.0).await - 5.0).abs() < 0.1);
    // But the original's nodes are heard, and only on this channel.
    let event = br#"{"BroadcastToRoom":{"room":"lobby","message":{"Text":"from afar"},"exclude_connection":null,"sender_node_id":"x"}}"#;
    assert_eq!(redis.ask(&[b"PUBLISH", b"other:events", event]), "0");
    redis.ask(&[b"PUBLISH", b"nylon:ws:events", event]);
    for socket in [&mut a, &mut b, &mut c] {
        assert_eq!(socket.text().await, "from afar");
        assert!(socket.quiet(A_MOMENT).await, "nothing else");
    }

    // One gateway is killed: when it has been silent for long enough, its members are gone.
    let node = b.id().await.split(':').next().expect("a node").to_owned();
    two.signal(Signal::SIGKILL);
    two.exit(SOON).await;
    assert_eq!(a.size("lobby").await, 3, "as far as Redis knows");
    assert_eq!(redis.say(&["EXISTS", &format!("nylon:ws:nodes:{node}")]), "1");
    // What 30 s of silence do; and whoever connects looks for dead ones.
    redis.say(&["DEL", &format!("nylon:ws:nodes:{node}"), "nylon:ws:janitor"]);
    assert!(wire.reset() > 0, "there is a connection");
    a.size_becomes("lobby", 1).await;
    let nothing = || redis.say(&["KEYS", &format!("*{node}*")]).is_empty().then_some(());
    eventually("nothing is left of it in Redis", SOON, nothing).await;
    let scrape = Exposition::read(&watch.get("/metrics").await.text());
    assert!((scrape.sum("nylon_redis_swept_total", &[]) - 3.0).abs() < 0.1);
    a.broadcast("lobby", "alone").await;
    assert_eq!(a.text().await, "alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_takes_its_leave() {
    let _dog = watchdog(60);
    let Some(redis) = Redis::start(&[]) else { return };
    let (near, far) = (site(redis.addr(), json!({})), site(redis.addr(), json!({})));
    let (one, mut two) = tokio::join!(Gateway::start(&near), Gateway::start(&far));
    let mut a = WebSocket::member(one.addr, "/rooms", "lobby").await;
    let mut b = WebSocket::open(two.addr, "/rooms?join=lobby&bye=lobby").await;
    b.text().await;
    let id = b.id().await;
    a.size_becomes("lobby", 2).await;
    two.signal(Signal::SIGTERM);
    assert_eq!(b.closed().await.0, 1001);
    drop(b);
    // What is said in the last OnClose still crosses.
    assert_eq!(a.text().await, format!("bye {id}"));
    assert_eq!(two.exit(SOON).await.code(), Some(0), "{}", two.log());
    a.size_becomes("lobby", 1).await;
    let node = id.split(':').next().expect("a node");
    assert_eq!(redis.say(&["KEYS", &format!("*{node}*")]), "", "nothing is left of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_redis_a_gateway_does_not_start() {
    let _dog = watchdog(60);
    let nobody = ports::free();
    let site = site(nobody, json!({}));
    let addr = ports::free();
    let config = site.write(addr);
    let mut gateway = Gateway::spawn(&config, site.dir(), addr);
    let status = gateway.exit(SOON).await;
    assert_eq!(status.code(), Some(1), "{}", gateway.log());
    gateway.logged("websocket.redis", SOON).await;
    let said = gateway.log();
    for part in [&nobody.to_string(), "start it", "`host` and `port`", "adapter_type: memory"] {
        assert!(said.contains(part), "no `{part}` in {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}
