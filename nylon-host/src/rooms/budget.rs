//! How much one connection may multiply what it sends.

use std::time::{Duration, Instant};

/// A bucket of bytes that fills with time: what a connection's messages cost as they reach the members of rooms.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Bytes per second it fills by, and the most it holds.
    rate: u64,
    /// Bytes in it; below zero: spent ahead.
    level: i64,
    filled: Instant,
}

/// What a delivery costs beside its bytes: a push, a wake-up and a system call.
const DELIVERY: u64 = 64;

impl Budget {
    /// A full one, of one second's `rate`.
    pub(crate) fn new(rate: u64, now: Instant) -> Self {
        Self { rate, level: i64::try_from(rate).unwrap_or(i64::MAX), filled: now }
    }

    /// Takes the cost of `deliveries` of `len` bytes each. Returns how long the sender has to wait until it may send again
    /// (its window is given back then); zero: it may at once.
    pub(crate) fn charge(&mut self, deliveries: usize, len: usize, now: Instant) -> Duration {
        let full = i64::try_from(self.rate).unwrap_or(i64::MAX);
        let passed = now.saturating_duration_since(self.filled).as_micros();
        let gained = passed.saturating_mul(u128::from(self.rate)) / 1_000_000;
        if gained > 0 {
            self.level =
                self.level.saturating_add(i64::try_from(gained).unwrap_or(i64::MAX)).min(full);
            self.filled = now;
        }
        let cost = (deliveries as u64).saturating_mul((len as u64).saturating_add(DELIVERY));
        self.level = self.level.saturating_sub(i64::try_from(cost).unwrap_or(i64::MAX));
        if self.level >= 0 {
            return Duration::ZERO;
        }
        let micros =
            u128::from(self.level.unsigned_abs()) * 1_000_000 / u128::from(self.rate.max(1));
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)).min(LONGEST)
    }
}

/// The longest a sender is held back for one message.
const LONGEST: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_ahead_is_waited_for() {
        let start = Instant::now();
        let mut budget = Budget::new(1_000_000, start);
        assert_eq!(budget.charge(1_000, 936, start), Duration::ZERO);
        assert_eq!(budget.charge(100, 936, start), Duration::from_millis(100));
        let later = start + Duration::from_millis(100);
        assert_eq!(budget.charge(0, 0, later), Duration::ZERO);
        assert_eq!(budget.charge(1, 936, later), Duration::from_millis(1));
    }

    #[test]
    fn it_holds_one_second_and_waits_are_bounded() {
        let start = Instant::now();
        let mut budget = Budget::new(1_000, start);
        assert!(budget.charge(1, 936, start + Duration::from_secs(3_600)).is_zero());
        assert_eq!(budget.charge(usize::MAX, usize::MAX, start), LONGEST);
    }
}
