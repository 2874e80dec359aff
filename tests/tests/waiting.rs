//! How a worker and its host wait for each other: what each policy decides and says, and that answers are right under all.
//!
//! Whether polling pays is for the machine to say, so no test demands it: only that the decision has its reason.

use std::sync::Arc;
use std::time::Duration;

use nylon_host::{
    Body, Chain, Client, Host, Item, PluginSpec, SpinDecision, SpinReason, WaitPolicy,
};
use nylon_shm::telemetry::Reader;
use nylon_tests::{Gateway, Site, Upstream, eventually, program, step, watchdog};
use serde_json::json;

const POLICIES: [WaitPolicy; 3] = [WaitPolicy::Latency, WaitPolicy::Balanced, WaitPolicy::Cpu];

async fn host(wait: WaitPolicy) -> (Host, Arc<Chain>) {
    let mut spec = PluginSpec::new("p", program::plugin("probe"));
    (spec.wait, spec.start_timeout) = (wait, Duration::from_secs(20));
    let host = Host::start(vec![spec]).await.expect("it starts");
    let chain = host.chain().item(Item::new("p", "nonce")).expect("it is there").build();
    (host, chain)
}

async fn call(chain: &Arc<Chain>, nonce: u32) {
    let nonce = nonce.to_string();
    let request = http::Request::get("/").header("x-nonce", &nonce).body(Body::empty());
    let client = Client { ip: [127, 0, 0, 1].into(), tls: false };
    let service = async |_| Ok(http::Response::new(Body::empty()));
    let answer = chain.call(request.expect("a request"), client, vec![], service).await;
    assert_eq!(answer.headers().get("x-nonce-echo").map(|v| v.as_bytes()), Some(nonce.as_bytes()));
    assert_eq!(answer.status(), 200);
}

fn decision(host: &Host) -> SpinDecision {
    let decision = host.status("p").expect("it is there").spin;
    let polls = matches!(decision.reason, SpinReason::Probing | SpinReason::Pays);
    assert_eq!(polls, !decision.spin.is_zero(), "{decision:?}");
    assert!(decision.spin <= Duration::from_micros(20), "{decision:?}");
    decision
}

/// One call after the other, then many at a time, with pauses: every answer is right. The decisions on the way.
async fn decisions(wait: WaitPolicy) -> Vec<SpinDecision> {
    let (host, chain) = host(wait).await;
    let mut seen = vec![decision(&host)];
    for round in 0..3 {
        // On a thread of the runtime, as in a gateway.
        let one = chain.clone();
        let calls = tokio::spawn(async move {
            for n in 0..2000 {
                call(&one, n).await;
            }
        });
        while !calls.is_finished() {
            seen.push(decision(&host));
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        calls.await.expect("right answers");
        let crowd: Vec<_> = (0..16)
            .map(|task| {
                let chain = chain.clone();
                tokio::spawn(async move {
                    for n in 0..50 {
                        call(&chain, task * 1000 + n).await;
                    }
                })
            })
            .collect();
        for task in crowd {
            task.await.expect("right answers");
        }
        seen.push(decision(&host));
        tokio::time::sleep(Duration::from_millis(20 * round)).await;
    }
    let status = host.status("p").expect("it is there");
    assert_eq!((status.crashes, status.deadlines, status.late), (0, 0, 0), "{status:?}");
    host.stop(Duration::from_secs(5)).await;
    seen.dedup();
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latency_polls_or_says_why_not() {
    let _dog = watchdog(120);
    let seen = decisions(WaitPolicy::Latency).await;
    let is = |reason| seen.iter().any(|d| d.reason == reason);
    println!("latency: {seen:?}");
    assert!(!is(SpinReason::Policy) && !is(SpinReason::TwoCpus), "{seen:?}");
    let barred = is(SpinReason::FewCpus) || is(SpinReason::Throttled);
    let measured = is(SpinReason::Pays) || is(SpinReason::NoGain) || is(SpinReason::Missed);
    assert!(barred || measured || is(SpinReason::Probing), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn balanced_says_what_it_does() {
    let _dog = watchdog(120);
    let seen = decisions(WaitPolicy::Balanced).await;
    println!("balanced: {seen:?}");
    assert!(seen.iter().all(|d| d.reason != SpinReason::Policy), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cpu_never_polls() {
    let _dog = watchdog(120);
    let never = SpinDecision { spin: Duration::ZERO, reason: SpinReason::Policy };
    assert_eq!(decisions(WaitPolicy::Cpu).await, [never]);
}

/// On one thread a caller that polls holds up the reactor: nobody may wait for it.
#[tokio::test]
async fn one_thread_is_enough_under_every_policy() {
    let _dog = watchdog(120);
    for wait in POLICIES {
        let (host, chain) = host(wait).await;
        for n in 0..500 {
            let pair = (call(&chain, n), call(&chain, n + 1000));
            tokio::join!(pair.0, pair.1);
        }
        host.stop(Duration::from_secs(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_shows_the_reason_in_its_telemetry() {
    let _dog = watchdog(120);
    let up = Upstream::start().await;
    let wakes = ["latency", "balanced", "cpu"];
    let mut site = Site::new().upstream("up", up.addr);
    for wake in wakes {
        site = site.plugin_with(wake, "probe", json!({"wake": wake}));
        site = site.path(&format!("/{wake}"), "up", &[step(wake, "nonce")]);
    }
    let gateway = Gateway::start(&site).await;
    let client = nylon_tests::Client::new(gateway.addr);
    for wake in wakes {
        for _ in 0..50 {
            assert_eq!(client.get(&format!("/{wake}")).await.status, 200);
        }
    }
    let rows = || {
        let seen = Reader::open(gateway.pid()).ok()?.snapshot().ok()?;
        // Each has one worker.
        let row = |name: &str| {
            let plugin = seen.plugins.iter().find(|plugin| plugin.name.to_string() == name)?;
            let worker = seen.workers.iter().find(|worker| worker.plugin == plugin.id)?;
            Some((worker.spin_ns, worker.spin_reason))
        };
        Some([row(wakes[0])?, row(wakes[1])?, row(wakes[2])?])
    };
    // Stored once a second; the first thing that holds for `cpu` is what holds for ever.
    let told = || rows().filter(|rows| rows[2] == (0, SpinReason::Policy as u64));
    let [latency, balanced, _] = eventually("the rows", Duration::from_secs(5), told).await;
    for (spin, reason) in [latency, balanced] {
        assert!(spin <= 20_000 && reason <= 11 && reason != SpinReason::Policy as u64);
    }
}
