//! What is kept of a worker that ended: the requests it had, what was said last, what it printed, and how it ended.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use nix::sys::signal::Signal;
use nylon_host::config::{OnFailure, PhasePolicies, Policy};
use nylon_host::inspect::{Cause, CrashReport, Direction, ExitReport, SessionDump};
use nylon_host::{Body, Chain, Client as From, Host, Item, PluginSpec};
use nylon_tests::{Client, Gateway, Site, Temp, Upstream, eventually, ports, proc, step};
use nylon_tests::{program, watchdog};
use serde_json::json;
use tokio::task::JoinHandle;

/// Requests before those that are in flight at the end: positions past 32, slots used before.
const WARM: usize = 40;
const SOON: Duration = Duration::from_secs(15);

fn ids<'s>(sessions: impl Iterator<Item = &'s SessionDump>) -> Vec<&'s str> {
    sessions.map(|s| s.request_id.as_str()).collect()
}

/// Asserts that the sessions of `report` are those of `requests`, in order, and that the last steps sent were theirs.
fn assert_in_flight(report: &CrashReport, requests: &[&str]) {
    assert_eq!(ids(report.sessions()), requests, "{report}");
    let [lane] = &report.lanes[..] else { panic!("one lane: {report}") };
    assert!(lane.frames.len() >= 32, "{report}");
    let calls = lane.frames.iter().filter(|f| f.direction == Direction::Down && f.kind == "call");
    let last: Vec<_> = calls.map(|f| f.session).collect();
    let sessions: Vec<_> = report.sessions().map(|s| s.session).collect();
    assert!(last.ends_with(&sessions), "{report}");
    for session in report.sessions() {
        let running = session.running.as_ref().unwrap_or_else(|| panic!("it ran: {report}"));
        assert_eq!(running.phase, "request_filter");
        assert!(session.age_ms >= running.age_ms);
    }
}

/// Asserts that the lines are the last 50 of 60 numbered ones.
fn assert_lines(report: &CrashReport) {
    let lines: Vec<_> = report.log.iter().map(|line| line.text.as_str()).collect();
    let expected: Vec<_> = (11..=60).map(|n| format!("line {n}")).collect();
    assert_eq!(lines, expected, "{report}");
    assert!(report.log.iter().all(|line| line.stream == "stderr" && !line.dropped), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_leaves_a_file_with_all_it_had() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr);
    let site = site.plugin_with("probe", "probe", json!({"timeout": "30s"}));
    let site = site.path("/warm", "up", &[step("probe", "nonce")]);
    let site = site.path("/held", "up", &[step("probe", "stuck")]);
    let addr = ports::free();
    let config = site.write(addr);
    let text = std::fs::read_to_string(&config).expect("it was written");
    let mut runtime: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    runtime["crash_reports"] = json!("crashes");
    std::fs::write(&config, runtime.to_string()).expect("it is written again");
    let mut gateway = Gateway::spawn(&config, site.dir(), addr);
    gateway.ready(&["/ready/probe".to_owned()]).await;
    let client = Client::new(addr);
    for _ in 0..WARM {
        assert_eq!(client.get("/warm").await.status, 200);
    }
    let worker = gateway.worker().await;
    let requests = ["first", "second", "third"];
    let mut held = Vec::new();
    for (id, lines) in requests.into_iter().zip(["0", "60", "0"]) {
        let client = client.clone();
        held.push(tokio::spawn(async move {
            client.get_with("/held", &[("x-request-id", id), ("x-lines", lines)]).await
        }));
        let line = format!("held {id}");
        eventually(&line, SOON, || site.trace().contains(&line).then_some(())).await;
    }
    let dump = gateway.operate(&site, &["dump", "probe"]).await.expect("a dump");
    assert!(dump.contains(&format!("pid {worker}")) && dump.contains("slots"), "{dump}");
    assert!(requests.iter().all(|id| dump.contains(id)), "{dump}");
    proc::kill(worker, Signal::SIGKILL);
    for held in held {
        assert_eq!(held.await.expect("no panic").status, 502);
    }
    let told = gateway.logged("crash report", SOON).await;
    assert!(told.contains("probe-1"), "{told}");

    let report = the_file(&site.dir().join("crashes"));
    assert_eq!((report.id.as_str(), report.plugin.as_str()), ("probe-1", "probe"));
    assert_eq!((report.generation, report.pid), (1, worker));
    assert_eq!(report.exit, ExitReport::Signal { number: 9, name: "SIGKILL".into() });
    assert_eq!(report.cause, Cause::NotTheHost);
    assert_in_flight(&report, &requests);
    assert_lines(&report);
    let taken = |f: &&nylon_host::inspect::FrameDump| !f.taken;
    assert_eq!(report.lanes[0].frames.iter().filter(taken).count(), 0, "{report}");

    // What an operator is shown is the same, as data and for the eye.
    let shown = gateway.operate(&site, &["crash", "show", "probe", "--json"]).await.expect("it");
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown, json!(report));
    let shown = gateway.operate(&site, &["crash", "show", "probe-1"]).await.expect("it");
    assert_eq!(shown, report.to_string().trim());
    let said = ["killed by SIGKILL", "generation 1,", "line 11", "line 60"];
    for part in requests.iter().chain(&said) {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(gateway.running());
}

