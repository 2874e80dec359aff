//! When each request is due, and who says so.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// So many requests a second, for so long: when each is to be sent is known before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Requests per second, >= 1.
    pub rate: u32,
    /// How long requests are sent.
    pub duration: Duration,
}

impl Schedule {
    /// How many requests there are.
    pub fn count(&self) -> u64 {
        let count = self.duration.as_nanos() * u128::from(self.rate) / NANOS;
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// When request `index`, from 0, is to be sent, from the start.
    pub fn at(&self, index: u64) -> Duration {
        let rate = u64::from(self.rate.max(1));
        let (seconds, rest) = (index / rate, index % rate);
        Duration::from_secs(seconds) + Duration::from_secs(rest) / self.rate.max(1)
    }
}

const NANOS: u128 = 1_000_000_000;

/// A request whose time has come.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// Which, from 0.
    pub index: u64,
    /// When it was to be sent, from the start.
    pub intended: Duration,
    /// Whether somebody was there to send it.
    pub expected: bool,
}

/// Hands out what is due, by a thread of its own: a runtime's timers are coarser than the latencies to be measured.
#[derive(Debug)]
pub struct Pacer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    due: Mutex<VecDeque<Due>>,
    /// A permit for each of them; closed when there will be no more.
    ready: Semaphore,
    /// How many wait for a permit.
    waiting: AtomicUsize,
    released: AtomicU64,
    stop: AtomicBool,
}

/// So long it sleeps at most before it looks whether it is still wanted.
const NAP: Duration = Duration::from_millis(50);

impl Pacer {
    /// Begins `schedule` at `start`.
    ///
    /// # Panics
    /// The process may have no more threads.
    pub fn start(schedule: Schedule, start: Instant) -> Self {
        let shared = Arc::new(Shared {
            due: Mutex::default(),
            ready: Semaphore::new(0),
            waiting: AtomicUsize::new(0),
            released: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let ours = shared.clone();
        let thread = std::thread::Builder::new().name("nylon-pace".into());
        thread.spawn(move || ours.pace(schedule, start)).expect("a thread");
        Self(shared)
    }

    /// The next request, once it is due; `None` after the last. Any number of tasks may wait: the one that has waited
    /// longest gets it. What nobody has taken in time is handed out late.
    pub async fn next(&self) -> Option<Due> {
        // Relaxed: only a count.
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        let permit = self.0.ready.acquire().await;
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        if let Ok(permit) = permit {
            permit.forget();
        }
        self.0.queue().pop_front()
    }

    /// Releases no more, and forgets what nobody has taken; how many were released.
    pub fn stop(&self) -> u64 {
        self.0.stop.store(true, Ordering::Relaxed);
        self.0.ready.close();
        self.0.queue().clear();
        self.0.released.load(Ordering::Relaxed)
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn pace(&self, schedule: Schedule, start: Instant) {
        // The kernel may let a thread oversleep by 50 µs unless told otherwise. Best effort.
        let _ = nix::sys::prctl::set_timerslack(1);
        for index in 0..schedule.count() {
            let intended = schedule.at(index);
            while let Some(left) = (start + intended).checked_duration_since(Instant::now())
                && !left.is_zero()
            {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(left.min(NAP));
            }
            let mut due = self.queue();
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let expected = self.waiting.load(Ordering::Relaxed) > due.len();
            due.push_back(Due { index, intended, expected });
            drop(due);
            self.released.fetch_add(1, Ordering::Relaxed);
            self.ready.add_permits(1);
        }
        self.ready.close();
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, VecDeque<Due>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_its_time() {
        let schedule = Schedule { rate: 3, duration: Duration::from_millis(2_500) };
        assert_eq!(schedule.count(), 7);
        let times: Vec<_> = (0..7).map(|i| schedule.at(i).as_millis()).collect();
        assert_eq!(times, [0, 333, 666, 1000, 1333, 1666, 2000]);
        let week = Schedule { rate: 100_000, duration: Duration::from_secs(7 * 86_400) };
        assert_eq!(week.at(week.count()), week.duration);
    }

    /// Nobody takes one for the whole time: all of them are there afterwards, none was skipped.
    #[tokio::test]
    async fn what_is_not_taken_in_time_is_handed_out_late() {
        let schedule = Schedule { rate: 1000, duration: Duration::from_millis(50) };
        let start = Instant::now();
        let pacer = Pacer::start(schedule, start);
        let first = pacer.next().await.expect("one is due");
        assert_eq!((first.index, first.intended), (0, Duration::ZERO));
        tokio::time::sleep(Duration::from_millis(80)).await;
        let mut indices = Vec::new();
        while let Some(due) = pacer.next().await {
            assert!(start.elapsed() >= due.intended, "never early");
            indices.push(due.index);
        }
        assert_eq!(indices, (1..50).collect::<Vec<_>>());
        assert_eq!(pacer.stop(), 50);
    }

    #[tokio::test]
    async fn a_pacer_that_is_stopped_hands_out_no_more() {
        let schedule = Schedule { rate: 1, duration: Duration::from_secs(3600) };
        let pacer = Pacer::start(schedule, Instant::now());
        assert!(pacer.next().await.is_some());
        assert_eq!(pacer.stop(), 1);
        assert!(pacer.next().await.is_none());
    }
}
