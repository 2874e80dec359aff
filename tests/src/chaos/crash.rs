//! R1, R2, R3: workers that are killed, or die by themselves.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::bed::{self, none_wrong, p99, still_runs, untouched};
use super::{Found, Mode, Random};
use crate::load::{Class, Kill, Outcome, Report};
use crate::{Client, Gateway, Upstream, proc, program, telemetry};

/// R1: kill -9 of a random worker each 500 ms, two plugins of two workers under load.
pub(super) async fn loop_of_kills(mode: Mode) -> Found {
    const EVERY: Duration = Duration::from_millis(500);
    let duration = Duration::from_secs(mode.pick(10, 20, 600));
    let up = Upstream::start().await;
    let site = bed::two(&up);
    let mut gateway = Gateway::start(&site).await;

    let (start, loads) = bed::loads(mode, &gateway, duration);
    let mut random = Random::new(mode);
    let mut kills: Vec<Kill> = Vec::new();
    let mut due = EVERY;
    while due + EVERY < duration {
        tokio::time::sleep_until((start + due).into()).await;
        due += EVERY;
        let workers = gateway.workers();
        if workers.is_empty() {
            continue;
        }
        let pid = workers[random.below(workers.len())].pid;
        if kills.iter().all(|k| k.pid != pid) {
            kills.push(Kill { at: start.elapsed(), pid });
            proc::kill(pid, Signal::SIGKILL);
        }
    }
    let [a, b] = loads;
    let reports = [a.end().await, b.end().await];

    let mut found = Found::new(mode);
    let wanted = duration.as_secs();
    found.count(format!("{} workers killed", kills.len()), kills.len() as u64 >= wanted);
    let counted = bed::ended(&gateway, "SIGKILL", kills.len()).await;
    found.count(format!("the host counted {counted} of them"), counted == kills.len());
    still_runs(&mut found, &mut gateway);
    let all: Vec<&Report> = reports.iter().collect();
    none_wrong(&mut found, &all);
    survivors(&mut found, &kills, &reports);
    found
}

fn survivors(found: &mut Found, kills: &[Kill], reports: &[Report]) {
    let sum = |of: &dyn Fn(&Report) -> usize| reports.iter().map(of).sum::<usize>();
    let (sent, right) = (sum(&|r| r.outcomes.len()), sum(&|r| r.right()));
    found.count(format!("{right} right of {sent}, 99 % wanted"), right * 100 >= sent * 99);
    let lost = sum(&|r| r.refused());
    let stray = sum(&|r| r.outcomes.iter().filter(|o| stray(o, kills)).count());
    found.time(format!("{lost} refused, {stray} of them not in flight at a kill"), stray == 0);
    let back = recoveries(kills, reports);
    let p99 = (back.len() * 99).div_ceil(100).saturating_sub(1);
    let p99 = back.get(p99).copied().unwrap_or(Duration::MAX);
    found.time(format!("ready again p99 {p99:.0?}"), p99 <= Duration::from_millis(250));
    let again = back.len();
    // The last ones may come back after the load has ended.
    found.count(format!("{again} of them came back"), again + 2 >= kills.len());
}

/// Refused, and not in flight at any kill; what was sent until the death was noticed counts as in flight.
fn stray(outcome: &Outcome, kills: &[Kill]) -> bool {
    const NOTICED: Duration = Duration::from_millis(20);
    let refused = matches!(outcome.class, Class::Crashed | Class::Busy | Class::Late);
    let in_flight = |k: &Kill| outcome.intended <= k.at + NOTICED && outcome.end() >= k.at;
    refused && !kills.iter().any(in_flight)
}

/// From each kill to the first answer of a process not seen before it, sorted.
fn recoveries(kills: &[Kill], reports: &[Report]) -> Vec<Duration> {
    let mut firsts: Vec<(Duration, u32)> = Vec::new();
    let mut seen = HashSet::new();
    let mut all: Vec<&Outcome> = reports.iter().flat_map(|r| &r.outcomes).collect();
    all.sort_by_key(|o| o.end());
    for outcome in all {
        if let Some(pid) = outcome.worker
            && seen.insert(pid)
        {
            firsts.push((outcome.end(), pid));
        }
    }
    // Kills and new processes pair off in order: a new one comes only after a kill.
    let first = kills.first().map_or(Duration::MAX, |k| k.at);
    let mut new = firsts.into_iter().filter(|(at, _)| *at > first);
    let paired = kills.iter().map_while(|k| new.next().map(|(at, _)| at.saturating_sub(k.at)));
    let mut back: Vec<Duration> = paired.collect();
    back.sort();
    back
}

