//! What a load found.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::connection::Answer;
use super::{Due, Schedule, Trouble};

/// A request taken up later than that was sent late.
const LATE: Duration = Duration::from_millis(1);
/// Percentiles that are printed.
const SHOWN: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p999", 99.9)];

/// What became of the requests of a load.
#[derive(Clone, Debug)]
pub struct Report {
    schedule: Schedule,
    connections: u32,
    /// From the intended time to the last byte, µs, of answers and of what ran out of time.
    latency: Histogram<u64>,
    /// From the intended time to where a connection took it up, µs.
    wait: Histogram<u64>,
    statuses: BTreeMap<u16, u64>,
    troubles: BTreeMap<Trouble, u64>,
    /// Taken up late, and of those: no connection was free.
    late: u64,
    crowded: u64,
    /// Of answers' bodies.
    bytes: u64,
    opened: u64,
    elapsed: Duration,
    /// Due when it was interrupted, and without an end.
    unfinished: u64,
    interrupted: bool,
}

impl Report {
    pub(super) fn new(schedule: Schedule, connections: u32) -> Self {
        // Three digits, from a microsecond to an hour: longer than any time limit.
        let histogram = || Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("such bounds");
        Self {
            schedule,
            connections,
            latency: histogram(),
            wait: histogram(),
            statuses: BTreeMap::new(),
            troubles: BTreeMap::new(),
            late: 0,
            crowded: 0,
            bytes: 0,
            opened: 0,
            elapsed: Duration::ZERO,
            unfinished: 0,
            interrupted: false,
        }
    }

    /// A request that was taken up after `waited` and ended after `latency`, both from its intended time.
    pub(super) fn add(
        &mut self,
        due: &Due,
        waited: Duration,
        latency: Duration,
        outcome: Result<Answer, Trouble>,
    ) {
        self.wait.saturating_record(micros(waited));
        if waited > LATE {
            self.late += 1;
            self.crowded += u64::from(!due.expected);
        }
        match outcome {
            Ok(answer) => {
                *self.statuses.entry(answer.status).or_default() += 1;
                self.bytes += answer.bytes;
            }
            Err(trouble) => *self.troubles.entry(trouble).or_default() += 1,
        }
        // Who ran out of time waited at least that long. What failed at once says nothing about waiting.
        if matches!(outcome, Ok(_) | Err(Trouble::Timeout)) {
            self.latency.saturating_record(micros(latency));
        }
    }

    pub(super) fn opened(&mut self, connections: u64) {
        self.opened += connections;
    }

    pub(super) fn end(&mut self, elapsed: Duration, released: u64, interrupted: bool) {
        // The last request is due before the last moment.
        self.elapsed = if interrupted { elapsed } else { elapsed.max(self.schedule.duration) };
        self.unfinished = released.saturating_sub(self.ended());
        self.interrupted = interrupted;
    }

    /// Whether every request was answered, with a status below 400.
    pub fn all_well(&self) -> bool {
        self.troubles.is_empty() && self.statuses.keys().all(|s| *s < 400) && self.ended() > 0
    }

    /// Requests that came to an end.
    pub fn ended(&self) -> u64 {
        self.answered() + self.failed()
    }

