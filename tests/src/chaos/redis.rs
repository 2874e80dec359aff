//! R16: the Redis that gateways share for their rooms dies, stands still, and cuts its connections.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use super::bed::{self, Load, still_runs, untouched};
use super::{Found, Mode, Size};
use crate::redis::{Redis, Wire};
use crate::websocket::WebSocket;
use crate::{Gateway, Site, Upstream, proc, step};

/// The longest until gateways hear each other again.
const RESUMED: Duration = Duration::from_secs(5);
/// After it they never will.
const NEVER: Duration = Duration::from_secs(30);
/// What the host may take more while nothing gets to Redis, bytes: 8 MiB wait, some of it as JSON.
const GROWTH: u64 = 64 << 20;

/// A gateway whose rooms are at `redis`.
fn site(up: &Upstream, redis: std::net::SocketAddr) -> Site {
    let redis = json!({"host": redis.ip().to_string(), "port": redis.port()});
    let site = Site::new().upstream("up", up.addr).plugin_with("a", "probe", bed::plugin(1));
    let site = site.runtime(json!({"websocket": {"adapter_type": "redis", "redis": redis}}));
    let site = site.path("/load/a", "up", &[step("a", "nonce")]);
    site.service("rooms", "a", "ws-rooms", Value::Null).path("/rooms", "rooms", &[])
}

/// R16: one gateway reaches it over a wire that breaks, the other directly.
pub(super) async fn redis(mode: Mode) -> Found {
    let mut found = Found::new(mode);
    let Some(mut server) = Redis::start(&[]) else {
        // `cargo xtask chaos` wants the fault; the tests say what they did not test.
        found.time("there is a redis-server to hurt", mode.size == Size::Test);
        return found;
    };
    let (up, wire) = (Upstream::start().await, Wire::to(server.addr()).await);
    let sites = [site(&up, wire.addr()), site(&up, server.addr())];
    let (one, two) = tokio::join!(Gateway::start(&sites[0]), Gateway::start(&sites[1]));
    let mut gateways = [one, two];
    let (start, down) = (Instant::now(), Duration::from_secs(mode.pick(1, 10, 10)));
    let whole = down + Duration::from_secs(mode.pick(8, 25, 25));
    let loads = gateways.each_ref().map(|g| Load::from(mode, g, "/load/a", start, whole));
    let local = Local::begin(&gateways[0]).await;
    let cross = [
        Cross::begin(&gateways[0], &gateways[1]).await,
        Cross::begin(&gateways[1], &gateways[0]).await,
    ];
    let first = heard(&cross, Instant::now()).await;
    found.count("the gateways hear each other at first", first.is_some());
    let before = gateways.each_ref().map(|g| proc::own_rss(g.pid()));
    let mut resumed: Vec<(&str, Option<Duration>)> = Vec::new();

    // Dead, and empty when it is back; far more is said meanwhile than may wait.
    let lost = misses(&gateways);
    server.kill();
    flood(&gateways[0]).await;
    tokio::time::sleep(down).await;
    server.restart();
    resumed.push(("killed and empty", heard(&cross, Instant::now()).await));
    missed(&mut found, &gateways, lost, [true, true], "it was killed").await;
    let grown = gateways.each_ref().map(|g| proc::own_rss(g.pid()));
    let grown = [0, 1].map(|n| grown[n].saturating_sub(before[n]));
    found.count(
        format!(
            "the hosts grew by {} and {} KiB, {} at most",
            grown[0] >> 10,
            grown[1] >> 10,
            GROWTH >> 10
        ),
        grown.iter().all(|grown| *grown <= GROWTH),
    );

    let rounds = mode.pick(1, 5, 50);
    let lost = misses(&gateways);
    let mut cut = 0;
    for _ in 0..rounds {
        cut += wire.reset();
        resumed.push(("reset", heard(&cross, Instant::now()).await));
    }
    found.count(format!("{cut} connections reset"), cut >= rounds);
    missed(&mut found, &gateways, lost, [true, false], "its connection was reset").await;

    let lost = misses(&gateways);
    let silent = wire.hush();
    resumed.push(("silent", heard(&cross, Instant::now()).await));
    found.count(format!("{silent} connections went silent"), silent > 0);
    missed(&mut found, &gateways, lost, [true, false], "its connection was silent").await;

    if mode.size != Size::Test {
        let lost = misses(&gateways);
        let pause = Duration::from_secs(4);
        server.say(&["CLIENT", "PAUSE", &pause.as_millis().to_string()]);
        tokio::time::sleep(pause).await;
        resumed.push(("paused", heard(&cross, Instant::now()).await));
        missed(&mut found, &gateways, lost, [true, true], "it stood still").await;
    }

    let never: Vec<_> = resumed.iter().filter(|r| r.1.is_none()).collect();
    found.count(
        format!("{} times they heard each other again, {never:?} not", resumed.len() - never.len()),
        never.is_empty(),
    );
    let slowest = resumed.iter().max_by_key(|r| r.1.unwrap_or(NEVER));
    let in_time = resumed.iter().all(|r| r.1.is_some_and(|after| after <= RESUMED));
    found.time(format!("the slowest took {slowest:.1?}, {RESUMED:?} at most"), in_time);
    // What Redis knows is right again: two who listen, two who speak are in no room.
    for gateway in &gateways {
        let mut socket = WebSocket::open(gateway.addr, "/rooms").await;
        socket.size_becomes("both", 2).await;
    }
    for cross in cross {
        cross.end().await;
    }
    let (said, got) = local.end().await;
    found.count(
        format!("{got} of {said} messages of a local room arrived"),
        got == said && said > 0,
    );
    for (load, who) in loads.into_iter().zip(["http at one", "http at the other"]) {
        untouched(&mut found, who, &load.end().await);
    }
    gateways.iter_mut().for_each(|g| still_runs(&mut found, g));
    found
}

