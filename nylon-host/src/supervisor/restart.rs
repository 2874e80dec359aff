//! How long to wait before a worker is started again: a pure function of how the last ones fared.

use std::time::Duration;

/// Exponential backoff, reset by a worker that lived.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

/// A worker that lived this long was a good one.
const STABLE: Duration = Duration::from_millis(300);
const FIRST: Duration = Duration::from_millis(50);
const CAP: Duration = Duration::from_secs(5);

impl Backoff {
    /// Wait after a worker that was ready for `lived` (`None`: it never was).
    pub(crate) fn after(&mut self, lived: Option<Duration>) -> Duration {
        if lived.is_some_and(|l| l >= STABLE) {
            self.failures = 0;
            return Duration::ZERO;
        }
        let wait = FIRST.saturating_mul(1 << self.failures.min(16)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_cap_and_is_reset_by_a_worker_that_lived() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..9).map(|_| backoff.after(None).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.after(Some(Duration::from_secs(1))), Duration::ZERO);
        assert_eq!(backoff.after(Some(Duration::from_millis(10))), FIRST);
    }
}
