//! What is left of a worker that is gone: no process, no zombie, no descriptor, and what it said does not drown the host
//! (HARDENING rows 19, 21, 23, 26).

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nylon_host::{Host, PluginSpec};
use nylon_tests::{Client, Gateway, Site, Temp, eventually, proc, program, step, watchdog};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(5);

/// An executable script.
fn script(temp: &Temp, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = temp.write("worker.sh", &format!("#!/bin/sh\n{text}\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("executable");
    path
}

/// Descriptors this process has open.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("procfs").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_host_leaves_no_process() {
    let _dog = watchdog(60);
    let config = br#"{"greeting": "hello"}"#.to_vec();
    for _ in 0..3 {
        let spec = PluginSpec {
            config: config.clone(),
            ..PluginSpec::new("hello", program::plugin("hello"))
        };
        let host = Host::start(vec![spec]).await.expect("it starts");
        let pid = host.status("hello").expect("it is there").pid;
        assert!(proc::alive(pid));
        drop(host);
        let gone = || (!PathBuf::from(format!("/proc/{pid}")).exists()).then_some(());
        eventually("the worker is dead and reaped", SOON, gone).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_forked_before_the_handshake_goes_with_it() {
    let _dog = watchdog(60);
    let temp = Temp::new();
    let pids = temp.path().join("pids");
    let program = script(&temp, &format!("sleep 60 & echo $! >> {}\nexit 0", pids.display()));
    let before = descriptors();
    for _ in 0..3 {
        Host::start(vec![PluginSpec::new("forks", &program)]).await.expect_err("it is no worker");
    }
    let text = std::fs::read_to_string(&pids).expect("it ran");
    let forked: Vec<u32> = text.lines().map(|l| l.parse().expect("a pid")).collect();
    assert_eq!(forked.len(), 3);
    let dead = || (!forked.iter().any(|pid| proc::alive(*pid))).then_some(());
    eventually("all of them are dead", SOON, dead).await;
    let closed = || (descriptors() <= before + 3).then_some(());
    eventually("nothing of them is open", SOON, closed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pipes_of_a_worker_are_closed_though_a_child_of_its_holds_them() {
    let _dog = watchdog(60);
    let temp = Temp::new();
    let pids = temp.path().join("pids");
    let program =
        script(&temp, &format!("setsid sleep 60 & echo $! >> {}\nexit 0", pids.display()));
    let before = descriptors();
    for _ in 0..5 {
        Host::start(vec![PluginSpec::new("forks", &program)]).await.expect_err("it is no worker");
    }
    let closed = || (descriptors() <= before + 3).then_some(());
    eventually("nothing of them is open", SOON, closed).await;
    for pid in std::fs::read_to_string(&pids).expect("it ran").lines() {
        proc::kill(pid.parse().expect("a pid"), nix::sys::signal::Signal::SIGKILL);
    }
}

/// Empty lines cost a worker nothing, and each is an event of the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chatterbox_does_not_drown_the_host() {
    let _dog = watchdog(60);
    let site =
        Site::new().plugin_with("loud", "probe", json!({})).plugin_with("good", "probe", json!({}));
    let site = site.service("good", "good", "pid", Value::Null).path("/good", "good", &[]);
    let site = site.path("/chatter", "good", &[step("loud", "chatter")]);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);
    assert_eq!(client.get("/chatter").await.status, 200);
    let start = Instant::now();
    for _ in 0..200 {
        assert_eq!(client.get("/good").await.status, 200);
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    let told = gateway.logged("printed too much", Duration::from_secs(10)).await;
    assert!(told.contains("loud"), "{told}");
    assert!(gateway.log().len() < 4 << 20, "{} bytes of log", gateway.log().len());
}

/// Each item makes 8 MiB of every piece; two of them would make it of every piece of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_do_not_multiply_a_body() {
    let _dog = watchdog(120);
    let site = Site::new().plugin("probe").service("answer", "probe", "pid", Value::Null);
    let site = site.path("/x", "answer", &vec![step("probe", "amplify"); 3]);
    let gateway = Gateway::start(&site).await;
    let before = proc::peak_rss(gateway.pid());
    let answer = Client::new(gateway.addr).try_get("/x").await;
    assert!(answer.is_err(), "cut off: {:?}", answer.map(|a| a.body.len()));
    let after = proc::peak_rss(gateway.pid());
    assert!(after < before + (160 << 20), "{} MiB", (after - before) >> 20);
}
