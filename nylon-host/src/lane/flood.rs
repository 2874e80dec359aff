//! What a worker does for nothing, weighed against what it does: valid, and a flood all the same (HARDENING rows 9, 16).

use std::time::{Duration, Instant};

use nylon_protocol::Violation;

/// So much for nothing within [`PERIOD`], beyond what was of use, ends a worker.
pub(super) const LIMIT: u64 = 10_000;
const PERIOD: Duration = Duration::from_secs(1);

/// A meter for one kind of thing.
#[derive(Debug)]
pub(super) struct Flood {
    what: &'static str,
    useless: u64,
    since: Option<Instant>,
}

impl Flood {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, useless: 0, since: None }
    }

    /// So many things of use came: they make up for as many that were not.
    pub(super) fn useful(&mut self, things: u64) {
        self.useless = self.useless.saturating_sub(things);
    }

    /// So many came for nothing.
    ///
    /// # Errors
    /// [`Violation::Budget`] when it is a flood.
    pub(super) fn useless(&mut self, things: u64, now: Instant) -> Result<(), Violation> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) > PERIOD) {
            self.since = Some(now);
            self.useless = 0;
        }
        self.useless = self.useless.saturating_add(things);
        if self.useless > LIMIT { Err(Violation::Budget(self.what)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_more_than_comes_with_work() {
        let now = Instant::now();
        let mut flood = Flood::new("things");
        for _ in 0..10 * LIMIT {
            flood.useful(1);
            flood.useless(1, now).expect("one for one");
        }
        flood.useless(LIMIT - 1, now).expect("not yet");
        assert_eq!(flood.useless(1, now), Err(Violation::Budget("things")));
        assert_eq!(flood.useless(u64::MAX, now), Err(Violation::Budget("things")));
    }

    #[test]
    fn a_trickle_is_no_flood() {
        let start = Instant::now();
        let mut flood = Flood::new("things");
        for second in 0..10 {
            let now = start + Duration::from_millis(1001 * second);
            (0..LIMIT / 2).for_each(|_| flood.useless(1, now).expect("half the limit a second"));
        }
    }
}
