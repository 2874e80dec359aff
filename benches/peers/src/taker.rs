//! The body of every round: which call begins when, and what it took. The Go clients do the same
//! (go/internal/client).

use std::time::{Duration, Instant};

use crate::cell::Round;

/// Calls before the first timed one, or as many as are open at once if those are more.
const WARM_UP: u64 = 50;

/// Keeps up to so many calls open, times them, and ends the round.
pub(crate) struct Taker {
    round: Round,
    warm_up: u64,
    begun: u64,
    open: usize,
    /// When the first timed call began.
    since: Option<Instant>,
    due: Instant,
    /// Of the timed calls, ns.
    pub(crate) samples: Vec<u64>,
}

/// A call that began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    /// 1, 2, 3 … in a round.
    pub(crate) number: u64,
    at: Instant,
}

impl Taker {
    pub(crate) fn new(round: &Round) -> Self {
        let in_flight = round.cell.in_flight as u64;
        Self {
            round: *round,
            warm_up: if round.cell.gap.is_some() { 1 } else { WARM_UP.max(in_flight) },
            begun: 0,
            open: 0,
            since: None,
            due: Instant::now(),
            samples: Vec::with_capacity(round.calls),
        }
    }

    /// Begins a call; none when enough are open, or no more are wanted ([`Self::is_over`]).
    ///
    /// With a gap between calls this is the time to wait for [`Self::pause`] first.
    pub(crate) fn begin(&mut self) -> Option<Ticket> {
        if self.open == self.round.cell.in_flight || self.is_enough() {
            return None;
        }
        let at = Instant::now();
        if self.begun >= self.warm_up {
            self.since.get_or_insert(at);
        }
        self.begun += 1;
        self.open += 1;
        Some(Ticket { number: self.begun, at })
    }

    /// Ends the call of `ticket`.
    pub(crate) fn end(&mut self, ticket: Ticket) {
        let took = ticket.at.elapsed();
        self.open -= 1;
        if ticket.number > self.warm_up {
            self.samples.push(ns(took));
        }
    }

    /// How long until the next call is due.
    pub(crate) fn pause(&mut self) -> Option<Duration> {
        let gap = self.round.cell.gap?;
        // A call that took long does not take the gap away.
        self.due = (self.due + gap).max(Instant::now() + gap / 2);
        Some(self.due.saturating_duration_since(Instant::now()))
    }

    /// Whether all calls ended and no more are wanted.
    pub(crate) fn is_over(&self) -> bool {
        self.open == 0 && self.is_enough()
    }

    /// Takes a sample that is the mean of `calls` calls of the contender's own.
    pub(crate) fn mean(&mut self, took: Duration, calls: u32) {
        self.begun += u64::from(calls);
        self.samples.push(ns(took / calls));
    }

    /// Calls begun, the untimed ones too.
    pub(crate) fn calls(&self) -> u64 {
        self.begun
    }

    fn is_enough(&self) -> bool {
        self.begun >= self.warm_up + self.round.calls as u64
            || self.since.is_some_and(|since| since.elapsed() >= self.round.time)
    }
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
