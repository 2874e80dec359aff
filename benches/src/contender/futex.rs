//! The parked limit: two processes that do nothing but wake each other by futex, over the words a lane uses for it.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use nix::sys::signal::Signal;
use nylon_shm::{MappedRing, Memory as _, SegmentFds, Segments, futex};

use crate::case::{Case, Round, Taken};
use crate::env::Env;
use crate::worker::{self, Child};
use crate::{FUTEX_PEER, Result, asleep, cpu};

/// Descriptors of the other process, as [`FutexPair::start`] leaves them.
const FD_HOST: i32 = 3;
const FD_WORKER: i32 = 4;

pub(crate) struct FutexPair {
    /// Its bell is ours to bump.
    down: MappedRing,
    /// Its bell is theirs.
    up: MappedRing,
    count: u32,
    peer: Child,
}

impl FutexPair {
    pub(crate) fn start(env: &Env) -> Result<Self> {
        let (segments, fds) = Segments::create(worker::header()).map_err(|e| e.to_string())?;
        let itself = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut command = Command::new(itself);
        let fds = vec![
            FdMapping { parent_fd: fds.host, child_fd: FD_HOST },
            FdMapping { parent_fd: fds.worker, child_fd: FD_WORKER },
        ];
        command.arg(FUTEX_PEER).stdin(Stdio::null()).stdout(Stdio::piped());
        command.fd_mappings(fds).map_err(|e| e.to_string())?;
        let peer = env.cpus.on_worker(|| Child::start(command))?;
        Ok(Self { down: segments.down(0), up: segments.up(0), count: 0, peer })
    }
}

impl Case for FutexPair {
    fn round(&mut self, round: &Round) -> Result<Taken> {
        let Self { down, up, count, .. } = self;
        let before = (asleep::waits(std::process::id()), asleep::waits(self.peer.pid()));
        let taken = round.take(|| {
            let last = *count;
            *count += 1;
            down.bell().store(*count, Ordering::Release);
            futex::wake(down.bell()).map_err(|e| e.to_string())?;
            loop {
                match up.bell().load(Ordering::Acquire) {
                    now if now == *count => return Ok(()),
                    now if now == last => wait(up, last)?,
                    now => return Err(format!("answer {now} for call {count}")),
                }
            }
        })?;
        Ok(round.hold(taken, before, self.peer.pid()))
    }

    fn cpu(&self) -> Duration {
        cpu::own() + cpu::of(self.peer.pid())
    }
}

fn wait(ring: &MappedRing, expected: u32) -> Result<()> {
    futex::wait(ring.bell(), expected, None).map_err(|e| e.to_string())
}

/// The other process: answers until it is killed.
pub(crate) fn peer() -> Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(|e| e.to_string())?;
    let open = |fd: i32, write: bool| -> Result<OwnedFd> {
        let file = OpenOptions::new().read(true).write(write).open(format!("/proc/self/fd/{fd}"));
        file.map(OwnedFd::from).map_err(|e| format!("descriptor {fd}: {e}"))
    };
    let fds = SegmentFds { host: open(FD_HOST, false)?, worker: open(FD_WORKER, true)? };
    let segments: Arc<Segments> =
        Segments::attach(&fds, &worker::header()).map_err(|e| e.to_string())?;
    let (down, up) = (segments.down(0), segments.up(0));
    println!("{}", worker::READY);
    let mut last = 0;
    loop {
        match down.bell().load(Ordering::Acquire) {
            now if now == last => wait(&down, last)?,
            now => {
                up.bell().store(now, Ordering::Release);
                futex::wake(up.bell()).map_err(|e| e.to_string())?;
                last = now;
            }
        }
    }
}