/// The one report in a directory.
fn the_file(dir: &Path) -> CrashReport {
    let files: Vec<_> = std::fs::read_dir(dir).expect("it was made").flatten().collect();
    let [file] = &files[..] else { panic!("one file: {files:?}") };
    let mode = file.metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read(file.path()).expect("it can be read");
    serde_json::from_slice(&text).expect("a report")
}

/// A plugin in this process's own host.
struct Case {
    host: Host,
    chain: Arc<Chain>,
    temp: Temp,
}

impl Case {
    async fn start(mut spec: PluginSpec, entry: &str) -> Case {
        let temp = Temp::new();
        let trace = temp.path().join("trace");
        spec.config = json!({"name": "probe", "trace": trace}).to_string().into_bytes();
        spec.start_timeout = SOON;
        spec.lanes = 1;
        let host = Host::start(vec![spec]).await.expect("it starts");
        let policy = Policy { timeout: Duration::from_secs(30), on_failure: OnFailure::Closed };
        let policies = PhasePolicies { request_filter: policy, ..PhasePolicies::default() };
        let item = Item::new("probe", entry).policies(policies);
        let chain = host.chain().service(item).expect("it is there").build();
        Case { host, chain, temp }
    }

    async fn probe() -> Case {
        let case = Case::start(PluginSpec::new("probe", program::plugin("probe")), "stuck").await;
        let item = Item::new("probe", "pid");
        let warm = case.host.chain().service(item).expect("it is there").build();
        for _ in 0..WARM {
            assert_eq!(send(&warm, "/", &[]).await, 200);
        }
        case
    }

    /// With the worker of tests/hostile.rs, which breaks the rule `mode` names.
    async fn hostile(mode: &str) -> Case {
        let spec = PluginSpec {
            args: vec![mode.into()],
            ..PluginSpec::new("probe", env!("CARGO_BIN_EXE_nylon-hostile-worker"))
        };
        let case = Case::start(spec, "serve").await;
        for _ in 0..WARM {
            assert_eq!(send(&case.chain, "/", &[("x-nonce", "warm")]).await, 200);
        }
        case
    }

