//! Thousands of sockets that come, talk and end in every way there is: what was said arrives in order, `OnClose` runs once,
//! and nothing is left of them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nylon_tests::websocket::{WebSocket, frame};
use nylon_tests::{
    Client, Exposition, Gateway, Site, eventually, long, ports, step, telemetry, watchdog,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How a socket ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Way {
    /// All answers are read, then it is closed.
    Closed,
    /// It is closed behind messages whose answers were not waited for.
    ClosedAtOnce,
    /// The plugin closes it, asked behind messages.
    ByPlugin,
    /// RST, with messages under way.
    Reset,
    /// RST in the middle of a message.
    ResetWithin,
    /// FIN without a close frame; the answers are read.
    HalfOpen,
    /// FIN in the middle of a message.
    Cut,
    /// It falls silent, connected.
    Silent,
}

use Way::{ByPlugin, Closed, ClosedAtOnce, Cut, HalfOpen, Reset, ResetWithin, Silent};

const WAYS: [Way; 7] = [Closed, ClosedAtOnce, ByPlugin, Reset, ResetWithin, HalfOpen, Cut];
/// Of so many one falls silent: that takes its time.
const SILENT: usize = 100;
const SOON: Duration = Duration::from_secs(20);
/// Sockets at a time.
const ABREAST: usize = 200;

impl Way {
    /// What the plugin is told; none: that depends on what came first.
    fn code(self) -> &'static str {
        match self {
            Closed | ClosedAtOnce => "1000",
            ByPlugin => "4000",
            Reset | ResetWithin | HalfOpen | Cut | Silent => "1006",
        }
    }

    /// Whether all that was sent has arrived.
    fn whole(self) -> bool {
        !matches!(self, Reset | ResetWithin)
    }
}

/// What a client did.
#[derive(Debug)]
struct Did {
    id: String,
    way: Way,
    sent: usize,
}

/// xorshift64: the same sockets each time.
struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).expect("small")
    }
}

