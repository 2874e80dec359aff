//! What the supervisor does to a plugin that fails, hangs or is replaced, seen from its requests.

use std::collections::HashSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use nylon_host::{
    Body, Breaker, Chain, Client, ControlError, Host, Item, Payload, PluginSpec, PluginState,
    PluginStatus, SandboxLevel, Supervision, WorkerState,
};
use nylon_tests::load::{self, Plan};
use nylon_tests::{Gateway, Site, Temp, Upstream, eventually, proc, program, step, watchdog};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

fn spec(name: &str) -> PluginSpec {
    let mut spec = PluginSpec::new(name, program::plugin("probe"));
    spec.start_timeout = SOON;
    spec.supervision.ping = Duration::from_millis(300);
    spec
}

fn chain(host: &Host, entry: &str, timeout: Duration) -> Arc<Chain> {
    let mut policies = nylon_host::PhasePolicies::default();
    policies.request_filter.timeout = timeout;
    let item = Item::new("p", entry).policies(policies);
    host.chain().item(item).expect("it is there").build()
}

/// A chain whose handler takes its time.
fn slow(host: &Host, ms: u32) -> Arc<Chain> {
    let payload = Payload::Constant(json!({"ms": ms}).to_string().into());
    let item = Item::new("p", "sleep").payload(payload);
    host.chain().item(item).expect("it is there").build()
}

/// One call through a chain: its status, and the process that answered.
async fn call(chain: &Arc<Chain>) -> (u16, u32) {
    let request = http::Request::get("/").header("x-nonce", "n").body(Body::empty());
    let client = Client { ip: [127, 0, 0, 1].into(), tls: false };
    let service = async |_| Ok(http::Response::new(Body::empty()));
    let answer = chain.call(request.expect("a request"), client, vec![], service).await;
    let pid = answer.headers().get("x-plugin-pid").and_then(|v| v.to_str().ok());
    (answer.status().as_u16(), pid.and_then(|pid| pid.parse().ok()).unwrap_or(0))
}

fn status(host: &Host) -> PluginStatus {
    host.status("p").expect("it is there")
}

async fn until(host: &Host, what: &str, holds: impl Fn(&PluginStatus) -> bool) -> PluginStatus {
    let found = || Some(status(host)).filter(|status| holds(status));
    eventually(what, SOON, found).await
}

