//! How long the calls of one plugin took, by phase, and in which part of their way.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::histogram::{Histogram, Times};
use crate::session::Phase;

/// The recorders of a plugin: each worker has one of its own.
#[derive(Debug, Default)]
pub(crate) struct PluginTimes(Mutex<Recorders>);

#[derive(Debug, Default)]
struct Recorders {
    live: Vec<Arc<CallTimes>>,
    /// What those recorded that nobody has any more.
    gone: Timings,
}

impl PluginTimes {
    /// A recorder for a worker. What it has counts for good.
    pub(crate) fn recorder(&self) -> Arc<CallTimes> {
        let recorder = Arc::<CallTimes>::default();
        self.settled(|all| all.live.push(recorder.clone()));
        recorder
    }

    /// What was recorded so far by all of them.
    pub(crate) fn timings(&self) -> Timings {
        self.settled(|all| {
            let mut sum = all.gone.clone();
            all.live.iter().for_each(|recorder| sum.add(&recorder.timings()));
            sum
        })
    }

    /// Calls of a worker that is gone may end later than it did: its recorder stays until the last of them has.
    fn settled<T>(&self, then: impl FnOnce(&mut Recorders) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for recorder in std::mem::take(&mut all.live) {
            match Arc::try_unwrap(recorder) {
                Ok(last) => all.gone.add(&last.timings()),
                Err(recorder) => all.live.push(recorder),
            }
        }
        then(&mut all)
    }
}

/// One recorder for each phase, in the order of [`Phase::ALL`].
#[derive(Debug, Default)]
pub(crate) struct CallTimes([PhaseTimes; Phase::ALL.len()]);

#[derive(Debug, Default)]
struct PhaseTimes {
    queue: Histogram,
    handler: Histogram,
    transport: Histogram,
}

impl CallTimes {
    /// A call of `phase` is over. It waited for `queue` until it was sent; of the time since then the handler ran for
    /// `handler`, and the rest is `transport`.
    pub(crate) fn record(
        &self,
        phase: Phase,
        queue: Duration,
        handler: Duration,
        transport: Duration,
    ) {
        let times = &self.0[phase.index()];
        times.queue.record(queue);
        times.handler.record(handler);
        times.transport.record(transport);
    }

    /// What was recorded so far.
    pub(crate) fn timings(&self) -> Timings {
        Timings(self.0.each_ref().map(|phase| Parts {
            queue: phase.queue.times(),
            handler: phase.handler.times(),
            transport: phase.transport.times(),
        }))
    }
}

/// How long the calls of a plugin took since its host was started; see [`crate::Host::timings`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timings([Parts; Phase::ALL.len()]);

/// The parts of the calls of one phase. Each has as many times as there were calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Waiting until the worker was told: for a turn in the session, for a credit.
    pub queue: Times,
    /// The handler itself, from its start to its verdict, as its worker says; of one that gave none, or whose worker does
    /// not say, all the time since it was told. What it waited for the client's body is in no part.
    pub handler: Times,
    /// The way there and back, waking either side, and waiting for a thread of the worker.
    pub transport: Times,
}

impl Timings {
    /// What was recorded after `earlier`, which is of the same plugin.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let part = |now: &Parts, then: &Parts| Parts {
            queue: now.queue.since(&then.queue),
            handler: now.handler.since(&then.handler),
            transport: now.transport.since(&then.transport),
        };
        Self(std::array::from_fn(|phase| part(&self.0[phase], &earlier.0[phase])))
    }

    fn add(&mut self, other: &Self) {
        for (sum, parts) in self.0.iter_mut().zip(&other.0) {
            sum.queue.add(&parts.queue);
            sum.handler.add(&parts.handler);
            sum.transport.add(&parts.transport);
        }
    }

    /// Each phase by its name in the configuration: `request_filter`, `response_filter`, …
    pub fn phases(&self) -> impl Iterator<Item = (&'static str, &Parts)> {
        Phase::ALL.into_iter().map(Phase::name).zip(&self.0)
    }
}

/// Runs `future`, and says how long it had to wait: the clock is read only where it was not done at once.
pub(crate) async fn waited<F: Future>(future: F) -> (F::Output, Duration) {
    let mut future = pin!(future);
    let mut since = None;
    let output = poll_fn(|cx| {
        let poll = future.as_mut().poll(cx);
        if poll.is_pending() {
            since.get_or_insert_with(Instant::now);
        }
        poll
    });
    let output = output.await;
    (output, since.map_or(Duration::ZERO, |since| since.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts_every_call_of_its_phase_alone() {
        let calls = CallTimes::default();
        let (us, none) = (Duration::from_micros, Duration::ZERO);
        calls.record(Phase::Logging, none, us(30), us(4));
        let first = calls.timings();
        calls.record(Phase::Logging, us(2), us(50), us(6));
        let both = calls.timings();
        for (name, parts) in both.phases() {
            let n = if name == "logging" { 2 } else { 0 };
            let counts = [&parts.queue, &parts.handler, &parts.transport].map(Times::count);
            assert_eq!(counts, [n; 3], "{name}");
        }
        let since = both.since(&first);
        let (_, last) = since.phases().find(|(name, _)| *name == "logging").expect("a phase");
        assert_eq!((last.queue.sum(), last.handler.sum()), (us(2), us(50)));
        assert_eq!((last.transport.sum(), last.transport.count()), (us(6), 1));
    }

    #[test]
    fn a_recorder_counts_as_long_as_it_is_there_and_after() {
        let plugin = PluginTimes::default();
        let us = Duration::from_micros;
        let record =
            |calls: &CallTimes, n: u64| calls.record(Phase::Logging, us(1), us(10 * n), us(100));
        let handler = |timings: Timings| {
            let parts = timings.phases().find(|(name, _)| *name == "logging").expect("a phase").1;
            assert_eq!(parts.queue.sum(), us(parts.handler.count()));
            assert_eq!(parts.transport.sum(), us(100 * parts.handler.count()));
            (parts.handler.count(), parts.handler.sum())
        };
        let (first, second) = (plugin.recorder(), plugin.recorder());
        record(&first, 1);
        record(&second, 2);
        assert_eq!(handler(first.timings()), (1, us(10)));
        assert_eq!(handler(plugin.timings()), (2, us(30)));
        let late = first.clone();
        drop((first, second));
        assert_eq!(handler(plugin.timings()), (2, us(30)));
        record(&late, 4);
        drop(late);
        drop(plugin.recorder());
        assert_eq!(handler(plugin.timings()), (3, us(70)));
        assert!(plugin.0.lock().expect("whole").live.is_empty());
    }

    #[tokio::test]
    async fn only_what_waits_has_waited() {
        assert_eq!(waited(async { 7 }).await, (7, Duration::ZERO));
        let ((), time) = waited(tokio::time::sleep(Duration::from_millis(5))).await;
        assert!(time >= Duration::from_millis(4), "{time:?}");
    }
}