/// How often each gateway said that it lost Redis.
fn misses(gateways: &[Gateway; 2]) -> [usize; 2] {
    let line = "other nodes are out of reach";
    gateways.each_ref().map(|g| g.log_lines(|l| l.contains(line)).len())
}

/// Those that are `meant` noticed.
async fn missed(
    found: &mut Found,
    gateways: &[Gateway; 2],
    before: [usize; 2],
    meant: [bool; 2],
    why: &str,
) {
    let noticed = || {
        let now = misses(gateways);
        (0..2).all(|n| !meant[n] || now[n] > before[n])
    };
    let end = Instant::now() + RESUMED;
    while !noticed() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    found.count(format!("Redis was missed: {why}"), noticed());
}

/// Says more to a room without members than may wait for Redis.
async fn flood(gateway: &Gateway) {
    let mut socket = WebSocket::open(gateway.addr, "/rooms").await;
    let text = "x".repeat(64 << 10);
    for _ in 0..512 {
        socket.broadcast("nobody", &text).await;
    }
}

/// How long after `since` both heard the other, if they did.
async fn heard(cross: &[Cross; 2], since: Instant) -> Option<Duration> {
    let mut all = Duration::ZERO;
    for cross in cross {
        all = all.max(cross.heard(since).await?);
    }
    Some(all)
}

/// Numbers said to a room at one gateway every 20 ms, heard at another: when each was said, and when heard.
struct Cross {
    heard: Arc<Mutex<Option<(Instant, Instant)>>>,
    stop: Arc<AtomicBool>,
    tasks: [JoinHandle<()>; 2],
}

impl Cross {
    async fn begin(from: &Gateway, to: &Gateway) -> Cross {
        let mut speaker = WebSocket::open(from.addr, "/rooms").await;
        let mut listener = WebSocket::member(to.addr, "/rooms", "both").await;
        let own = speaker.id().await;
        let (heard, stop) = (Arc::<Mutex<_>>::default(), Arc::new(AtomicBool::new(false)));
        let zero = Instant::now();
        let stopped = stop.clone();
        let says = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let text = format!("{own} {}", zero.elapsed().as_micros());
                speaker.broadcast("both", &text).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let (stopped, last) = (stop.clone(), Arc::clone(&heard));
        let prefix = from_node(&mut WebSocket::open(from.addr, "/rooms").await).await;
        let hears = tokio::spawn(async move {
            // The listener hears those of its own gateway too.
            while !stopped.load(Ordering::Relaxed) {
                let Ok(Message::Text(text)) = listener.try_next().await else { continue };
                let Some((_, at)) = text.split_once(' ').filter(|_| text.starts_with(&prefix))
                else {
                    continue;
                };
                let said = zero + Duration::from_micros(at.parse().unwrap_or(0));
                *last.lock().unwrap_or_else(|e| e.into_inner()) = Some((said, Instant::now()));
            }
        });
        Cross { heard, stop, tasks: [says, hears] }
    }

    /// How long after `since` something said after it was heard.
    async fn heard(&self, since: Instant) -> Option<Duration> {
        while since.elapsed() < NEVER {
            let last = *self.heard.lock().unwrap_or_else(|e| e.into_inner());
            if let Some((_, at)) = last.filter(|(said, _)| *said > since) {
                return Some(at - since);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        None
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
    }
}

/// What ids of its gateway begin with.
async fn from_node(socket: &mut WebSocket) -> String {
    let id = socket.id().await;
    id.split_once(':').map_or(id.clone(), |(node, _)| format!("{node}:"))
}

/// A room of one gateway, in which something is said every 5 ms.
struct Local {
    stop: Arc<AtomicBool>,
    said: Arc<AtomicUsize>,
    says: JoinHandle<()>,
    got: mpsc::UnboundedReceiver<usize>,
}

impl Local {
    async fn begin(gateway: &Gateway) -> Local {
        let mut listener = WebSocket::member(gateway.addr, "/rooms", "local").await;
        let mut speaker = WebSocket::open(gateway.addr, "/rooms").await;
        let (stop, said) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (tell, got) = mpsc::unbounded_channel();
        let (stopped, count) = (stop.clone(), said.clone());
        let says = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let n = count.fetch_add(1, Ordering::Relaxed);
                speaker.broadcast("local", &n.to_string()).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        tokio::spawn(async move {
            while let Ok(message) = listener.try_next().await {
                let number = message.into_text().ok().and_then(|text| text.parse().ok());
                if number.is_some_and(|n| tell.send(n).is_err()) {
                    return;
                }
            }
        });
        Local { stop, said, says, got }
    }

    /// How many were said, and how many of those arrived in their order.
    async fn end(mut self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.says.await;
        let said = self.said.load(Ordering::Relaxed);
        let mut arrived = 0;
        while arrived < said {
            match tokio::time::timeout(RESUMED, self.got.recv()).await {
                Ok(Some(n)) if n == arrived => arrived += 1,
                _ => break,
            }
        }
        (said, arrived)
    }
}
