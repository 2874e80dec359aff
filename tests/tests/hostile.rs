//! A worker that breaks the protocol harms itself: it is killed, a new one serves, and the plugin beside it gives no
//! wrong answer (HARDENING rows 1 to 8, 14, 15 and R9).
//!
//! Each case is a host with two plugins in the Rust worker of `nylon_tests::worker`: `bad` breaks the rule of the
//! case's name when it is asked for `/attack`, `good` never does and is asked all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use nylon_host::config::{OnFailure, PhasePolicies, Policy};
use nylon_host::{Body, Chain, Client, Host, Item, Payload, PluginSpec, PluginStatus};
use nylon_tests::worker::monotonic_ns;
use nylon_tests::{Temp, program, watchdog};
use rustix::process::{PidfdFlags, pidfd_open};
use tokio::task::JoinHandle;

const WORKER: &str = env!("CARGO_BIN_EXE_nylon-hostile-worker");
/// HARDENING R9: from a violation that can be seen to the worker's death.
const KILLED_WITHIN: Duration = Duration::from_millis(50);
/// The machine may be busy with something else: one of so many runs has to keep the bound.
const ATTEMPTS: usize = 3;
const DEADLINE: Duration = Duration::from_millis(300);

/// What is to come of an attack.
enum Expect {
    /// Killed; the violation's text has this in it.
    Killed(&'static str),
    /// Killed, but the moment of the violation is not known: something changes all the time.
    KilledSometime,
    /// The request is answered rightly, and this many of the worker's frames are dropped as late.
    Served(u64),
    /// This status, and the worker lives.
    Status(u16),
}

use Expect::{Killed, KilledSometime, Served, Status};

struct Answer {
    status: u16,
    nonce: String,
    body: String,
}

/// A host with `bad` and `good`.
struct Case {
    host: Host,
    bad: Arc<Chain>,
    good: Arc<Chain>,
    temp: Temp,
}

impl Case {
    async fn start(mode: &str, env: &[(&str, String)]) -> Case {
        let good = spec("good", "honest", &[]);
        Case::start_beside(mode, env, good, "serve").await
    }

    async fn start_beside(
        mode: &str,
        env: &[(&str, String)],
        mut good: PluginSpec,
        entry: &str,
    ) -> Case {
        let temp = Temp::new();
        let log = |name: &str| temp.path().join(name).display().to_string();
        let mut bad = spec("bad", mode, env);
        bad.env.push(("NYLON_HOSTILE_LOG".into(), log("bad")));
        bad.env.push(("NYLON_HOSTILE_PEER".into(), log("good")));
        good.env.push(("NYLON_HOSTILE_LOG".into(), log("good")));
        let host = Host::start(vec![bad, good]).await.expect("both plugins start");
        let bad = chain(&host, Item::new("bad", "serve"));
        let good = chain(&host, Item::new("good", entry));
        Case { host, bad, good, temp }
    }

    fn status(&self) -> PluginStatus {
        self.host.status("bad").expect("it is there")
    }

    /// What the hostile worker logged under `word`.
    fn logged(&self, word: &str) -> Vec<u64> {
        let text = std::fs::read_to_string(self.temp.path().join("bad")).unwrap_or_default();
        let values = text.lines().filter_map(|l| l.strip_prefix(word)?.trim().parse().ok());
        values.collect()
    }