/// The workers that take requests.
fn serving(status: &PluginStatus) -> Vec<u32> {
    status.workers.iter().filter(|w| w.admitted).map(|w| w.pid).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_handler_costs_its_request_and_nobody_else() {
    let _dog = watchdog(120);
    let host = Host::start(vec![spec("p")]).await.expect("it starts");
    let pid = status(&host).pid;
    let never = chain(&host, "never", Duration::from_millis(300));
    assert_eq!(call(&never).await.0, 504);
    let others = chain(&host, "nonce", Duration::from_secs(5));
    for _ in 0..1000 {
        assert_eq!(call(&others).await, (200, pid));
    }
    assert_eq!(status(&host).deadlines, 1, "it is counted");
    host.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_stuck_handlers_cost_their_worker() {
    let _dog = watchdog(120);
    let host = Host::start(vec![spec("p")]).await.expect("it starts");
    let old = status(&host).pid;
    let never = chain(&host, "never", Duration::from_millis(300));
    let calls: Vec<_> = (0..16)
        .map(|_| {
            let never = never.clone();
            tokio::spawn(async move { call(&never).await })
        })
        .collect();
    // It is in flight when the worker is given up, and is done in peace: the old one is drained first.
    let slow = slow(&host, 1500);
    for call in calls {
        assert_eq!(call.await.expect("it ran").0, 504);
    }
    let last = tokio::spawn(async move { call(&slow).await });
    let new = until(&host, "another worker", |s| serving(s).iter().any(|pid| *pid != old)).await;
    assert!(!serving(&new).contains(&old), "{new:?}");
    assert_eq!(last.await.expect("it ran").0, 200);
    until(&host, "the old one is gone", |s| s.workers.len() == 1).await;
    assert!(!proc::alive(old));
    assert!(status(&host).last_end.contains("hung"), "{}", status(&host).last_end);
    host.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_worker_is_noticed_by_its_silence() {
    let _dog = watchdog(120);
    let host = Host::start(vec![spec("p")]).await.expect("it starts");
    let nonce = chain(&host, "nonce", Duration::from_millis(200));
    let mut seen = HashSet::new();
    for _ in 0..3 {
        let old = status(&host).pid;
        assert!(seen.insert(old), "it was replaced");
        proc::kill(old, Signal::SIGSTOP);
        eventually("it has stopped", SOON, || proc::stopped(old).then_some(())).await;
        assert!(matches!(call(&nonce).await.0, 502..=504));
        until(&host, "another worker", |s| serving(s).iter().any(|pid| *pid != old)).await;
        assert_eq!(call(&nonce).await.0, 200);
        eventually("the old one is gone", SOON, || (!proc::alive(old)).then_some(())).await;
    }
    host.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_is_not_asked_anything() {
    let _dog = watchdog(60);
    let host = Host::start(vec![spec("p")]).await.expect("it starts");
    let nonce = chain(&host, "nonce", Duration::from_secs(5));
    for _ in 0..3 {
        assert_eq!(call(&nonce).await.0, 200);
        // One look finds it idle; from then on there is nothing.
        tokio::time::sleep(Duration::from_millis(700)).await;
        let before = status(&host).frames_down;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(status(&host).frames_down, before, "frames to an idle worker");
    }
    host.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_breaker_opens_and_an_operator_closes_it() {
    let _dog = watchdog(120);
    let mut spec = spec("p");
    let breaker = Breaker { intensity: 3, period: Duration::from_secs(60) };
    spec.supervision = Supervision { breaker, ..spec.supervision };
    let host = Host::start(vec![spec]).await.expect("it starts");
    let exit = chain(&host, "exit", Duration::from_secs(5));
    let mut ends = 0;
    while status(&host).state != PluginState::Failed {
        let answer = call(&exit).await.0;
        assert!(matches!(answer, 502 | 503), "{answer}");
        ends += u32::from(answer == 502);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ends, 4, "three are tolerated");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((status(&host).state, status(&host).workers.len()), (PluginState::Failed, 0));
    host.restart("p").await.expect("it starts");
    let nonce = chain(&host, "nonce", Duration::from_secs(5));
    assert_eq!(call(&nonce).await.0, 200);
    host.stop(Duration::from_secs(5)).await;
}

/// Calls one after the other until told; all that were not 200, and who answered.
fn caller(chain: &Arc<Chain>) -> tokio::task::JoinHandle<(u32, Vec<u16>, HashSet<u32>)> {
    let chain = chain.clone();
    tokio::spawn(async move {
        let (mut sent, mut bad, mut pids) = (0, Vec::new(), HashSet::new());
        let end = tokio::time::Instant::now() + Duration::from_secs(6);
        while tokio::time::Instant::now() < end {
            let (status, pid) = call(&chain).await;
            sent += 1;
            pids.insert(pid);
            if status != 200 {
                bad.push(status);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        (sent, bad, pids)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_rollbacks_and_restarts_fail_no_request() {
    let _dog = watchdog(120);
    let mut spec = spec("p");
    spec.workers = 2;
    let host = Host::start(vec![spec]).await.expect("it starts");
    let nonce = chain(&host, "nonce", Duration::from_secs(5));
    let callers: Vec<_> = (0..4).map(|_| caller(&nonce)).collect();
    assert!(matches!(host.rollback("p").await, Err(ControlError::NoPrevious)));
    assert!(matches!(host.upgrade("q", None).await, Err(ControlError::UnknownPlugin(_))));

    let first = serving(&status(&host));
    let build = host.upgrade("p", None).await.expect("it starts");
    assert_eq!(status(&host).build, build);
    let second = serving(&status(&host));
    assert!(second.len() == 2 && second.iter().all(|pid| !first.contains(pid)), "{second:?}");

    // One that never shakes hands, and one that is not there: neither gets a request.
    for program in ["/bin/true", "/not/there"] {
        let refused = host.upgrade("p", Some(PathBuf::from(program))).await;
        assert!(matches!(refused, Err(ControlError::NotStarted(_))), "{refused:?}");
        assert_eq!(serving(&status(&host)), second);
    }
    host.rollback("p").await.expect("it starts");
    host.restart("p").await.expect("it starts");
    until(&host, "the old ones are gone", |s| s.workers.len() == 2).await;

    let mut all = HashSet::new();
    for caller in callers {
        let (sent, bad, pids) = caller.await.expect("it ran");
        assert!(sent > 100, "{sent} calls");
        assert_eq!(bad, [0; 0], "of {sent}");
        all.extend(pids);
    }
    assert!(all.len() >= 4, "more than one build answered: {all:?}");
    assert_eq!(status(&host).crashes, 0);
    host.stop(Duration::from_secs(5)).await;
}

/// Answers, and what the process that answered runs, as bytes.
async fn running(chain: &Arc<Chain>) -> Vec<u8> {
    let (status, pid) = call(chain).await;
    assert_eq!(status, 200);
    std::fs::read(format!("/proc/{pid}/exe")).expect("its program")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_runs_its_program_whatever_becomes_of_the_file() {
    let _dog = watchdog(120);
    let dir = Temp::new();
    let (file, new) = (dir.path().join("program"), dir.path().join("new"));
    // Two programs that do the same, and are not the same.
    let one = std::fs::read(program::plugin("probe")).expect("a program");
    let two = [&one[..], b"two"].concat();
    let install = |program: &[u8]| {
        std::fs::write(&new, program).expect("written");
        std::fs::set_permissions(&new, Permissions::from_mode(0o755)).expect("ours");
        std::fs::rename(&new, &file).expect("one folder");
    };
    for level in [SandboxLevel::Standard, SandboxLevel::Strict] {
        install(&one);
        let mut spec = PluginSpec { program: file.clone(), ..spec("p") };
        spec.sandbox.level = level;
        let host = Host::start(vec![spec]).await.expect("it starts");
        let nonce = chain(&host, "nonce", Duration::from_secs(5));
        let killed = async || {
            let old = status(&host).pid;
            proc::kill(old, Signal::SIGKILL);
            until(&host, "another worker", |s| serving(s).iter().any(|pid| *pid != old)).await;
        };
        install(&two);
        killed().await;
        assert!(running(&nonce).await == one, "after a crash, {level:?}");
        host.restart("p").await.expect("it starts");
        assert!(running(&nonce).await == one, "after a restart");
        host.upgrade("p", None).await.expect("it starts");
        assert!(running(&nonce).await == two, "after an upgrade");
        std::fs::remove_file(&file).expect("it is there");
        killed().await;
        assert!(running(&nonce).await == two, "after a crash without a file");
        host.rollback("p").await.expect("it starts");
        assert!(running(&nonce).await == one, "after a rollback");
        killed().await;
        assert!(running(&nonce).await == one, "after a crash of what was rolled back to");
        host.rollback("p").await.expect("it starts");
        assert!(running(&nonce).await == two, "after a rollback of the rollback");
        let refused = host.upgrade("p", None).await;
        assert!(matches!(refused, Err(ControlError::NotStarted(_))), "{refused:?}");
        assert!(running(&nonce).await == two, "after an upgrade that was refused");
        host.stop(Duration::from_secs(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_never_ready_is_looked_for_again() {
    let _dog = watchdog(120);
    let dir = Temp::new();
    let file = dir.path().join("program");
    let install = |from: &Path| {
        let new = dir.path().join("new");
        std::fs::copy(from, &new).expect("a copy");
        std::fs::rename(&new, &file).expect("one folder");
    };
    install(Path::new("/bin/true"));
    let mut spec = PluginSpec { program: file.clone(), required: false, ..spec("p") };
    spec.supervision.breaker = Breaker { intensity: 1, period: Duration::from_secs(60) };
    let host = Host::start(vec![spec]).await.expect("nobody waits for it");
    until(&host, "it is given up", |s| s.state == PluginState::Failed).await;
    install(&program::plugin("probe"));
    host.restart("p").await.expect("there is a better program");
    assert_eq!(call(&chain(&host, "nonce", Duration::from_secs(5))).await.0, 200);
    host.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_what_is_in_flight() {
    let _dog = watchdog(60);
    let host = Host::start(vec![spec("p")]).await.expect("it starts");
    let (slow, nonce) = (slow(&host, 2000), chain(&host, "nonce", Duration::from_secs(5)));
    let in_flight = tokio::spawn(async move { call(&slow).await });
    until(&host, "a handler runs", |s| s.in_flight == 1).await;
    host.pause("p").await.expect("it is there");
    assert_eq!((call(&nonce).await.0, status(&host).state), (503, PluginState::Paused));
    host.resume("p").await.expect("it is there");
    assert_eq!(call(&nonce).await.0, 200);
    host.drain("p").await.expect("it is there");
    assert_eq!(in_flight.await.expect("it ran").0, 200);
    assert_eq!((call(&nonce).await.0, status(&host).state), (503, PluginState::Drained));
    assert!(status(&host).workers.is_empty());
    host.resume("p").await.expect("it is there");
    until(&host, "it serves again", |s| s.state == PluginState::Ready).await;
    assert_eq!(call(&nonce).await.0, 200);
    assert!(status(&host).workers.iter().all(|w| w.state == WorkerState::Ready));
    host.stop(Duration::from_secs(5)).await;
}

/// Descriptors, mappings, threads and children of this process.
fn possessions() -> [usize; 4] {
    let count = |path: &str| std::fs::read_dir(path).map_or(0, Iterator::count);
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs");
    let shared = maps.lines().filter(|line| line.contains("memfd:")).count();
    let children = proc::workers(std::process::id()).len();
    [count("/proc/self/fd"), shared, count("/proc/self/task"), children]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_restarts_leave_nothing() {
    let _dog = watchdog(if std::env::var_os("NYLON_LONG").is_some() { 1200 } else { 180 });
    let rounds = if std::env::var_os("NYLON_LONG").is_some() { 1000 } else { 100 };
    let mut spec = spec("p");
    spec.supervision.breaker.intensity = 0;
    spec.supervision.backoff.max = Duration::from_millis(50);
    let host = Host::start(vec![spec]).await.expect("it starts");
    let nonce = chain(&host, "nonce", Duration::from_secs(5));
    assert_eq!(call(&nonce).await.0, 200);
    // What a runtime keeps for good is there after the first.
    let mut before = [0; 4];
    for round in 0..=rounds {
        let old = status(&host).pid;
        proc::kill(old, Signal::SIGKILL);
        until(&host, "another worker", |s| serving(s).iter().any(|pid| *pid != old)).await;
        if round == 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            before = possessions();
        }
    }
    let same = || (possessions() == before).then_some(());
    eventually(&format!("as before: {before:?}, now {:?}", possessions()), SOON, same).await;
    assert_eq!(status(&host).crashes, rounds + 1);
    host.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_changes_what_changed_and_fails_no_request() {
    let _dog = watchdog(120);
    let up = Upstream::start().await;
    let (breaker, addr) = (json!({"breaker": {"intensity": 0}}), nylon_tests::ports::free());
    let site = Site::new().upstream("up", up.addr);
    let site = site.plugin_with("kept", "probe", breaker.clone());
    let site = site.plugin_with("changed", "probe", breaker.clone());
    let site = site.path("/kept", "up", &[step("kept", "nonce")]);
    let site = site.path("/changed", "up", &[step("changed", "nonce")]);
    let file = site.write(addr);
    let mut gateway = Gateway::spawn(&file, site.dir(), addr);
    gateway.ready(&["/kept".into(), "/changed".into()]).await;
    let client = nylon_tests::Client::new(addr);
    let pid = async |path: &str| client.get(path).await.header("x-plugin-pid").to_owned();
    let (kept, changed) = (pid("/kept").await, pid("/changed").await);
    let (duration, deadline) = (Duration::from_secs(6), Duration::from_secs(2));
    let loads = ["/kept", "/changed"].map(|path| {
        let stamp = load::in_headers;
        let plan = Plan { addr, path: path.into(), rate: 200, duration, deadline, stamp };
        tokio::spawn(async move { load::run(&plan).await })
    });

    let proxy = site.dir().join("conf.d/proxy.yaml");
    let text = std::fs::read_to_string(&proxy).expect("a file");
    let mut new: Value = serde_json::from_str(&text).expect("JSON");
    for round in 0..4 {
        new["plugins"][1]["config"]["round"] = json!(round);
        let paths = new["routes"][0]["paths"].as_array_mut().expect("a list");
        let kept = paths.iter_mut().find(|path| path["path"].to_string().contains("\"/kept\""));
        kept.expect("it is there")["path"] = json!(["/kept", format!("/new-{round}")]);
        std::fs::write(&proxy, new.to_string()).expect("written");
        gateway.signal(Signal::SIGHUP);
        let path = format!("/new-{round}");
        let end = tokio::time::Instant::now() + SOON;
        while client.get(&path).await.status != 200 {
            assert!(tokio::time::Instant::now() < end, "not reloaded: {}", gateway.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::fs::write(&proxy, text.replace("\"name\": \"up\"", "\"nam\": \"up\""))
            .expect("written");
        gateway.signal(Signal::SIGHUP);
        let refused = || {
            let lines = gateway.log_lines(|l| l.contains("not reloaded"));
            (lines.len() > round).then_some(())
        };
        eventually("a bad one is refused", SOON, refused).await;
        assert_eq!(client.get(&path).await.status, 200, "the old one goes on");
    }
    for load in loads {
        let report = load.await.expect("it ran");
        assert_eq!(report.right(), 1200, "{} {:?}", report.json(), report.unexplained());
    }
    assert_eq!(pid("/kept").await, kept, "what did not change is not touched");
    assert_ne!(pid("/changed").await, changed);
    let two = || (gateway.workers().len() == 2).then_some(());
    eventually("those that served before are gone", SOON, two).await;
    assert!(gateway.running());
}
