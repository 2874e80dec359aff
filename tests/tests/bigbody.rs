//! Bodies far larger than any buffer pass through a filter that changes every byte; memory stays as it was.
//!
//! 64 MiB here, 1 GiB with `--long`.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::channel::Channel;
use nylon_tests::{Client, Gateway, Hash, Site, Upstream, long, pattern, proc, step, watchdog};
use serde_json::json;

const MIB: u64 = 1 << 20;
const PIECE: usize = 64 * 1024;

/// More than after 16 MiB, the peak may be by so much.
const SLACK: u64 = 32 * MIB;

fn large() -> u64 {
    if long() { 1024 * MIB } else { 64 * MIB }
}

async fn served(entry: &str) -> (Upstream, Gateway, Client, u32) {
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr);
    let site = site.plugin_with("probe", "probe", json!({"timeout": "5s"}));
    let steps = [step("probe", entry)];
    let site = site.path("/sum", "up", &steps).path("/sized/{n}", "up", &steps);
    let gateway = Gateway::start(&site).await;
    let worker = gateway.worker().await;
    let client = Client::new(gateway.addr);
    (up, gateway, client, worker)
}

/// Hash of `len` bytes of the pattern, each as the plugin changes it.
fn flipped(len: u64) -> Hash {
    let mut hash = Hash::default();
    for from in (0..len).step_by(PIECE) {
        let piece = usize::try_from((len - from).min(PIECE as u64)).expect("a piece");
        let bytes: Vec<u8> = pattern(from, piece).iter().map(|b| b ^ 0x5a).collect();
        hash.update(&bytes);
    }
    hash
}

async fn up(client: &Client, upstream: &Upstream, len: u64) {
    let (mut send, body) = Channel::<Bytes, std::io::Error>::new(4);
    tokio::spawn(async move {
        for from in (0..len).step_by(PIECE) {
            let piece = usize::try_from((len - from).min(PIECE as u64)).expect("a piece");
            if send.send_data(pattern(from, piece)).await.is_err() {
                return;
            }
        }
    });
    let request = client.request("POST", "/sum").body(body.boxed()).expect("a request");
    let response = client.open(request).await.expect("an answer");
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.expect("the whole answer");
    let seen = upstream.last();
    assert_eq!((seen.len, seen.hash), (len, flipped(len)), "{len} bytes, each changed once");
}

async fn down(client: &Client, len: u64) {
    let mut response = client.stream(&format!("/sized/{len}")).await;
    assert_eq!(response.status(), 200);
    let (mut got, mut hash) = (0, Hash::default());
    while let Some(frame) = response.frame().await {
        if let Ok(data) = frame.expect("not cut off").into_data() {
            got += data.len() as u64;
            hash.update(&data);
        }
    }
    assert_eq!((got, hash), (len, flipped(len)), "{len} bytes, each changed once");
}

/// Peaks of gateway and worker.
fn peaks(gateway: &Gateway, worker: u32) -> [u64; 2] {
    [gateway.pid(), worker].map(proc::peak_rss)
}

fn bounded(small: [u64; 2], large: [u64; 2]) {
    for (who, i) in [("gateway", 0), ("worker", 1)] {
        println!("{who}: {} KiB after 16 MiB, {} KiB at the end", small[i] >> 10, large[i] >> 10);
        assert!(large[i] > 0 && large[i] <= small[i] + SLACK, "{who}: {} > {}", large[i], small[i]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_through_a_request_body_filter() {
    let _dog = watchdog(600);
    let (upstream, gateway, client, worker) = served("flip-up").await;
    up(&client, &upstream, 16 * MIB).await;
    let small = peaks(&gateway, worker);
    up(&client, &upstream, large()).await;
    bounded(small, peaks(&gateway, worker));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn down_through_a_response_body_filter() {
    let _dog = watchdog(600);
    let (_upstream, gateway, client, worker) = served("flip").await;
    down(&client, 16 * MIB).await;
    let small = peaks(&gateway, worker);
    down(&client, large()).await;
    bounded(small, peaks(&gateway, worker));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_the_upstream_back() {
    let _dog = watchdog(60);
    let (_upstream, gateway, client, worker) = served("flip").await;
    down(&client, MIB).await;
    let before = [gateway.pid(), worker].map(proc::rss);
    let response = client.stream(&format!("/sized/{}", 512 * MIB)).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let after = [gateway.pid(), worker].map(proc::rss);
    for (who, i) in [("gateway", 0), ("worker", 1)] {
        assert!(after[i] < before[i] + SLACK, "{who} buffers what nobody reads: {}", after[i]);
    }
    drop(response);
    assert_eq!(client.get("/ready/probe").await.status, 200);
}
