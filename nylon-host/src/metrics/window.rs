//! What the calls of a plugin or a worker took of late: percentiles of all time hide what is wrong now.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::calls::Timings;

/// How many looks a window spans: ten seconds, where there is one each second.
const LOOKS: usize = 10;

/// The last looks at the timings of one of them.
#[derive(Debug, Default)]
pub(crate) struct Window(Mutex<VecDeque<Timings>>);

impl Window {
    /// Takes in a look; what was recorded between it and that of ten looks ago, or the first.
    pub(crate) fn look(&self, now: &Timings) -> Timings {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.is_empty() {
            looks.push_back(Timings::default());
        }
        looks.push_back(now.clone());
        while looks.len() > LOOKS + 1 {
            looks.pop_front();
        }
        looks.front().map(|first| now.since(first)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::CallTimes;
    use crate::session::Phase;

    #[test]
    fn a_call_is_forgotten_after_ten_looks() {
        let (calls, window) = (CallTimes::default(), Window::default());
        let count = |timings: Timings| -> u64 {
            timings.phases().map(|(_, parts)| parts.handler.count()).sum()
        };
        let none = Duration::ZERO;
        calls.record(Phase::Logging, none, none, none);
        for look in 0..LOOKS {
            assert_eq!(count(window.look(&calls.timings())), 1, "{look}");
        }
        assert_eq!(count(window.look(&calls.timings())), 0);
        calls.record(Phase::Logging, none, none, none);
        assert_eq!(count(window.look(&calls.timings())), 1);
    }
}
