//! A WebSocket that is slow, stuck or gone costs itself: what it holds up, and what the gateway holds for it.

use std::time::Duration;

use nylon_tests::websocket::frame;
use nylon_tests::{
    Client, Exposition, Gateway, Site, WebSocket, eventually, ports, proc, step, watchdog,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;

/// How long something that is about to happen may take on a loaded machine.
const SOON: Duration = Duration::from_secs(15);
/// What the gateway may grow by for one socket, whatever happens on it.
const GROWTH: u64 = 8 << 20;
/// A message of what ws-rooms calls a flood.
const CHUNK: u64 = 64 << 10;

/// A gateway with paths whose sockets differ by their options.
struct Running {
    gateway: Gateway,
    site: Site,
    watch: Client,
}

impl Running {
    async fn start(paths: &[(&str, Value)]) -> Running {
        let addr = ports::free();
        let site = Site::new().plugin("probe").runtime(json!({"metrics": [addr.to_string()]}));
        let site = site.service("echo", "probe", "ws-echo", Value::Null).path("/echo", "echo", &[]);
        let rooms = [step("probe", "ws-rooms")];
        let site = paths.iter().fold(site, |site, (path, options)| {
            site.path_with(path, "ready-probe", &rooms, json!({"websocket": options}))
        });
        let gateway = Gateway::start(&site).await;
        Running { gateway, site, watch: Client::new(addr) }
    }

    /// A socket of ws-rooms whose client buffers little, and its id in the trace.
    async fn open(&self, path: &str) -> (WebSocket, String) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(64 << 10).expect("a size");
        let stream = socket.connect(self.gateway.addr).await.expect("connect");
        let mut ws = WebSocket::over(stream, path, &[]).await.expect("101");
        let id = ws.order(json!({"op": "id"})).await["value"].as_str().expect("an id").to_owned();
        (ws, id)
    }

    async fn traced(&self, start: &str) -> String {
        let found = || self.site.trace().into_iter().find(|line| line.starts_with(start));
        eventually(&format!("`{start}` in the trace"), SOON, found).await
    }

    /// Bytes of a flood that the SDK took, by the last line about it, once it does not go on.
    async fn flooded(&self) -> u64 {
        let last = || {
            let trace = self.site.trace();
            trace.iter().rev().find_map(|line| line.strip_prefix("ws flood ")?.parse().ok())
        };
        let mut before: Option<u64> = None;
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = last();
            match now {
                Some(taken) if now == before => return taken,
                _ => before = now,
            }
        }
    }

    async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let scrape = Exposition::read(&self.watch.get("/metrics").await.text());
        scrape.sum(&format!("nylon_websocket_{name}"), labels)
    }

    /// Waits until a metric has this value.
    async fn counts(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let end = tokio::time::Instant::now() + SOON;
        loop {
            let is = self.metric(name, labels).await;
            if is == value {
                return;
            }
            assert!(tokio::time::Instant::now() < end, "{name} {labels:?}: {is}, not {value}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn rss(&self) -> u64 {
        proc::rss(self.gateway.pid())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_that_never_returns_holds_nobody_up() {
    let _dog = watchdog(60);
    const SOCKETS: usize = 1000;
    const MESSAGES: usize = 100;
    let running = Running::start(&[("/rooms", json!({}))]).await;
    let (mut stuck, id) = running.open("/rooms").await;
    let worker = stuck.order(json!({"op": "pid"})).await["value"].clone();
    stuck.tell(json!({"op": "block"})).await;
    running.traced(&format!("ws blocked {id}")).await;

    let addr = running.gateway.addr;
    // Not all at once: what is tested is not how long a queue of connections may be.
    let tasks: Vec<JoinHandle<()>> = (0..20)
        .map(|task| {
            tokio::spawn(async move {
                let mut sockets = Vec::new();
                for _ in 0..SOCKETS / 20 {
                    sockets.push(WebSocket::open(addr, "/echo").await);
                }
                for round in 0..MESSAGES / 20 {
                    for (n, ws) in sockets.iter_mut().enumerate() {
                        let batch = (0..20).map(|m| format!("{task} {n} {round} {m}"));
                        let batch = batch.flat_map(|text| frame(0x81, text.as_bytes()));
                        ws.send_raw(&batch.collect::<Vec<u8>>()).await;
                    }
                    for (n, ws) in sockets.iter_mut().enumerate() {
                        for m in 0..20 {
                            assert_eq!(ws.text().await, format!("{task} {n} {round} {m}"));
                        }
                    }
                }
                // All are open until all are done.
                for ws in &mut sockets {
                    ws.close(Some(1000), "").await;
                }
                for ws in &mut sockets {
                    assert_eq!(ws.closed().await.0, 1000);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("right answers");
    }
    assert_eq!(running.metric("opened_total", &[]).await, (SOCKETS + 1) as f64);
    let (mut other, _) = running.open("/rooms").await;
    assert_eq!(other.order(json!({"op": "pid"})).await["value"], worker, "nobody was replaced");
    let about = |line: &str| line.contains("ws close") && line.contains(&id);
    assert!(!running.site.trace().iter().any(|line| about(line)), "it is still stuck");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_stops_the_plugin_and_not_the_gateway() {
    let _dog = watchdog(60);
    let running = Running::start(&[("/rooms", json!({}))]).await;
    let (mut slow, id) = running.open("/rooms?bye=lobby").await;
    let (mut other, _) = running.open("/rooms?join=lobby").await;
    let before = running.rss();
    slow.tell(json!({"op": "flood", "n": 1 << 30})).await;
    let taken = running.flooded().await;
    assert!(taken < 64 << 20, "it goes on: {taken}");
    let grown = running.rss().saturating_sub(before);
    assert!(grown <= GROWTH, "{} KiB", grown >> 10);
    // It is that callback alone which waits.
    for _ in 0..100 {
        assert_eq!(other.order(json!({"op": "id"})).await["error"], Value::Null);
    }
    // When it reads, it goes on: nothing was lost, and nothing is kept.
    for _ in 0..(taken + (32 << 20)) / CHUNK {
        assert_eq!(slow.binary().await.len() as u64, CHUNK);
    }
    let grown = running.rss().saturating_sub(before);
    assert!(grown <= GROWTH, "{} KiB", grown >> 10);
    // When it leaves, the plugin is told in the send that waits.
    drop(slow);
    running.traced("ws flood stopped").await;
    running.traced(&format!("ws close {id} 1006")).await;
    // What it was to get holds no window any more: OnClose can speak to a room.
    assert_eq!(other.text().await, r#"{"op":"join"}"#);
    assert_eq!(other.text().await, format!("bye {id}"));
    assert_eq!(running.metric("dropped_messages_total", &[]).await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_loses_the_oldest_where_its_route_says_so() {
    let _dog = watchdog(60);
    let options = json!({"slow_client": "drop-oldest", "send_queue": "512KiB"});
    let running = Running::start(&[("/drop", options)]).await;
    let (mut slow, _) = running.open("/drop").await;
    let before = running.rss();
    let flood = 32 << 20;
    slow.tell(json!({"op": "flood", "n": flood})).await;
    // The plugin does not wait for it.
    running.traced("ws flood done").await;
    let grown = running.rss().saturating_sub(before);
    assert!(grown <= GROWTH, "{} KiB", grown >> 10);
    slow.tell(json!({"op": "id"})).await;
    let mut came = 0;
    while let Ok(message) = slow.try_next().await {
        match message.is_binary() {
            true => came += 1,
            false if message.is_text() => break,
            false => {}
        }
    }
    assert!(came >= 4, "what is newest is kept");
    let dropped = running.metric("dropped_messages_total", &[("plugin", "probe")]).await;
    assert_eq!(dropped + f64::from(came), (flood / CHUNK) as f64);
    assert!(dropped > 0.0);
    assert_eq!(slow.order(json!({"op": "id"})).await["error"], Value::Null, "it goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_is_closed_where_its_route_says_so() {
    let _dog = watchdog(60);
    let close = json!({"slow_client": "close", "send_queue": "512KiB"});
    let quick = json!({"slow_client": "close", "send_queue": "512KiB", "close_timeout": "300ms"});
    let running = Running::start(&[("/close", close), ("/quick", quick)]).await;
    let (mut slow, id) = running.open("/close").await;
    slow.tell(json!({"op": "flood", "n": 64 << 20})).await;
    running.traced("ws flood stopped").await;
    running.traced(&format!("ws close {id} 1008")).await;
    // One that reads after all is told.
    assert_eq!(slow.closed().await, (1008, "too slow".into()));
    drop(slow);
    running.counts("closed_total", &[("reason", "slow")], 1.0).await;
    // One that never does is not waited for.
    let (mut gone, id) = running.open("/quick").await;
    gone.tell(json!({"op": "flood", "n": 64 << 20})).await;
    running.traced(&format!("ws close {id} 1008")).await;
    running.counts("closed_total", &[("reason", "slow")], 2.0).await;
    running.counts("connections", &[], 0.0).await;
    drop(gone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_that_the_client_does_not_take_is_not_waited_for() {
    let _dog = watchdog(60);
    let running = Running::start(&[("/rooms", json!({"close_timeout": "300ms"}))]).await;
    // It reads, and does not answer: nothing of the client's is written after its order.
    let (mut silent, id) = running.open("/rooms").await;
    silent.tell(json!({"op": "close", "code": 4000, "text": "now"})).await;
    running.traced(&format!("ws close {id} 4000 now")).await;
    running.counts("connections", &[], 0.0).await;
    drop(silent);
    // It does not even read.
    let (mut stuck, id) = running.open("/rooms").await;
    stuck.tell(json!({"op": "flood", "n": 1 << 30})).await;
    running.flooded().await;
    let worker = running.gateway.worker().await;
    running.gateway.operate(&running.site, &["restart", "probe"]).await.expect("a new worker");
    assert_ne!(running.gateway.worker_after(worker).await, worker);
    running.counts("connections", &[], 0.0).await;
    running.counts("closed_total", &[("reason", "worker")], 1.0).await;
    running.traced(&format!("ws close {id} 1012")).await;
    drop(stuck);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_is_slow_stops_its_client_and_no_other() {
    let _dog = watchdog(60);
    let running = Running::start(&[("/rooms", json!({}))]).await;
    let (mut eager, id) = running.open("/rooms").await;
    let (mut other, _) = running.open("/rooms").await;
    let before = running.rss();
    eager.tell(json!({"op": "block"})).await;
    running.traced(&format!("ws blocked {id}")).await;
    let message = frame(0x82, &vec![0; 1 << 20]);
    let mut sent = 0;
    // Written as far as TCP takes it.
    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(300), eager.stream().write(&message)).await
    {
        sent += written.expect("it is open");
        assert!(sent < 64 << 20, "nobody stops it");
        // Where a write ends does not matter: nobody reads that far.
    }
    for _ in 0..100 {
        assert_eq!(other.order(json!({"op": "id"})).await["error"], Value::Null);
    }
    let grown = running.rss().saturating_sub(before);
    assert!(grown <= GROWTH, "{} KiB", grown >> 10);
    assert_eq!(running.metric("connections", &[]).await, 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_answers_no_ping_is_gone() {
    let _dog = watchdog(60);
    let options = json!({"ping_interval": "100ms", "ping_timeout": "1s"});
    let running = Running::start(&[("/rooms", options)]).await;
    let (dead, id) = running.open("/rooms").await;
    // It says nothing by itself, and reads: that answers pings.
    let (mut alive, _) = running.open("/rooms").await;
    let alive = tokio::spawn(async move {
        assert!(alive.quiet(Duration::from_millis(1800)).await);
        alive
    });
    let error = running.traced(&format!("ws error {id} ")).await;
    assert!(error.contains("ping"), "{error}");
    running.traced(&format!("ws close {id} 1006")).await;
    let mut alive = alive.await.expect("no panic");
    assert_eq!(alive.order(json!({"op": "id"})).await["error"], Value::Null);
    running.counts("closed_total", &[("reason", "timeout")], 1.0).await;
    assert_eq!(running.metric("connections", &[]).await, 1.0);
    drop(dead);
    // Once.
    let closes = || running.site.trace().iter().filter(|l| l.starts_with("ws close")).count();
    running.traced("ws logged 101").await;
    assert_eq!(closes(), 1);
}
