//! The ready lanes of one build of a plugin, and which of them takes the next session.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use super::Lane;

/// Filled by the supervisor, read by sessions.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    lanes: RwLock<Vec<Arc<Lane>>>,
    next: AtomicUsize,
    /// Entries that chains ask for.
    entries: Mutex<BTreeSet<String>>,
}

impl Registry {
    /// Takes lanes into service and others out of it, in one step: who picks sees either all of it or nothing. Then the
    /// conversations on them are told.
    pub(crate) fn switch(&self, admit: &[Arc<Lane>], withdraw: &[Arc<Lane>]) {
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|l| !withdraw.iter().chain(admit).any(|gone| Arc::ptr_eq(l, gone)));
        lanes.extend_from_slice(admit);
        drop(lanes);
        admit.iter().for_each(|lane| lane.set_withdrawn(false));
        withdraw.iter().for_each(|lane| lane.set_withdrawn(true));
    }

    /// Takes lanes out of service whose worker is ending: who has sessions there learns of it when it has.
    pub(crate) fn forget(&self, gone: &[Arc<Lane>]) {
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|lane| !gone.iter().any(|gone| Arc::ptr_eq(lane, gone)));
    }

    /// The next lane in turn, `None` while no worker is ready. One whose worker is about to be withdrawn for what it did is
    /// passed over, if there is another.
    pub(crate) fn pick(&self) -> Option<Pin> {
        // Pinned under the lock: once a lane is withdrawn, whoever picked it before is counted.
        let lanes = self.read();
        match lanes.as_slice() {
            [] => None,
            [one] => Some(Pin::new(one)),
            many => {
                let turn = self.next.fetch_add(1, Ordering::Relaxed) % many.len();
                let (before, rest) = many.split_at(turn);
                let sound = rest.iter().chain(before).find(|lane| lane.peer.fault().is_none());
                Some(Pin::new(sound.unwrap_or(&many[turn])))
            }
        }
    }

    /// A chain asks for this entry.
    pub(crate) fn use_entry(&self, entry: &str) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if !entries.contains(entry) {
            entries.insert(entry.to_owned());
        }
    }

    /// Those of `entries` that chains ask for.
    pub(crate) fn in_use(&self, entries: &[String]) -> Vec<String> {
        let used = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().filter(|entry| used.contains(*entry)).cloned().collect()
    }

    /// All lanes in service.
    pub(crate) fn all(&self) -> Vec<Arc<Lane>> {
        self.read().clone()
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Arc<Lane>>> {
        self.lanes.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's hold on a lane: its worker is not stopped by a drain before the last one is given back.
#[derive(Debug)]
pub(crate) struct Pin {
    lane: Arc<Lane>,
    streams: bool,
}

impl Pin {
    fn new(lane: &Arc<Lane>) -> Self {
        lane.peer.pins.pin();
        Self { lane: lane.clone(), streams: false }
    }

    /// The request has become a stream, which may go on for hours.
    pub(crate) fn streams(&mut self) {
        if !std::mem::replace(&mut self.streams, true) {
            self.lane.peer.pins.stream();
        }
    }
}

impl Clone for Pin {
    fn clone(&self) -> Self {
        Self::new(&self.lane)
    }
}

impl Deref for Pin {
    type Target = Arc<Lane>;

    fn deref(&self) -> &Arc<Lane> {
        &self.lane
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.lane.peer.pins.unpin(self.streams);
    }
}
