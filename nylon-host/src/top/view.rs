//! What is shown: the rows of now, each with the one to compare it with.

use std::collections::HashMap;

use nylon_shm::telemetry::{
    HostRow, HostState, PhaseRow, PluginRow, ReadError, Reader, Snapshot, WorkerRow, now_ms,
};

/// A host that stored nothing for so long does not answer, ms.
const STALE: u64 = 3000;
/// Rows stored closer together than this tell no rate, ms.
const APART: u64 = 200;

/// A host at one moment.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) host: HostRow,
    pub(super) state: HostState,
    /// When it was looked at: a moment as in the rows.
    pub(super) now_ms: u64,
    /// Rows that could not be read.
    pub(super) torn: usize,
    /// In the order of the configuration.
    pub(super) plugins: Vec<Plugin>,
    /// Workers whose plugin has no row: more plugins than the segment has room for, or one just removed.
    pub(super) strays: Vec<Worker>,
}

/// A plugin and its workers.
#[derive(Clone, Debug)]
pub(super) struct Plugin {
    pub(super) row: PluginRow,
    before: Option<PluginRow>,
    pub(super) workers: Vec<Worker>,
}

/// A worker.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) row: WorkerRow,
    before: Option<WorkerRow>,
}

impl View {
    /// How long the host has stored nothing, ms.
    pub(super) fn stale_ms(&self) -> u64 {
        self.now_ms.saturating_sub(self.host.beat_ms)
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stale_ms() > STALE
    }

    /// How long ago a moment of a row was, ms; none for one that is not set.
    pub(super) fn since(&self, moment: u64) -> Option<u64> {
        (moment != 0).then(|| self.now_ms.saturating_sub(moment))
    }

    /// What is the matter with the host, if anything is.
    pub(super) fn trouble(&self) -> Option<String> {
        let seconds = self.stale_ms() / 1000;
        match self.state {
            HostState::Gone => Some(format!("host is gone; last heard of {seconds} s ago")),
            HostState::Stopped if self.is_stale() => {
                Some(format!("host does not answer for {seconds} s (stopped by a signal)"))
            }
            _ if self.is_stale() => {
                Some(format!("host does not answer for {seconds} s (stopped?)"))
            }
            _ => None,
        }
    }
}

impl Plugin {
    pub(super) fn calls_per_s(&self) -> Option<f64> {
        let before = self.before?;
        per_second(self.row.calls, before.calls, self.row.updated_ms, before.updated_ms)
    }

    pub(super) fn worst_ns(&self) -> (u64, u64) {
        worst_ns(&self.row.phases)
    }

    /// A figure of all its workers together.
    pub(super) fn sum(&self, of: fn(&WorkerRow) -> u64) -> u64 {
        self.workers.iter().fold(0, |sum, worker| sum.saturating_add(of(&worker.row)))
    }

    pub(super) fn rss_bytes(&self) -> u64 {
        self.sum(|row| row.rss_bytes)
    }

    pub(super) fn wakes_per_s(&self) -> Option<f64> {
        self.workers.iter().filter_map(Worker::wakes_per_s).reduce(|a, b| a + b)
    }

    /// How long the worker polls that polls longest, ns, and by which number of a reason.
    pub(super) fn spin(&self) -> (u64, u64) {
        let spin = self.workers.iter().map(|worker| (worker.row.spin_ns, worker.row.spin_reason));
        spin.max_by_key(|(ns, _)| *ns).unwrap_or((0, u64::MAX))
    }

    pub(super) fn cpu_percent(&self) -> Option<f64> {
        self.workers.iter().filter_map(Worker::cpu_percent).reduce(|a, b| a + b)
    }

    /// The moment the oldest session of its workers was opened; 0: none is open.
    pub(super) fn oldest_session(&self) -> u64 {
        let opened = self.workers.iter().map(|worker| worker.row.oldest_session);
        opened.filter(|moment| *moment != 0).min().unwrap_or(0)
    }
}

impl Worker {
    pub(super) fn worst_ns(&self) -> (u64, u64) {
        worst_ns(&self.row.phases)
    }