    /// Requests with a whole answer, of any status.
    pub fn answered(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Requests without one.
    pub fn failed(&self) -> u64 {
        self.troubles.values().sum()
    }

    /// The latency that `percent` (0 to 100) of the requests did not exceed.
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.latency.value_at_quantile(percent / 100.0))
    }

    /// A line about a load that goes on.
    pub(super) fn progress(&self, elapsed: Duration) -> String {
        let of = self.schedule.duration.as_secs();
        let (ended, failed) = (self.ended(), self.failed());
        let refused: u64 = self.statuses.range(400..).map(|(_, n)| n).sum();
        format!(
            "{:>5} of {of} s: {ended} requests, {failed} without an answer, {refused} with 400 or more, p99 {:.1?}",
            elapsed.as_secs(),
            self.percentile(99.0)
        )
    }

    /// All figures; times in µs.
    pub fn json(&self) -> Value {
        let named = |pairs: &mut dyn Iterator<Item = (String, u64)>| -> Map<String, Value> {
            pairs.map(|(name, n)| (name, n.into())).collect()
        };
        let mut classes = BTreeMap::<u16, u64>::new();
        self.statuses.iter().for_each(|(s, n)| *classes.entry(s / 100).or_default() += n);
        let latency = |h: &Histogram<u64>| {
            let mut all = Map::new();
            for (name, p) in SHOWN {
                all.insert(name.into(), h.value_at_quantile(p / 100.0).into());
            }
            all.insert("max".into(), h.max().into());
            all.insert("mean".into(), h.mean().into());
            all
        };
        let kind = |t: &Trouble| (t.name().to_owned(), self.troubles.get(t).copied().unwrap_or(0));
        json!({
            "rate": self.schedule.rate, "duration_s": self.schedule.duration.as_secs_f64(),
            "connections": self.connections, "connections_opened": self.opened,
            "elapsed_s": self.elapsed.as_secs_f64(), "interrupted": self.interrupted,
            "requests": self.ended(), "unfinished": self.unfinished,
            "answered": self.answered(), "answers_per_s": self.rate(),
            "classes": named(&mut classes.iter().map(|(c, n)| (format!("{c}xx"), *n))),
            "statuses": named(&mut self.statuses.iter().map(|(s, n)| (s.to_string(), *n))),
            "failed": self.failed(), "errors": named(&mut Trouble::ALL.iter().map(kind)),
            "body_bytes": self.bytes, "latency_us": latency(&self.latency),
            "late": {"count": self.late, "no_connection_free": self.crowded, "wait_us": latency(&self.wait)},
        })
    }

    fn rate(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a figure to read")]
        let answered = self.answered() as f64;
        if seconds > 0.0 { answered / seconds } else { 0.0 }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stopped = if self.interrupted { ", interrupted" } else { "" };
        let (rate, wanted) = (self.rate(), self.schedule.rate);
        writeln!(
            f,
            "requests  {} in {:.1} s{stopped}; {rate:.1} answers/s, {wanted}/s wanted",
            self.ended(),
            self.elapsed.as_secs_f64()
        )?;
        let statuses = self.statuses.iter().map(|(s, n)| format!("{s}: {n}")).collect::<Vec<_>>();
        writeln!(f, "answers   {} ({})", self.answered(), statuses.join(", "))?;
        let troubles = self.troubles.iter().map(|(t, n)| format!("{t}: {n}")).collect::<Vec<_>>();
        let troubles = if troubles.is_empty() { "none".into() } else { troubles.join(", ") };
        writeln!(f, "errors    {} ({troubles})", self.failed())?;
        if self.unfinished > 0 {
            writeln!(f, "          {} had no end yet when it was stopped", self.unfinished)?;
        }
        let shown = SHOWN.map(|(name, p)| format!("{name} {:.1?}", self.percentile(p)));
        let max = Duration::from_micros(self.latency.max());
        writeln!(f, "latency   {}, max {max:.1?}, from the intended time", shown.join(", "))?;
        writeln!(f, "bodies    {} bytes over {} connections", self.bytes, self.opened)?;
        let wait = |q| Duration::from_micros(self.wait.value_at_quantile(q));
        let max = Duration::from_micros(self.wait.max());
        write!(
            f,
            "generator behind by p50 {:.1?}, p99 {:.1?}, max {max:.1?}",
            wait(0.5),
            wait(0.99)
        )?;
        match (self.late, self.crowded) {
            (0, _) => writeln!(f),
            (late, 0) => writeln!(f, "; {late} sent more than 1 ms late"),
            (late, n) => writeln!(
                f,
                "; {late} sent more than 1 ms late, {n} as no connection was free: see --connections"
            ),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcomes: &[(u64, Result<u16, Trouble>)]) -> Report {
        let schedule = Schedule { rate: 10, duration: Duration::from_secs(1) };
        let mut report = Report::new(schedule, 2);
        for (index, (ms, outcome)) in (0..).zip(outcomes) {
            let due = Due { index, intended: schedule.at(index), expected: index > 0 };
            let outcome = outcome.map(|status| Answer { status, bytes: 10 });
            let waited = Duration::from_millis(2 * u64::from(index < 2));
            report.add(&due, waited, Duration::from_millis(*ms), outcome);
        }
        report.end(Duration::from_secs(2), 1 + outcomes.len() as u64, true);
        report
    }

    #[test]
    fn what_ran_out_of_time_waited_and_what_failed_at_once_did_not() {
        let r = report(&[
            (1, Ok(200)),
            (3, Ok(204)),
            (5000, Err(Trouble::Timeout)),
            (0, Err(Trouble::Connect)),
        ]);
        assert!(!r.all_well());
        assert_eq!(r.percentile(50.0).as_millis(), 3);
        assert_eq!(r.percentile(99.0).as_secs_f64().round(), 5.0);
        let json = r.json();
        assert_eq!(json["requests"], 4);
        assert_eq!(json["unfinished"], 1);
        assert_eq!(json["classes"], json!({"2xx": 2}));
        assert_eq!(json["errors"]["timeout"], 1);
        assert_eq!(json["errors"]["connect"], 1);
        assert_eq!(json["body_bytes"], 20);
        assert_eq!(json["late"]["count"], 2);
        assert_eq!(json["late"]["no_connection_free"], 1);
        let text = r.to_string();
        assert!(text.contains("200: 1, 204: 1") && text.contains("no answer in time: 1"), "{text}");
        assert!(text.contains("interrupted") && text.contains("see --connections"), "{text}");
    }

    #[test]
    fn a_load_without_failures_is_well() {
        assert!(report(&[(1, Ok(200)), (1, Ok(304))]).all_well());
        assert!(!report(&[(1, Ok(200)), (1, Ok(404))]).all_well());
        assert!(!report(&[]).all_well());
    }
}
