//! What a plugin may take of the machine and of its host, and what its limits did so far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use nylon_protocol::wire;
use tokio::sync::Semaphore;

use super::cgroup::Cgroup;
use crate::lane::Queue;
use crate::metrics::PluginMetrics;
use crate::session::Admission;

/// Limits of one plugin. What is over one of them is refused, dropped or killed, and counted in [`LimitStatus`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests that have sessions in the plugin at a time, over all its workers, at least 1; the others wait. A request
    /// counts once, however many entries of the plugin see it, from its first session to the end of its last. Default:
    /// no limit, and then it costs nothing.
    pub concurrency: Option<u32>,
    /// WebSockets open at a time, over all its workers; an upgrade over it is answered with 503. A request that has become
    /// one counts here and no longer as one of [`Self::concurrency`]. Default: 10 000.
    pub websockets: u32,
    /// Requests that wait at a time, for a place under [`Self::concurrency`] or while a worker runs as many handlers as
    /// it can, first come first served; one more is answered with 503 at once. 0: nobody waits. Default: 256.
    pub queue: u32,
    /// How long one waits, and never longer than its phase may take; then 503. Default: 1 s.
    pub queue_wait: Duration,
    /// Bytes of shared memory for payloads in each direction of each lane: a power of two, 256 KiB ..= 64 MiB. What is
    /// larger goes through in pieces. Default: 1 MiB.
    pub arena: u64,
    /// Bytes of log a second that each of the two output streams of a worker may cause, at least 1024; a line costs 64
    /// bytes more than it has. Lines over it are dropped. Default: 64 KiB.
    pub log_rate: u64,
    /// The same at once, after a pause; at least 16 KiB. Default: 256 KiB.
    pub log_burst: u64,
    /// Bytes of memory a worker may have resident, shared memory with the host among them and what it forked not. It is
    /// looked at every 100 ms; a worker over it is killed. Default: no limit, and nobody looks.
    pub memory: Option<u64>,
    /// Files a worker may have open (`RLIMIT_NOFILE`, soft and hard), at least 64, at most what the host's own hard limit
    /// says. Default: what the host has.
    pub nofile: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrency: None,
            websockets: 10_000,
            queue: 256,
            queue_wait: Duration::from_secs(1),
            arena: wire::LIMIT_ARENA as u64,
            log_rate: 64 << 10,
            log_burst: 256 << 10,
            memory: None,
            nofile: None,
        }
    }
}

/// Least value of [`Limits::log_rate`].
pub(crate) const LOG_RATE_MIN: u64 = 1024;
/// Least value of [`Limits::log_burst`]: the longest line fits.
pub(crate) const LOG_BURST_MIN: u64 = 16 << 10;
/// Least value of [`Limits::nofile`]: what a worker needs for itself.
pub(crate) const NOFILE_MIN: u64 = 64;

impl Limits {
    /// What no plugin can be run with.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let arena = wire::LIMIT_ARENA_MIN as u64..=wire::LIMIT_ARENA_MAX as u64;
        Some(if self.concurrency == Some(0) {
            "limits.concurrency must be at least 1"
        } else if !self.arena.is_power_of_two() || !arena.contains(&self.arena) {
            "limits.arena must be a power of two from 256 KiB to 64 MiB"
        } else if self.log_rate < LOG_RATE_MIN {
            "limits.log_rate must be at least 1024 bytes"
        } else if self.log_burst < LOG_BURST_MIN {
            "limits.log_burst must be at least 16 KiB"
        } else if self.nofile.is_some_and(|most| most < NOFILE_MIN) {
            "limits.nofile must be at least 64"
        } else if self.nofile > Some(nofile_max()) {
            "limits.nofile is above the hard limit of the host itself (ulimit -Hn)"
        } else {
            return None;
        })
    }

    /// Resource limits of a worker's process.
    pub(super) fn resources(&self) -> Vec<(Resource, u64)> {
        let nofile = self.nofile.map(|most| (Resource::RLIMIT_NOFILE, most));
        [(Resource::RLIMIT_CORE, 0)].into_iter().chain(nofile).collect()
    }
}

/// How many files this process may let a worker open.
pub(crate) fn nofile_max() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(_, hard)| hard)
}

