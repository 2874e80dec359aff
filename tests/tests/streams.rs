//! Streamed answers: at once, bounded, and never ended cleanly by a crash (CONTRACT 6).

use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use nylon_tests::{Client, Gateway, Site, eventually, raw, step, step_with, watchdog};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn served(entry: &str, payload: Value) -> Site {
    let around = [step("probe", "responses"), step("probe", "upper")];
    let site = Site::new().plugin("probe").service("stream", "probe", entry, payload);
    site.path("/stream", "stream", &around)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_one_by_one() {
    let _dog = watchdog(60);
    let site = served("events", Value::Null);
    let gateway = Gateway::start(&site).await;

    let start = Instant::now();
    let mut response = Client::new(gateway.addr).stream("/stream").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let (mut text, mut first) = (String::new(), None);
    while let Some(frame) = response.frame().await {
        if let Ok(data) = frame.expect("not cut off").into_data() {
            first.get_or_insert(start.elapsed());
            text.push_str(std::str::from_utf8(&data).expect("text"));
        }
    }
    // "data", not "DATA": the ResponseBodyFilter does not see streamed pieces.
    assert_eq!(text, (1..=5).map(|n| format!("data: {n}\n\n")).collect::<String>());
    let (first, last) = (first.expect("a piece"), start.elapsed());
    assert!(last - first >= Duration::from_millis(180), "not collected: {first:?} … {last:?}");
    let log = || site.trace().iter().any(|l| l == "log").then(|| site.trace());
    let trace = eventually("the logger", Duration::from_secs(3), log).await;
    assert!(trace.contains(&"res".to_owned()), "the ResponseFilter saw the head: {trace:?}");
    assert!(!trace.contains(&"body".to_owned()), "{trace:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b03_a_slow_reader_stops_the_writer_not_the_memory() {
    let _dog = watchdog(60);
    let site = served("flood", json!({"mib": 256}));
    let gateway = Gateway::start(&site).await;
    let worker = gateway.worker().await;

    let mut socket = tokio::net::TcpStream::connect(gateway.addr).await.expect("connect");
    socket.write_all(b"GET /stream HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await.expect("write");
    let mut head = [0; 4096];
    assert!(socket.read(&mut head).await.expect("read") > 0);

    // Unread, the socket buffers take some MiB; then the writer stands still.
    let far = || site.trace().iter().filter(|l| l.starts_with("flood ")).count();
    let mut before = far();
    let still = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = far();
        if now == before && now > 0 {
            break;
        }
        before = now;
        assert!(still.elapsed() < Duration::from_secs(20), "the writer never waits");
    }
    assert!(before < 64 * 16, "{before} pieces of 64 KiB are past the client's reach");
    for (who, pid) in [("gateway", gateway.pid()), ("worker", worker)] {
        let rss = nylon_tests::proc::rss(pid);
        assert!(rss < 96 << 20, "{who} holds {rss} bytes");
    }

    drop(socket);
    let told = || site.trace().into_iter().find(|l| l.starts_with("flood stopped"));
    eventually("the writer learns that the client is gone", Duration::from_secs(5), told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_after_the_head_cuts_the_stream_off() {
    let _dog = watchdog(60);
    let site = served("broken-stream", Value::Null);
    let gateway = Gateway::start(&site).await;

    let request = b"GET /stream HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    let wire = raw(gateway.addr, request, Duration::from_secs(5)).await;
    assert!(wire.starts_with("HTTP/1.1 200"), "{wire}");
    assert!(!wire.ends_with("0\r\n\r\n"), "a broken stream has no clean end:\n{wire}");
    let answer = Client::new(gateway.addr).try_get("/stream").await;
    assert!(answer.is_err(), "a client can tell: {answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_filter_that_panics_cuts_the_response_off() {
    let _dog = watchdog(60);
    let up = nylon_tests::Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let panics = step_with("probe", "panic-body", json!({}));
    let site = site.path("/sized/{n}", "up", &[panics]);
    let gateway = Gateway::start(&site).await;

    let answer = Client::new(gateway.addr).try_get("/sized/300000").await;
    let whole = answer.as_ref().is_ok_and(|a| a.status == 200);
    assert!(!whole, "never the whole body as if nothing were: {answer:?}");
}