    async fn stop(self) {
        self.host.stop(Duration::from_secs(2)).await;
    }
}

fn spec(name: &str, mode: &str, env: &[(&str, String)]) -> PluginSpec {
    let mut spec = PluginSpec::new(name, WORKER);
    spec.args = vec![mode.into()];
    spec.env = env.iter().map(|(k, v)| ((*k).into(), v.clone())).collect();
    // For the start of a process on a busy machine.
    spec.start_timeout = Duration::from_secs(20);
    spec
}

fn chain(host: &Host, item: Item) -> Arc<Chain> {
    let policy = Policy { timeout: DEADLINE, on_failure: OnFailure::Closed };
    let policies = PhasePolicies { request_filter: policy, ..PhasePolicies::default() };
    // Large enough to be fetched by a CALL: how a hostile worker has the host send much.
    let payload = Payload::Constant(format!("{{\"x\":\"{}\"}}", "x".repeat(60_000)).into());
    let item = item.policies(policies).payload(payload);
    host.chain().service(item).expect("it is there").build()
}

async fn call(chain: &Arc<Chain>, path: &str, nonce: &str) -> http::Response<Body> {
    let request = http::Request::post(format!("http://localhost{path}"));
    let request = request.header("x-nonce", nonce).body(Body::from("a body".to_owned()));
    let client = Client { ip: [127, 0, 0, 1].into(), tls: false };
    let request = request.expect("a request");
    chain.call(request, client, vec![], async |_| unreachable!("the plugin answers")).await
}

async fn ask(chain: &Arc<Chain>, path: &str, nonce: &str) -> Answer {
    let (head, body) = call(chain, path, nonce).await.into_parts();
    let nonce = head.headers.get("x-nonce").map(|v| v.to_str().expect("text").to_owned());
    let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    Answer {
        status: head.status.as_u16(),
        nonce: nonce.unwrap_or_default(),
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

impl Answer {
    fn is(&self, nonce: &str) -> bool {
        self.status == 200 && self.nonce == nonce && self.body == nonce
    }
}

/// Asks a plugin without a pause until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(u64, Vec<String>)>,
}

impl Load {
    fn on(chain: &Arc<Chain>, name: &'static str, right: fn(&Answer, &str) -> bool) -> Load {
        let (chain, stop) = (chain.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let (mut sent, mut wrong) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let nonce = format!("{name}-{sent}");
                let answer = ask(&chain, &format!("/{nonce}"), &nonce).await;
                if !right(&answer, &nonce) {
                    wrong.push(format!("{nonce}: {} {}", answer.status, answer.body));
                }
                sent += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            (sent, wrong)
        });
        Load { stop, task }
    }

    /// How many were asked, and what was wrong.
    async fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the load ran")
    }
}

/// When a process was seen to end.
fn death_of(pid: u32) -> JoinHandle<Option<u64>> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    let fd = pidfd_open(pid, PidfdFlags::empty()).expect("it runs");
    tokio::task::spawn_blocking(move || {
        let mut fds = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
        let limit = rustix::event::Timespec { tv_sec: 8, tv_nsec: 0 };
        let ready = rustix::event::poll(&mut fds, Some(&limit)).ok()?;
        (ready > 0).then(monotonic_ns)
    })
}

/// Waits until `bad` answers rightly again, through its failures.
async fn serves_again(case: &Case) {
    serves_within(case, Duration::from_secs(15)).await;
}

