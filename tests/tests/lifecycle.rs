//! How a gateway and its workers start, stop and outlive each other.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nylon_tests::{Client, Gateway, Site, Upstream, eventually, proc, step, step_with, watchdog};
use serde_json::json;

async fn served() -> (Upstream, Site, Gateway, Client) {
    let up = Upstream::start().await;
    let slow = step_with("probe", "sleep", json!({"ms": 800}));
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let site = site.path("/slow", "up", &[slow]).path("/fast", "up", &[step("probe", "nonce")]);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);
    (up, site, gateway, client)
}

/// `signal` while a request is in flight: it is answered, nobody else is let in, the exit is 0.
async fn drains_on(signal: Signal) {
    let (_up, site, mut gateway, client) = served().await;
    let worker = gateway.worker().await;
    let in_flight = tokio::spawn(async move { client.get("/slow").await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    gateway.signal(signal);

    let refused = || std::net::TcpStream::connect(gateway.addr).is_err().then_some(());
    eventually("it stops to listen", Duration::from_millis(400), refused).await;
    let answer = in_flight.await.expect("the request ran");
    assert_eq!((answer.status, answer.header("x-slept")), (200, "yes"), "finished in peace");
    let status = gateway.exit(Duration::from_secs(10)).await;
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    assert!(
        site.trace().contains(&"shutdown probe".to_owned()),
        "the hook ran: {:?}",
        site.trace()
    );
    assert!(!proc::alive(worker), "the worker is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_drains_and_exits_0() {
    let _dog = watchdog(60);
    drains_on(Signal::SIGTERM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigint_drains_and_exits_0() {
    let _dog = watchdog(60);
    drains_on(Signal::SIGINT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_keep_alive_connection_does_not_hold_the_exit() {
    let _dog = watchdog(60);
    let (_up, _, mut gateway, client) = served().await;
    assert_eq!(client.get("/fast").await.status, 200);
    let start = Instant::now();
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.exit(Duration::from_secs(8)).await.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_ends_nothing() {
    let _dog = watchdog(60);
    let (_up, _, mut gateway, client) = served().await;
    let worker = gateway.worker().await;
    for _ in 0..3 {
        gateway.signal(Signal::SIGHUP);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(client.get("/fast").await.status, 200);
    }
    assert!(gateway.running());
    assert_eq!(gateway.worker().await, worker, "an unchanged plugin is not touched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_gateway_leaves_nothing_behind() {
    let _dog = watchdog(60);
    let (_up, _, mut gateway, client) = served().await;
    let worker = gateway.worker().await;
    let before = proc::shm_names();
    // In the middle of a request, as well.
    let in_flight = tokio::spawn(async move { client.try_get("/slow").await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    gateway.signal(Signal::SIGKILL);
    let killed = Instant::now();
    gateway.exit(Duration::from_secs(2)).await;
    while proc::alive(worker) {
        assert!(killed.elapsed() < Duration::from_millis(500), "the worker outlives its host");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(in_flight.await.expect("ran").is_err(), "the client's connection was cut");
    // The telemetry segment carries the host's pid and goes with the next start; nothing else has a name. Another host of
    // this machine may have come up meanwhile.
    let telemetry_of = |name: &String| name.strip_prefix("nylon-")?.parse::<u32>().ok();
    let known = |name: &String| telemetry_of(name).is_some_and(|of| of != worker);
    let left = proc::shm_names().into_iter().filter(|name| !before.contains(name) && !known(name));
    assert_eq!(left.collect::<Vec<_>>(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_gateway_leaves_no_telemetry() {
    let _dog = watchdog(60);
    let (_up, _, mut gateway, _client) = served().await;
    let pid = gateway.pid().to_string();
    gateway.signal(Signal::SIGTERM);
    gateway.exit(Duration::from_secs(10)).await;
    let left: Vec<String> = proc::shm_names().into_iter().filter(|n| n.contains(&pid)).collect();
    assert_eq!(left, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_lives_on() {
    let _dog = watchdog(60);
    let (_up, _, gateway, client) = served().await;
    let worker = gateway.worker().await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(gateway.worker().await, worker);
    let answer = client.get_with("/fast", &[("x-nonce", "n")]).await;
    assert_eq!((answer.status, answer.header("x-nonce-echo")), (200, "n"));
    assert_eq!(answer.header("x-plugin-pid"), worker.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_are_as_many_as_configured() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr);
    let site = site.plugin_with("probe", "probe", json!({"workers": 2, "env": {"MARK": "1"}}));
    let site = site.path("/fast", "up", &[step("probe", "nonce")]);
    let gateway = Gateway::start(&site).await;
    let two = || (gateway.workers().len() == 2).then(|| gateway.workers());
    let workers = eventually("two workers", Duration::from_secs(5), two).await;
    let client = Client::new(gateway.addr);
    let mut served = std::collections::HashSet::new();
    for _ in 0..50 {
        let answer = client.get("/fast").await;
        served.insert(answer.header("x-plugin-pid").parse::<u32>().expect("a pid"));
    }
    assert_eq!(served, workers.iter().map(|w| w.pid).collect(), "both of them serve");
}
