//! R24: the kernel disturbs, and refuses what a restart needs.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::bed::{self, Load, none_wrong, still_runs, untouched};
use super::{Found, Mode};
use crate::load::Stamp;
use crate::{Answer, Client, Gateway, Upstream, proc, program};

/// R24, one fault after the other.
pub(super) async fn kernel(mode: Mode) -> Found {
    let mut found = Found::new(mode);
    interrupted(mode, &mut found).await;
    woken(mode, &mut found).await;
    let nofile =
        Refusal { what: "descriptors", limit: "nofile", says: "Too many open files", user: None };
    refused(mode, &mut found, nofile).await;
    // What holds for a file's size holds for a memfd's (fallocate(2), RLIMIT_FSIZE), without a disk to fill.
    let memory =
        Refusal { what: "shared memory", limit: "fsize", says: "shared memory: ", user: None };
    refused(mode, &mut found, memory).await;
    // Root may have as many processes as it likes.
    let nobody = rustix::process::geteuid().is_root().then_some(65_534);
    let nproc = Refusal {
        what: "processes",
        limit: "nproc",
        says: "Resource temporarily unavailable",
        user: nobody,
    };
    refused(mode, &mut found, nproc).await;
    jumped(mode, &mut found).await;
    found
}

fn length(mode: Mode) -> Duration {
    Duration::from_secs(mode.pick(3, 10, 120))
}

