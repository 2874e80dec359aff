//! A plugin marked `retry`: what is sent once more when a worker dies, and what never is. Real workers, killed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::channel::Channel;
use nix::sys::signal::Signal;
use nylon_host::{Body, Chain, Client, Host, Item, Payload, PluginSpec};
use nylon_tests::{Exposition, Temp, eventually, proc, program, watchdog};
use serde_json::json;
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(20);

async fn host(retry: bool) -> (Host, Temp) {
    let mut spec = PluginSpec::new("p", program::plugin("probe"));
    let dir = Temp::new();
    spec.config = json!({"name": "p", "trace": dir.path().join("trace")}).to_string().into_bytes();
    (spec.start_timeout, spec.workers, spec.retry) = (SOON, 2, retry);
    spec.supervision.breaker.intensity = 0;
    (Host::start(vec![spec]).await.expect("it starts"), dir)
}

fn item(entry: &str) -> Item {
    Item::new("p", entry)
        .payload(Payload::Constant(json!({"ms": 1500, "mib": 1_000_000}).to_string().into()))
}

fn chain(host: &Host, item: Item) -> Arc<Chain> {
    host.chain().item(item).expect("it is there").build()
}

/// Status, the process that answered and the body it saw; and whether the answer's body was whole.
type Answer = (u16, u32, String, bool);

fn call(chain: &Arc<Chain>, how: &str, body: &'static [u8]) -> JoinHandle<Answer> {
    let request = http::Request::post("/").header("x-how", how).header("x-ms", "1500");
    // In pieces, as it would come from a client.
    let (mut up, down) = Channel::<Bytes>::new(1);
    tokio::spawn(async move {
        for piece in body.chunks(64 << 10) {
            if up.send_data(Bytes::from_static(piece)).await.is_err() {
                return;
            }
        }
    });
    let request = request.body(Body::new(down)).expect("a request");
    let chain = chain.clone();
    tokio::spawn(async move {
        let client = Client { ip: [127, 0, 0, 1].into(), tls: false };
        let service = async |_| Ok(http::Response::new(Body::empty()));
        let answer = chain.call(request, client, vec![], service).await;
        let (parts, body) = answer.into_parts();
        let header = |name| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
        let (pid, seen) =
            (header("x-plugin-pid").parse().unwrap_or(0), header("x-body").to_owned());
        let mut whole = true;
        let mut body = std::pin::pin!(body);
        while let Some(frame) = body.frame().await {
            whole &= frame.is_ok();
        }
        (parts.status.as_u16(), pid, seen, whole)
    })
}

/// The worker that has the only request there is, once it has it.
async fn busy(host: &Host) -> u32 {
    let busy = || {
        let workers = host.dump("p");
        let has =
            |w: &&nylon_host::inspect::WorkerDump| w.lanes.iter().any(|l| !l.sessions.is_empty());
        workers.iter().find(has).map(|w| w.pid)
    };
    eventually("a worker has it", SOON, busy).await
}

/// Waits until both workers serve.
async fn both(host: &Host) {
    let both = || {
        let status = host.status("p").expect("it is there");
        (status.workers.iter().filter(|w| w.admitted).count() == 2).then_some(())
    };
    eventually("both serve", SOON, both).await;
}

