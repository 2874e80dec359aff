//! How a plugin fares: written by its keepers, read by people and the telemetry segment.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nylon_protocol::Violation;
use nylon_shm::telemetry::{PHASES, PhaseRow, PluginRow, Slot, Telemetry, Text};

use super::LimitStatus;
use super::machine::{Machine, Mode, State};
use super::sandbox::Confinement;
use super::shown::Shown;
use crate::lane::{Lane, SpinDecision};
use crate::metrics::{PluginMetrics, Timings, Window};

/// Where a plugin is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum PluginState {
    /// A worker is being started.
    #[default]
    Starting = 0,
    /// A worker serves.
    Ready = 1,
    /// The last worker ended; another will be started.
    BackingOff = 2,
    /// It will not be started again by itself.
    Failed = 3,
    /// Stopped with the host.
    Stopped = 4,
    /// It takes no requests: an operator wants it so.
    Paused = 5,
    /// It takes no requests, and its workers go when theirs are done, or have gone: likewise.
    Drained = 6,
}

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// It waits to be started.
    Waiting,
    /// Until its handshake.
    Starting,
    /// It takes requests, or could.
    Ready,
    /// It takes no new ones.
    Draining,
    /// It hangs, and dumps its stacks.
    Quitting,
    /// It runs its shutdown hooks.
    Stopping,
    /// It is killed.
    Dying,
}

impl From<State> for WorkerState {
    fn from(state: State) -> Self {
        match state {
            State::Waiting { .. } => Self::Waiting,
            State::Starting { .. } => Self::Starting,
            State::Ready { .. } => Self::Ready,
            State::Draining { .. } => Self::Draining,
            State::Quitting { .. } => Self::Quitting,
            State::Stopping { .. } => Self::Stopping,
            State::Dying => Self::Dying,
        }
    }
}

/// A worker as its plugin's status has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Which start of the plugin it is, from 1.
    pub generation: u32,
    /// Which program with its configuration it runs, from 1: what an upgrade or a reload changes.
    pub build: u32,
    /// Where it is.
    pub state: WorkerState,
    /// Whether new requests go to it.
    pub admitted: bool,
    /// Its process, 0 before it is ready.
    pub pid: u32,
}

impl PluginState {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Starting,
        Self::Ready,
        Self::BackingOff,
        Self::Failed,
        Self::Stopped,
        Self::Paused,
        Self::Drained,
    ];

    /// Its name, as in metrics: `backing_off`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::BackingOff => "backing_off",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::Drained => "drained",
        }
    }
}

/// A snapshot of a plugin.
#[derive(Clone, Debug, Default)]
pub struct PluginStatus {
    /// Where it is.
    pub state: PluginState,
    /// Pid of the worker started last, 0 before the first.
    pub pid: u32,
    /// Workers started so far.
    pub generation: u32,
    /// The build that serves, 0 before the first.
    pub build: u32,
    /// The program that serves; empty before the first.
    pub program: PathBuf,
    /// How many workers there should be.
    pub wanted: u32,
    /// Those there are, also those on their way in or out.
    pub workers: Vec<WorkerStatus>,
    /// What the worker says it is built with.
    pub sdk: String,
    /// Its entries, in the order it registered them.
    pub entries: Vec<String>,
    /// Workers that ended without being asked to.
    pub crashes: u64,
    /// Of those: protocol violations.
    pub violations: u64,
    /// What the last of those was, and by which rule.
    pub last_violation: String,
    /// Workers started in place of one that ended, or hung, without being asked to, or that did not start.
    pub restarts: u64,
    /// How the last worker ended, or why it could not be started.
    pub last_end: String,
    /// Frames sent down.
    pub frames_down: u64,
    /// Frames taken.
    pub frames_up: u64,
    /// Handlers run.
    pub calls: u64,
    /// Handlers that ran out of time.
    pub deadlines: u64,
    /// Answers that came too late or twice.
    pub late: u64,
    /// Times a worker was asked to take a lane over.
    pub rescues: u64,
    /// Times a worker handed its lane to another of its threads.
    pub handovers: u64,
    /// Times a worker woke up for its lane.
    pub wakes: u64,
    /// Lanes in service.
    pub lanes: usize,
    /// Sessions open now.
    pub sessions: usize,
    /// Handlers running now.
    pub in_flight: usize,
    /// Results refused as a whole: what they asked for is not allowed.
    pub refused: u64,
    /// Failures let pass by `on_failure: open`.
    pub passed_open: u64,
    /// Whether its workers and the host poll before they sleep, and why; of several workers, that of the last.
    pub spin: SpinDecision,
    /// How its workers are confined; of several, that of the last.
    pub sandbox: Confinement,
    /// What its limits did.
    pub limits: LimitStatus,
}

/// The status of one plugin and where it is shown.
#[derive(Debug)]
pub(crate) struct Board {
    status: Mutex<PluginStatus>,
    slot: Option<Slot<PluginRow>>,
    pub(crate) metrics: Arc<PluginMetrics>,
    window: Window,
}

impl Board {
    pub(crate) fn new(telemetry: Option<&Arc<Telemetry>>) -> Self {
        let slot = telemetry.and_then(Telemetry::claim);
        Self { status: Mutex::default(), slot, metrics: Arc::default(), window: Window::default() }
    }