    /// Sends a request that is not answered until the worker ends.
    fn hold(&self, path: &'static str, headers: &[(&'static str, &str)]) -> JoinHandle<u16> {
        let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
        let chain = self.chain.clone();
        tokio::spawn(async move {
            let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
            send(&chain, path, &headers).await
        })
    }

    /// Waits until the trace has `line`.
    async fn traced(&self, line: &str) {
        let trace = self.temp.path().join("trace");
        let text = || std::fs::read_to_string(&trace).unwrap_or_default();
        eventually(line, SOON, || text().lines().any(|l| l == line).then_some(())).await;
    }

    async fn report(&self) -> Arc<CrashReport> {
        eventually("a report", SOON, || self.host.crash_reports("probe").pop()).await
    }

    /// Waits until as many requests as `n` are open in its worker.
    async fn open(&self, n: usize) {
        let sessions = || self.host.dump("probe").first().map(|w| w.lanes[0].sessions.len());
        eventually("requests in flight", SOON, || (sessions() == Some(n)).then_some(())).await;
    }

    /// Holds a request by each of `ids` in the worker's handler, one after the other.
    async fn hold_each(&self, ids: &[&str]) -> Vec<JoinHandle<u16>> {
        let mut held = Vec::new();
        for id in ids {
            held.push(self.hold("/", &[("x-request-id", id)]));
            self.traced(&format!("held {id}")).await;
        }
        held
    }

    fn pid(&self) -> u32 {
        self.host.status("probe").expect("it is there").pid
    }
}

