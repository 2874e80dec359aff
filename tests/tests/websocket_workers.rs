//! What becomes of WebSockets when their worker goes, or their gateway (docs/websockets.md, "When a worker goes").

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nylon_tests::websocket::WebSocket;
use nylon_tests::{Client, Exposition, Gateway, Site, eventually, ports, proc, program, watchdog};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(15);
const RESTARTED: &str = "the plugin is being restarted";

/// `/close` and `/resume`, by what happens to their sockets when a worker of `probe` goes.
fn site(more: Value) -> Site {
    let site = Site::new().plugin_with("probe", "probe", more);
    sockets(site, "probe", "")
}

fn sockets(site: Site, plugin: &str, prefix: &str) -> Site {
    let site = site.service(&format!("rooms-{plugin}"), plugin, "ws-rooms", Value::Null);
    ["close", "resume"].iter().fold(site, |site, policy| {
        // What is held up here is held up for good: no need to wait 5 s for it.
        let keys = json!({"websocket": {"on_worker_loss": policy, "close_timeout": "2s"}});
        site.path_with(&format!("{prefix}/{policy}"), &format!("rooms-{plugin}"), &[], keys)
    })
}

/// What a socket's plugin told of it: `open resumed=false`, `close 1000 bye`, by its id.
fn told(site: &Site) -> BTreeMap<String, Vec<String>> {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in site.trace() {
        let mut words = line.splitn(4, ' ');
        if let (Some("ws"), Some(what @ ("open" | "close")), Some(id)) =
            (words.next(), words.next(), words.next())
        {
            let rest = words.next().unwrap_or_default();
            told.entry(id.to_owned()).or_default().push(format!("{what} {rest}"));
        }
    }
    told
}

/// What was told of a socket, once there are so many lines of it.
async fn lines(site: &Site, id: &str, count: usize) -> Vec<String> {
    let found = || told(site).remove(id).filter(|lines| lines.len() >= count);
    eventually(&format!("{count} lines about {id}"), SOON, found).await
}

/// Waits for the `OnOpen` in another worker: the process it is now in.
async fn resumed(socket: &mut WebSocket, id: &str) -> u32 {
    let answer: Value = serde_json::from_str(&socket.text().await).expect("an answer");
    assert_eq!(answer["op"], "open", "{answer}");
    let value = answer["value"].as_str().unwrap_or_default().to_owned();
    let words: Vec<&str> = value.split(' ').collect();
    assert_eq!((words[0], words[2]), (id, "true"), "{value}");
    words[1].parse().expect("a pid")
}

