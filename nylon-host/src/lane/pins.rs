//! How many requests hold on to a worker, and when the last of them lets go.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts of one worker.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    held: AtomicUsize,
    /// Of those: streams.
    streams: AtomicUsize,
    /// Whether anybody waits for the last.
    watched: AtomicBool,
    fewer: Notify,
}

impl Pins {
    pub(super) fn pin(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stream(&self) {
        self.streams.fetch_add(1, Ordering::SeqCst);
        self.changed();
    }

    pub(super) fn unpin(&self, streams: bool) {
        if streams {
            self.streams.fetch_sub(1, Ordering::SeqCst);
        }
        // SeqCst: pairs with `drained`, which says that it watches and then counts.
        self.held.fetch_sub(1, Ordering::SeqCst);
        self.changed();
    }

    fn changed(&self) {
        if self.watched.load(Ordering::SeqCst) {
            self.fewer.notify_one();
        }
    }

    /// Waits until no request holds on, or only streams do and they are not waited for. No new one comes, as the worker
    /// is out of service.
    pub(crate) async fn drained(&self, wait_for_streams: bool) {
        self.watched.store(true, Ordering::SeqCst);
        loop {
            let held = self.held.load(Ordering::SeqCst);
            let streams = self.streams.load(Ordering::SeqCst);
            if held == 0 || (!wait_for_streams && held <= streams) {
                return;
            }
            self.fewer.notified().await;
        }
    }
}
