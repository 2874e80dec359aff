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
use std::sync::{Arc, mpsc};
use std::{iter, ptr};

use nix::errno::Errno;
use nix::libc;
use nix::sched::CloneFlags;
use nix::sys::resource::setrlimit;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getppid, setpgid};
use nylon_protocol::wire;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus};
use tokio::sync::oneshot;

use super::PluginSpec;
use super::cage::Cage;
use super::program::{Held, Program, ProgramError};
use super::sandbox::Confinement;
use crate::error::StartError;

/// A worker process and what connects it to us.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    /// Our end of the control socket.
    pub(super) control: OwnedFd,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
    /// How it is confined.
    pub(super) confinement: Confinement,
}

/// Why there is no worker process.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpawnError {
    /// The kernel refused something; it may not do so next time.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// We do, now and next time.
    #[error("{0}")]
    Refused(String),
}

impl SpawnError {
    pub(super) fn of(self, spec: &PluginSpec) -> StartError {
        let (plugin, program) = (spec.name.clone(), spec.program.display().to_string());
        match self {
            Self::Io(source) => StartError::Spawn { plugin, program, source },
            Self::Refused(why) => StartError::Refused { plugin, why },
        }
    }
}

impl From<rustix::io::Errno> for SpawnError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

impl From<Errno> for SpawnError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

impl From<ProgramError> for SpawnError {
    fn from(error: ProgramError) -> Self {
        match error {
            ProgramError::Io(e) => Self::Io(e),
            refused => Self::Refused(refused.to_string()),
        }
    }
}

/// A process as the kernel knows it: by pidfd, never by number. Killed and reaped when dropped before its end.
#[derive(Debug)]
pub(super) struct Child {
    /// For people. Used as a number for its process group only, while the leader is not reaped.
    pub(super) pid: u32,
    pidfd: OwnedFd,
    reaped: bool,
}

type Job = (PluginSpec, Arc<Held>, oneshot::Sender<Result<Process, SpawnError>>);

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
            for (spec, program, answer) in inbox {
                let program = program.get(&spec.program, spec.sha256).map_err(SpawnError::from);
                let _ = answer.send(program.and_then(|program| spawn(&spec, program, &mut stack)));
            }
        })?;
        Ok(Self { jobs })
    }

    /// Starts one worker, from now on; the result is there once it runs its own program. Killed if nobody takes it.
    pub(super) fn spawn(
        &self,
        spec: PluginSpec,
        program: Arc<Held>,
    ) -> impl Future<Output = Result<Process, SpawnError>> {
        let (answer, outcome) = oneshot::channel();
        let sent = self.jobs.send((spec, program, answer));
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

fn spawn(spec: &PluginSpec, program: &Program, stack: &mut [u8]) -> Result<Process, SpawnError> {
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
    let fds = [null.into(), out.into(), err.into(), theirs];
    let (pid, confinement) = run(spec, program, fds, stack)?;
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
    if spec.sandbox.enforce && confinement.reached < confinement.asked {
        return Err(SpawnError::Refused(format!("its sandbox is enforced, and is {confinement}")));
    }
    // A plugin that eats memory is killed before the host is. Best effort.
    let _ =
        File::create(format!("/proc/{pid}/oom_score_adj")).and_then(|mut f| f.write_all(b"500"));
    let (stdout, stderr) = (OwnedFd::from(stdout).into(), OwnedFd::from(stderr).into());
    Ok(Process { child, control: ours, stdout, stderr, confinement })
}

/// Bytes of stack for what is done between clone and exec.
const STACK: usize = 64 << 10;

/// How far a child got that does not run its program.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Leash,
    User,
    Program,
}

