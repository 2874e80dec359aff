//! An open-loop load: every request has an intended send time, and latency counts from it.
//!
//! A closed loop slows down with what it measures and hides the wait. Here the schedule is fixed before the first
//! request; a request sent late because the generator or the gateway was busy carries that wait in its latency. Each
//! carries a nonce which the plugin stamps on the answer, so that an answer given to the wrong client is seen.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};

use nylon_host::bench::{Pacer, Schedule, Trouble};

use crate::client::NoAnswer;
use crate::{Answer, Client};

/// Past the deadline an answer may still travel for so long.
const GRACE: Duration = Duration::from_millis(100);

/// What to send, and when.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The gateway.
    pub addr: SocketAddr,
    /// The path of every request.
    pub path: String,
    /// Requests per second.
    pub rate: u32,
    /// How long requests are sent.
    pub duration: Duration,
    /// After it (and 100 ms) an answer is overdue.
    pub deadline: Duration,
    /// Where the plugin put the nonce and its process id: [`in_headers`] for the test plugin.
    pub stamp: fn(&Answer) -> Stamp,
}

/// What the plugin left on an answer.
#[derive(Clone, Debug, Default)]
pub struct Stamp {
    /// The nonce it saw.
    pub nonce: String,
    /// The process it ran in.
    pub pid: Option<u32>,
}

/// The stamp of the entry `nonce`: the headers `x-nonce-echo` and `x-plugin-pid`.
pub fn in_headers(answer: &Answer) -> Stamp {
    let nonce = answer.header("x-nonce-echo").to_owned();
    Stamp { nonce, pid: answer.header("x-plugin-pid").parse().ok() }
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// 200, with its own nonce stamped by the plugin.
    Right,
    /// 200 with another nonce or none: a mix-up, or a filter that was skipped.
    Wrong(String),
    /// 502: the plugin crashed.
    Crashed,
    /// 503: busy or not ready.
    Busy,
    /// 504: late.
    Late,
    /// No connection: the gateway never had it.
    Unsent,
    /// Anything else: another status, a connection cut.
    Other(String),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the request carried as `x-nonce`.
    pub nonce: String,
    /// When it should have been sent, from the start of the load.
    pub intended: Duration,
    /// From `intended` to where it was sent: what the generator was behind.
    pub behind: Duration,
    /// From `intended` to the last byte.
    pub latency: Duration,
    /// How it ended.
    pub class: Class,
    /// The process whose stamp the answer carries.
    pub worker: Option<u32>,
}

impl Outcome {
    /// When it ended, from the start of the load.
    pub fn end(&self) -> Duration {
        self.intended + self.latency
    }
}

/// All requests of a load.
#[derive(Clone, Debug)]
pub struct Report {
    /// In the order of their intended times.
    pub outcomes: Vec<Outcome>,
    deadline: Duration,
}

/// Sends the plan; returns when the last answer is there.
pub async fn run(plan: &Plan) -> Report {
    run_from(plan, Instant::now()).await
}

/// As [`run`], where others count from `start` as well.
pub async fn run_from(plan: &Plan, start: Instant) -> Report {
    let client = Client::new(plan.addr);
    let pacer = Pacer::start(Schedule { rate: plan.rate, duration: plan.duration }, start);
    // Two loads at a time carry different nonces. Relaxed: only uniqueness matters.
    static LOADS: AtomicU32 = AtomicU32::new(0);
    let load = LOADS.fetch_add(1, Ordering::Relaxed);
    let mut requests = tokio::task::JoinSet::new();
    while let Some(due) = pacer.next().await {
        let nonce = format!("{:x}-{load:x}-{}", std::process::id(), due.index);
        requests.spawn(one(client.clone(), plan.clone(), nonce, start, due.intended));
    }
    let mut outcomes = requests.join_all().await;
    outcomes.sort_by_key(|o| o.intended);
    Report { outcomes, deadline: plan.deadline }
}

async fn one(
    client: Client,
    plan: Plan,
    nonce: String,
    start: Instant,
    intended: Duration,
) -> Outcome {
    let behind = start.elapsed().saturating_sub(intended);
    let request = client.request("GET", &plan.path).header("x-nonce", &nonce);
    let answer = client.exchange(request, Bytes::new()).await;
    let latency = start.elapsed().saturating_sub(intended);
    let stamp = answer.as_ref().map(plan.stamp).unwrap_or_default();
    let class = classify(answer, &stamp, &nonce);
    Outcome { nonce, intended, behind, latency, class, worker: stamp.pid }
}

fn classify(answer: Result<Answer, NoAnswer>, stamp: &Stamp, nonce: &str) -> Class {
    match answer {
        Err(NoAnswer { trouble: Trouble::Connect, .. }) => Class::Unsent,
        Err(e) => Class::Other(e.to_string()),
        Ok(a) => match a.status {
            200 if stamp.nonce == nonce => Class::Right,
            200 => Class::Wrong(format!("{nonce} got {:?}", stamp.nonce)),
            502 => Class::Crashed,
            503 => Class::Busy,
            504 => Class::Late,
            n => Class::Other(format!("status {n}: {}", a.text())),
        },
    }
}

impl Report {
    /// How many ended so.
    pub fn count(&self, which: impl Fn(&Class) -> bool) -> usize {
        self.outcomes.iter().filter(|o| which(&o.class)).count()
    }

    /// 200 with the right nonce.
    pub fn right(&self) -> usize {
        self.count(|c| *c == Class::Right)
    }

    /// 502, 503 and 504 together.
    pub fn refused(&self) -> usize {
        self.count(|c| matches!(c, Class::Crashed | Class::Busy | Class::Late))
    }

