//! The worker behind one or several lanes: who it is, and why it is no longer to be used, once it is not.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Instant, SystemTime};

use nylon_protocol::Violation;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use super::pins::Pins;
use super::{Queue, lock};
use crate::metrics::CallTimes;

/// Why a worker is no longer to be used.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It broke the protocol.
    Violation(Violation),
    /// Its process ended; how.
    Died(String),
    /// It hung: no sign of life, or too many handlers past their deadline.
    Hung,
    /// It took more memory than it may; how much.
    Memory(String),
    /// It is being stopped by us.
    Stopped,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Violation(v) => write!(f, "protocol violation: {v}"),
            Self::Died(how) => f.write_str(how),
            Self::Hung => f.write_str("it hung"),
            Self::Memory(how) => f.write_str(how),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

/// What all lanes of a worker share.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) plugin: Arc<str>,
    /// Its process id, for people.
    pub(crate) pid: u32,
    /// Which start of the plugin it is, from 1.
    pub(crate) generation: u32,
    /// When it was ready, by both clocks.
    pub(crate) since: (Instant, SystemTime),
    /// Index of each entry, by name.
    pub(crate) entries: FxHashMap<String, u16>,
    /// By entry: whether its last handler that could asked for the whole body of its request.
    pub(crate) asks_body: Box<[AtomicBool]>,
    pub(crate) minor: u16,
    /// What it agreed to, `wire::FEATURE_*` bits.
    pub(crate) features: u64,
    /// Where requests of the plugin wait.
    pub(crate) queue: Arc<Queue>,
    /// Frames taken from it, on all lanes: they share a bell, so who is woken may find that another was meant.
    pub(super) frames: AtomicU64,
    /// Frames that had to wait for room towards it and got it, on all lanes.
    pub(super) made_room: AtomicU64,
    /// The reactors of its lanes, to be woken by others than the bell.
    nudges: Mutex<Vec<Arc<Notify>>>,
    /// Requests that hold on to it.
    pub(crate) pins: Pins,
    /// Whether somebody looks after it now and then because calls are in flight.
    attended: AtomicBool,
    busy: Notify,
    /// How long its calls took.
    pub(crate) times: Arc<CallTimes>,
    fault: OnceLock<Fault>,
    faulted: Notify,
}

impl Peer {
    /// A worker that is ready: `who` is its plugin, pid and generation. It agreed on `minor` and `features`; its entries
    /// are in the order of their indices.
    pub(crate) fn new(
        who: (Arc<str>, u32, u32),
        entries: &[String],
        minor: u16,
        features: u64,
        queue: Arc<Queue>,
        times: Arc<CallTimes>,
    ) -> Self {
        let asks_body = entries.iter().map(|_| AtomicBool::new(false)).collect();
        let entries = entries.iter().zip(0u16..).map(|(name, i)| (name.clone(), i)).collect();
        let (fault, faulted) = (OnceLock::new(), Notify::new());
        let (plugin, pid, generation) = who;
        Self {
            plugin,
            pid,
            generation,
            since: (Instant::now(), SystemTime::now()),
            entries,
            asks_body,
            minor,
            features,
            queue,
            frames: AtomicU64::new(0),
            made_room: AtomicU64::new(0),
            nudges: Mutex::default(),
            pins: Pins::default(),
            attended: AtomicBool::new(false),
            busy: Notify::new(),
            times,
            fault,
            faulted,
        }
    }

    /// Frames taken from it so far: any of them is a sign of life.
    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// What it may ring for, so far: frames of its own, and frames that waited for the room it made.
    pub(super) fn worth_a_ring(&self) -> u64 {
        self.frames.load(Ordering::Relaxed).wrapping_add(self.made_room.load(Ordering::Relaxed))
    }

    /// What wakes the reactor of another lane of it.
    pub(super) fn nudge(&self) -> Arc<Notify> {
        let nudge = Arc::<Notify>::default();
        lock(&self.nudges).push(nudge.clone());
        nudge
    }

    /// Has every lane look, where there are several: the bell was read, and a ring that had not been reported may have been
    /// meant for any of them.
    pub(super) fn look_around(&self) {
        let nudges = lock(&self.nudges);
        nudges.iter().filter(|_| nudges.len() > 1).for_each(|nudge| nudge.notify_one());
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

    /// The name of the entry with this index; empty when there is none.
    pub(crate) fn entry(&self, index: u16) -> &str {
        self.entries.iter().find(|(_, i)| **i == index).map_or("", |(name, _)| name)
    }

    /// Logs that ringing it failed: it sleeps on, until something else wakes it.
    pub(super) fn not_rung(&self, error: &std::io::Error) {
        let Self { plugin, pid: worker, generation, .. } = self;
        tracing::warn!(%plugin, worker, generation, %error, "cannot ring the worker");
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
