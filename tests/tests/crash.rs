//! A plugin that dies, panics or hangs harms its own requests only (HARDENING; CONTRACT 9 "Panics").

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nylon_tests::load::{self, Class, Kill, Plan};
use nylon_tests::{Client, Gateway, Site, Upstream, proc, step, watchdog};
use serde_json::json;

/// A gateway with the plugin `probe` under two names: `bad` is hurt, `good` must not notice.
async fn two_plugins(entry: &str) -> (Upstream, Site, Gateway, Client) {
    let up = Upstream::start().await;
    let policy = json!({"timeout": "500ms"});
    let site = Site::new().upstream("up", up.addr);
    let site = site.plugin_with("bad", "probe", policy.clone());
    let site = site.plugin_with("good", "probe", policy);
    let site = site.path("/bad", "up", &[step("bad", entry)]);
    let site = site.path("/same", "up", &[step("bad", "nonce")]);
    let site = site.path("/good", "up", &[step("good", "nonce")]);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);
    (up, site, gateway, client)
}

/// Who serves the plugin `bad` or `good`.
async fn pid_of(client: &Client, path: &str) -> u32 {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = client.get_with(path, &[("x-nonce", "n")]).await;
        if answer.status == 200 {
            return answer.header("x-plugin-pid").parse().expect("a pid");
        }
        assert!(matches!(answer.status, 502 | 503), "{path}: {} {}", answer.status, answer.text());
        assert!(Instant::now() < end, "{path} stays at {}", answer.status);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_kills_under_load() {
    let _dog = watchdog(120);
    let deadline = Duration::from_secs(1);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr);
    let site = site.plugin_with("probe", "probe", json!({"timeout": "1s"}));
    let site = site.path("/load", "up", &[step("probe", "nonce")]);
    let mut gateway = Gateway::start(&site).await;
    let first = gateway.worker().await;

    let (addr, path) = (gateway.addr, "/load".to_owned());
    let duration = Duration::from_secs(20);
    let start = Instant::now();
    let load = tokio::spawn(async move {
        load::run(&Plan { addr, path, rate: 200, duration, deadline, stamp: load::in_headers })
            .await
    });
    let mut kills = Vec::new();
    for n in 1..=5_u32 {
        tokio::time::sleep_until((start + Duration::from_millis(3_500) * n).into()).await;
        let pid = gateway.worker().await;
        assert!(!kills.iter().any(|k: &Kill| k.pid == pid), "{pid} was killed before");
        kills.push(Kill { at: start.elapsed(), pid });
        proc::kill(pid, Signal::SIGKILL);
    }
    let report = load.await.expect("the load ran");

    println!("{}", report.json());
    assert_eq!(report.outcomes.len(), 4000);
    assert_eq!(report.unexplained(), [""; 0], "only 200, 502, 503 and 504");
    assert!(report.right() >= 3700, "{}", report.json());
    assert_eq!(report.overdue().len(), 0, "{:?}", report.overdue().first());
    let outside = report.refused_outside(&kills);
    assert!(
        outside.is_empty(),
        "{} refused though the worker was there: {:?}",
        outside.len(),
        outside[0]
    );
    assert!(gateway.running(), "the same gateway");
    assert_eq!(kills[0].pid, first);
    let exits = gateway.log_lines(|l| l.contains("worker ended") && l.contains("SIGKILL"));
    assert_eq!(exits.len(), 5, "each exit is counted once, by its signal: {exits:#?}");
    assert_eq!(gateway.workers().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_s3_a_panic_in_a_handler_costs_its_request() {
    let _dog = watchdog(60);
    let (up, _, _gateway, client) = two_plugins("panic").await;
    let before = pid_of(&client, "/same").await;
    let asked = up.seen().len();
    for _ in 0..5 {
        let answer = client.get("/bad").await;
        assert!((500..=599).contains(&answer.status), "{}: {}", answer.status, answer.text());
        assert_eq!(answer.header("x-before"), "", "nothing of that invocation is applied");
    }
    assert_eq!(up.seen().len(), asked, "the upstream was not asked");
    assert_eq!(pid_of(&client, "/same").await, before, "the same process goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_s3_a_panic_elsewhere_costs_what_was_in_flight() {
    let _dog = watchdog(60);
    let (_up, _, gateway, client) = two_plugins("panic-elsewhere").await;
    dies(&gateway, &client).await;
    gateway.logged("on purpose, elsewhere", Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_s3_exit_costs_what_was_in_flight() {
    let _dog = watchdog(60);
    let (_up, _, gateway, client) = two_plugins("exit").await;
    dies(&gateway, &client).await;
}

/// One request to `/bad` ends its process: 502, a new process, and the other plugin as before.
async fn dies(gateway: &Gateway, client: &Client) {
    let (bad, good) = (pid_of(client, "/same").await, pid_of(client, "/good").await);
    assert_ne!(bad, good);
    let answer = client.get("/bad").await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_eq!(answer.json()["status"], 502);
    assert_ne!(pid_of(client, "/same").await, bad, "a new process serves");
    assert_eq!(pid_of(client, "/good").await, good, "the other plugin did not notice");
    assert!(!proc::alive(bad));
    assert_eq!(gateway.workers().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_never_returns_harms_no_other() {
    let _dog = watchdog(60);
    let (_up, _, gateway, client) = two_plugins("never").await;
    let (addr, duration) = (gateway.addr, Duration::from_secs(3));
    let deadline = Duration::from_millis(500);
    let loads = ["/good", "/same"].map(|path| {
        let plan = Plan {
            addr,
            path: path.into(),
            rate: 100,
            duration,
            deadline,
            stamp: load::in_headers,
        };
        tokio::spawn(async move { load::run(&plan).await })
    });
    for _ in 0..5 {
        let start = Instant::now();
        let answer = client.get("/bad").await;
        assert_eq!(answer.status, 504, "{}", answer.text());
        assert!(start.elapsed() < deadline + Duration::from_millis(100), "{:?}", start.elapsed());
    }
    for load in loads {
        let report = load.await.expect("the load ran");
        assert_eq!(report.right(), 300, "others are served as before: {}", report.json());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logger_that_panics_is_not_the_clients_business() {
    let _dog = watchdog(60);
    let (_up, _, _gateway, client) = two_plugins("panic-log").await;
    let before = pid_of(&client, "/same").await;
    for _ in 0..3 {
        assert_eq!(client.get("/bad").await.status, 200, "logging fails open by default");
    }
    assert_eq!(pid_of(&client, "/same").await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_worker_is_late_not_lost() {
    let _dog = watchdog(60);
    let (_up, _, gateway, client) = two_plugins("nonce").await;
    let bad = pid_of(&client, "/same").await;
    proc::kill(bad, Signal::SIGSTOP);
    let stopped = || proc::stopped(bad).then_some(());
    nylon_tests::eventually("it has stopped", Duration::from_secs(5), stopped).await;
    let start = Instant::now();
    let answer = client.get_with("/same", &[("x-nonce", "n")]).await;
    assert!(matches!(answer.status, 502..=504), "{}", answer.status);
    assert!(start.elapsed() < Duration::from_millis(600), "{:?}", start.elapsed());
    assert_eq!(client.get_with("/good", &[("x-nonce", "n")]).await.status, 200);
    proc::kill(bad, Signal::SIGCONT);
    // It goes on, or it was replaced: either way the plugin serves, and the late answer reaches nobody.
    let report = load::run(&Plan {
        addr: gateway.addr,
        path: "/same".into(),
        rate: 50,
        duration: Duration::from_secs(2),
        deadline: Duration::from_millis(500),
        stamp: load::in_headers,
    })
    .await;
    assert_eq!(report.count(|c| matches!(c, Class::Wrong(_))), 0, "{:?}", report.unexplained());
    pid_of(&client, "/same").await;
}
