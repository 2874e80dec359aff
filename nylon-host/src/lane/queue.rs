//! Who waits for a turn of a plugin: for a place in it, or for a credit of one of its lanes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::Failure;

/// The waiting of one plugin, wherever it happens: how many at a time, how long, and how often that was not enough.
#[derive(Debug)]
pub(crate) struct Queue {
    most: u32,
    wait: Duration,
    waiting: AtomicU64,
    full: AtomicU64,
    late: AtomicU64,
}

impl Queue {
    /// For at most `most` at a time, each for at most `wait`.
    pub(crate) fn new(most: u32, wait: Duration) -> Self {
        let [waiting, full, late] = [const { AtomicU64::new(0) }; 3];
        Self { most, wait, waiting, full, late }
    }

    /// Waits for `turn`, no longer than `budget`. Whoever drops this leaves the queue.
    ///
    /// # Errors
    /// [`Failure::QueueFull`] at once, [`Failure::QueueWait`] after the time, or that of `turn`.
    pub(crate) async fn wait<T>(
        &self,
        budget: Duration,
        turn: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let place = Place::take(&self.waiting);
        if place.before >= u64::from(self.most) {
            self.full.fetch_add(1, Ordering::Relaxed);
            return Err(Failure::QueueFull(self.most));
        }
        let wait = budget.min(self.wait);
        tokio::time::timeout(wait, turn).await.unwrap_or_else(|_| {
            self.late.fetch_add(1, Ordering::Relaxed);
            Err(Failure::QueueWait(wait))
        })
    }

    /// How many wait now.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many were refused because the queue was full.
    pub(crate) fn full(&self) -> u64 {
        self.full.load(Ordering::Relaxed)
    }

    /// How many had waited too long.
    pub(crate) fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }
}

/// A place among those who wait. Given back on drop: a client may leave while it waits.
#[derive(Debug)]
pub(super) struct Place<'a> {
    waiting: &'a AtomicU64,
    /// How many were there already.
    before: u64,
}

impl<'a> Place<'a> {
    pub(super) fn take(waiting: &'a AtomicU64) -> Self {
        Self { waiting, before: waiting.fetch_add(1, Ordering::SeqCst) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
