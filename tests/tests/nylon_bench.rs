//! `nylon bench`: the figures of a load whose answers are known.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use nylon_tests::{Upstream, ports, proc, program, watchdog};
use serde_json::Value;
use tokio::process::Command;

fn bench(url: &str, options: &str) -> Command {
    let mut command = Command::new(program::nylon());
    command.args(["bench", url]).args(options.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// The exit code, the figures, and what was said on standard error.
async fn run(url: &str, options: &str) -> (Option<i32>, Value, String) {
    let out = bench(url, &format!("--json {options}")).output().await.expect("it runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    (out.status.code(), serde_json::from_slice(&out.stdout).unwrap_or_default(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_sent_and_counted() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let url = format!("http://{}/echo?a=b", up.addr);
    let options = "--rate 200 --duration 1s -X POST -H x-a:1 --body four";
    let (code, json, said) = run(&url, options).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((&json["requests"], &json["answered"]), (&200.into(), &200.into()), "{json:#}");
    assert_eq!(json["classes"]["2xx"], 200);
    let seen = up.seen();
    assert_eq!(seen.len(), 200);
    let one = &seen[0];
    assert_eq!((one.method.as_str(), one.query.as_str(), one.len), ("POST", "a=b", 4));
    assert_eq!(one.header("x-a"), "1");
}

/// One connection, answers of 100 ms, twice as many requests: the last one waits for all before it, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_slow_server_is_counted_with_the_wait() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let url = format!("http://{}/slow/100", up.addr);
    let (code, json, said) = run(&url, "--rate 20 --duration 1s --connections 1").await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(json["requests"], 20);
    assert_eq!(json["connections_opened"], 1);
    // 20 answers of 100 ms, one after the other; the last request was due after 950 ms.
    assert!(json["latency_us"]["max"].as_u64() >= Some(1_000_000), "{json:#}");
    assert!(json["late"]["no_connection_free"].as_u64() >= Some(15), "{json:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_have_a_kind_and_an_exit_code() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let slow = format!("http://{}/slow/5000", up.addr);
    let (code, json, _) = run(&slow, "--rate 20 --duration 500ms --timeout 100ms").await;
    assert_eq!((code, &json["errors"]["timeout"]), (Some(1), &10.into()), "{json:#}");
    assert!(json["latency_us"]["p50"].as_u64() >= Some(100_000), "they waited: {json:#}");
    let missing = format!("http://{}/status/404", up.addr);
    let (code, json, _) = run(&missing, "--rate 20 --duration 500ms").await;
    assert_eq!((code, &json["statuses"]["404"]), (Some(1), &10.into()), "{json:#}");
    let (code, _, said) = run(&format!("http://{}/", ports::free()), "").await;
    assert_eq!(code, Some(1));
    assert!(said.contains("refused"), "{said}");
    let (code, _, said) = run("https://localhost/", "").await;
    assert_eq!(code, Some(2));
    assert!(said.contains("only http://"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_prints_what_was_measured() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let url = format!("http://{}/text", up.addr);
    let child = bench(&url, "--json --rate 50 --duration 1h").spawn().expect("it runs");
    let pid = child.id().expect("it was not waited for");
    nylon_tests::eventually("requests arrive", Duration::from_secs(10), || {
        (up.seen().len() > 5).then_some(())
    })
    .await;
    proc::kill(pid, Signal::SIGINT);
    let out = child.wait_with_output().await.expect("it ends");
    let json: Value = serde_json::from_slice(&out.stdout).expect("figures");
    assert_eq!(json["interrupted"], true);
    assert!(json["answered"].as_u64() >= Some(5), "{json:#}");
}