async fn send(chain: &Arc<Chain>, path: &str, headers: &[(&str, &str)]) -> u16 {
    let request = headers
        .iter()
        .fold(Request::post(format!("http://localhost{path}")), |request, (name, value)| {
            request.header(*name, *value)
        });
    let request = request.body(Body::empty()).expect("a request");
    let client = From { ip: [127, 0, 0, 1].into(), tls: false };
    let answer =
        chain.call(request, client, vec![], async |_| unreachable!("the plugin answers")).await;
    answer.status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_exits_is_reported_with_its_status() {
    let _dog = watchdog(60);
    let case = Case::probe().await;
    let mut held = case.hold_each(&["one", "two"]).await;
    let last = [("x-request-id", "three"), ("x-lines", "60"), ("x-end", "exit")];
    held.push(case.hold("/", &last));
    for held in held {
        assert_eq!(held.await.expect("no panic"), 502);
    }
    let report = case.report().await;
    assert_eq!((&report.exit, &report.cause), (&ExitReport::Status(3), &Cause::NotTheHost));
    assert_eq!((report.id.as_str(), report.generation), ("probe-1", 1));
    assert_in_flight(&report, &["one", "two", "three"]);
    assert_lines(&report);
    case.host.stop(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_broke_the_protocol_is_reported_with_the_rule() {
    let _dog = watchdog(60);
    let rules = [("seq-ahead", "publish word"), ("record-op", "record: mutation-op")];
    for (mode, rule) in rules {
        let case = Case::hostile(mode).await;
        // Stopped, it takes none of them before all are there.
        proc::kill(case.pid(), Signal::SIGSTOP);
        let mut held = Vec::new();
        for (n, (path, id)) in (1..).zip([("/attack", "a"), ("/", "b"), ("/", "c")]) {
            held.push(case.hold(path, &[("x-request-id", id), ("x-nonce", id)]));
            case.open(n).await;
        }
        proc::kill(case.pid(), Signal::SIGCONT);
        for held in held {
            assert_eq!(held.await.expect("no panic"), 502, "{mode}");
        }
        let report = case.report().await;
        let Cause::Violation(found) = &report.cause else { panic!("{mode}: {report}") };
        assert!(found.contains(rule), "{mode}: {found}");
        assert_eq!(report.exit, ExitReport::Signal { number: 9, name: "SIGKILL".into() });
        assert_in_flight(&report, &["a", "b", "c"]);
        let untaken = report.lanes[0].frames.iter().filter(|f| f.kind == "call" && !f.taken);
        assert_eq!(untaken.count(), 2, "{mode}: {report}");
        case.host.stop(Duration::from_secs(2)).await;
    }
}

/// Whatever stands in its memory: a report is made of it, and the next worker serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_scribbled_is_reported_all_the_same() {
    let _dog = watchdog(60);
    let case = Case::hostile("flip-header").await;
    let report = loop {
        let _ = send(&case.chain, "/attack", &[("x-nonce", "n"), ("x-request-id", "hit")]).await;
        if let Some(report) = case.host.crash_reports("probe").pop() {
            break report;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(matches!(report.cause, Cause::Violation(_)), "{report}");
    assert!(report.lanes[0].frames.iter().any(|f| f.direction == Direction::Down), "{report}");
    assert!(!report.to_string().is_empty());
    let end = tokio::time::Instant::now() + SOON;
    while send(&case.chain, "/", &[("x-nonce", "n")]).await != 200 {
        assert!(tokio::time::Instant::now() < end, "no new worker serves");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    case.host.stop(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_of_a_live_worker_names_its_requests() {
    let _dog = watchdog(60);
    let case = Case::probe().await;
    let held = case.hold_each(&["one", "two"]).await;
    let workers = case.host.dump("probe");
    let [worker] = &workers[..] else { panic!("one worker: {workers:?}") };
    assert_eq!((worker.pid, worker.generation), (case.pid(), 1));
    assert!(worker.rss_bytes.is_some_and(|bytes| bytes > 100_000), "{worker}");
    let [lane] = &worker.lanes[..] else { panic!("one lane: {worker}") };
    assert_eq!(ids(lane.sessions.iter()), ["one", "two"]);
    assert!(lane.sessions.iter().all(|s| s.entry == "stuck"), "{worker}");
    assert_eq!((lane.in_flight, lane.down.taken), (2, lane.down.published), "{worker}");
    assert!(lane.frames.len() >= 32 && lane.frames.iter().all(|f| f.taken), "{worker}");
    assert_eq!(case.host.dump("other").len(), 0);
    assert_eq!(case.host.crash_reports("probe").len(), 0);
    // A stop is no crash.
    case.host.stop(Duration::from_secs(2)).await;
    assert_eq!(case.host.crash_reports("probe").len(), 0);
    for held in held {
        assert!(matches!(held.await.expect("no panic"), 502 | 503));
    }
}

/// A plugin that is a shell with `script`, tried in vain: the report of its first worker.
async fn never_ready(script: &str, start_timeout: Duration) -> Arc<CrashReport> {
    let mut spec = PluginSpec::new("sh", "/bin/sh");
    spec.args = vec!["-c".into(), script.into()];
    (spec.start_timeout, spec.required) = (start_timeout, false);
    let host = Host::start(vec![spec]).await.expect("it is not waited for");
    let first = || host.crash_reports("sh").first().cloned();
    let report = eventually("a report", SOON, first).await;
    host.stop(Duration::from_secs(2)).await;
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_ends_before_its_handshake_is_reported() {
    let _dog = watchdog(60);
    let report = never_ready("echo no database >&2; exit 7", SOON).await;
    assert_eq!((report.id.as_str(), report.generation), ("sh-1", 1));
    assert_eq!((&report.exit, &report.cause), (&ExitReport::Status(7), &Cause::NotTheHost));
    let [line] = &report.log[..] else { panic!("one line: {report}") };
    assert_eq!((line.stream.as_str(), line.text.as_str()), ("stderr", "no database"));
    assert!(report.pid > 0 && report.lanes.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_never_ready_is_reported_with_the_reason() {
    let _dog = watchdog(60);
    let script = "echo waiting; exec sleep 60";
    let report = never_ready(script, Duration::from_millis(500)).await;
    let Cause::NotReady(why) = &report.cause else { panic!("{report}") };
    assert!(why.contains("did not shake hands within 500ms"), "{why}");
    assert_eq!(report.exit, ExitReport::Signal { number: 9, name: "SIGKILL".into() });
    assert_eq!(report.log.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(), ["waiting"]);
    assert!(report.lived_ms >= 400, "{report}");
}
