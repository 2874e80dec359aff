//! Several lanes between a host and one worker: four are forced, whatever the machine has.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use nylon_host::{Body, Chain, Client, Host, Item, PluginSpec, PluginStatus};
use nylon_tests::{Hash, eventually, program, watchdog};

const LANES: u32 = 4;

async fn host() -> Host {
    let mut spec = PluginSpec::new("p", program::plugin("probe"));
    (spec.lanes, spec.start_timeout) = (LANES, Duration::from_secs(20));
    Host::start(vec![spec]).await.expect("it starts")
}

fn chain(host: &Host, entries: &[&str]) -> Arc<Chain> {
    let mut chain = host.chain();
    for entry in entries {
        chain = chain.item(Item::new("p", *entry)).expect("it is there");
    }
    chain.build()
}

fn status(host: &Host) -> PluginStatus {
    host.status("p").expect("it is there")
}

async fn send(chain: &Arc<Chain>, nonce: u64, body: Body) -> Response<Body> {
    let request = Request::post("/").header("x-nonce", nonce).body(body).expect("a request");
    let client = Client { ip: [127, 0, 0, 1].into(), tls: false };
    let service = async |_| Ok(Response::new(Body::empty()));
    chain.call(request, client, Vec::new(), service).await
}

/// Whether the answer has the nonce that a plugin put there.
fn own(answer: &Response<Body>, nonce: u64) -> bool {
    let echo = answer.headers().get("x-nonce-echo").and_then(|v| v.to_str().ok());
    answer.status() == StatusCode::OK && echo == Some(&nonce.to_string())
}

/// `tasks` × `each` calls, each with a nonce of its own; how many were answered with it.
async fn crowd(chain: &Arc<Chain>, tasks: u64, each: u64) -> u64 {
    let task = |task: u64| {
        let chain = chain.clone();
        tokio::spawn(async move {
            let mut right = 0;
            for n in 0..each {
                let nonce = task * 1_000_000 + n;
                right += u64::from(own(&send(&chain, nonce, Body::empty()).await, nonce));
            }
            right
        })
    };
    let mut right = 0;
    for task in (0..tasks).map(task).collect::<Vec<_>>() {
        right += task.await.expect("no panic");
    }
    right
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_right_on_every_lane() {
    let _dog = watchdog(60);
    let host = host().await;
    let chain = chain(&host, &["nonce"]);
    assert_eq!(crowd(&chain, 64, 100).await, 6400);
    let after = status(&host);
    assert_eq!(
        (after.lanes, after.calls, after.late, after.violations),
        (4, 6400, 0, 0),
        "{after:?}"
    );
    assert_eq!((after.sessions, after.in_flight, after.generation), (0, 0, 1), "{after:?}");
    // One at a time, too: each lane sleeps in between, and the bell is for all of them.
    for n in 0..100 {
        assert!(own(&send(&chain, n, Body::empty()).await, n));
    }
    host.stop(Duration::from_secs(2)).await;
}

/// Sessions of one request in one worker share a lane, and with it the request: the second does not send it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sessions_of_a_request_share_a_lane() {
    let _dog = watchdog(60);
    let host = host().await;
    let chain = chain(&host, &["order", "order2", "nonce"]);
    assert_eq!(crowd(&chain, 16, 50).await, 800);
    assert_eq!(status(&host).violations, 0);
    host.stop(Duration::from_secs(2)).await;
}

/// Bodies use windows, host calls and the arenas of several lanes at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_pass_on_several_lanes_at_once() {
    let _dog = watchdog(60);
    let host = host().await;
    let chain = chain(&host, &["body-reader"]);
    let sent = |task: u8| vec![task; 700_000 + usize::from(task)];
    let task = |task: u8| {
        let (chain, body) = (chain.clone(), bytes::Bytes::from(sent(task)));
        tokio::spawn(async move {
            let answer = send(&chain, 1, body.into()).await;
            answer.into_body().collect().await.expect("a body").to_bytes()
        })
    };
    for (n, task) in (0..12).map(|n| (n, task(n))).collect::<Vec<_>>() {
        let mut hash = Hash::default();
        hash.update(&sent(n));
        let want = format!("{} {} <nil>", sent(n).len(), hash.0);
        assert_eq!(task.await.expect("no panic"), want);
    }
    host.stop(Duration::from_secs(2)).await;
}

/// A worker that dies fails what it had on all lanes, and the next one serves on all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_worker_fails_all_its_lanes_and_another_takes_over() {
    let _dog = watchdog(60);
    let host = host().await;
    let chain = chain(&host, &["nonce"]);
    let first = status(&host);
    let load = tokio::spawn({
        let chain = chain.clone();
        async move { crowd(&chain, 32, 200).await }
    });
    let worked = || (status(&host).calls > 500).then_some(());
    eventually("calls", Duration::from_secs(20), worked).await;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(first.pid).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it was there");
    let right = load.await.expect("every call ended");
    let again = || Some(status(&host)).filter(|s| s.generation == 2 && s.lanes == 4);
    let second = eventually("another worker", Duration::from_secs(20), again).await;
    assert_eq!(second.crashes, 1, "{second:?}");
    assert!(right < 32 * 200, "the kill was in the middle of it");
    assert_eq!(crowd(&chain, 16, 50).await, 800);
    host.stop(Duration::from_secs(2)).await;
}
