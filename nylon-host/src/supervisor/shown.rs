//! One worker's row of the telemetry segment: the place stays while processes come and go.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use nylon_protocol::wire;
use nylon_shm::telemetry::{Slot, Telemetry, Text, WorkerRow, now_ms};

use super::status::{PluginState, spin_words};
use super::usage::Usage;
use crate::lane::Lane;

/// Writes the row of one worker; does nothing without a segment, or when that has no more room.
#[derive(Debug)]
pub(super) struct Shown {
    slot: Option<Slot<WorkerRow>>,
    row: WorkerRow,
    usage: Option<Usage>,
}

impl Shown {
    /// Of a worker of the plugin whose row is number `plugin`.
    pub(super) fn new(
        telemetry: Option<&Arc<Telemetry>>,
        plugin: u64,
        last_exit: Text<16>,
    ) -> Self {
        let slot = telemetry.and_then(Telemetry::claim);
        Self { slot, row: WorkerRow { plugin, last_exit, ..WorkerRow::default() }, usage: None }
    }

    /// A process is about to be started; what the row told of the one before it but its end is gone.
    pub(super) fn starting(&mut self, generation: u32) {
        let WorkerRow { plugin, last_exit, .. } = self.row;
        let generation = generation.into();
        self.row = WorkerRow { plugin, last_exit, generation, ..WorkerRow::default() };
        self.set(PluginState::Starting);
    }

    /// Process `pid` serves.
    pub(super) fn ready(&mut self, pid: u32) {
        self.usage = Usage::of(pid).ok();
        (self.row.pid, self.row.started) = (pid.into(), now_ms());
        self.set(PluginState::Ready);
    }

    /// Stores its counters, and what it takes of the machine.
    pub(super) fn show(&mut self, lanes: &[Arc<Lane>]) {
        if self.slot.is_none() {
            return;
        }
        let sum = |of: &dyn Fn(&Lane) -> u64| {
            lanes.iter().fold(0_u64, |sum, lane| sum.saturating_add(of(lane)))
        };
        let row = &mut self.row;
        row.calls = sum(&|lane| lane.counters.calls.load(Ordering::Relaxed));
        row.deadlines = sum(&|lane| lane.counters.deadlines.load(Ordering::Relaxed));
        row.late = sum(&|lane| lane.counters.late.load(Ordering::Relaxed));
        row.rescues = sum(&|lane| lane.counters.rescues.load(Ordering::Relaxed));
        row.frames_up = sum(&|lane| lane.counters.frames_up.load(Ordering::Relaxed));
        row.frames_down = sum(&|lane| lane.frames_down());
        row.in_flight = sum(&|lane| lane.in_flight() as u64);
        row.sessions = sum(&|lane| lane.sessions() as u64);
        // The worker wrote these and may write anything.
        row.wakes = sum(&|lane| lane.worker_stat(wire::STAT_WAKES));
        row.handovers = sum(&|lane| lane.worker_stat(wire::STAT_HANDOVERS));
        if let Some(lane) = lanes.last() {
            (row.spin_ns, row.spin_reason) = spin_words(lane.spin_decision());
        }
        if let Some(sample) = self.usage.as_ref().and_then(Usage::sample) {
            (row.rss_bytes, row.cpu_ns) = (sample.rss_bytes, sample.cpu_ns);
        }
        self.store();
    }

    /// Its process ended, or could not be started.
    pub(super) fn ended(&mut self, state: PluginState, how: &str) {
        self.usage = None;
        let WorkerRow { plugin, generation, .. } = self.row;
        let last_exit = Text::new(how);
        self.row = WorkerRow { plugin, generation, last_exit, ..WorkerRow::default() };
        self.set(state);
    }

    fn set(&mut self, state: PluginState) {
        self.row.state = state as u64;
        self.store();
    }

    fn store(&self) {
        if let Some(slot) = &self.slot {
            slot.store(&self.row);
        }
    }
}
