//! R19: thousands of WebSockets, and their worker dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio_tungstenite::tungstenite::Message;

use super::bed::still_runs;
use super::{Found, Mode};
use crate::websocket::WebSocket;
use crate::{Gateway, Site, proc};

const BROADCASTS: usize = 5;
/// What the host may keep in memory for each, bytes.
const EACH: u64 = 32 << 10;
/// After it one that is neither closed nor kept is stuck.
const STUCK: Duration = Duration::from_secs(30);
/// Sockets that are opened at a time.
const ABREAST: usize = 64;

/// What became of a socket.
#[derive(Debug)]
enum Saw {
    /// That text, then.
    Text(usize, String, Instant),
    /// The end, with that code.
    End(u16),
}

/// R19: half of them are closed when their worker dies, the others go to the next one.
pub(super) async fn thousands(mode: Mode) -> Found {
    let count: usize = mode.pick(2_000, 10_000, 10_000);
    let limits = json!({"limits": {"websockets": 2 * count}});
    let site = Site::new().plugin_with("probe", "probe", limits);
    let site = site.service("rooms", "probe", "ws-rooms", Value::Null);
    let site = ["close", "resume"].iter().fold(site, |site, policy| {
        let keys = json!({"on_worker_loss": policy, "ping_interval": "5s"});
        site.path_with(&format!("/{policy}"), "rooms", &[], json!({"websocket": keys}))
    });
    let mut gateway = Gateway::start(&site).await;
    let mut found = Found::new(mode);
    let (tell, mut saw) = mpsc::unbounded_channel();

    let mut speaker = WebSocket::open(gateway.addr, "/resume").await;
    let before = proc::own_rss(gateway.pid());
    let start = Instant::now();
    let opened = open(&gateway, count, &tell).await;
    let took = start.elapsed();
    found
        .count(format!("{opened} of {count} open, each echoes, after {took:.1?}"), opened == count);
    // Buffers of handshakes are given back by now.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let each = proc::own_rss(gateway.pid()).saturating_sub(before) / count as u64;
    found.count(format!("{each} bytes of host memory each, {EACH} at most"), each <= EACH);
    found.count("all are in the room", speaker.size("all").await == count);

    let mut late = broadcast(&mut speaker, &mut saw, count).await;
    found.count(
        format!("{} of {} deliveries", late.len(), BROADCASTS * count),
        late.len() == BROADCASTS * count,
    );
    late.sort_unstable();
    let p99 = late.get(late.len() * 99 / 100).copied().unwrap_or(Duration::MAX);
    found.time(
        format!("broadcast to all: p99 {p99:.0?}, 1 s at most"),
        p99 <= Duration::from_secs(1),
    );

    drop(speaker);
    let worker = gateway.worker().await;
    let start = Instant::now();
    proc::kill(worker, Signal::SIGKILL);
    let (mut restarted, mut kept, mut otherwise) = (0, 0, Vec::new());
    while restarted + kept + otherwise.len() < count {
        match tokio::time::timeout(STUCK.saturating_sub(start.elapsed()), saw.recv()).await {
            Ok(Some(Saw::End(1012))) => restarted += 1,
            Ok(Some(Saw::Text(_, text, _))) if text.contains(r#""op":"open""#) => kept += 1,
            Ok(Some(Saw::Text(_, text, _))) if text.contains(r#""op":"join""#) => {}
            Ok(Some(other)) => otherwise.push(format!("{other:?}")),
            _ => break,
        }
    }
    let took = start.elapsed();
    let ended = gateway.log_lines(|l| l.contains("worker ended") && l.contains("SIGKILL")).len();
    found.count(format!("the host counted {ended} worker killed"), ended == 1);
    let stuck = count - restarted - kept - otherwise.len();
    let first = otherwise.first().map(|w| format!(", first {w}")).unwrap_or_default();
    found.count(
        format!("{restarted} closed with 1012, {kept} kept by the next worker, {stuck} stuck, {} otherwise{first}, after {took:.1?}", otherwise.len()),
        stuck == 0 && otherwise.is_empty() && restarted >= count / 2 && kept > 0,
    );
    let mut speaker = WebSocket::open(gateway.addr, "/close").await;
    let late = broadcast(&mut speaker, &mut saw, kept).await.len();
    found.count(format!("{late} deliveries to those that were kept"), late == BROADCASTS * kept);
    still_runs(&mut found, &mut gateway);

    gateway.signal(Signal::SIGTERM);
    let mut away = 0;
    while away < kept {
        match tokio::time::timeout(STUCK, saw.recv()).await {
            Ok(Some(Saw::End(1001))) => away += 1,
            Ok(Some(Saw::Text(..))) => {}
            _ => break,
        }
    }
    let status = gateway.exit(STUCK).await;
    found.count(
        format!("at the stop {away} of {kept} closed with 1001, {status}"),
        away == kept && status.success(),
    );
    found
}

/// Opens `count` sockets, each of which tells what it sees. Returns how many it opened.
async fn open(gateway: &Gateway, count: usize, tell: &mpsc::UnboundedSender<Saw>) -> usize {
    let (addr, open) = (gateway.addr, Arc::new(AtomicUsize::new(0)));
    let turns = Arc::new(Semaphore::new(ABREAST));
    for number in 0..count {
        let turn = turns.clone().acquire_owned().await.expect("it stays open");
        let (tell, open) = (tell.clone(), open.clone());
        tokio::spawn(async move {
            let path = ["/close?join=all&greet", "/resume?join=all&greet"][number % 2];
            let Ok(mut socket) = WebSocket::try_open(addr, path, &[]).await else { return };
            let joined = [socket.text().await, socket.text().await];
            socket.send_binary("echo").await;
            let echoed = socket.binary().await;
            open.fetch_add(
                usize::from(joined[0].contains("join") && echoed == "echo"),
                Ordering::Relaxed,
            );
            drop(turn);
            loop {
                match socket.try_next().await {
                    Ok(Message::Text(text)) => {
                        let _ = tell.send(Saw::Text(number, text.to_string(), Instant::now()));
                    }
                    Ok(Message::Close(close)) => {
                        let code = close.map_or(1005, |close| close.code.into());
                        // The connection's end is waited for by the gateway.
                        socket.closed().await;
                        let _ = tell.send(Saw::End(code));
                        return;
                    }
                    Ok(_) => {}
                    Err(_) => {
                        let _ = tell.send(Saw::End(1006));
                        return;
                    }
                }
            }
        });
    }
    let _all = turns.acquire_many(u32::try_from(ABREAST).expect("few")).await;
    open.load(Ordering::Relaxed)
}

/// Says something to `members` again and again, each time when all have the last. How long each delivery took.
async fn broadcast(
    speaker: &mut WebSocket,
    saw: &mut mpsc::UnboundedReceiver<Saw>,
    members: usize,
) -> Vec<Duration> {
    let mut late = Vec::new();
    for n in 0..BROADCASTS {
        let (text, sent) = (format!("broadcast {n}"), Instant::now());
        speaker.broadcast("all", &text).await;
        let mut got = vec![];
        while got.len() < members {
            match tokio::time::timeout(STUCK, saw.recv()).await {
                Ok(Some(Saw::Text(number, said, at))) if said == text => {
                    got.push(number);
                    late.push(at.saturating_duration_since(sent));
                }
                Ok(Some(Saw::Text(..))) => {}
                _ => return late,
            }
        }
        got.sort_unstable();
        got.dedup();
        if got.len() < members {
            return late;
        }
    }
    late
}