/// R2: all workers of `a` at once, every two seconds; `b` must not notice.
pub(super) async fn all_at_once(mode: Mode) -> Found {
    const EVERY: Duration = Duration::from_secs(2);
    let duration = Duration::from_secs(mode.pick(6, 20, 300));
    let up = Upstream::start().await;
    let site = bed::two(&up);
    let mut gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);

    let (_, [a, b]) = bed::loads(mode, &gateway, duration);
    let (_, before) = (a.end().await, b.end().await);
    let (start, [a, b]) = bed::loads(mode, &gateway, duration);
    let mut kills: Vec<Kill> = Vec::new();
    let mut due = EVERY / 2;
    while due + EVERY / 2 <= duration {
        tokio::time::sleep_until((start + due).into()).await;
        due += EVERY;
        let workers = bed::pids(&client, "/load/a", 2).await;
        let at = start.elapsed();
        workers.iter().for_each(|pid| proc::kill(*pid, Signal::SIGKILL));
        kills.extend(workers.into_iter().map(|pid| Kill { at, pid }));
    }
    let (a, b) = (a.end().await, b.end().await);

    let mut found = Found::new(mode);
    let rounds = usize::try_from(duration.as_secs() / EVERY.as_secs()).expect("few");
    found.count(
        format!("{} workers of a killed, two at a time", kills.len()),
        kills.len() == 2 * rounds,
    );
    let counted = bed::ended(&gateway, "SIGKILL", kills.len()).await;
    found.count(format!("the host counted {counted} of them"), counted == kills.len());
    still_runs(&mut found, &mut gateway);
    none_wrong(&mut found, &[&a, &b]);
    let busy: Vec<&Outcome> = a.outcomes.iter().filter(|o| o.class == Class::Busy).collect();
    found.count(format!("a: {} were refused with 503", busy.len()), !busy.is_empty());
    let slowest = busy.iter().map(|o| o.latency).max().unwrap_or_default();
    found.time(
        format!("a: the slowest 503 took {slowest:.1?}, 10 ms at most"),
        slowest <= Duration::from_millis(10),
    );
    let late = a.count(|c| *c == Class::Late);
    found.count(format!("a: {late} ran out of time"), late == 0);
    untouched(&mut found, "b", &b);
    p99(&mut found, "b", 1.5, &before, &b);
    found
}

/// State `failed` in the telemetry.
const FAILED: u64 = 3;

/// R3: a plugin that exits 10 ms after it was ready; the breaker opens, and an operator closes it.
pub(super) async fn intensity(mode: Mode) -> Found {
    let duration = Duration::from_secs(mode.pick(15, 30, 300));
    let up = Upstream::start().await;
    let site = bed::two(&up);
    // Ten failures within a minute are tolerated: the default.
    let hostile = json!({"args": ["short-lived"]});
    let site = site.program("dies", &program::hostile(), hostile);
    let site = site.service("dies", "dies", "serve", Value::Null).path("/dies", "dies", &[]);
    let mut gateway = Gateway::start(&site).await;
    let row = |gateway: &Gateway| telemetry::row(gateway.pid(), "dies").unwrap_or_default();

    let (start, cpu) = (Instant::now(), proc::cpu(gateway.pid()));
    while row(&gateway).state != FAILED && start.elapsed() < duration {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (opened, failed) = (start.elapsed(), row(&gateway));
    tokio::time::sleep(duration.saturating_sub(start.elapsed())).await;
    let share = (proc::cpu(gateway.pid()) - cpu).as_secs_f64() / duration.as_secs_f64();
    let still = row(&gateway);
    let restarted = gateway.operate(&site, &["restart", "dies"]).await;
    let again = tokio::time::timeout(Duration::from_secs(5), async {
        while row(&gateway).generation == still.generation {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let again = again.await.is_ok();

    let mut found = Found::new(mode);
    let starts = failed.generation;
    found.count(format!("failed after {starts} starts, {opened:.1?}"), failed.state == FAILED);
    found.count("nothing was started after that", still.generation == starts);
    let mean = f64::from(u32::try_from(starts).unwrap_or(u32::MAX)) / duration.as_secs_f64();
    found.time(format!("{mean:.2} starts a second in the mean, 1 at most"), mean <= 1.0);
    found.time(format!("host CPU {:.1} %, 2 % at most", share * 100.0), share <= 0.02);
    found.count(
        format!("an operator's restart said {restarted:?}, and started it"),
        restarted.is_ok() && again,
    );
    still_runs(&mut found, &mut gateway);
    found
}
