//! A slow session delays no other on its lane: by what came before what, not by a clock.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};
use nylon_host::{Body, Chain, Client, Host, Item, PluginSpec, WaitPolicy};
use nylon_tests::{program, watchdog};

/// Sessions in flight beside the slow one, and how many each of those tasks opens, one after the other.
const BESIDE: u32 = 64;
const EACH: u32 = 20;

fn chain(host: &Host, entry: &str) -> Arc<Chain> {
    host.chain().item(Item::new("p", entry)).expect("it is there").build()
}

async fn call(chain: &Arc<Chain>, nonce: u32) -> HeaderMap {
    let request = Request::get("/").header("x-nonce", nonce).body(Body::empty());
    let client = Client { ip: [127, 0, 0, 1].into(), tls: false };
    let service = async |_| Ok(Response::new(Body::empty()));
    let answer = chain.call(request.expect("a request"), client, vec![], service).await;
    assert_eq!(answer.status(), StatusCode::OK);
    answer.headers().clone()
}

fn says(headers: &HeaderMap, name: &str, value: &str) -> bool {
    headers.get(name).is_some_and(|found| found == value)
}

/// `entry` does not return until it is told to: that happens when all others have been answered.
async fn others_pass(entry: &str, wait: WaitPolicy) {
    let mut spec = PluginSpec::new("p", program::plugin("probe"));
    (spec.lanes, spec.wait, spec.start_timeout) = (1, wait, Duration::from_secs(20));
    let host = Host::start(vec![spec]).await.expect("it starts");
    let slow = chain(&host, entry);
    let slow = tokio::spawn(async move { call(&slow, 0).await });
    let held = chain(&host, "held");
    while !says(&call(&held, 0).await, "x-held", "true") {}

    let nonce = chain(&host, "nonce");
    let beside = (0..BESIDE).map(|task| {
        let nonce = nonce.clone();
        tokio::spawn(async move {
            for n in 0..EACH {
                let n = task * EACH + n;
                assert!(says(&call(&nonce, n).await, "x-nonce-echo", &n.to_string()));
            }
        })
    });
    for task in beside.collect::<Vec<_>>() {
        task.await.expect("right answers");
    }
    let status = host.status("p").expect("it is there");
    assert_eq!((status.lanes, status.in_flight), (1, 1), "{status:?}");
    assert!(!slow.is_finished(), "it is held");

    call(&chain(&host, "release"), 0).await;
    assert!(says(&slow.await.expect("no panic"), "x-held", "yes"), "its own answer");
    host.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_waits_delays_no_other() {
    let _dog = watchdog(60);
    others_pass("hold", WaitPolicy::Balanced).await;
    others_pass("hold", WaitPolicy::Latency).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_computes_delays_no_other() {
    let _dog = watchdog(60);
    others_pass("hold-busy", WaitPolicy::Balanced).await;
    others_pass("hold-busy", WaitPolicy::Latency).await;
}
