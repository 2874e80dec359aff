//! R6: workers that are stopped, and go on later or never.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use super::bed::{self, DEADLINE, GRACE, none_wrong, still_runs, untouched};
use super::{Found, Mode};
use crate::load::Class;
use crate::{Client, Gateway, Upstream, proc, step, telemetry};

/// Requests to a worker that is stopped, and then goes on.
const EACH: usize = 8;

/// A worker is asked whether it lives so often; after two of them without an answer it is replaced.
const PING: Duration = Duration::from_secs(1);

/// R6: a worker of `a` is stopped, again and again; `b` must not notice.
pub(super) async fn stopped(mode: Mode) -> Found {
    let rounds = mode.pick(3, 20, 100);
    // So long one stays stopped, unless it is replaced before.
    let hold = DEADLINE + 2 * PING;
    let up = Upstream::start().await;
    let brief = json!({"workers": 1, "timeout": "300ms", "breaker": {"intensity": 0}});
    let site = bed::two(&up).plugin_with("c", "probe", brief);
    let site = site.path("/load/c", "up", &[step("c", "nonce")]);
    let mut gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);

    let duration = (hold + Duration::from_millis(500)) * rounds;
    let (start, [a, b]) = bed::loads(mode, &gateway, duration);
    let (mut stopped, mut replaced) = (0u32, Vec::new());
    while start.elapsed() + hold < duration {
        let Some(pid) = bed::pids(&client, "/load/a", 1).await.first().copied() else { break };
        let since = Instant::now();
        proc::kill(pid, Signal::SIGSTOP);
        stopped += 1;
        while proc::alive(pid) && since.elapsed() < hold {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if proc::alive(pid) {
            proc::kill(pid, Signal::SIGCONT);
        } else {
            replaced.push(since.elapsed());
        }
        if stopped == rounds {
            break;
        }
    }
    let (a, b) = (a.end().await, b.end().await);
    let row = telemetry::settled(gateway.pid(), "a").await;

    let mut found = Found::new(mode);
    found
        .count(format!("{stopped} workers stopped, one after the other"), stopped >= rounds.min(3));
    let late = a.count(|c| *c == Class::Late);
    let counted = row.deadlines + row.crashes;
    found.count(
        format!(
            "{late} of its requests ran out of time; the host counted {} so, {} workers gone, {} late replies",
            row.deadlines, row.crashes, row.late
        ),
        counted > 0,
    );
    still_runs(&mut found, &mut gateway);
    none_wrong(&mut found, &[&a, &b]);
    let slowest = a.outcomes.iter().filter(|o| o.class == Class::Late).map(|o| o.latency).max();
    let slowest = slowest.unwrap_or_default();
    found.time(
        format!("the slowest 504 took {slowest:.0?}, {:?} at most", DEADLINE + GRACE),
        slowest <= DEADLINE + GRACE,
    );
    let worst = replaced.iter().max().copied().unwrap_or_default();
    // A PING goes out at the end of the period in which a call is in flight.
    found.time(
        format!(
            "{} of {stopped} replaced, the last after {worst:.1?}, two periods of {PING:?}",
            replaced.len()
        ),
        replaced.len() == stopped as usize && worst <= 3 * PING,
    );
    let back = bed::pids(&client, "/load/a", 2).await.len();
    found.count(format!("{back} workers of a serve at the end"), back == 2);
    untouched(&mut found, "b", &b);
    continued(mode, &mut found, &gateway, &client).await;
    found
}

/// `c` has one worker and a deadline that is over before anybody asks the worker whether it lives: it goes on, with
/// requests in its ring that nobody waits for.
async fn continued(mode: Mode, found: &mut Found, gateway: &Gateway, client: &Client) {
    let rounds = mode.pick(3, 10, 50);
    let before = telemetry::settled(gateway.pid(), "c").await;
    let (mut late, mut right) = (0, 0);
    for round in 0..rounds {
        let Some(pid) = bed::pids(client, "/load/c", 1).await.first().copied() else { break };
        proc::kill(pid, Signal::SIGSTOP);
        // What comes before that is answered.
        while !proc::stopped(pid) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let asked: Vec<_> = (0..EACH)
            .map(|n| {
                let client = client.clone();
                let nonce = format!("late-{round}-{n}");
                tokio::spawn(
                    async move { client.get_with("/load/c", &[("x-nonce", &nonce)]).await },
                )
            })
            .collect();
        for one in asked {
            late += usize::from(one.await.expect("no panic").status == 504);
        }
        proc::kill(pid, Signal::SIGCONT);
        for n in 0..EACH {
            let nonce = format!("right-{round}-{n}");
            let answer = client.get_with("/load/c", &[("x-nonce", &nonce)]).await;
            right += usize::from(answer.status == 200 && answer.header("x-nonce-echo") == nonce);
        }
    }
    let row = telemetry::settled(gateway.pid(), "c").await;
    let all = EACH * rounds;
    found.count(format!("c: {late} of {all} requests to a stopped worker got 504"), late == all);
    found.count(format!("c: {right} of {all} right after it went on"), right == all);
    let (dropped, gone) = (row.late - before.late, row.crashes - before.crashes);
    found.count(
        format!("c: the host counted {dropped} late replies, {gone} workers gone"),
        dropped >= late as u64,
    );
}
