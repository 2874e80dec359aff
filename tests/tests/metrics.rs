//! What a gateway says of itself: every figure of a scrape is what was sent, and its health is the truth.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nylon_host::{Body, Client as Peer, Host, Item, PluginSpec};
use nylon_tests::{
    Answer, Client, Exposition, Gateway, Site, Upstream, ports, proc, program, step, step_with,
    watchdog,
};
use serde_json::{Value, json};

/// How long something that is about to happen may take on a loaded machine.
const SOON: Duration = Duration::from_secs(15);

/// A gateway, clients for it, and who watches it.
struct Watched {
    gateway: Gateway,
    client: Client,
    watch: Client,
    /// Its folder goes with it.
    _site: Site,
}

impl Watched {
    async fn start(site: Site) -> Watched {
        let addr = ports::free();
        let site = site.runtime(json!({"metrics": [addr.to_string()]}));
        let gateway = Gateway::start(&site).await;
        let client = Client::new(gateway.addr);
        Watched { gateway, client, watch: Client::new(addr), _site: site }
    }

    /// A scrape that breaks no rule.
    async fn scrape(&self) -> Exposition {
        let answer = self.watch.get("/metrics").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let found = Exposition::read(&answer.text());
        assert_eq!(found.problems(), [""; 0], "{}", answer.text());
        found
    }