    pub(super) fn calls_per_s(&self) -> Option<f64> {
        self.rate(|row| row.calls)
    }

    pub(super) fn wakes_per_s(&self) -> Option<f64> {
        self.rate(|row| row.wakes)
    }

    pub(super) fn cpu_percent(&self) -> Option<f64> {
        self.rate(|row| row.cpu_ns).map(|ns| ns / 1e7)
    }

    /// Of one process: what another did in its place is not compared.
    fn rate(&self, of: fn(&WorkerRow) -> u64) -> Option<f64> {
        let before = self.before.filter(|before| before.pid == self.row.pid && before.pid != 0)?;
        per_second(of(&self.row), of(&before), self.row.updated_ms, before.updated_ms)
    }
}

/// Looks at one host again and again.
#[derive(Debug)]
pub(super) struct Watch {
    reader: Reader,
    earlier: Earlier,
}

/// What there is to compare with.
#[derive(Debug, Default)]
struct Earlier {
    plugins: HashMap<u64, Pair<PluginRow>>,
    workers: HashMap<u64, Pair<WorkerRow>>,
}

/// A row as it is, and as it was when it was stored before.
#[derive(Clone, Copy, Debug)]
struct Pair<R> {
    now: R,
    before: Option<R>,
}

impl Watch {
    pub(super) fn new(reader: Reader) -> Self {
        Self { reader, earlier: Earlier::default() }
    }

    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    pub(super) fn look(&mut self) -> Result<View, ReadError> {
        let seen = self.reader.snapshot()?;
        let state = seen.host_state();
        Ok(self.earlier.view(&seen, state, now_ms()))
    }
}

impl Earlier {
    fn view(&mut self, seen: &Snapshot, state: HostState, now_ms: u64) -> View {
        advance(&mut self.plugins, &seen.plugins, |row| (row.id, row.updated_ms));
        advance(&mut self.workers, &seen.workers, |row| (row.id, row.updated_ms));
        let host = seen.host;
        let mut view =
            View { host, state, now_ms, torn: seen.torn, plugins: Vec::new(), strays: Vec::new() };
        // What was a rate while it ran is none now.
        let runs = state != HostState::Gone && !view.is_stale();
        view.plugins.extend(seen.plugins.iter().map(|row| {
            let before = self.plugins.get(&row.id).and_then(|pair| pair.before).filter(|_| runs);
            Plugin { row: *row, before, workers: Vec::new() }
        }));
        for row in &seen.workers {
            let before = self.workers.get(&row.id).and_then(|pair| pair.before).filter(|_| runs);
            let plugin = view.plugins.iter_mut().find(|plugin| plugin.row.id == row.plugin);
            plugin
                .map_or(&mut view.strays, |plugin| &mut plugin.workers)
                .push(Worker { row: *row, before });
        }
        view
    }
}

/// Takes the rows of now in; `of` is number and moment of a row.
fn advance<R: Copy>(pairs: &mut HashMap<u64, Pair<R>>, rows: &[R], of: fn(&R) -> (u64, u64)) {
    let next = rows.iter().map(|row| {
        let (id, updated) = of(row);
        let earlier = pairs.get(&id).map(|pair| {
            let stored = updated.saturating_sub(of(&pair.now).1);
            if stored >= APART { Some(pair.now) } else { pair.before }
        });
        (id, Pair { now: *row, before: earlier.flatten() })
    });
    *pairs = next.collect();
}

/// Of the phase where it is worst: p50 and p99, ns.
fn worst_ns(phases: &[PhaseRow]) -> (u64, u64) {
    let worst = phases.iter().max_by_key(|phase| phase.p99_ns);
    worst.map_or((0, 0), |phase| (phase.p50_ns, phase.p99_ns))
}

fn per_second(now: u64, before: u64, now_ms: u64, before_ms: u64) -> Option<f64> {
    let ms = now_ms.saturating_sub(before_ms);
    (ms >= APART).then(|| now.saturating_sub(before) as f64 * 1000.0 / ms as f64)
}