/// Opens a socket that says when it is opened, here and later; its id.
async fn greeted(gateway: &Gateway, path: &str) -> (WebSocket, String) {
    let mut socket = WebSocket::open(gateway.addr, &format!("{path}?greet")).await;
    let greeting = socket.text().await;
    assert!(greeting.contains(" false "), "{greeting}");
    let id = socket.id().await;
    (socket, id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_closes_its_sockets() {
    const SOCKETS: usize = 30;
    let _dog = watchdog(60);
    let metrics = ports::free();
    let site = site(json!({})).runtime(json!({"metrics": [metrics.to_string()]}));
    let gateway = Gateway::start(&site).await;
    let mut all = Vec::new();
    for n in 0..SOCKETS {
        let mut socket = WebSocket::open(gateway.addr, "/close").await;
        socket.ok(json!({"op": "join", "room": "lobby"})).await;
        if n % 3 == 0 {
            // With a message under way, and a callback that never returns.
            socket.tell(json!({"op": "block"})).await;
            socket.tell(json!({"op": "id"})).await;
        }
        all.push(socket);
    }
    let worker = gateway.worker().await;
    proc::kill(worker, Signal::SIGKILL);
    for mut socket in all {
        assert_eq!(socket.closed().await, (1012, RESTARTED.to_owned()));
    }
    // The next worker has others.
    gateway.worker_after(worker).await;
    let open = async || WebSocket::try_open(gateway.addr, "/close", &[]).await.ok();
    let end = Instant::now() + SOON;
    let mut again = loop {
        match open().await {
            Some(socket) => break socket,
            None => assert!(Instant::now() < end, "no socket after the restart"),
        }
    };
    assert_eq!(again.size("lobby").await, 0, "those that were closed are in no room");
    let told = told(&site);
    let closed = told.values().flatten().filter(|line| line.starts_with("close")).count();
    assert_eq!(closed, 0, "there was nobody to run OnClose");
    let scrape = Exposition::read(&Client::new(metrics).get("/metrics").await.text());
    let lost = scrape.sum("nylon_websocket_closed_total", &[("reason", "worker")]);
    assert!((lost - SOCKETS as f64).abs() < 0.1, "{lost}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_is_followed_by_another() {
    let _dog = watchdog(60);
    let site = site(json!({"workers": 2, "breaker": {"intensity": 0}}));
    let gateway = Gateway::start(&site).await;
    let two = || (gateway.workers().len() == 2).then_some(());
    eventually("two workers", SOON, two).await;
    let mut all = Vec::new();
    for _ in 0..12 {
        let (mut socket, id) = greeted(&gateway, "/resume").await;
        socket.ok(json!({"op": "join", "room": "lobby"})).await;
        let pid = socket.pid().await;
        all.push((socket, id, pid));
    }
    // One of two, then both at once.
    let first = all[0].2;
    let others: Vec<u32> = all.iter().map(|a| a.2).filter(|pid| *pid != first).collect();
    assert!(!others.is_empty(), "both workers have some");
    for round in ["one", "all"] {
        let victims: Vec<u32> = if round == "one" {
            vec![first]
        } else {
            gateway.workers().iter().map(|w| w.pid).collect()
        };
        victims.iter().for_each(|pid| proc::kill(*pid, Signal::SIGKILL));
        for (socket, id, pid) in &mut all {
            if victims.contains(pid) {
                let now = resumed(socket, id).await;
                assert!(!victims.contains(&now), "{round}: in another process");
                *pid = now;
            }
            assert_eq!((socket.id().await, socket.pid().await), (id.clone(), *pid), "{round}");
        }
        // Nobody joined again: the rooms are the gateway's.
        let (speaker, ..) = &mut all[3];
        assert_eq!(speaker.size("lobby").await, 12, "{round}");
        speaker.broadcast("lobby", round).await;
        for (socket, ..) in &mut all {
            assert_eq!(socket.text().await, round);
        }
    }
    let (mut leaver, id, _) = all.pop().expect("twelve");
    assert_eq!(leaver.ok(json!({"op": "resumed"})).await, "true");
    leaver.ok(json!({"op": "leave", "room": "lobby"})).await;
    assert_eq!(leaver.size("lobby").await, 11, "a room joined before can be left");
    leaver.close(Some(1000), "bye").await;
    assert_eq!(leaver.closed().await, (1000, "bye".to_owned()));
    let lines = lines(&site, &id, 3).await;
    assert_eq!(lines.first().map(String::as_str), Some("open resumed=false"));
    assert_eq!(lines.last().map(String::as_str), Some("close 1000 bye"));
    assert_eq!(lines.iter().filter(|l| l.starts_with("close")).count(), 1, "{lines:?}");
}

/// Sends numbers without end, each as an order that leaves a trace, and counts the answers.
struct Talk {
    stop: Arc<AtomicBool>,
    task: JoinHandle<usize>,
}

impl Talk {
    fn begin(mut socket: WebSocket, id: &str) -> Talk {
        let (stop, id) = (Arc::new(AtomicBool::new(false)), id.to_owned());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut n = 0;
            while !stopped.load(Ordering::Relaxed) {
                // Three at a time: some are under way when the worker goes.
                for k in n..n + 3 {
                    socket.tell(json!({"op": "log", "text": format!("{id} {k}")})).await;
                }
                for _ in 0..3 {
                    while socket.text().await != r#"{"op":"log"}"# {} // or a greeting
                }
                n += 3;
            }
            socket.close(Some(1000), "").await;
            assert_eq!(socket.closed().await.0, 1000);
            n
        });
        Talk { stop, task }
    }

    /// How many were answered.
    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("every message was answered")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_or_an_upgrade_hands_over_and_loses_nothing() {
    let _dog = watchdog(90);
    let mut site = site(json!({}));
    // In one folder: an upgrade takes programs from that of the one it has.
    let [first, next] = ["first", "next"].map(|name| {
        let file = site.dir().join(name);
        std::fs::copy(program::plugin("probe"), &file).expect("a copy");
        file.display().to_string()
    });
    site = site.change("probe", json!({"file": first}));
    let mut gateway = Gateway::start(&site).await;
    let (mut idle, idle_id) = greeted(&gateway, "/resume").await;
    idle.ok(json!({"op": "join", "room": "lobby"})).await;
    let mut talks = Vec::new();
    for _ in 0..4 {
        let (socket, id) = greeted(&gateway, "/resume").await;
        talks.push((Talk::begin(socket, &id), id));
    }
    let verbs: [&[&str]; 4] = [
        &["restart", "probe"],
        &["plugin", "upgrade", "probe", "--program", &next],
        &["plugin", "rollback", "probe"],
        &["reload"],
    ];
    for verb in verbs {
        let old = gateway.worker().await;
        let (mut closing, id) = greeted(&gateway, "/close").await;
        if verb == ["reload"] {
            site = site.change("probe", json!({"config": {"changed": true}}));
            site.write(gateway.addr);
        }
        let said = gateway.operate(&site, verb).await;
        assert!(said.is_ok(), "{verb:?}: {said:?}");
        assert_eq!(closing.closed().await, (1012, RESTARTED.to_owned()), "{verb:?}");
        drop(closing);
        let end = format!("close 1012 {RESTARTED}");
        assert_eq!(lines(&site, &id, 2).await, ["open resumed=false", &end], "{verb:?}");
        let now = resumed(&mut idle, &idle_id).await;
        assert_ne!(now, old, "{verb:?}");
        assert_eq!(idle.size("lobby").await, 1, "{verb:?}");
        // It has let all go, and goes itself long before a drain gives up on it (30 s).
        let gone = || (!proc::alive(old)).then_some(());
        eventually(&format!("the worker before {verb:?} ends"), SOON, gone).await;
    }
    for (talk, id) in talks {
        let answered = talk.end().await;
        let prefix = format!("ws log {id} ");
        let trace = site.trace();
        let seen: Vec<usize> =
            trace.iter().filter_map(|l| l.strip_prefix(&prefix)?.parse().ok()).collect();
        assert_eq!(seen, (0..answered).collect::<Vec<_>>(), "each once, in order");
        let lines = lines(&site, &id, 6).await;
        let mut wanted = vec!["open resumed=false"];
        wanted.extend(["open resumed=true"; 4]);
        wanted.push("close 1000 ");
        assert_eq!(lines, wanted, "OnClose runs once, in the last worker");
    }
    assert!(gateway.running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_closes_what_nobody_takes_over() {
    let _dog = watchdog(60);
    let site = Site::new();
    let site = ["gone", "back"].iter().fold(site, |site, name| {
        sockets(site.plugin_with(name, "probe", json!({})), name, &format!("/{name}"))
    });
    let gateway = Gateway::start(&site).await;
    let (mut close, close_id) = greeted(&gateway, "/gone/close").await;
    let (mut alone, alone_id) = greeted(&gateway, "/gone/resume").await;
    let (mut back, back_id) = greeted(&gateway, "/back/resume").await;

    let start = Instant::now();
    for verb in [["drain", "back"], ["resume", "back"], ["drain", "gone"]] {
        let said = gateway.operate(&site, &verb).await;
        assert!(said.is_ok(), "{verb:?}: {said:?}");
    }
    assert_eq!(close.closed().await, (1012, RESTARTED.to_owned()));
    let end = format!("close 1012 {RESTARTED}");
    assert_eq!(lines(&site, &close_id, 2).await, ["open resumed=false", &end]);
    resumed(&mut back, &back_id).await;
    back.id().await;
    // Five seconds long somebody may still come.
    assert_eq!(alone.closed().await, (1012, RESTARTED.to_owned()));
    assert!(start.elapsed() >= Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(lines(&site, &alone_id, 1).await, ["open resumed=false"]);
    assert_eq!(told(&site)[&back_id], ["open resumed=false", "open resumed=true"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_touches_only_what_it_changes() {
    let _dog = watchdog(60);
    let site = Site::new();
    let mut site = ["stays", "changes", "goes"].iter().fold(site, |site, name| {
        sockets(site.plugin_with(name, "probe", json!({})), name, &format!("/{name}"))
    });
    let gateway = Gateway::start(&site).await;
    let reload = async |site: &Site| {
        let said = gateway.operate(site, &["reload"]).await;
        assert!(said.is_ok(), "{said:?}");
    };
    let mut kept =
        [greeted(&gateway, "/stays/close").await, greeted(&gateway, "/stays/resume").await];
    let (mut changes, changes_id) = greeted(&gateway, "/changes/resume").await;
    let mut goes =
        [greeted(&gateway, "/goes/close").await, greeted(&gateway, "/goes/resume").await];
    let pid = changes.pid().await;
    let before = [kept[0].0.pid().await, kept[1].0.pid().await];

    // Nothing; a route of its own; another plugin; a route's own policy, which is for sockets to come.
    reload(&site).await;
    site = site.path("/more", "rooms-stays", &[]);
    site.write(gateway.addr);
    reload(&site).await;
    assert_eq!(changes.pid().await, pid);
    site = site.change("changes", json!({"config": {"changed": true}}));
    site.write(gateway.addr);
    reload(&site).await;
    assert_ne!(resumed(&mut changes, &changes_id).await, pid);
    // The socket, which lives on, does not keep the worker it came from.
    let gone = || (!proc::alive(pid)).then_some(());
    eventually("the worker before the reload ends", SOON, gone).await;

    // A plugin that is gone from the file has no other worker to take its sockets over.
    site = site.without("goes");
    site.write(gateway.addr);
    reload(&site).await;
    for (socket, id) in &mut goes {
        assert_eq!(socket.closed().await, (1012, RESTARTED.to_owned()), "{id}");
    }
    for ((socket, id), before) in kept.iter_mut().zip(before) {
        assert_eq!((socket.id().await, socket.pid().await), (id.clone(), before));
        assert_eq!(told(&site)[id], ["open resumed=false"]);
    }
    drop(goes);
    let two = || (gateway.workers().len() == 2).then_some(());
    eventually("the worker of the plugin that is gone ends", SOON, two).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_upgrades_no_more_lets_go() {
    let _dog = watchdog(60);
    let site = site(json!({}));
    let gateway = Gateway::start(&site).await;
    let file = site.dir().join("no-more");
    let path = format!("/resume?unless={}", file.display());
    let mut refused = WebSocket::open(gateway.addr, &path).await;
    let id = refused.id().await;
    let (mut other, other_id) = greeted(&gateway, "/resume").await;
    std::fs::write(&file, "").expect("a file");
    for kill in [false, true] {
        if kill {
            // The one before the restart may still be on its way out.
            proc::kill(other.pid().await, Signal::SIGKILL);
        } else {
            let said = gateway.operate(&site, &["restart", "probe"]).await;
            assert!(said.is_ok(), "{said:?}");
        }
        assert_eq!(refused.closed().await, (1012, RESTARTED.to_owned()), "kill: {kill}");
        resumed(&mut other, &other_id).await;
        std::fs::remove_file(&file).expect("it is there");
        refused = WebSocket::open(gateway.addr, &path).await;
        refused.id().await;
        std::fs::write(&file, "").expect("a file");
    }
    assert_eq!(lines(&site, &id, 1).await, ["open resumed=false"], "it was let go");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_nothing_cannot_keep_its_socket() {
    let _dog = watchdog(60);
    let metrics = ports::free();
    let hasty = json!({"websocket": {"close_timeout": "500ms", "ping_timeout": "1h"}});
    let site = site(json!({})).path_with("/hasty", "rooms-probe", &[], hasty);
    let site = site.runtime(json!({"metrics": [metrics.to_string()]}));
    let gateway = Gateway::start(&site).await;
    let (worker, watch) = (gateway.worker().await, Client::new(metrics));
    let mut full = Vec::new();
    for _ in 0..3 {
        let (mut socket, id) = greeted(&gateway, "/hasty").await;
        socket.tell(json!({"op": "flood", "n": 64 << 20})).await;
        full.push((socket, id));
    }
    // The plugin waits for each of them.
    let mut far = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = site.trace().iter().filter(|l| l.starts_with("ws flood")).count();
        if now == far {
            break;
        }
        far = now;
    }
    assert!(far > 0 && !site.trace().iter().any(|l| l == "ws flood done"), "they are not slow");
    proc::kill(worker, Signal::SIGKILL);
    let end = Instant::now() + SOON;
    loop {
        let scrape = Exposition::read(&watch.get("/metrics").await.text());
        let open = scrape.sum("nylon_websocket_connections", &[]);
        if open < 0.1 {
            break;
        }
        assert!(Instant::now() < end, "{open} sockets are stuck");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(full);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_of_the_gateway_closes_all_with_1001() {
    let _dog = watchdog(60);
    let site = site(json!({}));
    let mut gateway = Gateway::start(&site).await;
    let mut all = Vec::new();
    for n in 0..20 {
        all.push(greeted(&gateway, if n % 2 == 0 { "/close" } else { "/resume" }).await);
    }
    // One whose client has stopped to listen, and one whose plugin has.
    let (_deaf, deaf_id) = greeted(&gateway, "/close").await;
    let (mut blocked, blocked_id) = greeted(&gateway, "/close").await;
    blocked.tell(json!({"op": "until-closed"})).await;
    let (mut stuck, stuck_id) = greeted(&gateway, "/close").await;
    stuck.tell(json!({"op": "block"})).await;
    let traced = || site.trace().contains(&format!("ws blocked {stuck_id}")).then_some(());
    eventually("it blocks", SOON, traced).await;
    // What was said before the stop is handled.
    for (socket, _) in &mut all {
        socket.tell(json!({"op": "log", "text": "last"})).await;
    }
    let last = || site.trace().iter().filter(|l| *l == "ws log last").count();
    eventually("it has all", SOON, || (last() == 20).then_some(())).await;

    let start = Instant::now();
    gateway.signal(Signal::SIGTERM);
    let why = (1001, "the gateway is going away".to_owned());
    for (socket, id) in &mut all {
        assert_eq!(socket.text().await, r#"{"op":"log"}"#, "{id}");
        assert_eq!(socket.closed().await, why, "{id}");
    }
    assert_eq!(blocked.closed().await, why);
    assert_eq!(stuck.closed().await, why);
    let status = gateway.exit(SOON).await;
    // A client may take close_timeout to answer, a plugin as long for its OnClose; the stop has 10 s in all.
    println!("stopped after {:?}", start.elapsed());
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    let told = told(&site);
    let ids = all.iter().map(|(_, id)| id).chain([&deaf_id, &blocked_id]);
    for id in ids {
        assert_eq!(told[id], ["open resumed=false", "close 1001 the gateway is going away"]);
    }
    assert_eq!(told[&stuck_id], ["open resumed=false"]);
}
