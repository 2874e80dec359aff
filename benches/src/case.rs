//! What a row is made of: something that is called, and how one round of calls goes.

use std::time::{Duration, Instant};

use crate::{Result, asleep, cpu};

/// Something that can be called and answers.
pub(crate) trait Case {
    /// Makes the calls of one round.
    ///
    /// # Errors
    /// A wrong answer.
    fn round(&mut self, round: &Round) -> Result<Taken>;

    /// CPU time so far of the processes whose work the calls are: this one, where it calls somebody in it.
    fn cpu(&self) -> Duration {
        cpu::own()
    }
}

/// What one round gave.
#[derive(Default)]
pub(crate) struct Taken {
    /// ns each.
    pub(crate) samples: Vec<u64>,
    /// All that was called, warm-up included: what the CPU time is divided by.
    pub(crate) calls: u64,
    /// Calls per second, where the row is a rate.
    pub(crate) rate: f64,
    /// Why they do not belong to the row, if they do not.
    pub(crate) spoilt: Option<String>,
}

/// How one round of a row goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) samples: usize,
    /// Calls in one sample: where a call is hardly longer than a look at the clock.
    pub(crate) calls: u32,
    /// Calls begin so far apart, and both sides sleep in between and while they wait. None: both sides spin.
    pub(crate) gap: Option<Duration>,
    /// The round ends when this is over, with what it has.
    pub(crate) limit: Duration,
}

/// Calls before the first sample of a busy round.
pub(crate) const WARM_UP: u32 = 50;

impl Round {
    /// Samples of a call that blocks this thread.
    pub(crate) fn take(&self, mut call: impl FnMut() -> Result<()>) -> Result<Taken> {
        let mut taken = Taken { samples: Vec::with_capacity(self.samples), ..Taken::default() };
        let began = Instant::now();
        let mut next = began;
        if self.gap.is_none() {
            (0..WARM_UP).try_for_each(|_| call())?;
            taken.calls += u64::from(WARM_UP);
        }
        while self.goes_on(&taken, began) {
            if let Some(gap) = self.gap {
                next = due(next, gap);
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            let start = Instant::now();
            (0..self.calls).try_for_each(|_| call())?;
            taken.samples.push(ns(start.elapsed() / self.calls));
            taken.calls += u64::from(self.calls);
        }
        Ok(taken)
    }

    /// Whether a round that began then wants another sample; one it has in any case.
    pub(crate) fn goes_on(&self, taken: &Taken, began: Instant) -> bool {
        let found = taken.samples.len();
        found == 0 || found < self.samples && began.elapsed() < self.limit
    }

    /// Holds a parked row to its name: the worker slept before each call, and the host in the gap and, but where it was
    /// held up itself, for the answer; a busy one to its: the worker seldom slept. `before` are the waits of both.
    pub(crate) fn hold(&self, mut taken: Taken, before: (u64, u64), worker: u32) -> Taken {
        let host = asleep::waits(std::process::id()) - before.0;
        let worker = asleep::waits(worker) - before.1;
        let calls = taken.samples.len() as u64;
        let held = match self.gap {
            Some(_) => worker >= calls * 9 / 10 && host >= calls * 15 / 10,
            // Go's own threads doze as well.
            None => worker <= calls,
        };
        let why = || format!("in {calls} samples the host slept {host} times, the worker {worker}");
        taken.spoilt = (!held).then(why);
        taken
    }
}

/// When the call after the one at `last` begins: one that took long does not take the gap away.
pub(crate) fn due(last: Instant, gap: Duration) -> Instant {
    (last + gap).max(Instant::now() + gap / 2)
}

pub(crate) fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