#[cfg(test)]
pub(super) mod tests {
    use nylon_shm::telemetry::{
        HostRow, HostState, PhaseRow, PluginRow, Snapshot, Text, WorkerRow,
    };

    use super::{Earlier, Pair, View, advance};

    /// A host with plugins `auth`, of two workers, and `log`, of one that crashed; looked at 10 s after it began.
    pub(in crate::top) fn view() -> View {
        let seen = |calls, now| {
            let plugin = |id, name: &str, state| PluginRow {
                id,
                updated_ms: now,
                state,
                calls: calls * id,
                workers_ready: 2 - state,
                workers_wanted: 2,
                phases: [PhaseRow { calls, p50_ns: 45_000, p99_ns: 1_234_000 }; 5],
                name: Text::new(name),
                ..PluginRow::default()
            };
            let worker = |id, plugin, pid| WorkerRow {
                id,
                updated_ms: now,
                plugin,
                pid,
                state: 1,
                calls,
                cpu_ns: calls * 5_000_000,
                rss_bytes: 31 << 20,
                wakes: calls * 2,
                ring_down: 7 * id,
                ring_up: 1,
                ring_slots: 256,
                arena_down: 64 << 10,
                arena_bytes: 1 << 20,
                phases: [PhaseRow { calls, p50_ns: 40_000, p99_ns: 2_345_000 }; 5],
                oldest_session: 4_000,
                spin_reason: 2,
                last_exit: Text::new("was killed by SIGKILL"),
                ..WorkerRow::default()
            };
            Snapshot {
                host: HostRow { id: 1, pid: 77, beat_ms: now, ..HostRow::default() },
                plugins: vec![plugin(1, "auth", 1), plugin(2, "log", 2)],
                workers: vec![worker(1, 1, 4001), worker(2, 1, 4002), worker(3, 2, 0)],
                torn: 0,
            }
        };
        let mut earlier = Earlier::default();
        earlier.view(&seen(1000, 9_000), HostState::Running, 9_000);
        earlier.view(&seen(1200, 10_000), HostState::Running, 10_000)
    }

    #[test]
    fn rates_come_from_the_moments_of_the_rows() {
        let view = view();
        let auth = &view.plugins[0];
        assert_eq!(auth.calls_per_s(), Some(200.0));
        assert_eq!(auth.cpu_percent(), Some(200.0), "two workers, a CPU each");
        assert_eq!(
            (auth.worst_ns(), view.since(auth.oldest_session())),
            ((45_000, 1_234_000), Some(6_000))
        );
        assert_eq!((auth.sum(|row| row.ring_down), auth.sum(|row| row.ring_slots)), (21, 512));
        assert_eq!((auth.wakes_per_s(), auth.spin()), (Some(800.0), (0, 2)));
        assert_eq!(auth.workers[0].worst_ns(), (40_000, 2_345_000));
        let log = &view.plugins[1];
        assert_eq!(log.workers[0].cpu_percent(), None, "it has no process");
        assert_eq!(view.trouble(), None);
    }

    #[test]
    fn a_silent_host_is_told_of() {
        let mut view = view();
        view.now_ms += 12_000;
        assert_eq!(view.trouble().unwrap(), "host does not answer for 12 s (stopped?)");
        view.state = HostState::Gone;
        assert!(view.trouble().unwrap().contains("is gone"));
    }

    #[test]
    fn a_row_stored_twice_in_a_moment_keeps_what_it_is_compared_with() {
        let row = |updated_ms| WorkerRow { id: 1, updated_ms, ..WorkerRow::default() };
        let mut pairs = std::collections::HashMap::new();
        let mut look = |updated| {
            advance(&mut pairs, &[row(updated)], |row| (row.id, row.updated_ms));
            let Pair { now, before } = pairs[&1];
            (now.updated_ms, before.map(|row| row.updated_ms))
        };
        assert_eq!(look(1000), (1000, None));
        assert_eq!(look(1000), (1000, None));
        assert_eq!(look(2000), (2000, Some(1000)));
        assert_eq!(look(2005), (2005, Some(1000)));
        assert_eq!(look(3000), (3000, Some(2005)));
    }
}