/// Runs `program` as `spec` says in a process of its own with `fds` as its descriptors 0 to 3, and returns once it runs.
///
/// The child borrows this process's memory until then, as after vfork: a fork would copy the page tables of the whole
/// host for it, and hold up its page faults meanwhile. Where it becomes another user, the kernel takes the memory for that
/// of a program that changed its rights, and makes the host as undumpable as [`super::harden`] does.
fn run(
    spec: &PluginSpec,
    program: &Program,
    fds: [OwnedFd; 4],
    stack: &mut [u8],
) -> Result<(Pid, Confinement), SpawnError> {
    let mut env: BTreeMap<OsString, OsString> =
        INHERITED.iter().filter_map(|k| Some(((*k).into(), std::env::var_os(k)?))).collect();
    env.extend(spec.env.iter().map(|(k, v)| (k.into(), v.into())));
    let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::from);
    let path = text(program.path().as_os_str().as_bytes())?;
    let name = text(spec.program.as_os_str().as_bytes());
    let args = spec.args.iter().map(|arg| text(arg.as_bytes()));
    let args = iter::once(name).chain(args).collect::<io::Result<Vec<_>>>()?;
    let env = env.iter().map(|(k, v)| text(&[k.as_bytes(), b"=", v.as_bytes()].concat()));
    let env = env.collect::<io::Result<Vec<_>>>()?;
    let pointers = |strings: &[CString]| -> Vec<_> {
        strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
    };
    let (argv, envp) = (pointers(&args), pointers(&env));
    let fds = fds.map(out_of_the_way).into_iter().collect::<io::Result<Vec<_>>>()?;
    let executable = program.executable().map(|fd| out_of_the_way(fd.try_clone_to_owned()?));
    let executable = executable.transpose()?;
    let resources = spec.limits.resources();
    let mut cage = Cage::new(&spec.sandbox, program)?;
    let ruleset = cage.ruleset.take().map(out_of_the_way).transpose()?;
    program.unchanged()?;
    let host = Pid::this();
    let mut failed = None;
    // A handler of the host must not run in the child: it would write to the host's memory.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    #[allow(unsafe_code, reason = "the one block of this crate: between clone and exec")]
    // SAFETY: CLONE_VFORK halts this thread until the child has ended or runs a program of its own, so what the closures
    // borrow, and `stack`, outlive it, and the thread's errno is its alone. It shares memory, not descriptors, signal
    // dispositions nor credentials (no CLONE_FILES, CLONE_SIGHAND, CLONE_THREAD), so `dup2`, `close_range`, `signal`, the
    // user and the sandbox change nothing of the host's. All is system calls by name (`execvpe`: and a search on the stack;
    // the cage: and writes to what `cage` holds): nothing allocates, locks or unwinds. The vectors given to `execveat` and
    // `execvpe` end with null, and what they point to lives in `args` and `env`; `filter` is as long as it says.
    let cloned = unsafe {
        let call = |result: libc::c_long| Errno::result(result).err().map_or(0, |e| e as i32);
        let leash = |cage: &mut Cage<'_>| {
            setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(|e| (Stage::Leash, e))?;
            for (limit, most) in &resources {
                setrlimit(*limit, *most, *most).map_err(|e| (Stage::Leash, e))?;
            }
            cage.drop_capabilities();
            cage.change_user().map_err(|e| (Stage::User, e))?;
            // After the change of user, which takes it away.
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(|e| (Stage::Leash, e))?;
            if getppid() != host {
                // The host died between clone and prctl: nobody would ever kill us.
                return Err((Stage::Leash, Errno::ESRCH));
            }
            Ok(())
        };
        let lock = |cage: &mut Cage<'_>| {
            if !cage.closes() {
                return;
            }
            cage.refuse_privileges();
            if let Some(ruleset) = &ruleset {
                let restricted =
                    libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0);
                cage.steps.landlock = call(restricted);
            }
            let filter = cage.filter();
            if let Ok(len @ 1..) = u16::try_from(filter.len()) {
                let filter = libc::sock_fprog { len, filter: filter.as_mut_ptr().cast() };
                let filtered =
                    libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &filter);
                cage.steps.seccomp = call(filtered);
            }
            cage.try_the_bars(host);
        };
        let become_worker = |cage: &mut Cage<'_>| {
            for (fd, own) in (0..).zip(&fds) {
                Errno::result(libc::dup2(own.as_raw_fd(), fd))?;
            }
            // What the host itself inherited without CLOEXEC is none of a plugin's business. Old kernels: best effort.
            let (first, all) = (wire::FD_CONTROL + 1, libc::c_uint::MAX);
            libc::syscall(libc::SYS_close_range, first, all, libc::CLOSE_RANGE_CLOEXEC);
            (1..=libc::SIGRTMAX()).for_each(|signal| _ = libc::signal(signal, libc::SIG_DFL));
            mask.thread_set_mask()?;
            lock(cage);
            let (argv, envp) = (argv.as_ptr(), envp.as_ptr());
            Errno::result(match &executable {
                Some(fd) => {
                    let (fd, empty) = (fd.as_raw_fd(), c"".as_ptr());
                    libc::syscall(libc::SYS_execveat, fd, empty, argv, envp, libc::AT_EMPTY_PATH)
                }
                None => libc::execvpe(path.as_ptr(), argv, envp).into(),
            })
        };
        let child = || {
            let done = leash(&mut cage)
                .and_then(|()| become_worker(&mut cage).map_err(|e| (Stage::Program, e)));
            failed = done.err();
            127
        };
        let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
        nix::sched::clone(Box::new(child), stack, flags, Some(libc::SIGCHLD))
    };
    mask.thread_set_mask()?;
    let pid = cloned?;
    if let Some((stage, error)) = failed {
        let _ = waitpid(pid, None);
        return Err(match stage {
            Stage::User => SpawnError::Refused(format!(
                "it cannot run as {}: {} (only a gateway that runs as root can change it)",
                cage.identity(),
                error.desc()
            )),
            Stage::Leash | Stage::Program => error.into(),
        });
    }
    Ok((pid, cage.confinement(ruleset.is_some())))
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

    fn spawned(spec: &PluginSpec) -> Result<Process, SpawnError> {
        let program = Program::open(&spec.program, spec.sha256)?;
        spawn(spec, &program, &mut vec![0; STACK])
    }

    fn io(error: SpawnError) -> io::Error {
        match error {
            SpawnError::Io(e) => e,
            SpawnError::Refused(why) => panic!("{why}"),
        }
    }

    fn shell(script: &str, env: &[(&str, &str)]) -> (Process, String) {
        let env = env.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let args = vec!["-c".into(), script.into()];
        let spec = PluginSpec { args, env, ..PluginSpec::new("shell", "sh") };
        let mut process = spawned(&spec).expect("a shell in PATH");
        let mut said = String::new();
        process.stdout.read_to_string(&mut said).expect("a pipe");
        (process, said)
    }

    #[test]
    fn a_worker_has_four_descriptors_and_no_signal_is_ignored() {
        // SIGPIPE is ignored here, as in every program of Rust.
        // No program reads the status: a shell that has just made one has its signals blocked.
        let status = "while IFS= read -r line; do echo \"$line\"; done < /proc/$$/status";
        let (_process, said) = shell(&format!("{status}; ls /proc/$$/fd"), &[]);
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
    fn a_worker_has_an_empty_input_no_core_and_no_variable_that_is_not_on_the_list() {
        let said = "readlink /proc/$$/fd/0; ulimit -c; tr '\\0' '\\n' < /proc/$$/environ";
        let (_process, said) = shell(said, &[("GIVEN", "yes")]);
        let mut lines = said.lines();
        assert_eq!((lines.next(), lines.next()), (Some("/dev/null"), Some("0")));
        let names: Vec<_> = lines.filter_map(|l| Some(l.split_once('=')?.0)).collect();
        assert!(names.contains(&"GIVEN"), "{said}");
        let on_the_list = |name: &&str| *name == "GIVEN" || INHERITED.contains(name);
        assert!(names.iter().all(on_the_list), "{said}");
        // Cargo sets it for its tests.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "nothing to leave out");
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
        let mask = || SigSet::thread_get_mask().expect("a mask");
        let before = mask();
        for (program, why) in [("/not/there", Errno::ENOENT), ("/etc", Errno::EACCES)] {
            let error = io(spawned(&PluginSpec::new("none", program)).unwrap_err());
            assert_eq!(error.raw_os_error(), Some(why as i32), "{program}");
        }
        let nul = io(spawned(&PluginSpec::new("none", "a\0b")).unwrap_err());
        assert_eq!(nul.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(mask(), before);
    }
}
