//! `nylon top` beside a real gateway: what it prints is what was done, whatever became of the gateway meanwhile.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nylon_tests::{
    Answer, Client, Exposition, Gateway, Site, Terminal, Upstream, eventually, ports, proc,
    program, step, watchdog,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// Rows are stored once a second, and a machine may be loaded.
const SOON: Duration = Duration::from_secs(20);

/// A gateway with the plugins `alpha`, of two workers, and `beta`.
async fn served() -> (Upstream, Site, Gateway, Client) {
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr);
    let site = site.plugin_with("alpha", "probe", json!({"workers": 2}));
    let site = site.plugin_with("beta", "probe", json!({}));
    let site = site.path("/alpha", "up", &[step("alpha", "nonce")]);
    let gateway = Gateway::start(&site).await;
    let three = || (gateway.workers().len() == 3).then_some(());
    eventually("three workers", SOON, three).await;
    let client = Client::new(gateway.addr);
    (up, site, gateway, client)
}

fn top(pid: u32, more: &[&str]) -> Output {
    let mut command = Command::new(program::nylon());
    command.args(["top", "--pid", &pid.to_string()]).args(more);
    command.output().expect("nylon runs")
}

/// What `nylon top --once --json` prints of a gateway that is there.
fn rows(pid: u32) -> Value {
    let out = top(pid, &["--once", "--json"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("JSON")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The row of a plugin.
fn plugin<'r>(rows: &'r Value, name: &str) -> &'r Value {
    let plugins = rows["plugins"].as_array().expect("rows");
    plugins.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name}: {rows:#}"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a number: {value}"))
}

/// Names of the plugins, and whose each worker is.
fn names(rows: &Value) -> Vec<String> {
    let plugins = rows["plugins"].as_array().expect("rows").iter().map(|row| &row["name"]);
    let workers = rows["workers"].as_array().expect("rows").iter().map(|row| &row["plugin"]);
    plugins.chain(workers).map(|name| name.as_str().expect("a name").to_owned()).collect()
}

fn pids(rows: &Value) -> BTreeSet<u32> {
    let workers = rows["workers"].as_array().expect("rows").iter();
    workers.map(|row| u32::try_from(number(&row["pid"])).expect("a pid")).collect()
}

/// Waits for rows that were all stored after this was called, and are as `probe` wants them.
async fn rows_until(gateway: &Gateway, what: &str, probe: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    let fresh = || {
        let asked = u64::try_from(begun.elapsed().as_millis()).expect("small");
        let rows = rows(gateway.pid());
        let all = ["plugins", "workers"].map(|kind| rows[kind].as_array().expect("rows").clone());
        let old = all.iter().flatten().any(|row| number(&row["age_ms"]) > asked);
        (!old && probe(&rows)).then_some(rows)
    };
    eventually(what, SOON, fresh).await
}

fn running(gateway: &Gateway) -> BTreeSet<u32> {
    gateway.workers().iter().map(|worker| worker.pid).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rows_tell_what_was_done() {
    let _dog = watchdog(120);
    let (_up, site, gateway, client) = served().await;
    let ready = |rows: &Value| pids(rows) == running(&gateway);
    let before = rows_until(&gateway, "three pids", ready).await;
    assert_eq!(before["pid"], gateway.pid());
    assert_eq!((&before["host_alive"], &before["host_state"]), (&true.into(), &"running".into()));
    assert_eq!(names(&before), ["alpha", "beta", "alpha", "alpha", "beta"]);
    assert!(
        before["workers"]
            .as_array()
            .is_some_and(|all| all.iter().all(|w| number(&w["rss_bytes"]) > 0))
    );

    let calls = number(&plugin(&before, "alpha")["calls"]);
    for _ in 0..30 {
        assert_eq!(client.get("/alpha").await.status, 200);
    }
    let done = |rows: &Value| number(&plugin(rows, "alpha")["calls"]) >= calls + 30;
    let after = rows_until(&gateway, "thirty calls", done).await;
    assert_eq!(number(&plugin(&after, "alpha")["calls"]), calls + 30, "{after:#}");
    assert_eq!(plugin(&after, "beta")["calls"], plugin(&before, "beta")["calls"]);

    let victim = number(&after["workers"][0]["pid"]);
    assert_eq!(after["workers"][0]["plugin"], "alpha");
    proc::kill(u32::try_from(victim).expect("a pid"), Signal::SIGKILL);
    let back = |rows: &Value| {
        let alpha = plugin(rows, "alpha");
        alpha["workers_ready"] == 2 && alpha["crashes"] == 1 && pids(rows) == running(&gateway)
    };
    let crashed = rows_until(&gateway, "a crash and a new worker", back).await;
    let alpha = plugin(&crashed, "alpha");
    assert_eq!((&alpha["restarts"], &alpha["generation"]), (&1.into(), &3.into()));
    assert_eq!(plugin(&crashed, "beta")["crashes"], 0);
    let ends: Vec<_> = crashed["workers"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|w| w["last_exit"].as_str())
        .collect();
    let ended: Vec<_> = ends.iter().flatten().filter(|how| !how.is_empty()).collect();
    assert!(ended.len() == 1 && ended[0].contains("SIGKILL"), "{ends:?}");
    assert!(number(&alpha["calls"]) >= calls + 30, "those of the dead count");

    // Other workers, because of another configuration: nobody failed.
    let text = std::fs::read_to_string(site.proxy_file()).expect("a file");
    let mut proxy: Value = serde_json::from_str(&text).expect("JSON");
    proxy["plugins"][0]["config"]["round"] = json!(2);
    std::fs::write(site.proxy_file(), proxy.to_string()).expect("written");
    gateway.signal(Signal::SIGHUP);
    let changed = |rows: &Value| {
        let alpha = plugin(rows, "alpha");
        alpha["generation"] == 5 && rows["workers"].as_array().is_some_and(|all| all.len() == 3)
    };
    let changed = rows_until(&gateway, "the workers of the new build alone", changed).await;
    let alpha = plugin(&changed, "alpha");
    assert_eq!((&alpha["restarts"], &alpha["crashes"]), (&1.into(), &1.into()), "{alpha:#}");
    assert!(number(&alpha["calls"]) >= calls + 30, "and those of the retired");
}

/// A request for `/alpha` whose handler holds it until [`release`].
fn held(client: &Client, nonce: &'static str) -> JoinHandle<Answer> {
    let client = client.clone();
    tokio::spawn(async move { client.get_with("/held", &[("x-nonce", nonce)]).await })
}

fn release(site: &Site, nonces: &[&str]) {
    for nonce in nonces {
        let file = format!("{}.{nonce}", site.trace_file().display());
        std::fs::write(file, "").expect("a file");
    }
}

/// As [`served`], with one worker of `alpha` that nobody asks how it fares, and time enough for all it does.
async fn patient(limits: Value) -> (Upstream, Site, Gateway, Client) {
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr);
    let patient = json!({"timeout": "100s", "ping": "100s", "limits": limits});
    let site = site.plugin_with("alpha", "probe", patient).plugin_with("beta", "probe", json!({}));
    let site = site.path("/alpha", "up", &[step("alpha", "nonce")]);
    let site = site.path("/held", "up", &[step("alpha", "wait")]);
    let site = site.runtime(json!({"metrics": [ports::free().to_string()]}));
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);
    (up, site, gateway, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_session_is_told_by_its_age() {
    let _dog = watchdog(120);
    let (_up, site, gateway, client) = patient(json!({})).await;
    let idle = |rows: &Value| {
        let all = |kind: &str| rows[kind].as_array().expect("rows").clone();
        all("plugins").iter().chain(&all("workers")).all(|row| row["oldest_session_ms"].is_null())
    };
    rows_until(&gateway, "nothing is open", idle).await;

    let sent = Instant::now();
    let first = held(&client, "first");
    let open = |rows: &Value| plugin(rows, "alpha")["sessions"] == 1;
    let rows = rows_until(&gateway, "it is open", open).await;
    let (before, seen) = (number(&rows["workers"][0]["oldest_session_ms"]), Instant::now());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let second = held(&client, "second");
    let two = |rows: &Value| plugin(rows, "alpha")["sessions"] == 2;
    let rows = rows_until(&gateway, "and another", two).await;
    let after = number(&rows["workers"][0]["oldest_session_ms"]);
    // Clocks of whole milliseconds.
    assert!(after + 5 >= before + 300, "{rows:#}");
    assert!(u128::from(after) <= sent.elapsed().as_millis() + 5, "{rows:#}");
    assert_eq!(plugin(&rows, "alpha")["oldest_session_ms"], after);
    assert_eq!(plugin(&rows, "alpha")["in_flight"], 2);
    assert!(plugin(&rows, "beta")["oldest_session_ms"].is_null());

    release(&site, &["first"]);
    assert_eq!(first.await.expect("it ran").status, 200);
    let one = rows_until(&gateway, "the second is the oldest", open).await;
    let left = number(&one["workers"][0]["oldest_session_ms"]);
    assert!(u128::from(left) <= seen.elapsed().as_millis() + 5, "{one:#}");
    release(&site, &["second"]);
    assert_eq!(second.await.expect("it ran").status, 200);
    rows_until(&gateway, "nothing is open any more", idle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stopped_worker_does_not_take_is_in_its_ring() {
    let _dog = watchdog(120);
    let (_up, _site, gateway, client) = patient(json!({})).await;
    let depth = |row: &Value| {
        ["ring_down", "ring_up", "arena_down_bytes", "arena_up_bytes"].map(|key| number(&row[key]))
    };
    let empty = |rows: &Value| depth(plugin(rows, "alpha")) == [0; 4];
    let rows = rows_until(&gateway, "nothing is on its way", empty).await;
    let worker = u32::try_from(number(&rows["workers"][0]["pid"])).expect("a pid");
    proc::kill(worker, Signal::SIGSTOP);
    eventually("it has stopped", SOON, || proc::stopped(worker).then_some(())).await;

    let header = "x".repeat(1000);
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let (client, header) = (client.clone(), header.clone());
            tokio::spawn(async move { client.get_with("/alpha", &[("x-long", &header)]).await })
        })
        .collect();
    let full = |rows: &Value| number(&plugin(rows, "alpha")["in_flight"]) == 5;
    let rows = rows_until(&gateway, "five calls on their way", full).await;
    let of_worker = &rows["workers"][0];
    let [ring, up, arena, _] = depth(of_worker);
    assert!((5..=number(&of_worker["ring_slots"])).contains(&ring) && up == 0, "{of_worker:#}");
    let room = number(&of_worker["arena_bytes"]);
    assert!((5000..=room).contains(&arena), "{of_worker:#}");
    assert_eq!(depth(plugin(&rows, "alpha")), depth(of_worker));
    assert_eq!(plugin(&rows, "alpha")["ring_slots"], of_worker["ring_slots"]);
    assert_eq!(depth(plugin(&rows, "beta")), [0; 4]);
    let table = text(&top(gateway.pid(), &["--once"]).stdout);
    assert!(table.contains(&format!(" {ring}/0 ")), "{table}");

    proc::kill(worker, Signal::SIGCONT);
    for call in calls {
        assert_eq!(call.await.expect("it ran").status, 200);
    }
    rows_until(&gateway, "nothing is on its way any more", empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_place_is_in_the_queue() {
    let _dog = watchdog(120);
    let limits = json!({"concurrency": 1, "queue_wait": "100s"});
    let (_up, site, gateway, client) = patient(limits).await;
    let first = held(&client, "first");
    let inside = |rows: &Value| plugin(rows, "alpha")["in_flight"] == 1;
    rows_until(&gateway, "one is inside", inside).await;
    let others = ["second", "third"].map(|nonce| held(&client, nonce));
    let two = |rows: &Value| plugin(rows, "alpha")["queue_depth"] == 2;
    let rows = rows_until(&gateway, "two wait", two).await;
    assert_eq!(plugin(&rows, "alpha")["in_flight"], 1);
    assert_eq!(plugin(&rows, "beta")["queue_depth"], 0);

    let runtime = std::fs::read_to_string(site.runtime_file()).expect("a file");
    let runtime: Value = serde_json::from_str(&runtime).expect("JSON");
    let metrics = runtime["metrics"][0].as_str().and_then(|addr| addr.parse().ok());
    let metrics = Client::new(metrics.expect("an address"));
    let scrape = async || Exposition::read(&metrics.get("/metrics").await.text());
    let alpha = [("plugin", "alpha")];
    let found = scrape().await;
    assert_eq!(found.sum("nylon_plugin_waiting_calls", &alpha), 2.0);
    assert_eq!(found.sum("nylon_plugin_worker_restarts_total", &alpha), 0.0);

    release(&site, &["first", "second", "third"]);
    assert_eq!(first.await.expect("it ran").status, 200);
    for other in others {
        assert_eq!(other.await.expect("it ran").status, 200);
    }
    assert_eq!(scrape().await.sum("nylon_plugin_waiting_calls", &alpha), 0.0);
    rows_until(&gateway, "nobody waits", |rows| plugin(rows, "alpha")["queue_depth"] == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_gateway_is_shown_as_it_was() {
    let _dog = watchdog(120);
    let (_up, _site, gateway, _client) = served().await;
    let ready = |rows: &Value| pids(rows) == running(&gateway);
    let before = rows_until(&gateway, "three pids", ready).await;
    gateway.signal(Signal::SIGSTOP);
    let stopped = || Some(rows(gateway.pid())).filter(|rows| rows["host_state"] == "stopped");
    let first = eventually("it is stopped", SOON, stopped).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let second = rows(gateway.pid());
    assert!(number(&second["stale_ms"]) >= number(&first["stale_ms"]) + 300, "{first:#}{second:#}");
    for rows in [&first, &second] {
        assert_eq!((names(rows), pids(rows)), (names(&before), pids(&before)));
        assert_eq!(rows["host_alive"], true);
    }
    let told = || {
        let out = top(gateway.pid(), &["--once"]);
        text(&out.stdout).contains("host does not answer for").then_some(out)
    };
    let table = eventually("it says so", SOON, told).await;
    assert_eq!(table.status.code(), Some(0));
    assert_eq!(text(&table.stdout).matches("  worker ").count(), 3);
    gateway.signal(Signal::SIGCONT);
    rows_until(&gateway, "it goes on", |rows| number(&rows["stale_ms"]) < 2500).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_gateway_is_gone_and_its_name_too() {
    let _dog = watchdog(120);
    let (_up, _site, mut gateway, _client) = served().await;
    let pid = gateway.pid();
    let name = PathBuf::from(format!("/dev/shm/nylon-{pid}"));
    let segment = std::fs::read(&name).expect("its segment");
    gateway.signal(Signal::SIGKILL);
    gateway.exit(Duration::from_secs(5)).await;
    let last = || {
        // Any gateway that starts on this machine removes it as well.
        std::fs::write(&name, &segment).expect("it is put there again");
        Some(top(pid, &["--once", "--json"])).filter(|out| !out.stdout.is_empty())
    };
    let out = eventually("its last rows", SOON, last).await;
    assert_eq!(out.status.code(), Some(3));
    assert!(text(&out.stderr).contains(&format!("host {pid} is gone")), "{}", text(&out.stderr));
    let rows: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!((&rows["host_alive"], &rows["host_state"]), (&false.into(), &"gone".into()));
    assert_eq!(names(&rows), ["alpha", "beta", "alpha", "alpha", "beta"]);
    assert!(!name.exists());
    let again = top(pid, &["--once"]);
    assert_eq!((again.status.code(), text(&again.stdout).as_str()), (Some(3), ""));
    assert!(text(&again.stderr).contains("is gone"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_gateways_one_is_to_be_chosen() {
    let _dog = watchdog(120);
    let (_up, _site, first, _) = served().await;
    let second = Gateway::start(&Site::new().plugin("probe")).await;
    let out = Command::new(program::nylon()).args(["top", "--once"]).output().expect("nylon runs");
    assert_eq!((out.status.code(), text(&out.stdout).as_str()), (Some(2), ""));
    for pid in [first.pid(), second.pid()] {
        assert!(text(&out.stderr).contains(&format!("--pid {pid} ")), "{}", text(&out.stderr));
    }
    let own = std::process::id();
    let none = top(own, &["--once"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains(&format!("process {own} has no telemetry segment")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_screen_shows_the_plugins_and_q_leaves() {
    let _dog = watchdog(180);
    let (_up, _site, gateway, client) = served().await;
    for _ in 0..30 {
        assert_eq!(client.get("/alpha").await.status, 200);
    }
    let ready = |rows: &Value| {
        pids(rows) == running(&gateway) && number(&plugin(rows, "alpha")["calls"]) >= 30
    };
    let rows = rows_until(&gateway, "thirty calls", ready).await;
    let nylon = program::nylon().display().to_string();
    let again =
        format!("while :; do {nylon} top --pid {}; echo left=$?; read line; done", gateway.pid());
    let Some(terminal) = Terminal::start(&again) else { return };

    let host = format!("host {}", gateway.pid());
    let calls = plugin(&rows, "alpha")["calls"].to_string();
    let beta = rows["workers"][2]["pid"].to_string();
    let screen = terminal.shows(&[&host, "PLUGIN", "heard of", "beta", "ready 1/1"]).await;
    let line = |screen: &str, word: &str| {
        let found = screen.lines().find(|line| line.trim_start().starts_with(word));
        found.unwrap_or_else(|| panic!("{word} in:\n{screen}")).to_owned()
    };
    assert!(line(&screen, "alpha").contains(&format!(" {calls} ")), "{screen}");
    assert!(line(&screen, "beta").contains(&beta), "{screen}");
    terminal.keys(&["Enter"]);
    let pids: Vec<_> =
        rows["workers"].as_array().expect("rows").iter().map(|w| w["pid"].to_string()).collect();
    terminal.shows(&[&pids[0], &pids[1], "worker 1", "worker 2"]).await;
    // Of the plugin, then of its first worker.
    let both = ["p99", "logging", "oldest", "ring down", "ring up", "arena down", "rss", "cpu %"];
    let depth = format!("ring down   0/{}", plugin(&rows, "alpha")["ring_slots"]);
    terminal.shows(&[&both[..], &["wakes/s", "restarts", "queued", "poll", &depth]].concat()).await;
    terminal.keys(&["Down"]);
    terminal.shows(&[&both[..], &["handovers", "cpu time", "poll"]].concat()).await;
    terminal.tmux(&["resize-window", "-x", "200", "-y", "40"]);
    let columns = ["P50", "P99", "FLIGHT", "OLDEST", "RING", "ARENA", "WAKES/S", "POLL", "RSS"];
    terminal.shows(&[&columns[..], &["CPU%", "RESTARTS", "LAST EXIT"]].concat()).await;

    // As small as nobody wants it, and back.
    terminal.tmux(&["resize-window", "-x", "30", "-y", "8"]);
    terminal.shows(&["alpha", "worker 1"]).await;
    terminal.tmux(&["resize-window", "-x", "120", "-y", "40"]);
    terminal.shows(&["response_body_filter", "q quit"]).await;

    gateway.signal(Signal::SIGSTOP);
    terminal.shows(&["host does not answer for"]).await;
    gateway.signal(Signal::SIGCONT);
    terminal.shows(&["heard of"]).await;

    terminal.keys(&["q"]);
    terminal.shows(&["left=0"]).await;
    // SIGTERM leaves the terminal as a key does.
    terminal.keys(&["Enter"]);
    terminal.shows(&["PLUGIN", "alpha"]).await;
    let shell: u32 =
        terminal.tmux(&["display-message", "-p", "#{pane_pid}"]).trim().parse().expect("a pid");
    let child = proc::workers(shell).first().map(|child| child.pid).expect("nylon top runs");
    proc::kill(child, Signal::SIGTERM);
    terminal.shows(&["left=0"]).await;
    assert_eq!(terminal.tmux(&["display-message", "-p", "#{alternate_on}"]).trim(), "0");
}