/// What the limits of a plugin did so far, and how far it is from them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitStatus {
    /// Requests that have a place in the plugin now; 0 without [`Limits::concurrency`].
    pub concurrency: usize,
    /// Requests that wait for a place or a handler now.
    pub waiting: u64,
    /// Requests refused because [`Limits::queue`] wait already.
    pub queue_full: u64,
    /// Requests refused after [`Limits::queue_wait`].
    pub queue_late: u64,
    /// Bytes of [`Limits::arena`].
    pub arena: u64,
    /// Lines that workers printed and that were dropped.
    pub log_dropped: u64,
    /// Bytes resident of the worker that was looked at last; 0 without [`Limits::memory`].
    pub memory: u64,
    /// Workers killed for being over [`Limits::memory`].
    pub memory_kills: u64,
    /// Workers that the kernel killed for want of memory, as far as their cgroup tells.
    pub oom_kills: u64,
    /// Memory of the cgroup of the worker started last, where it is in one of version 2.
    pub cgroup: Option<CgroupMemory>,
}

/// What a cgroup (version 2) says of its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupMemory {
    /// Bytes in use.
    pub current: u64,
    /// Bytes it may use; `None` without a limit of its own.
    pub max: Option<u64>,
    /// Processes of it that the kernel killed for want of memory.
    pub oom_kills: u64,
}

/// What holds a plugin to its limits. It outlives the plugin's workers.
#[derive(Debug)]
pub(crate) struct Bounds {
    pub(crate) admission: Admission,
    /// Places for WebSockets.
    pub(crate) websockets: Arc<Semaphore>,
    arena: u64,
    metrics: Arc<PluginMetrics>,
    pub(super) memory: AtomicU64,
    pub(super) memory_kills: AtomicU64,
    pub(super) oom_kills: AtomicU64,
    cgroup: Mutex<Option<Arc<Cgroup>>>,
}

impl Bounds {
    pub(crate) fn new(limits: &Limits, metrics: Arc<PluginMetrics>) -> Arc<Self> {
        let queue = Arc::new(Queue::new(limits.queue, limits.queue_wait));
        Arc::new(Self {
            admission: Admission::new(limits.concurrency, queue),
            websockets: Arc::new(Semaphore::new(limits.websockets as usize)),
            arena: limits.arena,
            metrics,
            memory: AtomicU64::default(),
            memory_kills: AtomicU64::default(),
            oom_kills: AtomicU64::default(),
            cgroup: Mutex::default(),
        })
    }

    /// The cgroup of the worker started last.
    pub(super) fn in_cgroup(&self, cgroup: Option<Arc<Cgroup>>) {
        *self.cgroup.lock().unwrap_or_else(PoisonError::into_inner) = cgroup;
    }

    /// All of it, for people.
    pub(crate) fn status(&self) -> LimitStatus {
        let queue = self.admission.queue();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let cgroup = self.cgroup.lock().unwrap_or_else(PoisonError::into_inner).clone();
        LimitStatus {
            concurrency: self.admission.taken(),
            waiting: queue.waiting(),
            queue_full: queue.full(),
            queue_late: queue.late(),
            arena: self.arena,
            log_dropped: count(&self.metrics.log_lines_dropped),
            memory: count(&self.memory),
            memory_kills: count(&self.memory_kills),
            oom_kills: count(&self.oom_kills),
            cgroup: cgroup.and_then(|cgroup| cgroup.memory()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_cannot_work_are_named() {
        let base = Limits::default;
        assert_eq!(base().problem(), None);
        let bad = [
            (Limits { concurrency: Some(0), ..base() }, "concurrency"),
            (Limits { arena: 3 << 20, ..base() }, "arena"),
            (Limits { arena: 128 << 10, ..base() }, "arena"),
            (Limits { arena: 128 << 20, ..base() }, "arena"),
            (Limits { log_rate: 0, ..base() }, "log_rate"),
            (Limits { log_burst: 4096, ..base() }, "log_burst"),
            (Limits { nofile: Some(4), ..base() }, "nofile"),
            (Limits { nofile: Some(u64::MAX), ..base() }, "nofile"),
        ];
        for (limits, key) in bad {
            let problem = limits.problem().unwrap_or("none");
            assert!(problem.contains(key) || nofile_max() == u64::MAX, "{key}: {problem}");
        }
    }

    #[test]
    fn a_worker_gets_no_core_and_the_files_it_may_open() {
        let limits = Limits { nofile: Some(100), ..Limits::default() };
        let all = [(Resource::RLIMIT_CORE, 0), (Resource::RLIMIT_NOFILE, 100)];
        assert_eq!(limits.resources(), all);
        assert_eq!(Limits::default().resources(), all[..1]);
    }
}
