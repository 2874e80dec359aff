//! Starting worker processes, from one thread that lives as long as the host.
//!
//! `PR_SET_PDEATHSIG` follows the thread that spawned, not the process: a worker started from a pool thread would die
//! when that thread goes idle. So all spawning happens here.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::process::{ChildStderr, ChildStdout};
use std::sync::mpsc;
use std::{iter, ptr};

use nix::errno::Errno;
use nix::libc;
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getppid, setpgid};
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
            let mut stack = vec![0; STACK];
            for (spec, answer) in inbox {
                let _ = answer.send(spawn(&spec, &mut stack));
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

fn spawn(spec: &PluginSpec, stack: &mut [u8]) -> io::Result<Process> {
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    let null = File::open("/dev/null")?;
    let (stdout, out) = io::pipe()?;
    let (stderr, err) = io::pipe()?;
    let pid = run(spec, [null.into(), out.into(), err.into(), theirs], stack)?;
    let raw = rustix::process::Pid::from_raw(pid.as_raw());
    let raw = raw.ok_or_else(|| io::Error::other("a pid out of range"))?;
    // The child is not reaped before the pidfd says so, hence the number cannot have been reused.
    let pidfd = match rustix::process::pidfd_open(raw, PidfdFlags::NONBLOCK) {
        Ok(fd) => fd,
        Err(e) => {
            let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
            return Err(e.into());
        }
    };
    let pid = pid.as_raw().unsigned_abs();
    let child = Child { pid, pidfd, reaped: false };
    // A plugin that eats memory is killed before the host is. Best effort.
    let _ =
        File::create(format!("/proc/{pid}/oom_score_adj")).and_then(|mut f| f.write_all(b"500"));
    let (stdout, stderr) = (OwnedFd::from(stdout).into(), OwnedFd::from(stderr).into());
    Ok(Process { child, control: ours, stdout, stderr })
}

/// Bytes of stack for what is done between clone and exec.
const STACK: usize = 64 << 10;

/// Runs the program of `spec` in a process of its own with `fds` as its descriptors 0 to 3, and returns once it runs.
///
/// The child borrows this process's memory until then, as after vfork: a fork would copy the page tables of the whole
/// host for it, and hold up its page faults meanwhile.
fn run(spec: &PluginSpec, fds: [OwnedFd; 4], stack: &mut [u8]) -> io::Result<Pid> {
    let mut env: BTreeMap<OsString, OsString> =
        INHERITED.iter().filter_map(|k| Some(((*k).into(), std::env::var_os(k)?))).collect();
    env.extend(spec.env.iter().map(|(k, v)| (k.into(), v.into())));
    let program = CString::new(spec.program.as_os_str().as_bytes())?;
    let args = spec.args.iter().map(|arg| CString::new(arg.as_bytes()));
    let args = iter::once(Ok(program)).chain(args).collect::<Result<Vec<_>, _>>()?;
    let env = env.iter().map(|(k, v)| CString::new([k.as_bytes(), b"=", v.as_bytes()].concat()));
    let env = env.collect::<Result<Vec<_>, _>>()?;
    let pointers = |strings: &[CString]| -> Vec<_> {
        strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
    };
    let (argv, envp) = (pointers(&args), pointers(&env));
    let fds = fds.map(out_of_the_way).into_iter().collect::<io::Result<Vec<_>>>()?;
    let host = Pid::this();
    let leash = || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        if getppid() != host {
            // The host died between clone and prctl: nobody would ever kill us.
            return Err(Errno::ESRCH);
        }
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        setrlimit(Resource::RLIMIT_CORE, 0, 0)
    };
    let mut failed = None;
    // A handler of the host must not run in the child: it would write to the host's memory.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    // SAFETY: CLONE_VFORK halts this thread until the child has ended or runs a program of its own, so what the closure
    // borrows, and `stack`, outlive it, and the thread's errno is its alone. It shares memory, not descriptors nor signal
    // dispositions (no CLONE_FILES, no CLONE_SIGHAND), so `dup2`, `close_range` and `signal` change nothing of the host's.
    // All is system calls by name (`execvpe`: and a search on the stack): nothing allocates, locks or unwinds. The vectors
    // given to `execvpe` end with null, and what they point to lives in `args` and `env`.
    #[allow(unsafe_code, reason = "the one block of this crate: between clone and exec")]
    let cloned = unsafe {
        let become_worker = || {
            for (fd, own) in (0..).zip(&fds) {
                Errno::result(libc::dup2(own.as_raw_fd(), fd))?;
            }
            // What the host itself inherited without CLOEXEC is none of a plugin's business. Old kernels: best effort.
            let (first, all) = (wire::FD_CONTROL + 1, libc::c_uint::MAX);
            libc::syscall(libc::SYS_close_range, first, all, libc::CLOSE_RANGE_CLOEXEC);
            (1..=libc::SIGRTMAX()).for_each(|signal| _ = libc::signal(signal, libc::SIG_DFL));
            mask.thread_set_mask()?;
            Errno::result(libc::execvpe(argv[0], argv.as_ptr(), envp.as_ptr()))
        };
        let child = || {
            failed = leash().and_then(|()| become_worker()).err();
            127
        };
        let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
        nix::sched::clone(Box::new(child), stack, flags, Some(libc::SIGCHLD))
    };
    mask.thread_set_mask()?;
    let pid = cloned?;
    if let Some(error) = failed {
        let _ = waitpid(pid, None);
        return Err(error.into());
    }
    Ok(pid)
}