async fn serves_within(case: &Case, limit: Duration) {
    let end = Instant::now() + limit;
    for n in 0.. {
        let nonce = format!("again-{n}");
        let answer = ask(&case.bad, "/again", &nonce).await;
        if answer.is(&nonce) {
            return;
        }
        assert!(
            matches!(answer.status, 502..=504),
            "a wrong answer: {} {}",
            answer.status,
            answer.body
        );
        assert!(Instant::now() < end, "no new worker serves: {:?}", case.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs one case; the time to the kill where one was to come.
async fn run(mode: &str, expect: &Expect) -> Option<Duration> {
    let case = Case::start(mode, &[]).await;
    let load = Load::on(&case.good, "good", Answer::is);
    // Warm-up: positions past 0, slots of the table used before.
    for n in 0..5 {
        let nonce = format!("warm-{n}");
        assert!(ask(&case.bad, "/", &nonce).await.is(&nonce), "{mode}: an honest answer");
    }
    let before = case.status();
    assert_eq!((before.crashes, before.violations), (0, 0), "{mode}: honest so far");
    let death = death_of(before.pid);
    let killed = match expect {
        Killed(rule) => {
            // Its body is held and not read: what streams, stalls.
            let held = call(&case.bad, "/attack", "attacked").await;
            let died = death.await.expect("no panic");
            let died = died.unwrap_or_else(|| panic!("{mode}: not killed: {:?}", case.status()));
            drop(held);
            serves_again(&case).await;
            let after = case.status();
            assert_eq!((after.crashes, after.violations), (1, 1), "{mode}: {after:?}");
            assert!(after.last_violation.contains(rule), "{mode}: {}", after.last_violation);
            let at = *case.logged("attack").last().expect("the worker logged its attack");
            Some(Duration::from_nanos(died.saturating_sub(at)))
        }
        KilledSometime => {
            for n in 0..200 {
                let nonce = format!("attacked-{n}");
                let answer = ask(&case.bad, "/attack", &nonce).await;
                let well = answer.is(&nonce) || matches!(answer.status, 502..=504);
                assert!(well, "{mode}: {} {}", answer.status, answer.body);
                if case.status().violations > 0 {
                    break;
                }
            }
            serves_again(&case).await;
            assert!(case.status().violations > 0, "{mode}: {:?}", case.status());
            None
        }
        Served(late) => {
            let answer = ask(&case.bad, "/attack", "attacked").await;
            assert!(answer.is("attacked"), "{mode}: {} {}", answer.status, answer.body);
            serves_again(&case).await;
            assert_lives(mode, &case, *late).await;
            None
        }
        Status(status) => {
            let answer = ask(&case.bad, "/attack", "attacked").await;
            assert_eq!(answer.status, *status, "{mode}: {}", answer.body);
            serves_again(&case).await;
            assert_lives(mode, &case, 0).await;
            None
        }
    };
    assert!(!case.logged("attack").is_empty(), "{mode}: the fault did not happen");
    assert!(case.logged("survived").is_empty(), "{mode}: it was let live");
    let (sent, wrong) = load.end().await;
    assert!(sent > 0 && wrong.is_empty(), "{mode}: {} of {sent} wrong: {wrong:?}", wrong.len());
    let good = case.host.status("good").expect("it is there");
    assert_eq!((good.crashes, good.violations), (0, 0), "{mode}: the other plugin");
    case.stop().await;
    killed
}

/// The worker was not killed, and at least `late` of its frames were dropped and counted.
async fn assert_lives(mode: &str, case: &Case, late: u64) {
    let end = Instant::now() + Duration::from_secs(2);
    while case.status().late < late && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let status = case.status();
    assert_eq!((status.crashes, status.violations), (0, 0), "{mode}: {status:?}");
    assert!(status.late >= late, "{mode}: {} late", status.late);
}

/// Runs the cases of a row, each until its kill came in time.
async fn row(cases: &[(&str, Expect)]) {
    let mut slowest = Duration::ZERO;
    for (mode, expect) in cases {
        let mut times = Vec::new();
        while times.len() < ATTEMPTS {
            let Some(time) = run(mode, expect).await else { break };
            times.push(time);
            if time <= KILLED_WITHIN {
                break;
            }
        }
        let best = times.iter().min().copied().unwrap_or_default();
        assert!(best <= KILLED_WITHIN, "{mode}: killed after {times:?}");
        slowest = slowest.max(best);
        println!(
            "{mode}: {}",
            if times.is_empty() { "held".into() } else { format!("killed after {times:?}") }
        );
    }
    println!("{} cases, slowest kill {slowest:?}", cases.len());
}

macro_rules! rows {
    ($($name:ident: $seconds:literal s, [$(($mode:literal, $expect:expr)),+ $(,)?];)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let _dog = watchdog($seconds);
            row(&[$(($mode, $expect)),+]).await;
        }
    )+};
}

rows! {
    row_1_the_publish_word_lies: 120 s, [
        ("seq-ahead", Killed("publish word")),
        ("seq-back", Killed("publish word")),
        ("seq-flip", KilledSometime),
    ];
    row_2_the_consumer_lies: 120 s, [
        ("head-ahead", Killed("head")),
        ("head-back", Killed("head")),
        ("arena-head-ahead", Killed("arena_head")),
        ("arena-head-back", Killed("arena_head")),
        ("head-stuck", Status(504)),
    ];
    row_3_wild_offsets_and_lengths: 180 s, [
        ("arena-pos-wild", Killed("arena position")),
        ("arena-pos-unaligned", Killed("arena position")),
        ("arena-pos-overflow", Killed("arena position")),
        ("arena-len", Killed("arena payload")),
        ("arena-len-overflow", Killed("arena payload")),
        ("arena-empty", Killed("arena payload")),
        ("inline-len", Killed("inline payload")),
        ("inline-len-overflow", Killed("inline payload")),
        ("inline-arena-pos", Killed("inline payload")),
    ];
    row_4_double_fetch: 120 s, [
        ("flip-header", KilledSometime),
        ("flip-payload", KilledSometime),
    ];
    row_5_the_header_is_rewritten: 60 s, [("header-rewrite", Served(0))];
    row_6_zeros_and_holes: 120 s, [
        ("frame-zero", Killed("kind 0")),
        ("hole-ring", Killed("publish word 0")),
        ("hole-arena", Killed("record")),
    ];
    row_7_tokens_never_issued: 120 s, [
        ("token-future", Killed("never issued")),
        ("token-zero", Killed("never issued")),
        ("token-index", Killed("never issued")),
        ("token-stale", Served(1)),
    ];
    row_8_a_spoofed_session: 60 s, [("sid-spoofed", Killed("session"))];
    row_15_answers_twice: 120 s, [
        ("reply-twice", Served(1)),
        ("data-after-end", Served(1)),
        ("reply-flood", Killed("duplicate answers")),
    ];
    kinds_flags_phases_methods: 300 s, [
        ("kind-unknown", Killed("kind 77")),
        ("kind-cancel", Killed("kind")),
        ("kind-close", Killed("kind")),
        ("kind-ping", Killed("kind")),
        ("flags-unknown", Killed("flags")),
        ("flags-open", Killed("flags")),
        ("flags-more", Killed("flags")),
        ("phase-range", Killed("phase 9")),
        ("phase-other", Killed("phase 4")),
        ("method-final", Killed("method 100")),
        ("method-range", Killed("method 70000")),
        ("wants-range", Killed("status")),
        ("call-number", Killed("status 0x0")),
        ("data-method", Killed("method 200")),
        ("error-short", Killed("error payload")),
        ("unknown-method", Status(500)),
    ];
    row_31_sockets_without_the_feature: 120 s, [
        ("upgrade-not-agreed", Killed("method 300")),
        ("message-not-agreed", Killed("method 301")),
        ("socket-never-opened", Killed("method 353")),
    ];
    windows: 120 s, [
        ("window-len", Killed("window: len")),
        ("window-ahead", Killed("window: ahead")),
        ("window-back", Killed("window: back")),
        ("window-exceeded", Killed("window: exceeded")),
        ("data-len", Killed("window: data-len")),
    ];
    malformed_records: 120 s, [
        ("record-len", Killed("record: mutation-len")),
        ("record-count", Killed("record: mutation-entry-past-end")),
        ("record-op", Killed("record: mutation-op")),
        ("record-flags", Killed("record: mutation-flags")),
        ("record-overflow", Killed("record: mutation-overflow")),
        ("record-junk", Killed("record: mutation-len")),
        ("record-large", Killed("record: mutation-too-large")),
    ];
    rows_9_and_16_floods_of_what_is_legal: 120 s, [
        ("pong-flood", KilledSometime),
        ("wake-storm", KilledSometime),
    ];
    what_the_host_would_have_to_keep: 180 s, [
        ("untaken", Killed("too many faults")),
        ("finals-unread", Killed("duplicate answers")),
        ("inbox-flood", Killed("frames that carry nothing")),
    ];
    row_9_a_flood_of_nothing: 60 s, [("busy-forever", Killed("frames that carry nothing"))];
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_injection_is_refused_and_counted() {
    let _dog = watchdog(60);
    for mode in ["header-crlf", "header-nul", "header-name", "header-name-crlf"] {
        let case = Case::start(mode, &[]).await;
        let response = call(&case.bad, "/attack", "attacked").await;
        assert_eq!(response.status(), 502, "{mode}");
        for name in ["x-before", "x-a", "x-injected"] {
            assert!(!response.headers().contains_key(name), "{mode}: nothing of it is applied");
        }
        serves_again(&case).await;
        let status = case.status();
        assert_eq!((status.refused, status.crashes), (1, 0), "{mode}: {status:?}");
        case.stop().await;
    }
}

/// Row 14: an answer after the deadline reaches nobody, least of all who has its slot now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_14_an_answer_after_the_deadline() {
    let _dog = watchdog(60);
    let case = Case::start("reply-late", &[]).await;
    let load = Load::on(&case.good, "good", Answer::is);
    for round in 1..=3u64 {
        let start = Instant::now();
        let late = ask(&case.bad, "/attack", "attacked").await;
        assert_eq!(late.status, 504, "{}", late.body);
        assert!(start.elapsed() < DEADLINE + Duration::from_millis(100), "{:?}", start.elapsed());
        // Waits in the slot the late one had.
        let nonce = format!("next-{round}");
        let next = ask(&case.bad, "/next", &nonce).await;
        assert!(next.is(&nonce) || next.status == 504, "{} {}", next.status, next.body);
        serves_again(&case).await;
        let status = case.status();
        assert!(status.late >= round && status.deadlines >= round, "{status:?}");
        assert_eq!((status.crashes, status.violations), (0, 0), "{status:?}");
    }
    let (sent, wrong) = load.end().await;
    assert!(wrong.is_empty(), "{} of {sent} wrong: {wrong:?}", wrong.len());
    case.stop().await;
}

/// Row 8: a token of another plugin's worker means nothing here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_8_the_answer_to_another_plugins_request() {
    let _dog = watchdog(60);
    let case = Case::start("other-token", &[]).await;
    // More requests there than here: its tokens were never issued to this worker.
    for n in 0..30 {
        let nonce = format!("warm-{n}");
        assert!(ask(&case.good, "/", &nonce).await.is(&nonce));
    }
    let good = case.good.clone();
    let slow = tokio::spawn(async move { ask(&good, "/slow", "slow").await });
    let death = death_of(case.status().pid);
    let attacked = ask(&case.bad, "/attack", "attacked").await;
    assert!(matches!(attacked.status, 502 | 504), "{}", attacked.status);
    let slow = slow.await.expect("it ran");
    assert!(slow.is("slow") || slow.status == 504, "{} {}", slow.status, slow.body);
    death.await.expect("no panic").expect("killed");
    serves_again(&case).await;
    assert_eq!(case.status().violations, 1, "{:?}", case.status());
    assert!(!case.logged("attack").is_empty());
    case.stop().await;
}

