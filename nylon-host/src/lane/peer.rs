//! The worker behind one or several lanes: who it is, and why it is no longer to be used, once it is not.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use nylon_protocol::Violation;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use super::pins::Pins;

/// Why a worker is no longer to be used.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It broke the protocol.
    Violation(Violation),
    /// Its process ended; how.
    Died(String),
    /// It is being stopped by us.
    Stopped,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Violation(v) => write!(f, "protocol violation: {v}"),
            Self::Died(how) => f.write_str(how),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

/// What all lanes of a worker share.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) plugin: Arc<str>,
    /// Index of each entry, by name.
    pub(crate) entries: FxHashMap<String, u16>,
    /// By entry: whether its last handler that could asked for the whole body of its request.
    pub(crate) asks_body: Box<[AtomicBool]>,
    pub(crate) minor: u16,
    /// What it agreed to, `wire::FEATURE_*` bits.
    pub(crate) features: u64,
    /// Frames taken from it, on all lanes: they share a bell, so who is woken may find that another was meant.
    pub(super) frames: AtomicU64,
    /// Requests that hold on to it.
    pub(crate) pins: Pins,
    /// Whether somebody looks after it now and then because calls are in flight.
    attended: AtomicBool,
    busy: Notify,
    fault: OnceLock<Fault>,
    faulted: Notify,
}

impl Peer {
    /// The worker of `plugin` that agreed on `minor` and `features`; its entries in the order of their indices.
    pub(crate) fn new(plugin: Arc<str>, entries: &[String], minor: u16, features: u64) -> Self {
        let asks_body = entries.iter().map(|_| AtomicBool::new(false)).collect();
        let entries = entries.iter().zip(0u16..).map(|(name, i)| (name.clone(), i)).collect();
        let (fault, faulted) = (OnceLock::new(), Notify::new());
        Self {
            plugin,
            entries,
            asks_body,
            minor,
            features,
            frames: AtomicU64::new(0),
            pins: Pins::default(),
            attended: AtomicBool::new(false),
            busy: Notify::new(),
            fault,
            faulted,
        }
    }

    /// Frames taken from it so far: any of them is a sign of life.
    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// A call has begun.
    pub(super) fn called(&self) {
        // SeqCst: pairs with `rests`. Either the call is counted when that looks, or it sees that nobody attends.
        if !self.attended.load(Ordering::SeqCst) && !self.attended.swap(true, Ordering::SeqCst) {
            self.busy.notify_one();
        }
    }

    /// Nothing is in flight: [`Self::busy`] resolves with the next call. Look at the count once more after this.
    pub(crate) fn rests(&self) {
        self.attended.store(false, Ordering::SeqCst);
    }

    /// Waits for the first call since [`Self::rests`].
    pub(crate) async fn busy(&self) {
        self.busy.notified().await;
    }

    /// Reports that the worker is not to be used any more; the first report counts.
    pub(crate) fn report(&self, fault: Fault) {
        let _ = self.fault.set(fault);
        self.faulted.notify_one();
    }

    /// What was reported, if anything was.
    pub(crate) fn fault(&self) -> Option<&Fault> {
        self.fault.get()
    }

    /// Waits for a report.
    pub(crate) async fn faulted(&self) -> Fault {
        loop {
            if let Some(fault) = self.fault.get() {
                return fault.clone();
            }
            self.faulted.notified().await;
        }
    }
}
