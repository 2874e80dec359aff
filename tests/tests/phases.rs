//! Which phases run, in which order, and what NEXT, END and silence mean (CONTRACT 1–3).

use std::time::{Duration, Instant};

use nylon_tests::{Client, Gateway, Site, Upstream, eventually, step, step_with, watchdog};
use serde_json::{Value, json};

/// An item of the entry `order` (`a`) or `order2` (`b`), which trace their phases.
fn a(end: &str) -> Value {
    step_with("probe", "order", json!({"tag": "a", "end": end}))
}

fn b() -> Value {
    step_with("probe", "order2", json!({"tag": "b"}))
}

/// Waits for the last line of a request, then returns what was traced since the start.
async fn traced(site: &Site, last: &str) -> Vec<String> {
    let done = || site.trace().iter().any(|l| l == last).then_some(());
    eventually(last, Duration::from_secs(3), done).await;
    site.trace().into_iter().filter(|l| !l.starts_with("initialize")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn route_before_path_in_every_phase() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let site = site.around(&[a("")]).path("/text", "up", &[b()]);
    let gateway = Gateway::start(&site).await;

    let answer = Client::new(gateway.addr).get("/text").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello from upstream"));
    let order = traced(&site, "b:log").await;
    let body = order.iter().filter(|l| l.ends_with(":body")).count();
    assert!(body >= 2 && body % 2 == 0, "each body piece passes both: {order:?}");
    let rest: Vec<&String> = order.iter().filter(|l| !l.ends_with(":body")).collect();
    assert_eq!(rest, ["a:req", "b:req", "a:res", "b:res", "a:log", "b:log"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn end_in_the_request_filter_keeps_the_upstream_out() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let site = site.path("/text", "up", &[a("req"), b()]);
    let gateway = Gateway::start(&site).await;

    let answer = Client::new(gateway.addr).get("/text").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ended"));
    assert_eq!(up.seen().len(), 0, "the upstream was not asked");
    let order = traced(&site, "b:log").await;
    assert!(!order.contains(&"b:req".to_owned()), "no later RequestFilter: {order:?}");
    for line in ["a:req", "a:res", "b:res", "a:log", "b:log"] {
        assert!(order.contains(&line.to_owned()), "{line} is missing: {order:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn end_later_stops_that_phase_only() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let site = site.path("/text", "up", &[a("res"), b()]);
    let gateway = Gateway::start(&site).await;

    let answer = Client::new(gateway.addr).get("/text").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello from upstream"));
    assert_eq!(answer.header("x-res-a"), "yes", "what was set before END goes out");
    assert_eq!(answer.header("x-res-b"), "", "the next ResponseFilter did not run");
    let order = traced(&site, "b:log").await;
    assert!(!order.contains(&"b:res".to_owned()), "{order:?}");
    assert!(order.contains(&"b:body".to_owned()), "other phases run: {order:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn end_in_logging_stops_the_next_logger() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let site = site.path("/text", "up", &[a("log"), b()]);
    let gateway = Gateway::start(&site).await;

    Client::new(gateway.addr).get("/text").await;
    traced(&site, "a:log").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!site.trace().contains(&"b:log".to_owned()), "{:?}", site.trace());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_entry_twice_is_one_session() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let twice = [step("probe", "counter"), step("probe", "counter")];
    let site = site.path("/text", "up", &twice);
    let gateway = Gateway::start(&site).await;

    let client = Client::new(gateway.addr);
    for _ in 0..2 {
        assert_eq!(
            client.get("/text").await.header("x-runs"),
            "2",
            "captured state is per request"
        );
    }
    eventually("four loggers", Duration::from_secs(3), || {
        (site.trace().iter().filter(|l| *l == "counter 2").count() == 4).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_filter_twice_runs_twice_in_one_session() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let twice = [step("probe", "filter-counter"), step("probe", "filter-counter")];
    let site = site.path("/text", "up", &twice);
    let gateway = Gateway::start(&site).await;
    let answer = Client::new(gateway.addr).get("/text").await;
    assert_eq!(answer.header("x-runs"), "2", "neither skipped nor started anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_service_gets_the_request_filter_only() {
    let _dog = watchdog(60);
    let site = Site::new().plugin("probe");
    let site = site.service("ends", "probe", "order", json!({"tag": "s", "end": "req"}));
    let site = site.service("goes-on", "probe", "next", Value::Null);
    let site = site.path("/ends", "ends", &[b()]).path("/goes-on", "goes-on", &[]);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);

    assert_eq!(client.get("/ends").await.text(), "ended");
    let order = traced(&site, "b:log").await;
    let own: Vec<&String> = order.iter().filter(|l| l.starts_with("s:")).collect();
    assert_eq!(own, ["s:req"]);

    let answer = client.get("/goes-on").await;
    assert_eq!(answer.status, 500, "there is nothing behind a plugin service: {}", answer.text());
    assert_eq!(answer.json()["status"], 500, "the error body is JSON: {}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finishing_later_from_another_goroutine_works() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let site = site.path("/text", "up", &[step("probe", "later")]);
    let gateway = Gateway::start(&site).await;

    let answer = Client::new(gateway.addr).get("/text").await;
    assert_eq!((answer.status, answer.header("x-later")), (200, "yes"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b01_a_handler_that_never_finishes_is_late() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr);
    let site = site.plugin_with("probe", "probe", json!({"timeout": "400ms"}));
    let site = site.path("/never", "up", &[step("probe", "never")]).path("/text", "up", &[b()]);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);

    let start = Instant::now();
    let answer = client.get("/never").await;
    let took = start.elapsed();
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert_eq!(answer.json()["status"], 504);
    assert!(took >= Duration::from_millis(400) && took < Duration::from_millis(500), "{took:?}");
    assert_eq!(up.seen().len(), 0);
    assert_eq!(client.get("/text").await.status, 200, "others are served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b02_a_second_next_does_not_finish_the_next_phase() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let site = site.path("/text", "up", &[step("probe", "next-twice"), a(""), b()]);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);

    for _ in 0..20 {
        let answer = client.get("/text").await;
        assert_eq!((answer.status, answer.header("x-res-a")), (200, "yes"));
        assert_eq!(answer.header("x-res-b"), "yes", "the ResponseFilter ran to its end");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_s1_a_filter_is_never_skipped() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let site = site.path("/text", "up", &[step("probe", "gate")]);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);

    let mut all = tokio::task::JoinSet::new();
    for _ in 0..600 {
        let client = client.clone();
        all.spawn(async move { client.get("/text").await.status });
    }
    let passed = all.join_all().await.into_iter().filter(|s| !matches!(s, 403 | 503)).count();
    assert_eq!(passed, 0, "of 600 requests none passes a filter that ENDs with 403");
    assert_eq!(up.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_s2_sessions_leave_nothing_behind() {
    let _dog = watchdog(120);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let site = site.path("/text", "up", &[a(""), step("probe", "nonce")]);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);
    let worker = gateway.worker().await;

    let serve = async |count: u32| {
        for _ in 0..count / 20 {
            let mut some = tokio::task::JoinSet::new();
            for _ in 0..20 {
                let client = client.clone();
                some.spawn(async move { assert_eq!(client.get("/text").await.status, 200) });
            }
            some.join_all().await;
        }
    };
    serve(1000).await;
    let before = [gateway.pid(), worker].map(nylon_tests::proc::rss);
    serve(3000).await;
    let after = [gateway.pid(), worker].map(nylon_tests::proc::rss);
    // 3 000 requests left behind, at a kilobyte each in a session, a record and a map, would be 3 MiB and more;
    // Go's heap breathes by as much between two collections.
    for (who, bound, i) in [("gateway", 3 << 20, 0), ("worker", 12 << 20, 1)] {
        let grown = after[i].saturating_sub(before[i]);
        assert!(grown < bound, "{who} grew by {grown} bytes in 3 000 requests");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_s5_a_handler_that_forgets_next_is_late_and_warned_about_once() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr);
    let site = site.plugin_with("probe", "probe", json!({"timeout": "300ms"}));
    let site = site.path("/text", "up", &[step("probe", "forgetful")]);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);

    for _ in 0..3 {
        assert_eq!(client.get("/text").await.status, 504);
    }
    gateway.logged("forgetful", Duration::from_secs(3)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let warned = |l: &str| l.contains("forgetful") && l.contains("Next") && l.contains("End");
    let warnings = gateway.log_lines(warned);
    assert_eq!(warnings.len(), 1, "once per entry: {warnings:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_handlers_wait_for_each_other() {
    let _dog = watchdog(60);
    let site = Site::new().plugin_with("probe", "probe", json!({"env": {"GOMAXPROCS": "1"}}));
    let site = site.service("barrier", "probe", "barrier", Value::Null);
    let site = site.path("/barrier", "barrier", &[]);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);

    let mut all = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let client = client.clone();
        all.spawn(async move { client.get("/barrier").await.status });
    }
    assert!(all.join_all().await.into_iter().all(|s| s == 200), "all of them get through");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_open_goes_on_without_the_plugin() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let open = json!({"timeout": "300ms", "on_failure": "open"});
    let site = Site::new().upstream("up", up.addr).plugin_with("probe", "probe", open);
    let site = site.path("/text", "up", &[step("probe", "never"), step("probe", "nonce")]);
    let gateway = Gateway::start(&site).await;

    let answer = Client::new(gateway.addr).get_with("/text", &[("x-nonce", "n1")]).await;
    assert_eq!((answer.status, answer.header("x-nonce-echo")), (200, "n1"));
}