async fn one(addr: std::net::SocketAddr, number: usize) -> Did {
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1) << 20);
    let way = if number.is_multiple_of(SILENT) { Silent } else { WAYS[random.below(WAYS.len())] };
    let path = if way == Silent { "/impatient" } else { "/rooms" };
    let room = format!("room {}", random.below(50));
    let mut socket =
        WebSocket::open(addr, &format!("{path}?greet&join={room}").replace(' ', "-")).await;
    let (joined, greeting) = (socket.text().await, socket.text().await);
    assert_eq!(joined, r#"{"op":"join"}"#);
    let greeting: Value = serde_json::from_str(&greeting).expect("an answer");
    let id =
        greeting["value"].as_str().and_then(|v| v.split(' ').next()).expect("an id").to_owned();

    let sent = random.below(6);
    for n in 0..sent {
        socket.tell(json!({"op": "log", "text": format!("{id} {n}")})).await;
    }
    let torn = || {
        let whole = frame(0x81, format!(r#"{{"op": "log", "text": "{id} torn"}}"#).as_bytes());
        whole[..whole.len() - 3].to_vec()
    };
    match way {
        Closed => {
            for _ in 0..sent {
                assert_eq!(socket.text().await, r#"{"op":"log"}"#);
            }
            socket.close(Some(1000), "bye").await;
            assert_eq!(socket.closed().await, (1000, "bye".to_owned()));
        }
        ClosedAtOnce => {
            socket.close(Some(1000), "bye").await;
            assert_eq!(socket.closed().await, (1000, "bye".to_owned()));
        }
        ByPlugin => {
            socket.tell(json!({"op": "close", "code": 4000, "text": "away"})).await;
            assert_eq!(socket.closed().await, (4000, "away".to_owned()));
        }
        Reset => socket.reset(),
        ResetWithin => {
            socket.send_raw(&torn()).await;
            socket.reset();
        }
        HalfOpen => {
            socket.stream().shutdown().await.expect("it is open");
            socket.closed().await;
        }
        Cut => {
            socket.send_raw(&torn()).await;
            socket.stream().shutdown().await.expect("it is open");
            socket.closed().await;
        }
        // Nobody reads messages: no ping is answered.
        Silent => {
            let mut bytes = [0; 4096];
            while socket.stream().read(&mut bytes).await.is_ok_and(|n| n > 0) {}
        }
    }
    Did { id, way, sent }
}

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    host: usize,
    worker: usize,
}

fn fds(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

async fn scrape(watch: &Client) -> Exposition {
    Exposition::read(&watch.get("/metrics").await.text())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_end_once_and_leave_nothing() {
    let sockets = if long() { 100_000 } else { 5_000 };
    let _dog = watchdog(if long() { 1_200 } else { 120 });
    let metrics = ports::free();
    // As middleware: the entry of a service is not asked for Logging.
    let (site, rooms) = (Site::new().plugin("probe"), [step("probe", "ws-rooms")]);
    let hasty = json!({"websocket": {"ping_interval": "1s", "ping_timeout": "2s"}});
    let site = site.path("/rooms", "ready-probe", &rooms);
    let site = site.path_with("/impatient", "ready-probe", &rooms, hasty);
    let site = site.runtime(json!({"metrics": [metrics.to_string()]}));
    let gateway = Gateway::start(&site).await;
    let (worker, watch) = (gateway.worker().await, Client::new(metrics));
    let mut witness = WebSocket::open(gateway.addr, "/rooms").await;
    let witness_id = witness.id().await;
    scrape(&watch).await;
    let held = || Held { host: fds(gateway.pid()), worker: fds(worker) };
    let before = held();

    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..ABREAST {
        let (next, addr) = (next.clone(), gateway.addr);
        clients.spawn(async move {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= sockets {
                    return done;
                }
                done.push(one(addr, number).await);
            }
        });
    }
    let did: Vec<Did> = clients.join_all().await.into_iter().flatten().collect();
    assert_eq!(did.len(), sockets);

    // All are gone, but for the one that looks on; with them what they had open.
    let end = tokio::time::Instant::now() + SOON;
    loop {
        let open = scrape(&watch).await.sum("nylon_websocket_connections", &[]);
        if (open - 1.0).abs() < 0.1 && held() == before {
            break;
        }
        assert!(
            tokio::time::Instant::now() < end,
            "{open} sockets open; {before:?} became {:?}",
            held()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for room in 0..50 {
        assert_eq!(witness.size(&format!("room-{room}")).await, 0);
    }
    let logged = || site.trace().iter().filter(|l| *l == "ws logged 101").count();
    eventually("all are logged", SOON, || (logged() == sockets).then_some(())).await;
    check_trace(&site.trace_file(), &did, &witness_id);

    let dump = gateway.operate(&site, &["dump", "probe", "--json"]).await.expect("a dump");
    let dump: Value = serde_json::from_str(&dump).expect("JSON");
    let sessions = sessions(&dump);
    assert_eq!(sessions.len(), 1, "the witness alone: {sessions:?}");
    witness.close(Some(1000), "").await;
    witness.closed().await;
    drop(witness);
    let row = telemetry::settled(gateway.pid(), "probe").await;
    assert_eq!((row.sessions, row.in_flight), (0, 0));
    assert_eq!(gateway.worker().await, worker, "it has served them all");
    let closed = scrape(&watch).await;
    let count = |reason: &str| closed.sum("nylon_websocket_closed_total", &[("reason", reason)]);
    let silent = did.iter().filter(|d| d.way == Silent).count();
    assert!((count("timeout") - silent as f64).abs() < 0.1, "{} of {silent}", count("timeout"));
    let plugin = did.iter().filter(|d| d.way == ByPlugin).count();
    assert!((count("plugin") - plugin as f64).abs() < 0.1, "{} of {plugin}", count("plugin"));
    assert!(count("error") + count("worker") + count("slow") < 0.1, "{:?}", closed.samples);
}

/// The open sessions of all lanes in a dump.
fn sessions(dump: &Value) -> Vec<&Value> {
    match dump {
        Value::Array(items) => items.iter().flat_map(sessions).collect(),
        Value::Object(keys) => match keys.get("sessions") {
            Some(Value::Array(open)) => open.iter().collect(),
            _ => keys.values().flat_map(sessions).collect(),
        },
        _ => Vec::new(),
    }
}

/// What the plugin told of each socket: opened, messages from 0 on, closed once, logged.
fn check_trace(file: &Path, did: &[Did], witness: &str) {
    let trace = std::fs::read_to_string(file).expect("a trace");
    let mut told: HashMap<&str, Vec<&str>> = HashMap::new();
    for line in trace.lines().filter_map(|l| l.strip_prefix("ws ")) {
        let (what, rest) = line.split_once(' ').expect("words");
        match what {
            "open" | "close" | "log" => {
                let id = rest.split(' ').next().expect("an id");
                told.entry(id).or_default().push(line);
            }
            "send" | "error" | "logged" => {}
            _ => panic!("{line}"),
        }
    }
    for Did { id, way, sent } in did {
        let lines = told.get(id.as_str()).map(Vec::as_slice).unwrap_or_default();
        let [first, said @ .., last] = lines else { panic!("{way:?}: {lines:?}") };
        assert_eq!(*first, format!("open {id} resumed=false"), "{way:?}: {lines:?}");
        let end = format!("close {id} {}", way.code());
        assert!(last.starts_with(&end), "{way:?} of {sent}: {lines:?}");
        let wanted: Vec<String> = (0..*sent).map(|n| format!("log {id} {n}")).collect();
        assert!(
            wanted.iter().map(String::as_str).zip(said).all(|(w, s)| w == *s),
            "{way:?}: {lines:?}"
        );
        assert!(said.len() <= *sent, "{way:?} of {sent}: {lines:?}");
        assert!(!way.whole() || said.len() == *sent, "{way:?} of {sent}: {lines:?}");
    }
    assert_eq!(told.len(), did.len() + 1, "{witness} looked on");
}