/// `fd`, or a duplicate beyond those the child replaces: a host may run with its standard descriptors closed.
fn out_of_the_way(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > wire::FD_CONTROL {
        return Ok(fd);
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(&fd, wire::FD_CONTROL + 1)?)
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
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

    /// Has the process end itself, if it can: Go dumps its goroutines first.
    pub(super) fn quit(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::QUIT);
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

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn shell(script: &str, env: &[(&str, &str)]) -> (Process, String) {
        let env = env.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let args = vec!["-c".into(), script.into()];
        let spec = PluginSpec { args, env, ..PluginSpec::new("shell", "sh") };
        let mut process = spawn(&spec, &mut vec![0; STACK]).expect("a shell in PATH");
        let mut said = String::new();
        process.stdout.read_to_string(&mut said).expect("a pipe");
        (process, said)
    }

    #[test]
    fn a_worker_has_four_descriptors_and_no_signal_is_ignored() {
        // SIGPIPE is ignored here, as in every program of Rust.
        let (_process, said) = shell("cat /proc/$$/status; ls /proc/$$/fd", &[]);
        let ours = std::fs::read_to_string("/proc/thread-self/status").expect("proc");
        let line =
            |all: &str, name| all.lines().find(|line| line.starts_with(name)).map(String::from);
        assert_eq!(line(&said, "SigBlk:"), line(&ours, "SigBlk:"), "{said}");
        // Of the 31 classic ones: libc keeps two of the others to itself.
        let ignored = line(&said, "SigIgn:").expect("a status");
        let ignored = u64::from_str_radix(ignored.trim_start_matches("SigIgn:\t"), 16);
        assert_eq!(ignored.map(|set| set & 0x7fff_ffff), Ok(0), "{said}");
        assert!(said.ends_with("\n0\n1\n2\n3\n"), "{said}");
    }

    #[test]
    fn a_worker_leads_its_group_and_gets_the_last_word_on_its_environment() {
        let paths = [("PATH", "/bin:/usr/bin"), ("PATH", "/usr/bin:/bin")];
        let (process, said) = shell("cut -d' ' -f5 /proc/$$/stat; echo $PATH", &paths);
        let pid = process.child.pid.to_string();
        assert_eq!(said.split_whitespace().collect::<Vec<_>>(), [&pid, "/usr/bin:/bin"]);
    }

    #[test]
    fn a_program_that_cannot_run_is_an_error_by_its_own_name() {
        let mut stack = vec![0; STACK];
        let mask = || SigSet::thread_get_mask().expect("a mask");
        let before = mask();
        for (program, why) in [("/not/there", Errno::ENOENT), ("/etc", Errno::EACCES)] {
            let error = spawn(&PluginSpec::new("none", program), &mut stack).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(why as i32), "{program}");
        }
        let nul = spawn(&PluginSpec::new("none", "a\0b"), &mut stack).unwrap_err();
        assert_eq!(nul.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(mask(), before);
    }
}