    /// Scrapes until `done` says so.
    async fn scrape_until(&self, what: &str, done: impl Fn(&Exposition) -> bool) -> Exposition {
        let end = Instant::now() + SOON;
        loop {
            let found = self.scrape().await;
            if done(&found) {
                return found;
            }
            assert!(Instant::now() < end, "{what}: {:#?}", found.samples);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ready(&self) -> (u16, Value) {
        let answer = self.watch.get("/readyz?verbose").await;
        (answer.status, answer.json())
    }

    async fn ready_until(&self, what: &str, done: impl Fn(&(u16, Value)) -> bool) -> Value {
        let end = Instant::now() + SOON;
        loop {
            let found = self.ready().await;
            if done(&found) {
                return found.1;
            }
            assert!(Instant::now() < end, "{what}: {found:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// What a counter rose by.
fn rise(before: &Exposition, after: &Exposition, name: &str, labels: &[(&str, &str)]) -> f64 {
    after.sum(name, labels) - before.sum(name, labels)
}

const P: (&str, &str) = ("plugin", "probe");
const HISTOGRAMS: [&str; 3] = [
    "nylon_plugin_queue_seconds",
    "nylon_plugin_handler_seconds",
    "nylon_plugin_transport_seconds",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_counted_by_phase_and_timed_in_every_part() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let site = site.path("/next", "up", &[step("probe", "next")]);
    let site = site.path("/all", "up", &[step("probe", "responses")]);
    let it = Watched::start(site).await;
    let before = it.scrape().await;
    for _ in 0..20 {
        assert_eq!(it.client.get("/next").await.status, 200);
    }
    for _ in 0..10 {
        assert_eq!(it.client.get("/all").await.status, 200);
    }
    let calls = |found: &Exposition, phase| {
        rise(&before, found, "nylon_plugin_calls_total", &[P, ("phase", phase)])
    };
    let logged = |found: &Exposition| calls(found, "logging") >= 10.0;
    let after = it.scrape_until("what follows the answers", logged).await;
    assert_eq!(calls(&after, "request_filter"), 30.0);
    assert_eq!(calls(&after, "response_filter"), 10.0);
    assert_eq!(calls(&after, "logging"), 10.0);
    assert!(calls(&after, "response_body_filter") >= 10.0);
    for phase in ["request_filter", "response_filter", "response_body_filter", "logging"] {
        for histogram in HISTOGRAMS {
            let labels = [P, ("phase", phase)];
            let counted = rise(&before, &after, &format!("{histogram}_count"), &labels);
            assert_eq!(counted, calls(&after, phase), "{histogram} of {phase}");
        }
    }
    let frames = |way| rise(&before, &after, "nylon_plugin_frames_total", &[P, ("direction", way)]);
    let all = calls(&after, "request_filter") + calls(&after, "response_filter");
    assert!(frames("down") >= all && frames("up") >= all, "{} {}", frames("down"), frames("up"));
    let bytes =
        |way| rise(&before, &after, "nylon_plugin_payload_bytes_total", &[P, ("direction", way)]);
    assert!(bytes("down") >= all * 40.0, "{}", bytes("down"));
    for at_rest in ["in_flight_calls", "waiting_calls", "staged_bytes", "sessions"] {
        let name = format!("nylon_plugin_{at_rest}");
        it.scrape_until(&name, |found| found.sum(&name, &[P]) == 0.0).await;
    }
    assert_eq!(after.sum("nylon_plugin_failures_total", &[]), 0.0);
    assert_eq!(after.sum("nylon_plugin_workers", &[P, ("state", "ready")]), 1.0);
    assert_eq!(after.sum("nylon_plugin_workers", &[P]), 1.0);
    assert!(after.sum("nylon_plugin_resident_memory_bytes", &[P]) > 1e6);

    let http = |class| rise(&before, &after, "nylon_http_requests_total", &[("class", class)]);
    assert_eq!((http("2xx"), http("5xx")), (30.0, 0.0));
    assert_eq!(rise(&before, &after, "nylon_http_request_duration_seconds_count", &[]), 30.0);
    assert_eq!(after.sum("nylon_build_info", &[]), 1.0);
    assert!(after.sum("nylon_http_open_connections", &[]) >= 1.0);
    assert!(after.sum("process_start_time_seconds", &[]) > 1e9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_failure_is_counted_by_its_reason() {
    let _dog = watchdog(120);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr);
    let site = site.plugin_with("probe", "probe", json!({"timeout": "500ms"}));
    let site = site.service("silent", "probe", "next", Value::Null).path("/silent", "silent", &[]);
    let bad = step_with("probe", "bad-head", json!({"case": "crlf"}));
    let slow = step_with("probe", "sleep", json!({"ms": 900}));
    let site = site
        .path("/panic", "up", &[step("probe", "panic")])
        .path("/refused", "up", &[bad])
        .path("/late", "up", &[slow])
        .path("/large", "up", &[step("probe", "raw-body")])
        .path("/open", "up", &[step("probe", "panic-log")])
        .path("/exit", "up", &[step("probe", "exit")]);
    let it = Watched::start(site).await;
    let before = it.scrape().await;
    for (path, status, times) in [
        ("/panic", 502, 3),
        ("/refused", 502, 2),
        ("/silent", 500, 2),
        ("/late", 504, 2),
        ("/open", 200, 2),
    ] {
        for _ in 0..times {
            assert_eq!(it.client.get(path).await.status, status, "{path}");
        }
    }
    // Who is still sending when it is refused may not hear it.
    let large = it.client.send(it.client.request("POST", "/large"), vec![0; 9 << 20].into()).await;
    assert!(large.is_err() || large.is_ok_and(|answer| answer.status == 413));
    let late = |found: &Exposition| rise(&before, found, "nylon_plugin_late_replies_total", &[P]);
    it.scrape_until("those that slept do answer", |found| late(found) >= 2.0).await;
    // On a connection of its own: that of a body nobody read is closed.
    assert_eq!(Client::new(it.gateway.addr).get("/exit").await.status, 502);
    let failed = |found: &Exposition, phase, reason| {
        let labels = [P, ("phase", phase), ("reason", reason)];
        rise(&before, found, "nylon_plugin_failures_total", &labels)
    };
    let ended = |found: &Exposition, cause| {
        rise(&before, found, "nylon_plugin_worker_failures_total", &[P, ("cause", cause)])
    };
    let all = |found: &Exposition| {
        failed(found, "logging", "panicked") >= 2.0 && ended(found, "exit") >= 1.0
    };
    let after = it.scrape_until("the last ones", all).await;
    for (phase, reason, times) in [
        ("request_filter", "panicked", 3.0),
        ("response_filter", "refused", 2.0),
        ("request_filter", "no_answer", 2.0),
        ("request_filter", "timeout", 2.0),
        ("request_filter", "body_too_large", 1.0),
        ("request_filter", "crashed", 1.0),
        ("logging", "panicked", 2.0),
    ] {
        assert_eq!(failed(&after, phase, reason), times, "{phase} {reason}");
    }
    let failures = after.samples.iter().filter(|s| s.name == "nylon_plugin_failures_total");
    let failures: Vec<_> = failures.map(|s| (&s.labels["phase"], &s.labels["reason"])).collect();
    // Logging of the request whose worker is gone finds none, unless the next is fast.
    let unlogged = failed(&after, "logging", "not_ready");
    assert!(unlogged <= 1.0, "{unlogged}");
    assert_eq!(failures.len(), 7 + usize::from(unlogged > 0.0), "no others: {failures:?}");
    let passed = [P, ("phase", "logging")];
    let passed = rise(&before, &after, "nylon_plugin_passed_open_total", &passed);
    assert_eq!(passed, 2.0 + unlogged);
    assert_eq!(late(&after), 2.0);
    assert_eq!(ended(&after, "exit"), 1.0);
    let class = |class| rise(&before, &after, "nylon_http_requests_total", &[("class", class)]);
    // Nor is a request counted whose client broke off before the response's head.
    assert!(class("4xx") <= 1.0, "{}", class("4xx"));
    assert_eq!((class("2xx"), class("5xx")), (2.0, 10.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_sleeps_is_slow_and_its_lane_is_not() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let slow = step_with("probe", "sleep", json!({"ms": 100}));
    let site = site.path("/slow", "up", &[slow]).path("/later", "up", &[step("probe", "later")]);
    let it = Watched::start(site).await;
    let before = it.scrape().await;
    for path in ["/slow", "/slow", "/slow", "/later", "/later"] {
        assert_eq!(it.client.get(path).await.status, 200);
    }
    let after = it.scrape().await;
    let sum = |histogram| {
        let labels = [P, ("phase", "request_filter")];
        rise(&before, &after, &format!("nylon_plugin_{histogram}_seconds_sum"), &labels)
    };
    assert!(sum("handler") >= 0.6, "{} s of handlers that slept 0.6 s", sum("handler"));
    assert!(sum("transport") < sum("handler") / 2.0, "{} s on the way", sum("transport"));
    assert!(sum("queue") < sum("handler") / 2.0, "{} s in the queue", sum("queue"));
}

/// The plugin `probe`, started by a script that waits as long as the file `hold` is there.
fn held() -> (Site, std::path::PathBuf) {
    let site = Site::new();
    let (script, hold) = (site.dir().join("held.sh"), site.dir().join("hold"));
    let (wait, run) = (hold.display(), program::plugin("probe"));
    let text =
        format!("#!/bin/sh\nwhile [ -e {wait} ]; do sleep 0.05; done\nexec {}\n", run.display());
    std::fs::write(&script, text).expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("it can be run");
    (site.plugin_with("probe", "probe", json!({"file": script})), hold)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_is_lost_with_the_last_worker_and_comes_back_with_the_next() {
    let _dog = watchdog(60);
    let (site, hold) = held();
    let it = Watched::start(site).await;
    let before = it.scrape().await;
    assert_eq!(it.ready().await, (200, json!({"ready": true, "draining": false, "not_ready": []})));
    assert_eq!(it.watch.get("/livez").await.status, 200);

    std::fs::write(&hold, "").expect("a file");
    let first = it.gateway.worker().await;
    proc::kill(first, Signal::SIGKILL);
    let said = it.ready_until("503", |(status, _)| *status == 503).await;
    assert_eq!(said["ready"], false);
    assert_eq!(said["not_ready"][0]["plugin"], "probe");
    let why = it.ready_until("why", |(_, said)| {
        said["not_ready"][0]["reason"].as_str().is_some_and(|r| r.contains("SIGKILL"))
    });
    why.await;
    assert_eq!(it.watch.get("/readyz").await.status, 503);
    assert_eq!(it.watch.get("/livez").await.status, 200, "the gateway itself lives");
    assert_eq!(it.client.get("/ready/probe").await.status, 503);
    let down = it.scrape().await;
    assert_eq!(down.sum("nylon_plugin_workers", &[P, ("state", "ready")]), 0.0);
    assert_eq!(down.sum("nylon_plugin_workers", &[P]), 1.0);
    let not_ready = [P, ("reason", "not_ready")];
    assert_eq!(rise(&before, &down, "nylon_plugin_failures_total", &not_ready), 1.0);

    std::fs::remove_file(&hold).expect("it was there");
    it.ready_until("200", |(status, _)| *status == 200).await;
    assert_eq!(it.client.get("/ready/probe").await.status, 200);
    let after = it.scrape().await;
    let killed = [P, ("cause", "signal")];
    assert_eq!(rise(&before, &after, "nylon_plugin_worker_failures_total", &killed), 1.0);
    assert_eq!(rise(&before, &after, "nylon_plugin_worker_starts_total", &[P]), 1.0);
    for counter in ["calls", "frames", "payload_bytes", "wakes"] {
        let name = format!("nylon_plugin_{counter}_total");
        let risen = rise(&before, &after, &name, &[P]);
        assert!(risen >= 0.0, "{name} fell by {risen} with the worker");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_drains_is_not_ready_and_says_so() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr);
    let site = site.plugin_with("probe", "probe", json!({"timeout": "2s"}));
    let site = site.path("/never", "up", &[step("probe", "never")]);
    let mut it = Watched::start(site).await;
    let client = it.client.clone();
    let flying = tokio::spawn(async move { client.get("/never").await.status });
    let running = |found: &Exposition| found.sum("nylon_plugin_in_flight_calls", &[P]) == 1.0;
    it.scrape_until("the handler runs", running).await;
    it.gateway.signal(Signal::SIGTERM);
    let said = it.ready_until("503", |(status, _)| *status == 503).await;
    assert_eq!(said, json!({"ready": false, "draining": true, "not_ready": []}));
    assert_eq!(it.watch.get("/livez").await.status, 200);
    assert_eq!(flying.await.expect("it is answered"), 504);
    assert!(it.gateway.exit(SOON).await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_three_paths_two_methods_and_two_formats() {
    let _dog = watchdog(60);
    let it = Watched::start(Site::new().plugin("probe")).await;
    let ask = async |method: &str, path: &str, accept: &str| -> Answer {
        let request = it.watch.request(method, path).header("accept", accept);
        it.watch.send(request, "".into()).await.expect("an answer")
    };
    for path in ["/metrics", "/livez", "/readyz"] {
        let (get, head) = (ask("GET", path, "*/*").await, ask("HEAD", path, "*/*").await);
        assert_eq!((get.status, head.status), (200, 200), "{path}");
        assert!(!get.body.is_empty() && head.body.is_empty(), "{path}");
        let post = ask("POST", path, "*/*").await;
        assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD"), "{path}");
    }
    for path in ["/", "/metrics/", "/ready/probe"] {
        assert_eq!(ask("GET", path, "*/*").await.status, 404, "{path}");
    }
    assert_eq!(it.client.get("/metrics").await.status, 404, "not for clients");
    let open = ask("GET", "/metrics", "application/openmetrics-text;version=1.0.0").await;
    assert!(open.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(open.text().ends_with("# EOF\n") && open.text().contains("# UNIT "));
    let older = ask("GET", "/metrics", "text/plain;version=0.0.4").await;
    assert!(older.header("content-type").starts_with("text/plain; version=0.0.4"));
    promtool(&older.text());
}

/// What Prometheus' own tool says of a scrape, where it is installed.
fn promtool(text: &str) {
    let mut tool = Command::new("promtool");
    let tool = tool.args(["check", "metrics"]).stdin(Stdio::piped());
    let tool = tool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut tool) = tool else {
        return println!("promtool is not installed: its findings are not looked for");
    };
    let mut input = tool.stdin.take().expect("piped");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let said = tool.wait_with_output().expect("it ends");
    let lines = [said.stdout, said.stderr].concat();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&lines));
    assert_eq!(String::from_utf8_lossy(&lines), "", "findings");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_a_gateway_has_the_same_figures() {
    let _dog = watchdog(60);
    let mut spec = PluginSpec::new("p", program::plugin("probe"));
    spec.start_timeout = Duration::from_secs(20);
    let host = Host::start(vec![spec]).await.expect("it starts");
    let chain = host.chain().item(Item::new("p", "next")).expect("it is there").build();
    let call = async || {
        let request = http::Request::get("/").body(Body::empty()).expect("a request");
        let client = Peer { ip: [127, 0, 0, 1].into(), tls: false };
        let service = async |_| Ok(http::Response::new(Body::empty()));
        assert_eq!(chain.call(request, client, vec![], service).await.status(), 200);
    };
    call().await;
    let (first, start) = (host.timings("p").expect("it is there"), Instant::now());
    for _ in 0..200 {
        call().await;
    }
    let elapsed = start.elapsed();
    let since = host.timings("p").expect("it is there").since(&first);
    for (phase, parts) in since.phases() {
        let calls = if phase == "request_filter" { 200 } else { 0 };
        let all = [&parts.queue, &parts.handler, &parts.transport];
        assert_eq!(all.map(|part| part.count()), [calls; 3], "{phase}");
        let whole: Duration = all.iter().map(|part| part.sum()).sum();
        assert!(whole <= elapsed, "{phase}: {whole:?} of {elapsed:?}");
        let (half, most) = (parts.transport.quantile(0.5), parts.transport.quantile(0.99));
        assert!(half <= most && half.is_some() == (calls > 0), "{half:?} {most:?}");
    }
    assert!(host.timings("q").is_none());
    let mut registry = prometheus_client::registry::Registry::default();
    host.register_metrics(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
    assert!(text.contains("nylon_plugin_calls_total{plugin=\"p\",phase=\"request_filter\"} 201\n"));
    host.stop(Duration::from_secs(5)).await;
}
