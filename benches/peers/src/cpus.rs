//! Which CPU runs which side: every client has the first CPU this process may use, every server the last.

use std::process::Command;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::Result;

/// The two CPUs of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpus {
    pub(crate) client: usize,
    pub(crate) server: usize,
}

impl Cpus {
    /// The first and the last CPU this process may use.
    pub(crate) fn allowed() -> Result<Self> {
        let all = sched_getaffinity(Pid::from_raw(0)).map_err(|e| format!("affinity: {e}"))?;
        let usable: Vec<usize> =
            (0..CpuSet::count()).filter(|n| all.is_set(*n).unwrap_or(false)).collect();
        match usable.as_slice() {
            [client, .., server] => Ok(Self { client: *client, server: *server }),
            _ => Err("two CPUs are needed: two sides on one CPU would say nothing".into()),
        }
    }

    /// The two a runner gave its client, whose own affinity is no longer the whole machine.
    pub(crate) fn given() -> Result<Self> {
        let read = |name: &str| {
            let cpu = std::env::var(name).ok().and_then(|cpu| cpu.parse().ok());
            cpu.ok_or_else(|| format!("{name} is not set: clients are started by a runner"))
        };
        Ok(Self { client: read("PEERS_CLIENT_CPU")?, server: read("PEERS_SERVER_CPU")? })
    }

    /// Tells a process of this program which two they are.
    pub(crate) fn give(&self, command: &mut Command) {
        command.env("PEERS_CLIENT_CPU", self.client.to_string());
        command.env("PEERS_SERVER_CPU", self.server.to_string());
    }

    /// Binds this thread, and what it starts from now on, to `cpus`.
    pub(crate) fn pin(cpus: &[usize]) -> Result<()> {
        let mut set = CpuSet::new();
        for cpu in cpus {
            set.set(*cpu).map_err(|e| format!("CPU {cpu}: {e}"))?;
        }
        sched_setaffinity(Pid::from_raw(0), &set).map_err(|e| format!("cannot pin: {e}"))
    }

    /// Runs `start`, which starts a process or threads, bound to the server's CPU; they stay there, and this thread
    /// goes to the client's.
    pub(crate) fn on_server<T>(&self, start: impl FnOnce() -> T) -> Result<T> {
        Self::pin(&[self.server])?;
        let started = start();
        Self::pin(&[self.client])?;
        Ok(started)
    }
}
