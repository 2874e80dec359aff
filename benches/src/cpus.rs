//! Which CPU runs which side.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::Result;

/// The CPUs of a run: the worker has the last one to itself, the host the others; a single host thread has the first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpus {
    all: CpuSet,
    pub(crate) count: usize,
    pub(crate) host: usize,
    pub(crate) worker: usize,
}

impl Cpus {
    /// The CPUs this process may use.
    pub(crate) fn allowed() -> Result<Self> {
        let all = sched_getaffinity(Pid::from_raw(0)).map_err(|e| format!("affinity: {e}"))?;
        let usable: Vec<usize> =
            (0..CpuSet::count()).filter(|n| all.is_set(*n).unwrap_or(false)).collect();
        match usable.as_slice() {
            [host, .., worker] => {
                Ok(Self { all, count: usable.len(), host: *host, worker: *worker })
            }
            _ => Err("two CPUs are needed: a row of two sides on one CPU would say nothing".into()),
        }
    }

    /// Binds this thread, and what it starts from now on, to one CPU.
    pub(crate) fn pin(cpu: usize) {
        let mut set = CpuSet::new();
        if set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)).is_err() {
            eprintln!("cannot pin to CPU {cpu}");
        }
    }

    /// Binds this thread to all CPUs but the worker's.
    pub(crate) fn pin_to_host(&self) {
        let mut set = self.all;
        if set.unset(self.worker).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)).is_err()
        {
            eprintln!("cannot pin off CPU {}", self.worker);
        }
    }

    /// Lets this thread, and what it starts from now on, run on all of them.
    pub(crate) fn unpin(&self) {
        if sched_setaffinity(Pid::from_raw(0), &self.all).is_err() {
            eprintln!("cannot undo the pinning");
        }
    }

    /// Runs `start`, which starts a process or threads, bound to the worker's CPU; they stay there.
    pub(crate) fn on_worker<T>(&self, start: impl FnOnce() -> T) -> T {
        Self::pin(self.worker);
        let started = start();
        Self::pin(self.host);
        started
    }
}
