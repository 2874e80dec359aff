//! What a session costs the host once everything is warm: counted, never timed.

use std::alloc::System;
use std::sync::Arc;

use http::{HeaderValue, Request, Response};
use nylon_host::{Body, Chain, Client, Host, Item, PluginSpec, WaitPolicy};
use nylon_tests::{program, watchdog};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const HEADERS: [(&str, &str); 11] = [
    ("host", "shop.example:8080"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.7,de;q=0.3"),
    ("accept-encoding", "gzip, deflate, br"),
    ("connection", "keep-alive"),
    ("referer", "https://shop.example/catalogue?page=3"),
    ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
    ("x-forwarded-proto", "https"),
    ("cache-control", "no-cache"),
    ("dnt", "1"),
];

/// A request, and the answer of the service: both are there before anything is counted.
type Made = (u64, Request<Body>, Response<Body>);

fn made(n: u64) -> Made {
    let mut request = Request::get(format!("/steady?n={n}"));
    for (name, value) in HEADERS {
        request = request.header(name, HeaderValue::from_static(value));
    }
    let request = request.header("x-nonce", n).body(Body::empty()).expect("a request");
    let response = Response::builder().header("content-length", "0").body(Body::empty());
    (n, request, response.expect("a response"))
}

/// Sends them; a wrong answer fails.
async fn send(chain: &Arc<Chain>, all: Vec<Made>) {
    let client = Client { ip: [127, 0, 0, 1].into(), tls: false };
    for (n, request, response) in all {
        let response = chain.call(request, client, Vec::new(), async |_| Ok(response)).await;
        let nonce = response.headers().get("x-nonce-echo").map(HeaderValue::as_bytes);
        let found = nonce.and_then(|n| std::str::from_utf8(n).ok()?.parse().ok());
        assert_eq!(found, Some(n), "its own nonce");
    }
}

/// A request filter that reads the request and sets a header, from `Chain::call` to its return: the host allocates
/// nothing, whichever way both sides wait.
#[test]
fn a_session_allocates_nothing_in_the_host() {
    const SESSIONS: u64 = 2_000;
    let _watchdog = watchdog(60);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        for wait in [WaitPolicy::Balanced, WaitPolicy::Latency] {
            let spec = PluginSpec { wait, ..PluginSpec::new("probe", program::plugin("probe")) };
            let host = Host::start(vec![spec]).await.expect("a worker");
            let chain = host.chain().item(Item::new("probe", "nonce")).expect("known").build();
            send(&chain, (0..SESSIONS).map(made).collect()).await;

            let all = (0..SESSIONS).map(made).collect();
            let region = Region::new(ALLOCATOR);
            send(&chain, all).await;
            let change = region.change();
            let calls = host.status("probe").expect("its status").calls;
            assert_eq!(calls, 2 * SESSIONS, "every request ran in the worker");
            // Of the runtime's own, now and then.
            let spare = SESSIONS / 100;
            assert!(
                change.allocations + change.reallocations <= usize::try_from(spare).expect("few"),
                "{SESSIONS} sessions under {wait:?}: {change:?}"
            );
            host.stop(std::time::Duration::from_secs(2)).await;
        }
    });
}
