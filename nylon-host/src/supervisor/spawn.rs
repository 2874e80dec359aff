//! Starting worker processes, from one thread that lives as long as the host.
//!
//! `PR_SET_PDEATHSIG` follows the thread that spawned, not the process: a worker started from a pool thread would die
//! when that thread goes idle. So all spawning happens here.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc;

use command_fds::{CommandFdExt as _, FdMapping};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
use nylon_protocol::wire;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus};
use tokio::sync::oneshot;

use super::PluginSpec;

/// A worker process and what connects it to us.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    /// Our end of the control socket.
    pub(super) control: OwnedFd,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

/// A process as the kernel knows it: by pidfd, never by number. Killed and reaped when dropped before its end.
#[derive(Debug)]
pub(super) struct Child {
    /// For people. Used as a number for its process group only, while the leader is not reaped.
    pub(super) pid: u32,
    pidfd: OwnedFd,
    reaped: bool,
}

type Job = (PluginSpec, oneshot::Sender<io::Result<Process>>);

/// The spawning thread.
#[derive(Debug, Clone)]
pub(super) struct Spawner {
    jobs: mpsc::Sender<Job>,
}

impl Spawner {
    /// Starts the thread. It ends with the last handle, and with it, by PDEATHSIG, every worker.
    pub(super) fn start() -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        std::thread::Builder::new().name("nylon-spawn".into()).spawn(move || {
            for (spec, answer) in inbox {
                let _ = answer.send(spawn(&spec));
            }
        })?;
        Ok(Self { jobs })
    }

    /// Starts one worker, from now on; the result is there once it runs its own program. Killed if nobody takes it.
    pub(super) fn spawn(&self, spec: PluginSpec) -> impl Future<Output = io::Result<Process>> {
        let (answer, outcome) = oneshot::channel();
        let sent = self.jobs.send((spec, answer));
        async move {
            let gone = || io::Error::other("the spawning thread is gone");
            sent.map_err(|_| gone())?;
            outcome.await.map_err(|_| gone())?
        }
    }
}

/// Environment a worker inherits: what a program needs to run, and nothing that may be a secret of the host.
const INHERITED: [&str; 14] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "GOGC",
    "GOMEMLIMIT",
    "GOMAXPROCS",
    "GODEBUG",
    "GOTRACEBACK",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

fn spawn(spec: &PluginSpec) -> io::Result<Process> {
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.args)
        .env_clear()
        .envs(INHERITED.iter().filter_map(|k| std::env::var_os(k).map(|v| (k, v))))
        .envs(spec.env.iter().map(|(k, v)| (k, v)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .fd_mappings(vec![FdMapping { parent_fd: theirs, child_fd: wire::FD_CONTROL }])
        .map_err(io::Error::other)?;
    let host = Pid::this();
    // SAFETY: between fork and exec only async-signal-safe calls are allowed: `prctl`, `getppid`, `setrlimit` and
    // `close_range` are plain system calls, nothing here allocates or locks, and errors are made of raw numbers.
    // `close_range` marks descriptors CLOEXEC and closes none, so what std still needs before exec stays open.
    #[allow(unsafe_code, reason = "the one block of this crate: between fork and exec")]
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() != host {
                // The host died between fork and prctl: nobody would ever kill us.
                return Err(io::Error::from_raw_os_error(nix::libc::ESRCH));
            }
            nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0)?;
            // What the host itself inherited without CLOEXEC is none of a plugin's business. Old kernels: best effort.
            nix::libc::syscall(
                nix::libc::SYS_close_range,
                wire::FD_CONTROL + 1,
                nix::libc::c_uint::MAX,
                nix::libc::CLOSE_RANGE_CLOEXEC,
            );
            Ok(())
        });
    }
    let mut started = command.spawn()?;
    let pid = started.id();
    let raw = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let raw = raw.ok_or_else(|| io::Error::other("a pid out of range"))?;
    // The child is not reaped before the pidfd says so, hence the number cannot have been reused.
    let pidfd = match rustix::process::pidfd_open(raw, PidfdFlags::NONBLOCK) {
        Ok(fd) => fd,
        Err(e) => {
            let _ = started.kill();
            let _ = started.wait();
            return Err(e.into());
        }
    };
    let child = Child { pid, pidfd, reaped: false };
    // A plugin that eats memory is killed before the host is. Best effort.
    let _ =
        File::create(format!("/proc/{pid}/oom_score_adj")).and_then(|mut f| f.write_all(b"500"));
    let (Some(stdout), Some(stderr)) = (started.stdout.take(), started.stderr.take()) else {
        return Err(io::Error::other("no pipes"));
    };
    Ok(Process { child, control: ours, stdout, stderr })
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(code) => write!(f, "exited with status {code}"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "killed by {signal}"),
                Err(_) => write!(f, "killed by signal {number}"),
            },
        }
    }
}

impl Child {
    /// A descriptor that becomes readable at the end of the process.
    pub(super) fn ended(&self) -> io::Result<OwnedFd> {
        self.pidfd.try_clone()
    }

    /// Kills the process and everything in its group. Works on a stopped process, and on one that has ended.
    pub(super) fn kill(&self) {
        if self.reaped {
            return;
        }
        // The group's leader is not reaped yet, so its number still names this group.
        let group = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
    }

    /// How the process ended; `None` if it still runs.
    pub(super) fn reap(&mut self) -> io::Result<Option<Exit>> {
        let pidfd = WaitId::PidFd(self.pidfd.as_fd());
        let status: Option<WaitIdStatus> =
            rustix::process::waitid(pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?;
        self.reaped |= status.is_some();
        Ok(status.map(|s| match (s.exit_status(), s.terminating_signal()) {
            (Some(code), _) => Exit::Status(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Status(-1),
        }))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            // Killed: its end is a matter of moments, and nobody else would collect it. The pidfd does not block.
            let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
            let _ = rustix::event::poll(&mut ended, Some(&Timespec { tv_sec: 1, tv_nsec: 0 }));
            let _ = self.reap();
        }
    }
}
