//! Limits of a plugin: what is over them is refused, dropped or killed by itself, and counted (HARDENING rows 12, 19, 20,
//! 26; R7). Handlers wait until the test lets them go on, so who waits for whom is known, not guessed by a clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use nylon_host::{Body, Chain, Client, Host, Item, LimitStatus, Limits, PluginSpec};
use nylon_tests::{
    Gateway, Site, Temp, Upstream, eventually, pattern, proc, program, step, watchdog,
};
use serde_json::json;
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3600);

/// The plugin `probe` under limits, in a host of the test's own.
struct Limited {
    host: Host,
    temp: Temp,
}

/// Status and body of an answer.
type Answer = (u16, Bytes);

impl Limited {
    async fn start(limits: Limits) -> Limited {
        let temp = Temp::new();
        let mut spec = PluginSpec::new("p", program::plugin("probe"));
        spec.config = json!({"name": "p", "trace": temp.path().join("trace")}).to_string().into();
        (spec.limits, spec.start_timeout) = (limits, Duration::from_secs(20));
        Limited { host: Host::start(vec![spec]).await.expect("it starts"), temp }
    }

    /// `entries` as middleware.
    fn chain(&self, entries: &[&str]) -> Arc<Chain> {
        let mut chain = self.host.chain();
        for entry in entries {
            chain = chain.item(Item::new("p", *entry)).expect("it is there");
        }
        chain.build()
    }

    fn limits(&self) -> LimitStatus {
        self.host.status("p").expect("it is there").limits
    }

    fn trace(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.temp.path().join("trace")).unwrap_or_default();
        text.lines().filter(|line| !line.starts_with("initialize")).map(str::to_owned).collect()
    }

    async fn traced(&self, lines: &[&str]) {
        let same = || (self.trace() == lines).then_some(());
        eventually(&format!("{lines:?} in the trace"), SOON, same).await;
    }

    /// Lets the handlers of those nonces go on, also those to come.
    fn release(&self, nonces: &[&str]) {
        for nonce in nonces {
            self.temp.write(&format!("trace.{nonce}"), "");
        }
    }

    /// `taken` requests have a place, `waiting` wait.
    async fn stands(&self, taken: usize, waiting: u64) {
        let found = || (self.limits().concurrency, self.limits().waiting);
        let same = || (found() == (taken, waiting)).then_some(());
        eventually(&format!("{taken} inside, {waiting} waiting"), SOON, same).await;
    }
}

/// A request through `chain`, with `nonce` in its head, and its whole answer.
fn send(chain: &Arc<Chain>, nonce: &str, body: impl Into<Bytes>) -> JoinHandle<Answer> {
    let body = Body::from(body.into());
    let request = Request::post("/").header("x-nonce", nonce).body(body).expect("a request");
    let (chain, client) = (chain.clone(), Client { ip: [127, 0, 0, 1].into(), tls: false });
    tokio::spawn(async move {
        let service = async |_| Ok(Response::new(Body::empty()));
        let answer = chain.call(request, client, Vec::new(), service).await;
        let status = answer.status().as_u16();
        (status, answer.into_body().collect().await.expect("whole").to_bytes())
    })
}

