//! The ready lanes of one plugin, and which of them takes the next session.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard};

use super::Lane;

/// Filled by the supervisor, read by sessions.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    lanes: RwLock<Vec<Arc<Lane>>>,
    next: AtomicUsize,
}

impl Registry {
    /// Takes a lane into service.
    pub(crate) fn add(&self, lane: Arc<Lane>) {
        self.write(|lanes| lanes.push(lane));
    }

    /// Takes a lane out of service.
    pub(crate) fn remove(&self, lane: &Arc<Lane>) {
        self.write(|lanes| lanes.retain(|l| !Arc::ptr_eq(l, lane)));
    }

    /// The next lane in turn, `None` while no worker is ready.
    pub(crate) fn pick(&self) -> Option<Arc<Lane>> {
        let lanes = self.read();
        match lanes.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            many => Some(many[self.next.fetch_add(1, Ordering::Relaxed) % many.len()].clone()),
        }
    }

    /// All lanes in service.
    pub(crate) fn all(&self) -> Vec<Arc<Lane>> {
        self.read().clone()
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Arc<Lane>>> {
        self.lanes.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self, change: impl FnOnce(&mut Vec<Arc<Lane>>)) {
        change(&mut self.lanes.write().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}
