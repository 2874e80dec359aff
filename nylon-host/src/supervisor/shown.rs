//! One worker's row of the telemetry segment: the place stays while processes come and go.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use nylon_protocol::wire;
use nylon_shm::telemetry::{Slot, Telemetry, Text, WorkerRow, now_ms};

use super::WorkerState;
use super::status::{phases, spin_words};
use super::usage::Usage;
use crate::lane::{Depth, Lane};
use crate::metrics::Window;

/// Writes the row of one worker; does nothing without a segment, or when that has no more room.
#[derive(Debug)]
pub(super) struct Shown {
    slot: Option<Slot<WorkerRow>>,
    row: WorkerRow,
    usage: Option<Usage>,
    window: Window,
}

impl Shown {
    /// Of a worker of the plugin whose row is number `plugin`.
    pub(super) fn new(
        telemetry: Option<&Arc<Telemetry>>,
        plugin: u64,
        last_exit: Text<16>,
    ) -> Self {
        let slot = telemetry.and_then(Telemetry::claim);
        let row = WorkerRow { plugin, last_exit, ..WorkerRow::default() };
        Self { slot, row, usage: None, window: Window::default() }
    }

    /// A process is about to be started; what the row told of the one before it but its end is gone.
    pub(super) fn starting(&mut self, generation: u32) {
        let WorkerRow { plugin, last_exit, .. } = self.row;
        let generation = generation.into();
        self.row = WorkerRow { plugin, last_exit, generation, ..WorkerRow::default() };
        self.set(WorkerState::Starting);
    }

    /// Process `pid` serves.
    pub(super) fn ready(&mut self, pid: u32) {
        self.usage = Usage::of(pid).ok();
        (self.row.pid, self.row.started) = (pid.into(), now_ms());
        self.set(WorkerState::Ready);
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
        let Depth { down, up, oldest } = lanes.iter().map(|lane| lane.depth()).sum();
        (row.ring_down, row.ring_up, row.ring_slots) = (down.frames, up.frames, down.slots);
        (row.arena_down, row.arena_up, row.arena_bytes) = (down.bytes, up.bytes, down.arena);
        row.oldest_session = oldest.map_or(0, moment);
        // The worker wrote these and may write anything.
        row.wakes = sum(&|lane| lane.worker_stat(wire::STAT_WAKES));
        row.handovers = sum(&|lane| lane.worker_stat(wire::STAT_HANDOVERS));
        if let Some(lane) = lanes.last() {
            (row.spin_ns, row.spin_reason) = spin_words(lane.spin_decision());
            let timings = lane.peer.times.timings();
            row.phases = phases(&timings, &self.window.look(&timings));
        }
        if let Some(sample) = self.usage.as_ref().and_then(Usage::sample) {
            (row.rss_bytes, row.cpu_ns) = (sample.rss_bytes, sample.cpu_ns);
        }
        self.store();
    }

    /// Its process ended, or could not be started.
    pub(super) fn ended(&mut self, how: &str) {
        self.usage = None;
        let WorkerRow { plugin, generation, .. } = self.row;
        let last_exit = Text::new(how);
        self.row = WorkerRow { plugin, generation, last_exit, ..WorkerRow::default() };
        self.set(WorkerState::Waiting);
    }

    /// Where it is in its life.
    pub(super) fn set(&mut self, state: WorkerState) {
        self.row.state = number(state);
        self.store();
    }

    fn store(&self) {
        if let Some(slot) = &self.slot {
            slot.store(&self.row);
        }
    }
}

/// A state as telemetry has it: an index in `nylon_shm::telemetry::STATES`.
fn number(state: WorkerState) -> u64 {
    match state {
        WorkerState::Starting => 0,
        WorkerState::Ready => 1,
        WorkerState::Waiting => 2,
        WorkerState::Dying => 4,
        WorkerState::Draining => 7,
        WorkerState::Stopping => 8,
        WorkerState::Quitting => 9,
    }
}

/// A moment that was, as telemetry has it: never 0.
fn moment(at: Instant) -> u64 {
    let ago = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
    now_ms().saturating_sub(ago).max(1)
}

#[cfg(test)]
mod tests {
    use nylon_shm::telemetry::STATES;

    use super::*;
    use crate::supervisor::PluginState;

    #[test]
    fn states_have_the_numbers_that_readers_know() {
        for state in PluginState::ALL {
            assert_eq!(STATES[state as usize], state.name().replace('_', " "));
        }
        let words = [
            (WorkerState::Waiting, "backing off"),
            (WorkerState::Starting, "starting"),
            (WorkerState::Ready, "ready"),
            (WorkerState::Draining, "draining"),
            (WorkerState::Quitting, "hung"),
            (WorkerState::Stopping, "stopping"),
            (WorkerState::Dying, "stopped"),
        ];
        for (state, word) in words {
            let at = STATES.iter().position(|known| *known == word);
            assert_eq!(at.map(|at| at as u64), Some(number(state)), "{word}");
        }
    }

    #[test]
    fn a_moment_is_told_by_its_age() {
        let (before, since) = (now_ms(), moment(Instant::now()));
        assert!((before - 1..=now_ms()).contains(&since), "{before} {since}");
        let long = std::time::Duration::from_secs(7);
        assert!(now_ms() - moment(Instant::now() - long) >= 6999);
    }
}
