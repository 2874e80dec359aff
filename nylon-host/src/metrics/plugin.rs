//! What is counted of one plugin over all its workers, those that are gone as well.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nylon_protocol::wire;

use super::calls::PluginTimes;
use super::process;
use super::sockets::SocketCounts;
use crate::error::Failure;
use crate::lane::{Fault, Lane};
use crate::session::Phase;
use crate::supervisor::Exit;

/// How a worker that nobody asked to stop came to its end, or why there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It exited by itself, whatever the status.
    Exited,
    /// A signal ended it that was not ours: a crash, or somebody's `kill`.
    Killed,
    /// It broke the protocol, and was killed for it.
    Violation,
    /// Too many of its handlers never answered, and it was killed for it.
    Hung,
    /// It was over its memory limit, and was killed for it.
    Memory,
    /// It did not become ready.
    Start,
}

impl End {
    /// All of them, in the order they are declared.
    pub(crate) const ALL: [Self; 6] =
        [Self::Exited, Self::Killed, Self::Violation, Self::Hung, Self::Memory, Self::Start];

    /// That of a worker with this fault, whose process ended so.
    pub(crate) fn of(fault: Option<&Fault>, exit: Option<&Exit>) -> Self {
        match (fault, exit) {
            (Some(Fault::Violation(_)), _) => Self::Violation,
            (Some(Fault::Hung), _) => Self::Hung,
            (Some(Fault::Memory(_)), _) => Self::Memory,
            (_, Some(Exit::Status(_))) => Self::Exited,
            _ => Self::Killed,
        }
    }

    /// Its name as a label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Exited => "exit",
            Self::Killed => "signal",
            Self::Violation => "violation",
            Self::Hung => "hung",
            Self::Memory => "memory",
            Self::Start => "start",
        }
    }
}

type ByReason = [AtomicU64; Failure::REASONS.len()];

/// Everything counted of one plugin.
#[derive(Debug, Default)]
pub(crate) struct PluginMetrics {
    /// How long calls took.
    pub(crate) calls: PluginTimes,
    failures: [ByReason; Phase::ALL.len()],
    passed_open: [AtomicU64; Phase::ALL.len()],
    retried: [AtomicU64; Phase::ALL.len()],
    ends: [AtomicU64; End::ALL.len()],
    /// Lines of its workers that were not logged.
    pub(crate) log_lines_dropped: AtomicU64,
    /// Its WebSockets.
    pub(crate) sockets: SocketCounts,
    workers: Mutex<Workers>,
}

/// The workers that live, and what those before them did.
#[derive(Debug, Default)]
struct Workers {
    live: HashMap<u32, Worker>,
    gone: LaneTotals,
    gone_cpu: Duration,
}

#[derive(Debug)]
struct Worker {
    lanes: Vec<Arc<Lane>>,
    /// At the last scrape: once it is gone nobody can ask any more.
    cpu: Duration,
}