    /// The status, with what all workers did and do on their lanes; `lanes` are those in service.
    pub(crate) fn snapshot(&self, lanes: &[Arc<Lane>]) -> PluginStatus {
        let totals = self.metrics.lanes();
        PluginStatus {
            frames_down: totals.frames_down,
            frames_up: totals.frames_up,
            calls: totals.calls,
            deadlines: totals.deadlines,
            late: totals.late,
            rescues: totals.rescues,
            handovers: totals.handovers,
            wakes: totals.wakes,
            lanes: lanes.len(),
            sessions: totals.sessions,
            in_flight: totals.in_flight,
            spin: lanes.last().map(|lane| lane.spin_decision()).unwrap_or_default(),
            ..self.lock().clone()
        }
    }

    pub(super) fn starting(&self, generation: u32) {
        self.change(|s| s.generation = generation);
    }

    pub(super) fn confined(&self, confinement: Confinement) {
        self.change(|s| s.sandbox = confinement);
    }

    pub(super) fn introduced(&self, sdk: &str, entries: &[String]) {
        self.change(|s| {
            sdk.clone_into(&mut s.sdk);
            s.entries = entries.to_vec();
        });
    }

    /// Entries of the worker that introduced itself last.
    pub(super) fn entries(&self) -> Vec<String> {
        self.lock().entries.clone()
    }

    pub(super) fn ready(&self, pid: u32) {
        self.change(|s| s.pid = pid);
    }

    pub(super) fn not_started(&self, why: &str) {
        self.change(|s| why.clone_into(&mut s.last_end));
    }

    pub(super) fn crashed(&self, how: &str) {
        self.change(|s| {
            s.crashes += 1;
            how.clone_into(&mut s.last_end);
        });
    }

    /// What the keeper's machine has come to.
    pub(super) fn keep(
        &self,
        machine: &Machine,
        program: Option<&Path>,
        workers: Vec<WorkerStatus>,
    ) {
        let serves = workers.iter().any(|w| w.admitted);
        let starts = workers.iter().any(|w| w.state == WorkerState::Starting);
        self.change(|s| {
            s.state = match machine.mode() {
                Mode::Drained => PluginState::Drained,
                Mode::Stopping => PluginState::Stopped,
                _ if machine.is_paused() => PluginState::Paused,
                _ if serves => PluginState::Ready,
                Mode::Failed(_) => PluginState::Failed,
                Mode::Running if starts || s.crashes == 0 => PluginState::Starting,
                Mode::Running => PluginState::BackingOff,
            };
            if let Some(program) = program.filter(|program| *program != s.program) {
                program.clone_into(&mut s.program);
            }
            (s.build, s.wanted, s.workers) = (machine.build(), machine.wanted(), workers);
            s.restarts = machine.restarts();
        });
    }

    pub(crate) fn passed_open(&self) {
        self.change(|s| s.passed_open += 1);
    }

    pub(crate) fn refused(&self) {
        self.change(|s| s.refused += 1);
    }

    pub(super) fn violation(&self, what: &Violation) {
        self.change(|s| {
            s.violations += 1;
            s.last_violation = what.to_string();
        });
    }

    pub(super) fn stopped(&self) {
        self.change(|s| s.state = PluginState::Stopped);
    }

    /// A row for one of its workers; how the one before it ended is in it.
    pub(super) fn worker(&self) -> Shown {
        let slot = self.slot.as_ref();
        let last_exit = Text::new(&self.lock().last_end);
        Shown::new(slot.map(Slot::telemetry), slot.map_or(0, Slot::id), last_exit)
    }

    /// Stores the plugin's row in the telemetry segment; `lanes` are those in service, `waiting` calls wait.
    pub(super) fn show(&self, name: &str, lanes: &[Arc<Lane>], waiting: u64) {
        let Some(slot) = &self.slot else { return };
        let status = self.snapshot(lanes);
        let mut served: Vec<_> = lanes.iter().map(|lane| Arc::as_ptr(&lane.peer)).collect();
        served.sort_unstable();
        served.dedup();
        let timings = self.metrics.calls.timings();
        slot.store(&PluginRow {
            state: status.state as u64,
            generation: status.generation.into(),
            workers_ready: served.len() as u64,
            workers_wanted: status.wanted.into(),
            build: status.build.into(),
            calls: status.calls,
            deadlines: status.deadlines,
            crashes: status.crashes,
            late: status.late,
            violations: status.violations,
            restarts: status.restarts,
            refused: status.refused,
            passed_open: status.passed_open,
            in_flight: status.in_flight as u64,
            queue_depth: waiting,
            sessions: status.sessions as u64,
            frames_down: status.frames_down,
            frames_up: status.frames_up,
            sandbox: status.sandbox.reached as u64,
            phases: phases(&timings, &self.window.look(&timings)),
            name: Text::new(name),
            last_exit: Text::new(&status.last_end),
            ..PluginRow::default()
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut PluginStatus) -> T) -> T {
        change(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, PluginStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What handlers took, as telemetry has it: how many there were in `all`, percentiles of those in `recent`.
pub(super) fn phases(all: &Timings, recent: &Timings) -> [PhaseRow; PHASES.len()] {
    let mut rows = [PhaseRow::default(); PHASES.len()];
    for (row, (all, recent)) in rows.iter_mut().zip(all.phases().zip(recent.phases())) {
        let (all, recent) = (&all.1.handler, &recent.1.handler);
        let ns = |q| recent.quantile(q).map_or(0, nanos);
        *row = PhaseRow { calls: all.count(), p50_ns: ns(0.5), p99_ns: ns(0.99) };
    }
    rows
}

fn nanos(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// A decision as telemetry has it.
pub(super) fn spin_words(decision: SpinDecision) -> (u64, u64) {
    (nanos(decision.spin), decision.reason as u64)
}