/// R9: random bytes at random places for ten seconds, in every worker that comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_seconds_of_random_writes() {
    let _dog = watchdog(120);
    let seed = std::env::var("NYLON_SEED").ok().and_then(|s| s.parse().ok());
    let seed: u64 = seed.unwrap_or_else(monotonic_ns);
    println!("seed {seed} (NYLON_SEED)");
    let until = monotonic_ns() + 10_000_000_000;
    let env =
        [("NYLON_HOSTILE_SEED", seed.to_string()), ("NYLON_HOSTILE_UNTIL", until.to_string())];
    let case = Case::start("honest", &env).await;
    let good = Load::on(&case.good, "good", Answer::is);
    // Its own answers may be anything a plugin may say; that they come at all is load enough.
    let asked = Arc::new(AtomicU64::new(0));
    while monotonic_ns() < until {
        let n = asked.fetch_add(1, Ordering::Relaxed);
        let nonce = format!("bad-{n}");
        let answer = tokio::time::timeout(DEADLINE * 4, ask(&case.bad, "/", &nonce)).await;
        answer.expect("an answer, or an error in time");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The last one may have overwritten its own sleep word and hang: it is retired once 65 of its handlers were late.
    serves_within(&case, DEADLINE * 65 + Duration::from_secs(15)).await;
    let (sent, wrong) = good.end().await;
    let writes: u64 = case.logged("writes").iter().sum();
    let status = case.status();
    println!(
        "{writes} writes, {} workers, {} killed for violations, {} asked; beside it {sent} asked, {} wrong; last: {}",
        status.generation,
        status.violations,
        asked.load(Ordering::Relaxed),
        wrong.len(),
        status.last_violation,
    );
    assert!(writes > 500 && status.violations >= 3, "the fault did not happen: {status:?}");
    assert!(sent > 1000 && wrong.is_empty(), "{} of {sent} wrong: {wrong:?}", wrong.len());
    let good = case.host.status("good").expect("it is there");
    assert_eq!((good.crashes, good.violations), (0, 0), "the other plugin");
    case.stop().await;
}

