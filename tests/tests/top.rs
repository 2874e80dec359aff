//! `nylon top` beside a real gateway: what it prints is what was done, whatever became of the gateway meanwhile.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nylon_tests::{Client, Gateway, Site, Upstream, eventually, proc, program, step, watchdog};
use serde_json::{Value, json};

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
    let (_up, _site, gateway, client) = served().await;
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

/// A terminal of 120 × 40 characters in a tmux server of the test's own.
struct Terminal(String);

impl Terminal {
    /// None, and a word of it, where there is no tmux.
    fn start(shell: &str) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            // Not by eprintln!, which a test that passes keeps to itself.
            let _ = writeln!(
                std::io::stderr(),
                "NOT TESTED: the screen of `nylon top`, for want of tmux (apt-get install tmux)"
            );
            return None;
        }
        let this = Self(format!("nylon-top-{}", std::process::id()));
        this.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", shell]);
        Some(this)
    }

    fn tmux(&self, args: &[&str]) -> String {
        let out = Command::new("tmux").args(["-u", "-L", &self.0]).args(args).output();
        let out = out.expect("tmux runs");
        assert!(out.status.success(), "tmux {args:?}: {}", text(&out.stderr));
        text(&out.stdout)
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Waits until all `parts` are to be seen; the screen then.
    async fn shows(&self, parts: &[&str]) -> String {
        let mut last = String::new();
        let seen = || {
            last = self.tmux(&["capture-pane", "-p"]);
            parts.iter().all(|part| last.contains(part)).then(|| last.clone())
        };
        let end = tokio::time::timeout(SOON, async {
            let mut seen = seen;
            loop {
                if let Some(screen) = seen() {
                    return screen;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        end.await
            .unwrap_or_else(|_| panic!("{parts:?} in:\n{}", self.tmux(&["capture-pane", "-p"])))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.0, "kill-server"]).output();
    }
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