impl PluginMetrics {
    /// A call of `phase`, or the attempt of one, failed.
    pub(crate) fn failed(&self, phase: Phase, failure: &Failure) {
        let reason = Failure::REASONS.iter().position(|reason| *reason == failure.reason());
        if let Some(reason) = reason {
            self.failures[phase.index()][reason].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A failure in `phase` was let pass.
    pub(crate) fn passed_open(&self, phase: Phase) {
        self.passed_open[phase.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// A call of `phase` is sent once more.
    pub(crate) fn retried(&self, phase: Phase) {
        self.retried[phase.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// A worker came to its end, unasked.
    pub(crate) fn ended(&self, end: End) {
        self.ends[end as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A worker is in service with these lanes.
    pub(crate) fn worker_ready(&self, pid: u32, lanes: &[Arc<Lane>]) {
        let worker = Worker { lanes: lanes.to_vec(), cpu: Duration::ZERO };
        self.workers().live.insert(pid, worker);
    }

    /// It is gone, and its lanes count nothing any more.
    pub(crate) fn worker_gone(&self, pid: u32) {
        let mut workers = self.workers();
        if let Some(worker) = workers.live.remove(&pid) {
            worker.lanes.iter().for_each(|lane| workers.gone.add(lane));
            workers.gone_cpu += worker.cpu;
        }
    }

    /// Failures so far, by phase and reason; only those there were.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (Phase, &'static str, u64)> {
        Phase::ALL.into_iter().zip(&self.failures).flat_map(|(phase, reasons)| {
            let counts = Failure::REASONS.into_iter().zip(reasons);
            let counts = counts.map(|(reason, n)| (reason, n.load(Ordering::Relaxed)));
            counts.filter(|(_, n)| *n > 0).map(move |(reason, n)| (phase, reason, n))
        })
    }

    /// Failures let pass so far, by phase; only those there were.
    pub(crate) fn passes(&self) -> impl Iterator<Item = (Phase, u64)> {
        by_phase(&self.passed_open)
    }

    /// Calls sent once more so far, by phase; likewise.
    pub(crate) fn retries(&self) -> impl Iterator<Item = (Phase, u64)> {
        by_phase(&self.retried)
    }

    /// Ends so far.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (End, u64)> {
        let counts = self.ends.iter().map(|n| n.load(Ordering::Relaxed));
        End::ALL.into_iter().zip(counts)
    }

    /// The lanes of the workers that live, also of those that are drained.
    pub(crate) fn living(&self) -> Vec<Arc<Lane>> {
        self.workers().live.values().flat_map(|worker| worker.lanes.clone()).collect()
    }

    /// What all workers did so far on their lanes, and how it stands with those that live.
    pub(crate) fn lanes(&self) -> LaneTotals {
        self.workers().lanes()
    }

    /// The same, and what they take of the machine.
    pub(crate) fn totals(&self) -> Totals {
        let mut workers = self.workers();
        let (lanes, mut cpu, mut resident) = (workers.lanes(), workers.gone_cpu, 0);
        for (pid, worker) in &mut workers.live {
            if let Some(usage) = process::usage(&pid.to_string()) {
                worker.cpu = worker.cpu.max(usage.cpu);
                resident += usage.resident;
            }
            cpu += worker.cpu;
        }
        Totals { lanes, cpu, resident }
    }

    fn workers(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Workers {
    fn lanes(&self) -> LaneTotals {
        let mut lanes = self.gone;
        for lane in self.live.values().flat_map(|worker| &worker.lanes) {
            lanes.add(lane);
            lanes.add_levels(lane);
        }
        lanes
    }
}

/// Counts by phase; only those there were.
fn by_phase(counts: &[AtomicU64; Phase::ALL.len()]) -> impl Iterator<Item = (Phase, u64)> {
    let counts = counts.iter().map(|n| n.load(Ordering::Relaxed));
    Phase::ALL.into_iter().zip(counts).filter(|(_, n)| *n > 0)
}

/// See [`PluginMetrics::totals`].
#[derive(Debug)]
pub(crate) struct Totals {
    pub(crate) lanes: LaneTotals,
    /// CPU time of all workers so far, as of the last look at each.
    pub(crate) cpu: Duration,
    /// Bytes of memory the workers have.
    pub(crate) resident: u64,
}

/// Counters and levels of lanes, added up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LaneTotals {
    pub(crate) frames_down: u64,
    pub(crate) frames_up: u64,
    pub(crate) bytes_down: u64,
    pub(crate) bytes_up: u64,
    pub(crate) calls: u64,
    pub(crate) deadlines: u64,
    pub(crate) late: u64,
    pub(crate) rescues: u64,
    pub(crate) handovers: u64,
    pub(crate) wakes: u64,
    /// From here on levels: those of the lanes of living workers.
    pub(crate) sessions: usize,
    pub(crate) in_flight: usize,
    pub(crate) ring_depth: u64,
    pub(crate) arena: u64,
    pub(crate) staged: u64,
    pub(crate) lanes: usize,
    pub(crate) polling: usize,
}

impl LaneTotals {
    fn add(&mut self, lane: &Lane) {
        let counters = &lane.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // The worker wrote it and may write anything.
        let worker = |sum: u64, stat| sum.saturating_add(lane.worker_stat(stat));
        let (frames, bytes) = lane.sent_down();
        self.frames_down += frames;
        self.bytes_down += bytes;
        self.frames_up += get(&counters.frames_up);
        self.bytes_up += get(&counters.bytes_up);
        self.calls += get(&counters.calls);
        self.deadlines += get(&counters.deadlines);
        self.late += get(&counters.late);
        self.rescues += get(&counters.rescues);
        self.handovers = worker(self.handovers, wire::STAT_HANDOVERS);
        self.wakes = worker(self.wakes, wire::STAT_WAKES);
    }

    fn add_levels(&mut self, lane: &Lane) {
        let load = lane.load();
        self.sessions += lane.sessions();
        self.in_flight += lane.in_flight();
        self.ring_depth += load.ring;
        self.arena += load.arena;
        self.staged += load.staged;
        self.lanes += 1;
        self.polling += usize::from(!lane.spin_decision().spin.is_zero());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_its_place() {
        let text = String::new;
        let all = [
            Failure::NotReady,
            Failure::Busy,
            Failure::Late,
            Failure::Crashed(text()),
            Failure::Panicked(text()),
            Failure::UnknownEntry(text()),
            Failure::UnknownMethod(7),
            Failure::Refused(text()),
            Failure::BodyTooLarge(7),
            Failure::NoAnswer(text()),
            Failure::ClientGone,
        ];
        let metrics = PluginMetrics::default();
        for failure in &all {
            metrics.failed(Phase::ResponseFilter, failure);
        }
        let counted: Vec<_> = metrics.failures().collect();
        let expected = all.iter().map(|f| (Phase::ResponseFilter, f.reason(), 1));
        assert_eq!(counted, expected.collect::<Vec<_>>());
    }

    #[test]
    fn an_end_has_one_cause() {
        let exit = Exit::Status(7);
        let of = |fault: Option<Fault>| End::of(fault.as_ref(), Some(&exit));
        assert_eq!(of(None), End::Exited);
        assert_eq!(of(Some(Fault::Hung)), End::Hung);
        assert_eq!(of(Some(Fault::Violation(nylon_protocol::Violation::Kind(0)))), End::Violation);
        assert_eq!(End::of(None, Some(&Exit::Signal(9))), End::Killed);
        for (n, end) in End::ALL.into_iter().enumerate() {
            assert_eq!(end as usize, n);
        }
    }
}