fn retries(host: &Host) -> f64 {
    let mut registry = prometheus_client::registry::Registry::default();
    host.register_metrics(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
    Exposition::read(&text).sum("nylon_plugin_retries_total", &[("plugin", "p")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_worker_is_killed_goes_to_another() {
    let _dog = watchdog(120);
    let (host, _dir) = host(true).await;
    for (count, entry) in ["slow-body", "slow-response"].into_iter().enumerate() {
        both(&host).await;
        let answer = call(&chain(&host, item(entry)), "whole", b"body");
        let old = busy(&host).await;
        proc::kill(old, Signal::SIGKILL);
        let (status, pid, ..) = answer.await.expect("it ran");
        assert!(status == 200 && pid != 0 && pid != old, "{entry}: {status} by {pid}, not {old}");
        let status = host.status("p").expect("it is there");
        assert_eq!((status.crashes, retries(&host)), (count as u64 + 1, count as f64 + 1.0));
    }
    host.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_not_marked_fails() {
    let _dog = watchdog(60);
    let (host, _dir) = host(false).await;
    let answer = call(&chain(&host, item("sleep")), "", b"");
    proc::kill(busy(&host).await, Signal::SIGKILL);
    assert_eq!(answer.await.expect("it ran").0, 502);
    assert_eq!(retries(&host), 0.0);
    host.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_kept_is_read_again_and_one_that_is_not_is_not() {
    let _dog = watchdog(120);
    let (host, dir) = host(true).await;
    let (whole, kept) = (chain(&host, item("slow-body")), chain(&host, item("slow-body")));
    // The last one to read a body reads it as it comes.
    let last = host.chain().service(item("slow-body")).expect("it is there").build();
    let trace = dir.path().join("trace");
    let body: &'static [u8] = vec![b'x'; 300_000].leak();
    let (status, _, seen, _) = call(&whole, "whole", body).await.expect("it ran");
    assert_eq!(status, 200);
    for (chain, how, again) in
        [(whole, "whole", true), (kept, "reader", true), (last, "reader", false)]
    {
        both(&host).await;
        let before = retries(&host);
        let _ = std::fs::remove_file(&trace);
        let answer = call(&chain, how, body);
        let old = busy(&host).await;
        // It has read all of it, and takes its time now.
        let read = || {
            let lines = std::fs::read_to_string(&trace).unwrap_or_default();
            lines.lines().any(|line| line == format!("read {old}")).then_some(())
        };
        eventually("it has read", SOON, read).await;
        proc::kill(old, Signal::SIGKILL);
        let (status, pid, read, _) = answer.await.expect("it ran");
        assert_eq!(retries(&host) - before, f64::from(u8::from(again)), "{how}");
        if again {
            assert!((status, &read) == (200, &seen) && pid != old, "{how}: {status} {read}");
        } else {
            assert_eq!(status, 502, "{how}");
        }
    }
    host.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kills_its_worker_kills_two_and_no_more() {
    let _dog = watchdog(60);
    let (host, _dir) = host(true).await;
    let answer = call(&chain(&host, item("exit")), "", b"").await.expect("it ran");
    assert_eq!((answer.0, retries(&host)), (502, 1.0));
    both(&host).await;
    assert_eq!(host.status("p").expect("it is there").crashes, 2);
    host.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_began_is_cut_and_a_deadline_is_kept() {
    let _dog = watchdog(60);
    let (host, dir) = host(true).await;
    let stream = host.chain().service(item("flood")).expect("it is there").build();
    let answer = call(&stream, "", b"");
    let old = busy(&host).await;
    let begun = || {
        let lines = std::fs::read_to_string(dir.path().join("trace")).unwrap_or_default();
        lines.contains("flood").then_some(())
    };
    eventually("it streams", SOON, begun).await;
    proc::kill(old, Signal::SIGKILL);
    let (status, _, _, whole) = answer.await.expect("it ran");
    assert_eq!((status, whole, retries(&host)), (200, false, 0.0));

    both(&host).await;
    let mut policies = nylon_host::PhasePolicies::default();
    policies.request_filter.timeout = Duration::from_secs(2);
    let answer = call(&chain(&host, item("sleep").policies(policies)), "", b"");
    let old = busy(&host).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    proc::kill(old, Signal::SIGKILL);
    assert_eq!(answer.await.expect("it ran").0, 504, "half of the time is left, and not enough");
    assert_eq!(retries(&host), 1.0);
    host.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_under_load_cost_no_request() {
    let _dog = watchdog(120);
    let (host, _dir) = host(true).await;
    // Long enough for each to have a request in it at any time.
    let payload = Payload::Constant(json!({"ms": 5}).to_string().into());
    let sleep = chain(&host, Item::new("p", "sleep").payload(payload));
    let end = Instant::now() + Duration::from_secs(4);
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let sleep = sleep.clone();
            tokio::spawn(async move {
                let mut statuses = Vec::new();
                while Instant::now() < end {
                    statuses.push(call(&sleep, "", b"").await.expect("it ran").0);
                }
                statuses
            })
        })
        .collect();
    let mut killed = HashSet::new();
    while Instant::now() < end {
        both(&host).await;
        let workers = host.status("p").expect("it is there").workers;
        let victim = workers.iter().map(|w| w.pid).find(|pid| !killed.contains(pid)).expect("two");
        killed.insert(victim);
        proc::kill(victim, Signal::SIGKILL);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (mut sent, mut bad) = (0, Vec::new());
    for caller in callers {
        let statuses = caller.await.expect("it ran");
        sent += statuses.len();
        bad.extend(statuses.into_iter().filter(|status| *status != 200));
    }
    assert!(sent > 100 && killed.len() >= 2, "{sent} calls, {} kills", killed.len());
    assert_eq!(bad, [0; 0], "of {sent} with {} kills", killed.len());
    assert!(retries(&host) > 0.0, "no request was in a worker that was killed");
    host.stop(Duration::from_secs(5)).await;
}
