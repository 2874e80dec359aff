//! How long things took, in buckets: recorded without a lock or an allocation, read while others record.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper ends of the buckets but the last: powers of two from 1 µs to 16.8 s. A call through a lane takes some
/// microseconds and a phase's `timeout` is seconds: doubling covers both, and all between, in 25 buckets, in any of which
/// a quantile is off by less than a factor of two; which one a time is in, the processor says in a few instructions.
const BOUNDS: usize = 25;

/// A histogram that many threads record into.
///
/// A reader may see a time's bucket and not yet its share of the sum.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: [AtomicU64; BOUNDS + 1],
    /// Nanoseconds.
    sum: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; BOUNDS + 1], sum: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Records one time. Relaxed: each figure stands for itself, and nobody concludes from one to another.
    pub(crate) fn record(&self, time: Duration) {
        let ns = nanos(time);
        self.counts[bucket(ns)].fetch_add(1, Ordering::Relaxed);
        if ns != 0 {
            self.sum.fetch_add(ns, Ordering::Relaxed);
        }
    }

    /// What was recorded so far.
    pub(crate) fn times(&self) -> Times {
        Times {
            counts: self.counts.each_ref().map(|count| count.load(Ordering::Relaxed)),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

/// How often something took how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    counts: [u64; BOUNDS + 1],
    sum: u64,
}

impl Times {
    /// How many times were recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum)
    }

    /// What was recorded after `earlier`, which is of the same plugin, phase and part.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.counts;
        for (count, before) in counts.iter_mut().zip(&earlier.counts) {
            *count = count.saturating_sub(*before);
        }
        Self { counts, sum: self.sum.saturating_sub(earlier.sum) }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        // Wraps as the recorder does.
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// The time that a share `q`, `0.0 ..= 1.0`, of them did not exceed: right to the bucket, and within it as if they
    /// were spread evenly. `None` of none; of those past the last bound, that bound.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rank among so many is none")]
        let rank = q.clamp(0.0, 1.0) * count as f64;
        let mut below = 0.0;
        for (index, &count) in self.counts[..BOUNDS].iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "as above")]
            let inside = count as f64;
            if count > 0 && below + inside >= rank {
                let low = if index == 0 { 0.0 } else { bound(index - 1) };
                let part = ((rank - below) / inside).clamp(0.0, 1.0);
                return Some(Duration::from_secs_f64(low + (bound(index) - low) * part));
            }
            below += inside;
        }
        Some(Duration::from_secs_f64(bound(BOUNDS - 1)))
    }

    /// Each bucket's upper end in seconds, the last infinite, and how many times are in it and in none before.
    pub(crate) fn buckets(&self) -> [(f64, u64); BOUNDS + 1] {
        std::array::from_fn(|index| {
            let end = if index == BOUNDS { f64::INFINITY } else { bound(index) };
            (end, self.counts[index])
        })
    }
}

/// The upper end of a bucket, seconds.
fn bound(index: usize) -> f64 {
    f64::from(1u32 << index) / 1e6
}

/// The bucket of a time: the first whose end is not before it.
fn bucket(ns: u64) -> usize {
    let whole = ns.saturating_sub(1) / 1000;
    ((u64::BITS - whole.leading_zeros()) as usize).min(BOUNDS)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: &[Duration]) -> Times {
        let histogram = Histogram::default();
        times.iter().for_each(|time| histogram.record(*time));
        histogram.times()
    }

    #[test]
    fn a_time_is_in_the_first_bucket_that_holds_it() {
        let us = Duration::from_micros;
        for (time, end) in [
            (Duration::ZERO, 1),
            (Duration::from_nanos(1), 1),
            (us(1), 1),
            (us(1) + Duration::from_nanos(1), 2),
            (us(2), 2),
            (us(3), 4),
            (us(4), 4),
            (us(1024), 1024),
            (us(1025), 2048),
            (us(1 << 24), 1 << 24),
        ] {
            let buckets = of(&[time]).buckets();
            let found = buckets.iter().find(|(_, count)| *count == 1).expect("one").0;
            assert!((found - f64::from(end) / 1e6).abs() < 1e-12, "{time:?} is in {found}");
        }
        for time in [us((1 << 24) + 1), Duration::from_secs(3600), Duration::MAX] {
            assert_eq!(of(&[time]).buckets()[BOUNDS], (f64::INFINITY, 1), "{time:?}");
        }
    }

    #[test]
    fn counts_and_sums_are_those_of_what_was_recorded() {
        let times = of(&[Duration::ZERO, Duration::from_micros(5), Duration::from_millis(7)]);
        assert_eq!((times.count(), times.sum()), (3, Duration::from_micros(7005)));
        let later = of(&[Duration::from_micros(5); 4]);
        let since = later.since(&of(&[Duration::from_micros(5)]));
        assert_eq!((since.count(), since.sum()), (3, Duration::from_micros(15)));
    }

    #[test]
    fn quantiles_are_right_to_the_bucket() {
        assert_eq!(Times::default().quantile(0.5), None);
        let mut all = vec![Duration::from_micros(10); 98];
        all.extend([Duration::from_millis(3), Duration::from_secs(60)]);
        let times = of(&all);
        let within = |q: f64, low: u64, high: u64| {
            let found = times.quantile(q).expect("some");
            let (low, high) = (Duration::from_micros(low), Duration::from_micros(high));
            assert!(low <= found && found <= high, "{q}: {found:?}");
        };
        within(0.0, 8, 16);
        within(0.5, 8, 16);
        within(0.98, 8, 16);
        within(0.99, 2048, 4096);
        within(1.0, 1 << 24, 1 << 24);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let histogram = Histogram::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|n| histogram.record(Duration::from_nanos(n))));
            }
        });
        let times = histogram.times();
        assert_eq!((times.count(), times.sum().as_nanos()), (40_000, 4 * 9_999 * 5_000));
    }
}
