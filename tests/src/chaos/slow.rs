//! R4, R5: a plugin that takes its time, and one that never ends.

use std::time::{Duration, Instant};

use serde_json::json;

use super::bed::{self, DEADLINE, GRACE, Load, none_wrong, p99, still_runs, untouched};
use super::{Found, Mode};
use crate::{Client, Gateway, Upstream, proc, step, step_with, telemetry};

/// The most a host's memory may move and still not have grown: the pages of one more task's stack and buffers.
const NOISE: u64 = 1 << 20;

/// R4: `a` takes 50 ms more, and 2 s one time in a hundred.
pub(super) async fn slow_plugin(mode: Mode) -> Found {
    let baseline = Duration::from_secs(mode.pick(3, 20, 60));
    let duration = Duration::from_secs(mode.pick(6, 75, 600));
    let up = Upstream::start().await;
    let slow = json!({"ms": 50, "seldom_ms": 2000, "seldom": 100});
    let site = bed::two(&up).path("/slow/a", "up", &[step_with("a", "slow", slow)]);
    // Those of 2 s are late for a deadline of 2 s: they are to be answered.
    let site = site.change("a", json!({"timeout": "5s"}));
    let mut gateway = Gateway::start(&site).await;

    let (_, [a, b]) = bed::loads(mode, &gateway, baseline);
    let (_, before) = (a.end().await, b.end().await);
    let start = Instant::now();
    let [a, b] = ["/slow/a", "/load/b"].map(|p| Load::from(mode, &gateway, p, start, duration));
    // The pools and tables of a load of this size are there by then. What it shares with workers has its size from the
    // start, and is resident once it was gone through.
    tokio::time::sleep_until((start + duration / 5).into()).await;
    let settled = proc::own_rss(gateway.pid());
    tokio::time::sleep_until((start + duration).into()).await;
    let last = proc::own_rss(gateway.pid());
    let (a, b) = (a.end().await, b.end().await);

    let mut found = Found::new(mode);
    let (p50, p999) = (a.percentile(0.5), a.percentile(0.999));
    let happened = p50 >= Duration::from_millis(50) && p999 >= DEADLINE;
    found.count(format!("a: p50 {p50:.1?}, p999 {p999:.2?}"), happened);
    still_runs(&mut found, &mut gateway);
    none_wrong(&mut found, &[&b]);
    untouched(&mut found, "a", &a);
    untouched(&mut found, "b", &b);
    p99(&mut found, "b", 1.2, &before, &b);
    let grown = last.saturating_sub(settled);
    found.time(
        format!("host memory {} KiB, then {} KiB more", settled >> 10, grown >> 10),
        grown <= NOISE,
    );
    found
}

/// What a worker may have hung before it is replaced, and two periods of PING.
const STUCK: usize = 16;
const TWO_PERIODS: Duration = Duration::from_secs(2);

/// R5: a handler of `c` never returns, and then as many as a worker is given up for.
pub(super) async fn hung(mode: Mode) -> Found {
    const TIMEOUT: Duration = Duration::from_millis(500);
    let duration = Duration::from_secs(mode.pick(8, 15, 60));
    let up = Upstream::start().await;
    let one = json!({"workers": 1, "timeout": "500ms", "breaker": {"intensity": 0}});
    let site = bed::two(&up).plugin_with("c", "probe", one);
    let site = site.path("/load/c", "up", &[step("c", "nonce")]);
    let site = site.path("/hang", "up", &[step("c", "never")]);
    let mut gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);
    let start = Instant::now();
    let [c, b] = ["/load/c", "/load/b"].map(|p| Load::from(mode, &gateway, p, start, duration));
    let before = bed::pids(&client, "/load/c", 1).await;
    let mut answers = Vec::new();
    let mut hang = async |many: usize| {
        let hung: Vec<_> = (0..many)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move {
                    let asked = Instant::now();
                    let status = client.try_get("/hang").await.map_or(0, |a| a.status);
                    (status, asked.elapsed())
                })
            })
            .collect();
        for one in hung {
            answers.push(one.await.expect("no panic"));
        }
    };
    hang(1).await;
    tokio::time::sleep(TWO_PERIODS).await;
    let same = bed::pids(&client, "/load/c", 1).await;
    hang(STUCK - 1).await;
    let since = Instant::now();
    while before.iter().all(|pid| proc::alive(*pid)) && start.elapsed() < duration {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let replaced = since.elapsed();
    let gone = before.iter().all(|pid| !proc::alive(*pid));
    let (c, b) = (c.end().await, b.end().await);
    let row = telemetry::settled(gateway.pid(), "c").await;

    let mut found = Found::new(mode);
    let all = answers.len();
    let late = answers.iter().filter(|(status, _)| *status == 504).count();
    found.count(format!("{late} of {all} that hung got 504"), late == all);
    found.count(
        format!("the host counted {} out of time, {} workers gone", row.deadlines, row.crashes),
        row.deadlines >= all as u64,
    );
    let slowest = answers.iter().map(|(_, took)| *took).max().unwrap_or_default();
    found.time(
        format!("the slowest took {slowest:.0?}, {:?} at most", TIMEOUT + GRACE),
        slowest <= TIMEOUT + GRACE,
    );
    found.count("one that hangs costs nobody else: the same process", same == before);
    found.count(format!("{STUCK} that hang: a new process serves"), gone);
    found.time(
        format!("it was gone {replaced:.1?} after their deadline, {TWO_PERIODS:?} at most"),
        gone && replaced <= TWO_PERIODS + GRACE,
    );
    still_runs(&mut found, &mut gateway);
    none_wrong(&mut found, &[&c, &b]);
    untouched(&mut found, "b", &b);
    found
}
