//! Nodes at a real Redis, to which things happen.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nylon_tests::redis::{Redis as Server, Wire};
use nylon_tests::{eventually, watchdog};

use crate::config::RedisConfig;
use crate::rooms::tests::received;
use crate::rooms::{Hub, Kind, Limits, Member, Overflow, RoomName};

const SEND_QUEUE: usize = 1 << 20;
use std::sync::Arc;

/// The longest until nodes hear each other again (HARDENING R16).
const RESUMED: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_secs(2);

fn config(addr: SocketAddr) -> RedisConfig {
    RedisConfig {
        host: addr.ip().to_string(),
        port: addr.port(),
        password: None,
        db: 0,
        key_prefix: "nylon:ws".to_owned(),
    }
}

async fn node(addr: SocketAddr) -> Arc<Hub> {
    Hub::redis(&config(addr), Limits::default()).await.expect("redis is there")
}

fn member(hub: &Arc<Hub>, rooms: &[&str]) -> Member {
    let member = hub.attach(hub.next_id(), None, Overflow::Block, SEND_QUEUE);
    rooms.iter().for_each(|name| member.join(&room(name)).expect("it may"));
    member
}

fn room(name: &str) -> RoomName {
    RoomName::parse(name).expect("a name")
}

async fn size_becomes(hub: &Hub, name: &str, size: u64, within: Duration) {
    let end = Instant::now() + within;
    loop {
        let now = hub.size(None, &room(name)).await;
        if now == size {
            return;
        }
        assert!(Instant::now() < end, "`{name}` has {now} members, not {size}, after {within:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn arrives(member: &Member, text: &'static str) {
    let got = eventually(text, SOON, || Some(received(member)).filter(|all| !all.is_empty())).await;
    assert_eq!(got, [text]);
}

#[tokio::test]
async fn rooms_span_nodes() {
    let _watchdog = watchdog(30);
    let Some(server) = Server::start(&[]) else { return };
    let (one, two) = (node(server.addr()).await, node(server.addr()).await);
    let (a, b, c) = (member(&one, &["lobby"]), member(&two, &["lobby", "x"]), member(&two, &[]));
    size_becomes(&one, "lobby", 2, SOON).await;
    size_becomes(&two, "lobby", 2, SOON).await;

    let bytes = Bytes::from_static("ü \"hi\"".as_bytes());
    for kind in [Kind::Text, Kind::Binary] {
        assert_eq!(one.broadcast(None, &room("lobby"), kind, &bytes), 1);
        assert_eq!(received(&a), [&bytes]);
        arrives(&b, "ü \"hi\"").await;
    }
    assert!(one.send_to(c.id(), Kind::Text, &bytes));
    arrives(&c, "ü \"hi\"").await;
    assert!(received(&a).is_empty() && received(&b).is_empty(), "its own came back");

    // What stands in Redis is what the contract says.
    let key = |kind: &str, of: &str| format!("nylon:ws:{kind}:{of}");
    let ask = |command: &str, key: &str| server.say(&[command, key]);
    assert_eq!(ask("SCARD", &key("rooms", "lobby")), "2");
    assert_eq!(ask("SCARD", &key("connection_rooms", b.id())), "2");
    assert_eq!(ask("SCARD", &key("node_connections", two.node_id())), "2");
    assert_eq!(ask("EXISTS", &key("connections", a.id())), "1");
    let ttl: i64 = ask("TTL", &key("nodes", one.node_id())).parse().unwrap();
    assert!((15..=30).contains(&ttl), "{ttl}");

    let (gone, id) = (key("connection_rooms", b.id()), key("connections", b.id()));
    drop(b);
    size_becomes(&one, "lobby", 1, SOON).await;
    assert_eq!((ask("EXISTS", &gone), ask("EXISTS", &id)), ("0".to_owned(), "0".to_owned()));
    assert_eq!(ask("EXISTS", &key("rooms", "x")), "0");
    a.leave(&room("lobby"));
    size_becomes(&two, "lobby", 0, SOON).await;
    two.close().await;
    let left = [
        key("nodes", two.node_id()),
        key("node_connections", two.node_id()),
        key("connections", c.id()),
    ];
    assert_eq!(left.map(|key| ask("EXISTS", &key)), ["0", "0", "0"].map(str::to_owned));
}

#[tokio::test]
async fn junk_is_counted_and_the_originals_events_are_heard() {
    let _watchdog = watchdog(30);
    let Some(server) = Server::start(&[]) else { return };
    let hub = node(server.addr()).await;
    let a = member(&hub, &["lobby"]);
    let publish = |json: &[u8]| server.ask(&[b"PUBLISH", b"nylon:ws:events", json]);
    let broadcast = |room: &str, sender: &str| {
        format!(
            r#"{{"BroadcastToRoom":{{"room":"{room}","message":{{"Text":"hi"}},"exclude_connection":null,"sender_node_id":"{sender}"}}}}"#
        )
    };
    let bad_room = broadcast("a\\u0000", "x");
    let brackets = [b'['; 10_000];
    let junk: [&[u8]; 5] =
        [b"", b"{\"BroadcastToRoom\":", &[0xff; 100], &brackets, bad_room.as_bytes()];
    for json in junk {
        assert_eq!(publish(json), "1");
    }
    publish(broadcast("lobby", hub.node_id()).as_bytes());
    publish(broadcast("lobby", "another").as_bytes());
    arrives(&a, "hi").await;
    let redis = &hub.counters().redis;
    assert_eq!((redis.junk.count(), redis.received.count()), (5, 6));

    // A flood of it: what it does not keep up with is dropped, and it goes on.
    let pipe: Vec<u8> = (0..3_000).flat_map(|_| flood_command()).collect();
    let mut stream = std::net::TcpStream::connect(server.addr()).unwrap();
    std::io::Write::write_all(&mut stream, &pipe).unwrap();
    let flooded = || redis.junk.count() + redis.unread.count() >= 3_005;
    eventually("the flood is over", RESUMED, || flooded().then_some(())).await;
    publish(broadcast("lobby", "another").as_bytes());
    arrives(&a, "hi").await;
    assert_eq!(redis.connects.count(), 1);
}

fn flood_command() -> Vec<u8> {
    let junk = "j".repeat(1_000);
    format!("*3\r\n$7\r\nPUBLISH\r\n$15\r\nnylon:ws:events\r\n$1000\r\n{junk}\r\n").into_bytes()
}

/// What is said here arrives there, at the latest after [`RESUMED`]; copies that waited may come too.
async fn resumes(from: &Hub, to: &Member) {
    let start = Instant::now();
    received(to);
    while received(to).is_empty() {
        assert!(start.elapsed() < RESUMED, "not heard for {:?}", start.elapsed());
        from.broadcast(None, &room("lobby"), Kind::Text, &Bytes::from_static(b"again"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_redis_that_dies_and_comes_back_empty() {
    let _watchdog = watchdog(30);
    let Some(mut server) = Server::start(&[]) else { return };
    let (one, two) = (node(server.addr()).await, node(server.addr()).await);
    let (a, b, peer) =
        (member(&one, &["lobby"]), member(&two, &["lobby"]), member(&one, &["lobby"]));
    size_becomes(&one, "lobby", 3, SOON).await;
    server.kill();
    let down = || (!one.counters().redis.is_up()).then_some(());
    eventually("it is missed", SOON, down).await;

    // Local rooms go on, all of it, and what waits is bounded.
    let big = Bytes::from(vec![b'x'; 100]);
    for _ in 0..10_000 {
        assert_eq!(one.broadcast(None, &room("lobby"), Kind::Text, &big), 2);
        assert_eq!((received(&a).len(), received(&peer).len()), (1, 1));
    }
    assert_eq!(one.counters().redis.unpublished.count(), 10_000 - 4_096);
    assert_eq!(one.size(None, &room("lobby")).await, 2);
    let late = member(&two, &["lobby"]);
    drop(peer);

    server.restart();
    resumes(&one, &b).await;
    resumes(&two, &a).await;
    size_becomes(&one, "lobby", 3, RESUMED).await;
    assert_eq!(server.say(&["SISMEMBER", "nylon:ws:rooms:lobby", late.id()]), "1");
}

#[tokio::test]
async fn connections_that_are_cut_or_go_silent() {
    let _watchdog = watchdog(30);
    let Some(server) = Server::start(&[]) else { return };
    let wire = Wire::to(server.addr()).await;
    let (one, two) = (node(wire.addr()).await, node(server.addr()).await);
    let (a, b) = (member(&one, &["lobby"]), member(&two, &["lobby"]));
    resumes(&one, &b).await;
    assert!(wire.reset() > 0);
    resumes(&one, &b).await;
    resumes(&two, &a).await;
    assert!(wire.hush() > 0);
    resumes(&one, &b).await;
    resumes(&two, &a).await;
    assert!(one.counters().redis.connects.count() >= 3);
    size_becomes(&two, "lobby", 2, RESUMED).await;
}

#[tokio::test]
async fn a_redis_that_stands_still() {
    let _watchdog = watchdog(30);
    let Some(server) = Server::start(&[]) else { return };
    let (one, two) = (node(server.addr()).await, node(server.addr()).await);
    let (a, b) = (member(&one, &["lobby"]), member(&two, &["lobby"]));
    size_becomes(&one, "lobby", 2, SOON).await;
    server.say(&["CLIENT", "PAUSE", "3000"]);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        assert_eq!(one.broadcast(None, &room("lobby"), Kind::Text, &Bytes::from_static(b"x")), 1);
        assert_eq!(received(&a).len(), 1);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    resumes(&one, &b).await;
    resumes(&two, &a).await;
    size_becomes(&one, "lobby", 2, RESUMED).await;
}

#[tokio::test]
async fn what_dead_nodes_left_is_removed() {
    let _watchdog = watchdog(30);
    let Some(server) = Server::start(&[]) else { return };
    for node in ["dead", "alive"] {
        let id = format!("{node}:1");
        server.say(&["SADD", &format!("nylon:ws:node_connections:{node}"), &id]);
        server.say(&["SET", &format!("nylon:ws:connections:{id}"), "{}"]);
        server.say(&["SADD", "nylon:ws:rooms:lobby", &id]);
        server.say(&["SADD", &format!("nylon:ws:connection_rooms:{id}"), "lobby"]);
    }
    server.say(&["SET", "nylon:ws:nodes:alive", "1"]);
    let hub = node(server.addr()).await;
    let swept = || (hub.counters().redis.swept.count() == 1).then_some(());
    eventually("it is swept", RESUMED, swept).await;
    assert_eq!(server.say(&["SMEMBERS", "nylon:ws:rooms:lobby"]), "alive:1");
    assert_eq!(server.say(&["KEYS", "*dead*"]), "");
}

/// Keys of other kinds than ours: what needs them fails, and nothing else.
#[tokio::test]
async fn keys_that_somebody_else_has_taken() {
    let _watchdog = watchdog(30);
    let Some(server) = Server::start(&[]) else { return };
    server.say(&["SET", "nylon:ws:rooms:lobby", "mine"]);
    let (one, two) = (node(server.addr()).await, node(server.addr()).await);
    let (a, b) = (member(&one, &["lobby", "x"]), member(&two, &["lobby", "x"]));
    resumes(&one, &b).await;
    resumes(&two, &a).await;
    size_becomes(&one, "x", 2, SOON).await;
    assert_eq!(one.size(None, &room("lobby")).await, 1);
    assert_eq!(one.counters().redis.connects.count(), 1);
}

#[tokio::test]
async fn a_start_without_redis_says_what_to_do() {
    let _watchdog = watchdog(30);
    let start = async |config: RedisConfig| {
        Hub::redis(&config, Limits::default()).await.expect_err("it is not to be had").to_string()
    };
    let nobody = nylon_tests::ports::free();
    let said = start(config(nobody)).await;
    assert!(said.contains(&nobody.to_string()) && said.contains("start it"), "{said}");

    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let said = start(config(silent.local_addr().unwrap())).await;
    assert!(said.contains("no answer"), "{said}");

    let Some(server) = Server::start(&["--requirepass", "right"]) else { return };
    let said = start(config(server.addr())).await;
    assert!(said.contains("set `password`"), "{said}");
    let wrong = RedisConfig { password: Some("wrong".to_owned()), ..config(server.addr()) };
    let said = start(wrong).await;
    assert!(said.contains("correct `password`") && !said.contains("wrong\""), "{said}");
    let right = RedisConfig { password: Some("right".to_owned()), db: 3, ..config(server.addr()) };
    Hub::redis(&right, Limits::default()).await.expect("it may");
}