/// EINTR: whoever is stopped and goes on finds its wait interrupted, handler or not (signal(7)).
async fn interrupted(mode: Mode, found: &mut Found) {
    let up = Upstream::start().await;
    let site = bed::two(&up);
    let mut gateway = Gateway::start(&site).await;
    let (start, [a, b]) = bed::loads(mode, &gateway, length(mode));
    let mut stops = 0;
    while start.elapsed() < length(mode) {
        let workers = gateway.workers();
        for pid in workers.iter().map(|w| w.pid).chain([gateway.pid()]) {
            proc::kill(pid, Signal::SIGSTOP);
            proc::kill(pid, Signal::SIGCONT);
            stops += 1;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (a, b) = (a.end().await, b.end().await);
    found.count(format!("EINTR: {stops} times stopped and continued"), stops > 100);
    still_runs(found, &mut gateway);
    none_wrong(found, &[&a, &b]);
    untouched(found, "EINTR: a", &a);
    untouched(found, "EINTR: b", &b);
}

/// Wakes for nothing, fewer than what is killed for.
async fn woken(mode: Mode, found: &mut Found) {
    let up = Upstream::start().await;
    let site = bed::two(&up);
    let log = site.dir().join("hostile.log");
    let hostile = json!({"args": ["wakes"], "env": {"NYLON_HOSTILE_LOG": log}, "timeout": "2s", "breaker": {"intensity": 0}});
    let site = site.program("w", &program::hostile(), hostile);
    let site = site.service("w", "w", "serve", Value::Null).path("/load/w", "w", &[]);
    let mut gateway = Gateway::start(&site).await;
    let stamp = |answer: &Answer| Stamp {
        nonce: answer.header("x-nonce").to_owned(),
        pid: answer.header("x-pid").parse().ok(),
    };
    let start = Instant::now();
    let w = Load::stamped(mode, &gateway, "/load/w", start, length(mode), stamp);
    let b = Load::from(mode, &gateway, "/load/b", start, length(mode));
    let (w, b) = (w.end().await, b.end().await);
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let wakes: u64 =
        text.lines().filter_map(|l| l.strip_prefix("wakes ")?.parse::<u64>().ok()).sum();
    found.count(format!("wakes: {wakes} for nothing"), wakes > 1000);
    still_runs(found, &mut gateway);
    none_wrong(found, &[&w, &b]);
    untouched(found, "wakes: who wakes", &w);
    untouched(found, "wakes: b", &b);
}

/// A limit that leaves nothing for a new worker.
#[derive(Clone, Copy)]
struct Refusal {
    what: &'static str,
    /// As prlimit(1) calls it.
    limit: &'static str,
    /// What the log says of a start that met it.
    says: &'static str,
    /// As whom the gateway runs, if not as we do.
    user: Option<u32>,
}

impl Refusal {
    /// The soft limit of a process, as it is or as it is from now on. Whoever may not change limits of another user's
    /// process still may as that user.
    fn soft(self, pid: u32, new: Option<&str>) -> String {
        let mut command = Command::new("prlimit");
        command.args(["--noheadings", "--output=SOFT", "--pid"]).arg(pid.to_string());
        command.arg(new.map_or(format!("--{}", self.limit), |n| format!("--{}={n}:", self.limit)));
        if let Some(user) = self.user {
            command.uid(user);
        }
        let out = command.output().expect("prlimit, of the package util-linux");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }
}

/// For two seconds no worker can be started; `a` loses its workers meanwhile.
async fn refused(mode: Mode, found: &mut Found, refusal: Refusal) {
    let Refusal { what, user, .. } = refusal;
    let up = Upstream::start().await;
    // Another user than the owner of the directory.
    let site = bed::two(&up).runtime(json!({"admin": {"socket": false}}));
    let mut gateway = Gateway::start_by(&site, |command| {
        if let Some(user) = user {
            command.uid(user);
        }
    })
    .await;
    let client = Client::new(gateway.addr);
    let length = length(mode).max(Duration::from_secs(8));
    let (start, [a, b]) = bed::loads(mode, &gateway, length);
    tokio::time::sleep_until((start + Duration::from_secs(1)).into()).await;
    let workers = bed::pids(&client, "/load/a", 2).await;
    let before = refusal.soft(gateway.pid(), None);
    // What it has it keeps: this is less, also once the workers' are free.
    refusal.soft(gateway.pid(), Some("1"));
    workers.iter().for_each(|pid| proc::kill(*pid, Signal::SIGKILL));
    tokio::time::sleep(Duration::from_secs(2)).await;
    refusal.soft(gateway.pid(), Some(&before));
    let (a, b) = (a.end().await, b.end().await);

    let failed = gateway.log_lines(|l| l.contains("cannot start"));
    found.count(
        format!("{what}: {} starts were refused, first {:?}", failed.len(), failed.first()),
        failed.iter().any(|l| l.contains(refusal.says)),
    );
    let counted = bed::ended(&gateway, "SIGKILL", 2).await;
    found.count(format!("{what}: {counted} workers ended"), counted == 2);
    still_runs(found, &mut gateway);
    none_wrong(found, &[&a, &b]);
    untouched(found, &format!("{what}: b"), &b);
    let back = bed::pids(&client, "/load/a", 2).await.len();
    found.count(format!("{what}: {back} workers of a serve afterwards"), back == 2);
}

/// The wall clock goes an hour ahead, and back, every 300 ms: a library before libc says so to the host alone.
async fn jumped(mode: Mode, found: &mut Found) {
    let up = Upstream::start().await;
    let site = bed::two(&up);
    let Some(library) = clock(&site.dir().join("clock.so")) else {
        found.count("clock: cc makes a library that moves it", false);
        return;
    };
    let mut gateway = Gateway::start_by(&site, |command| {
        command.env("LD_PRELOAD", &library);
    })
    .await;
    let client = Client::new(gateway.addr);
    let (_, [a, b]) = bed::loads(mode, &gateway, length(mode));
    // A restart in the middle of it: back-off and time limits.
    tokio::time::sleep(length(mode) / 2).await;
    let killed = bed::pids(&client, "/load/a", 1).await;
    killed.iter().for_each(|pid| proc::kill(*pid, Signal::SIGKILL));
    let (a, b) = (a.end().await, b.end().await);
    let back = bed::pids(&client, "/load/a", 2).await.len();
    // What is no warning about the configuration begins with its time.
    let lines = gateway.log_lines(|l| l.starts_with("20"));
    let hours: std::collections::BTreeSet<&str> =
        lines.iter().filter_map(|l| l.get(..13)).collect();
    found.count(format!("clock: the log was written in the hours {hours:?}"), hours.len() > 1);
    still_runs(found, &mut gateway);
    none_wrong(found, &[&a, &b]);
    untouched(found, "clock: b", &b);
    found.count(format!("clock: {back} workers of a serve afterwards"), back == 2);
}

/// Compiles tests/faults/clock.c.
fn clock(to: &std::path::Path) -> Option<PathBuf> {
    let source = program::root().join("tests/faults/clock.c");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(to).arg(source);
    cc.status().ok()?.success().then(|| to.to_owned())
}