/// Row 16: the bell is not listened to while it rings for nothing. What the worker answers is taken all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_wakes_for_nothing_is_served() {
    let _dog = watchdog(60);
    let case = Case::start("pesters", &[]).await;
    let end = Instant::now() + Duration::from_secs(2);
    let mut answers = 0;
    while Instant::now() < end {
        let nonce = format!("n-{answers}");
        let answer = ask(&case.bad, "/", &nonce).await;
        assert!(answer.is(&nonce), "{answers}: {} {}", answer.status, answer.body);
        answers += 1;
        tokio::time::sleep(Duration::from_millis(answers % 50)).await;
    }
    let wakes: u64 = case.logged("wakes").iter().sum();
    assert!(wakes >= 2000 && answers >= 10, "{wakes} wakes, {answers} answers");
    let status = case.status();
    assert_eq!((status.crashes, status.violations), (0, 0), "{status:?}");
    case.stop().await;
}

/// The same beside a plugin of the Go SDK.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_go_plugin_does_not_notice() {
    let _dog = watchdog(300);
    let mut probe = PluginSpec::new("good", program::plugin("probe"));
    probe.start_timeout = Duration::from_secs(20);
    let case = Case::start_beside("kind-unknown", &[], probe, "getters").await;
    let load = Load::on(&case.good, "good", |answer, nonce| {
        let seen: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        answer.status == 200
            && seen["path"] == format!("/{nonce}")
            && seen["headers"]["x-nonce"] == nonce
    });
    for round in 1..=5 {
        tokio::time::sleep(Duration::from_millis(310)).await;
        assert_eq!(ask(&case.bad, "/attack", "attacked").await.status, 502);
        serves_again(&case).await;
        assert_eq!(case.status().violations, round);
    }
    let (sent, wrong) = load.end().await;
    assert!(sent > 100 && wrong.is_empty(), "{} of {sent} wrong: {wrong:?}", wrong.len());
    assert_eq!(case.host.status("good").expect("it is there").crashes, 0);
    case.stop().await;
}