async fn status(answer: JoinHandle<Answer>) -> u16 {
    answer.await.expect("no panic").0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_are_taken_in_order_and_nobody_waits_beyond_the_queue() {
    let _dog = watchdog(60);
    let limits = Limits { concurrency: Some(2), queue: 2, queue_wait: HOUR, ..Limits::default() };
    let p = Limited::start(limits).await;
    let chain = p.chain(&["wait"]);
    let a = send(&chain, "a", "");
    p.traced(&["in a"]).await;
    let b = send(&chain, "b", "");
    p.traced(&["in a", "in b"]).await;
    p.stands(2, 0).await;
    let c = send(&chain, "c", "");
    p.stands(2, 1).await;
    let d = send(&chain, "d", "");
    p.stands(2, 2).await;
    for nonce in ["e", "f", "g"] {
        let (status, body) = send(&chain, nonce, "").await.expect("no panic");
        let body = String::from_utf8_lossy(&body);
        assert_eq!(status, 503, "{body}");
        assert!(body.contains("PLUGIN_UNAVAILABLE") && body.contains("limits.queue"), "{body}");
    }
    assert_eq!(p.trace(), ["in a", "in b"], "nobody else came in");
    assert_eq!((p.limits().queue_full, p.limits().queue_late), (3, 0));

    p.release(&["b"]);
    assert_eq!(status(b).await, 200);
    p.traced(&["in a", "in b", "in c"]).await;
    p.release(&["a"]);
    assert_eq!(status(a).await, 200);
    p.traced(&["in a", "in b", "in c", "in d"]).await;
    p.stands(2, 0).await;
    p.release(&["c", "d"]);
    assert_eq!((status(c).await, status(d).await), (200, 200));
    p.stands(0, 0).await;
    assert_eq!(p.host.status("p").expect("it is there").calls, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_give_their_places_back() {
    let _dog = watchdog(60);
    let limits = Limits { concurrency: Some(1), queue: 2, queue_wait: HOUR, ..Limits::default() };
    let p = Limited::start(limits).await;
    let chain = p.chain(&["wait-and-log"]);
    let a = send(&chain, "a", "");
    p.traced(&["in a"]).await;
    let b = send(&chain, "b", "");
    p.stands(1, 1).await;
    let c = send(&chain, "c", "");
    p.stands(1, 2).await;
    // It leaves the queue, and is not logged by a plugin that never saw it.
    b.abort();
    p.stands(1, 1).await;
    // It leaves from inside: `c` gets its place. Then its logging, which waits its turn.
    a.abort();
    p.traced(&["in a", "in c"]).await;
    p.release(&["a", "c"]);
    assert_eq!(status(c).await, 200);
    p.stands(0, 0).await;
    let logged: Vec<_> = p.trace().into_iter().filter(|line| line.starts_with("log")).collect();
    assert!(logged.contains(&"log c".to_owned()) && !logged.contains(&"log b".to_owned()));
    assert_eq!(p.limits().queue_full, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_has_an_end() {
    let _dog = watchdog(60);
    let queue_wait = Duration::from_millis(50);
    let limits = Limits { concurrency: Some(1), queue: 9, queue_wait, ..Limits::default() };
    let p = Limited::start(limits).await;
    let chain = p.chain(&["wait"]);
    let a = send(&chain, "a", "");
    p.traced(&["in a"]).await;
    let late: Vec<_> = (0..9).map(|n| send(&chain, &n.to_string(), "")).collect();
    for answer in late {
        let (status, body) = answer.await.expect("no panic");
        let body = String::from_utf8_lossy(&body);
        assert_eq!(status, 503, "{body}");
        assert!(body.contains("waited 50ms in vain") && body.contains("queue_wait"), "{body}");
    }
    assert_eq!((p.limits().queue_full, p.limits().queue_late), (0, 9));
    p.release(&["a"]);
    assert_eq!(status(a).await, 200);
    assert_eq!(p.trace(), ["in a"]);
    p.stands(0, 0).await;
}

/// With one place for all: a request that needed two of them would wait for itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_sessions_of_a_request_share_a_place() {
    let _dog = watchdog(60);
    let limits = Limits { concurrency: Some(1), queue: 8, queue_wait: HOUR, ..Limits::default() };
    let p = Limited::start(limits).await;
    p.release(&["a", "b", "c"]);
    let chain = p.chain(&["wait-and-log", "counter", "responses", "wait"]);
    let answers = ["a", "b", "c"].map(|nonce| send(&chain, nonce, ""));
    for answer in answers {
        assert_eq!(status(answer).await, 200);
    }
    p.stands(0, 0).await;
    let trace = p.trace();
    let count = |line: &str| trace.iter().filter(|l| *l == line).count();
    assert_eq!((count("log a"), count("counter 1"), count("res")), (1, 3, 3), "{trace:?}");
    let inside: Vec<_> = trace.iter().filter(|line| line.starts_with("in ")).collect();
    assert!(inside.chunks(2).all(|pair| pair[0] == pair[1]), "one after the other: {inside:?}");
    assert_eq!((p.limits().queue_full, p.limits().queue_late), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_opens_no_more_files_than_it_may() {
    let _dog = watchdog(60);
    let p = Limited::start(Limits { nofile: Some(64), ..Limits::default() }).await;
    let chain = p.chain(&["open-files"]);
    for _ in 0..2 {
        let (status, body) = send(&chain, "", "").await.expect("no panic");
        let body = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(status, 200, "{body}");
        assert!(body.ends_with("too many open files"), "{body}");
        let opened: u32 = body.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
        assert!((16..64).contains(&opened), "{body}");
    }
    assert_eq!(p.host.status("p").expect("it is there").crashes, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_larger_than_the_arena_passes() {
    let _dog = watchdog(60);
    for arena in [256 << 10, 4 << 20] {
        let p = Limited::start(Limits { arena, ..Limits::default() }).await;
        let body = pattern(0, 5 << 20);
        let (status, echo) = send(&p.chain(&["echo"]), "", body.clone()).await.expect("no panic");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&echo));
        assert!(echo == body, "all of it, in order");
        assert_eq!(p.limits().arena, arena);
        let pid = p.host.status("p").expect("it is there").pid;
        let mapped = largest_segment(pid);
        assert!(mapped > arena && mapped < 2 * arena, "one lane: {mapped} for {arena}");
    }
}

/// Bytes of the largest piece of shared memory that a process has mapped.
fn largest_segment(pid: u32) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("procfs");
    let size = |line: &str| {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        let at = |text| u64::from_str_radix(text, 16).ok();
        Some(at(to)? - at(from)?)
    };
    let segments = maps.lines().filter(|line| line.contains("/memfd:"));
    segments.filter_map(size).max().expect("its segments")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_over_the_rate_are_dropped_and_counted() {
    let _dog = watchdog(60);
    let limits = Limits { log_rate: 1024, log_burst: 16 << 10, ..Limits::default() };
    let p = Limited::start(limits).await;
    assert_eq!(status(send(&p.chain(&["lines"]), "", "")).await, 200);
    let dropped = || Some(p.limits().log_dropped).filter(|lines| *lines >= 50);
    let dropped = eventually("lines are dropped", SOON, dropped).await;
    assert!(dropped <= 85, "fifteen fit into the burst: {dropped}");
    let quiet = Limited::start(Limits::default()).await;
    assert_eq!(status(send(&quiet.chain(&["lines"]), "", "")).await, 200);
    assert_eq!(quiet.limits().log_dropped, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_refuses_by_what_its_configuration_says() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let none = json!({"limits": {"concurrency": 2, "queue": 0}});
    let short = json!({"limits": {"concurrency": 1, "queue": 1, "queue_wait": "20ms"}});
    let site = Site::new().upstream("up", up.addr);
    let site = site.plugin_with("none", "probe", none).plugin_with("short", "probe", short);
    let site = site.path("/none", "up", &[step("none", "wait")]);
    let site = site.path("/short", "up", &[step("short", "wait")]);
    let gateway = Gateway::start(&site).await;
    let client = nylon_tests::Client::new(gateway.addr);
    let get = |path: &'static str, nonce: &'static str| {
        let client = client.clone();
        tokio::spawn(async move { client.get_with(path, &[("x-nonce", nonce)]).await })
    };
    let inside = [get("/none", "a"), get("/none", "b"), get("/short", "c")];
    for nonce in ["a", "b", "c"] {
        let line = format!("in {nonce}");
        let seen = || site.trace().contains(&line).then_some(());
        eventually(&line, SOON, seen).await;
    }
    for (path, limit) in [("/none", "limits.queue)"), ("/short", "limits.queue_wait)")] {
        let answer = get(path, "z").await.expect("no panic");
        assert_eq!(answer.status, 503, "{}", answer.text());
        let json = answer.json();
        assert_eq!(json["error"], "PLUGIN_UNAVAILABLE");
        assert!(json["message"].as_str().is_some_and(|why| why.ends_with(limit)), "{json}");
    }
    for nonce in ["a", "b", "c"] {
        std::fs::write(format!("{}.{nonce}", site.trace_file().display()), "").expect("a file");
    }
    for answer in inside {
        assert_eq!(answer.await.expect("no panic").status, 200);
    }
    assert_eq!(up.seen().iter().filter(|seen| seen.path.len() > 4).count(), 3);
}

/// R7: a worker that takes a gigabyte is killed at 256 MiB. What is asserted of the host is a size, not a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_eats_memory_is_killed_and_nobody_else_notices() {
    let _dog = watchdog(90);
    let up = Upstream::start().await;
    let limits = json!({"timeout": "20s", "limits": {"memory": "256MiB"}});
    let site = Site::new().upstream("up", up.addr);
    let site = site.plugin_with("bad", "probe", limits).plugin_with("good", "probe", json!({}));
    let site = site.path("/eat", "up", &[step("bad", "eat")]);
    let site = site.path("/bad", "up", &[step("bad", "nonce")]);
    let site = site.path("/good", "up", &[step("good", "nonce")]);
    let gateway = Gateway::start(&site).await;
    let client = nylon_tests::Client::new(gateway.addr);
    let pid = async |path: &str| {
        let answer = client.get(path).await;
        (answer.status == 200).then(|| answer.header("x-plugin-pid").parse().expect("a pid"))
    };
    let (bad, good): (Option<u32>, Option<u32>) = (pid("/bad").await, pid("/good").await);
    for _ in 0..300 {
        assert_eq!((pid("/bad").await, pid("/good").await), (bad, good));
    }
    let before = proc::rss(gateway.pid());
    let eat = tokio::spawn({
        let client = client.clone();
        async move { client.get("/eat").await }
    });
    let (mut beside, mut crossed) = (0, None);
    while !eat.is_finished() {
        assert_eq!(pid("/good").await, good, "the other plugin does not notice");
        beside += 1;
        if proc::rss(bad.expect("a pid")) > 256 << 20 {
            crossed = crossed.or(Some(Instant::now()));
        }
    }
    let killed = crossed.map(|at| at.elapsed());
    let answer = eat.await.expect("no panic");
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_eq!(answer.json()["error"], "PLUGIN_CRASHED");
    let why = answer.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(why.contains("over its memory limit: ") && why.ends_with(" of 256 MiB"), "{why}");
    let ended = gateway.logged("worker ended", SOON).await;
    assert!(ended.contains("killed by SIGKILL: over its memory limit"), "{ended}");

    let end = tokio::time::Instant::now() + SOON;
    let again = loop {
        if let Some(again) = pid("/bad").await {
            break again;
        }
        assert!(tokio::time::Instant::now() < end, "it is started again");
    };
    assert!(Some(again) != bad && !proc::alive(bad.expect("a pid")));
    assert_eq!(pid("/good").await, good);
    let after = proc::rss(gateway.pid());
    let grown = after.abs_diff(before);
    println!("{why}, killed within {killed:.0?}; {beside} requests beside it");
    println!("host RSS {before} before, {after} after");
    assert!(grown <= 5 << 20, "{} KiB", grown >> 10);
}