    /// Mixed-up answers and those no contract allows, in words.
    pub fn unexplained(&self) -> Vec<String> {
        let words = self.outcomes.iter().filter_map(|o| match &o.class {
            Class::Wrong(why) => Some(format!("{:?}: wrong: {why}", o.intended)),
            Class::Other(why) => Some(format!("{:?}: {why}", o.intended)),
            Class::Unsent => Some(format!("{:?}: no connection", o.intended)),
            _ => None,
        });
        words.collect()
    }

    /// Requests that ended later than their deadline and 100 ms.
    pub fn overdue(&self) -> Vec<&Outcome> {
        self.outcomes.iter().filter(|o| o.latency > self.deadline + GRACE).collect()
    }

    /// Latency of the right answers: `percentile(0.99)`.
    pub fn percentile(&self, p: f64) -> Duration {
        let right = self.outcomes.iter().filter(|o| o.class == Class::Right);
        percentile(right.map(|o| o.latency).collect(), p)
    }

    /// How far the generator was behind: what is not small beside the latencies is part of them.
    pub fn behind(&self, p: f64) -> Duration {
        percentile(self.outcomes.iter().map(|o| o.behind).collect(), p)
    }

    /// First end of a right answer by a worker other than `pid`, sent after `from`: the recovery from a kill.
    pub fn recovered(&self, from: Duration, pid: u32) -> Option<Duration> {
        let other = |o: &&Outcome| o.class == Class::Right && o.worker.is_some_and(|w| w != pid);
        let after = self.outcomes.iter().filter(other).map(Outcome::end).filter(|end| *end > from);
        after.min()
    }

    /// Requests refused though no kill explains it: neither in flight at one nor sent before its recovery.
    pub fn refused_outside(&self, kills: &[Kill]) -> Vec<&Outcome> {
        let windows: Vec<(Duration, Duration)> = kills
            .iter()
            .map(|k| (k.at, self.recovered(k.at, k.pid).unwrap_or(Duration::MAX)))
            .collect();
        let explained = |o: &Outcome| {
            windows.iter().any(|(kill, back)| o.intended <= *back && o.end() >= *kill)
        };
        let refused = self.outcomes.iter().filter(|o| o.class != Class::Right);
        refused.filter(|o| !explained(o)).collect()
    }

    /// The figures.
    pub fn json(&self) -> Value {
        json!({
            "sent": self.outcomes.len(), "right": self.right(),
            "wrong": self.count(|c| matches!(c, Class::Wrong(_))),
            "502": self.count(|c| *c == Class::Crashed), "503": self.count(|c| *c == Class::Busy),
            "504": self.count(|c| *c == Class::Late),
            "unsent": self.count(|c| *c == Class::Unsent),
            "other": self.count(|c| matches!(c, Class::Other(_))),
            "overdue": self.overdue().len(),
            "p50_us": micros(self.percentile(0.5)),
            "p99_us": micros(self.percentile(0.99)),
            "behind_p99_us": micros(self.behind(0.99)),
        })
    }
}

fn percentile(mut times: Vec<Duration>, p: f64) -> Duration {
    times.sort();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let index = ((times.len() as f64 * p).ceil() as usize).saturating_sub(1);
    times.get(index).copied().unwrap_or_default()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A worker killed during a load.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    /// From the start of the load.
    pub at: Duration,
    /// Who.
    pub pid: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Upstream;

    fn outcome(ms: u64, latency: u64, class: Class, worker: Option<u32>) -> Outcome {
        let latency = Duration::from_millis(latency);
        let intended = Duration::from_millis(ms);
        let behind = Duration::ZERO;
        Outcome { nonce: String::new(), intended, behind, latency, class, worker }
    }

    #[test]
    fn refusals_are_explained_by_a_kill_until_another_worker_answers() {
        let outcomes = vec![
            outcome(0, 5, Class::Right, Some(1)),
            outcome(95, 10, Class::Crashed, None),
            outcome(150, 1, Class::Busy, None),
            outcome(200, 20, Class::Right, Some(2)),
            outcome(230, 1, Class::Busy, None),
        ];
        let report = Report { outcomes, deadline: Duration::from_secs(1) };
        let kill = Kill { at: Duration::from_millis(100), pid: 1 };
        assert_eq!(report.recovered(kill.at, kill.pid), Some(Duration::from_millis(220)));
        let outside = report.refused_outside(&[kill]);
        assert_eq!(outside.len(), 1);
        assert_eq!(outside[0].intended, Duration::from_millis(230));
    }

    #[test]
    fn percentiles_count_right_answers_only() {
        let mut outcomes: Vec<Outcome> =
            (1..=100).map(|n| outcome(n, n, Class::Right, None)).collect();
        outcomes.push(outcome(200, 9000, Class::Late, None));
        let report = Report { outcomes, deadline: Duration::from_secs(1) };
        assert_eq!(report.percentile(0.5), Duration::from_millis(50));
        assert_eq!(report.percentile(0.99), Duration::from_millis(99));
        assert_eq!(report.overdue().len(), 1);
    }

    /// Against a server that answers after 300 ms, a fixed schedule still sends every request in time.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_schedule_does_not_wait_for_answers() {
        let upstream = Upstream::start().await;
        let plan = Plan {
            addr: upstream.addr,
            path: "/slow/300".into(),
            rate: 100,
            duration: Duration::from_millis(500),
            deadline: Duration::from_secs(2),
            stamp: in_headers,
        };
        let start = Instant::now();
        let report = run(&plan).await;
        assert_eq!(report.outcomes.len(), 50);
        assert_eq!(report.count(|c| matches!(c, Class::Wrong(_))), 50, "nobody stamps the nonce");
        assert!(start.elapsed() < Duration::from_secs(3), "50 requests of 300 ms ran side by side");
    }
}
