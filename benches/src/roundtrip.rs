//! `roundtrip`: the limits and the rows held against them, in turns, in one run.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::cpus::Cpus;
use crate::futex::FutexPair;
use crate::lane::Lane;
use crate::pingpong::PingPong;
use crate::report::{self, Row};
use crate::session::{Session, Sessions};
use crate::{Result, asleep, worker};

/// Something that can be called and answers.
pub(crate) trait Case {
    /// Takes the samples of one round, in ns.
    ///
    /// # Errors
    /// A wrong answer, or a side that did not wait as the row says.
    fn round(&mut self, round: &Round) -> Result<Vec<u64>>;
}

/// How one round of a row goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) samples: usize,
    /// Calls in one sample: where a call is hardly longer than a look at the clock.
    calls: u32,
    /// Calls begin so far apart, and both sides sleep in between and while they wait. None: both sides spin.
    pub(crate) gap: Option<Duration>,
    /// The round ends when this is over, with what it has.
    pub(crate) limit: Duration,
}

/// Calls before the first sample of a round.
pub(crate) const WARM_UP: u32 = 50;

impl Round {
    /// Samples of a call that blocks this thread.
    pub(crate) fn take(&self, mut call: impl FnMut() -> Result<()>) -> Result<Vec<u64>> {
        let mut samples = Vec::with_capacity(self.samples);
        let began = Instant::now();
        let mut next = began;
        if self.gap.is_none() {
            (0..WARM_UP).try_for_each(|_| call())?;
        }
        while samples.len() < self.samples && began.elapsed() < self.limit {
            if let Some(gap) = self.gap {
                next = due(next, gap);
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            let start = Instant::now();
            (0..self.calls).try_for_each(|_| call())?;
            samples.push(ns(start.elapsed() / self.calls));
        }
        Ok(samples)
    }

    /// Holds a parked row to its name: the worker slept before each call, and the host in the gap and, but where it was
    /// held up itself, for the answer; a busy one to its: the worker seldom slept. `before` are the waits of both.
    pub(crate) fn check_asleep(
        &self,
        samples: usize,
        before: (u64, u64),
        worker: u32,
    ) -> Result<()> {
        let host = asleep::waits(std::process::id()) - before.0;
        let worker = asleep::waits(worker) - before.1;
        let calls = samples as u64;
        match self.gap {
            Some(_) if worker < calls * 9 / 10 || host < calls * 15 / 10 => Err(format!(
                "in {calls} parked calls the host slept {host} times and the worker {worker}"
            )),
            // Go's own threads doze as well.
            None if worker > calls => {
                Err(format!("in {calls} busy samples the worker slept {worker} times"))
            }
            _ => Ok(()),
        }
    }
}

/// When the call after the one at `last` begins: one that took long does not take the gap away.
pub(crate) fn due(last: Instant, gap: Duration) -> Instant {
    (last + gap).max(Instant::now() + gap / 2)
}

pub(crate) fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A row in the making.
struct Line {
    name: &'static str,
    /// Name of the row that is its limit.
    limit: &'static str,
    case: Box<dyn Case>,
    round: Round,
    samples: Vec<u64>,
}

const PING_PONG: &str = "limit/ping-pong";
const FUTEX: &str = "limit/futex";

/// Runs all rows; prints them, and writes them to `json`.
pub(crate) fn run(quick: bool, json: Option<&Path>) -> Result<()> {
    let cpus = Cpus::allowed()?;
    let program = worker::build()?;
    Cpus::pin(cpus.host);
    let sessions = Rc::new(Sessions::start(&cpus, &program)?);
    let rounds = if quick { 2 } else { 5 };
    let limit = Duration::from_millis(if quick { 600 } else { 1500 });
    let busy = Round { samples: if quick { 2_000 } else { 10_000 }, calls: 16, gap: None, limit };
    // A call of a session is long enough for a clock of its own.
    let single = Round { calls: 1, ..busy };
    let gap = Some(Duration::from_millis(2));
    let parked = Round { samples: if quick { 150 } else { 500 }, calls: 1, gap, limit };
    let line = |name, limit, case, round| Line { name, limit, case, round, samples: Vec::new() };
    let mut lines = [
        line(PING_PONG, PING_PONG, Box::new(PingPong(cpus)) as Box<dyn Case>, busy),
        line("lane/go/64B/busy", PING_PONG, Box::new(Lane::start(&cpus, &program, true)?), busy),
        line("session/busy", PING_PONG, Box::new(Session::new(&sessions, true)?), single),
        line(FUTEX, FUTEX, Box::new(FutexPair::start(&cpus)?), parked),
        line("lane/go/64B/parked", FUTEX, Box::new(Lane::start(&cpus, &program, false)?), parked),
        line("session/parked", FUTEX, Box::new(Session::new(&sessions, false)?), parked),
    ];
    report::facts(&cpus);
    // In turns, so that whatever else the machine does meets all rows alike.
    for _ in 0..rounds {
        for line in &mut lines {
            let samples = line.case.round(&line.round);
            line.samples.extend(samples.map_err(|e| format!("{}: {e}", line.name))?);
        }
    }
    let mut rows: Vec<Row> = Vec::new();
    for line in &mut lines {
        // Half of what was asked for, or the machine is too slow for the row to say anything.
        let wanted = line.round.samples * rounds / 2;
        if line.samples.len() < wanted {
            let found = line.samples.len();
            return Err(format!("{}: {found} samples in time, {wanted} wanted", line.name));
        }
        line.samples.sort_unstable();
        let p50 = at(&line.samples, 50);
        let limit = rows.iter().find(|r| r.case == line.limit).map_or(p50, |r| r.p50_ns);
        rows.push(Row {
            case: line.name,
            p50_ns: p50,
            p99_ns: at(&line.samples, 99),
            limit_ns: limit,
            samples: line.samples.len(),
        });
    }
    report::table(&rows);
    json.map_or(Ok(()), |path| report::json(&rows, path))
}

fn at(sorted: &[u64], percent: usize) -> u64 {
    sorted[(sorted.len() - 1) * percent / 100]
}
