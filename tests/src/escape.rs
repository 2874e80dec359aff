//! What a worker tries against its host and the machine, by name, and what the kernel said: 0, or an errno. See
//! tests/sandbox.rs for what is to come of each.

use std::fs::File;
use std::io::{self, IoSlice, Read as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use nix::libc;
use nix::sched::CloneFlags;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::uio::{RemoteIoVec, process_vm_writev};
use nix::unistd::{Pid, getpid, getppid};
use rustix::fs::OFlags;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, Resource};

/// What the host has that a worker must not get at, in the worker's environment under these names.
pub const ADDRESS: &str = "NYLON_ESCAPE_ADDRESS";
/// A descriptor of the host that is not close-on-exec.
pub const DESCRIPTOR: &str = "NYLON_ESCAPE_DESCRIPTOR";
/// A variable of the host.
pub const SECRET: &str = "NYLON_ESCAPE_SECRET";
/// Directories, listed in the sandbox and not.
pub const LISTED: &str = "NYLON_ESCAPE_LISTED";
/// See [`LISTED`].
pub const UNLISTED: &str = "NYLON_ESCAPE_UNLISTED";

/// What is written to [`ADDRESS`] by `process_vm_writev`, and by way of `/proc`.
pub const WRITTEN: [u64; 2] = [0x6e6f_6974_7061_6b65, 0x6d65_6d2f_636f_7270];

/// Everything, one per line: a name and what came of it. `bell` is an eventfd that the host shares.
pub fn attempts(bell: BorrowedFd<'_>) -> String {
    let host = getppid();
    let mut said = String::new();
    let mut tried = |name: &str, result: io::Result<()>| {
        let errno = result.err().map_or(0, |e| e.raw_os_error().unwrap_or(-1));
        said += &format!("{name} {errno}\n");
    };
    tried("kill", kill(host, Signal::SIGURG).map_err(io::Error::from));
    tried("pidfd_send_signal", signal_by_pidfd(host));
    // A tracer's end lets its tracee go.
    let seize = move || ptrace::seize(host, ptrace::Options::empty()).map_err(io::Error::from);
    tried("ptrace", std::thread::spawn(seize).join().expect("no panic"));
    tried("process_vm_writev", write_memory(host));
    tried("proc-mem", write_by_proc(host));
    tried("proc-environ", environ(host));
    tried("proc-fd", File::open(format!("/proc/{host}/fd/{}", text(DESCRIPTOR))).map(drop));
    tried("pidfd_getfd", take_descriptor(host));
    tried("prlimit", limit(host));
    tried("inherited-fd", inherited());
    tried("secret", secret());
    tried("umount", nix::mount::umount(&*text(LISTED)).map_err(io::Error::from));
    tried("unshare", nix::sched::unshare(CloneFlags::CLONE_NEWUTS).map_err(io::Error::from));
    let blocking = || -> io::Result<()> {
        let flags = rustix::fs::fcntl_getfl(bell)?;
        rustix::fs::fcntl_setfl(bell, flags - OFlags::NONBLOCK)?;
        Ok(rustix::fs::fcntl_setfl(bell, flags | OFlags::NONBLOCK)?)
    };
    tried("bell-setfl", blocking());
    tried("bell-fionbio", rustix::io::ioctl_fionbio(bell, true).map_err(io::Error::from));
    for (name, number) in CALLS {
        tried(name, call(number));
    }
    tried("write-listed", write_in(LISTED));
    tried("write-unlisted", write_in(UNLISTED));
    tried("read-unlisted", std::fs::read_dir(text(UNLISTED)).map(drop));
    tried("read-passwd", File::open("/etc/passwd").map(drop));
    tried("read-shadow", File::open("/etc/shadow").map(drop));
    // What a worker needs must go on working.
    tried("kill-self", kill(getpid(), None).map_err(io::Error::from));
    tried("thread", std::thread::spawn(|| ()).join().map_err(|_| io::Error::other("panicked")));
    said
}

/// Calls that are tried without arguments: none of them does anything so.
const CALLS: [(&str, libc::c_long); 8] = [
    ("bpf", libc::SYS_bpf),
    ("keyctl", libc::SYS_keyctl),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("mount", libc::SYS_mount),
    ("init_module", libc::SYS_init_module),
    ("tkill", libc::SYS_tkill),
    ("clone3", libc::SYS_clone3),
];

fn call(number: libc::c_long) -> io::Result<()> {
    // SAFETY: all arguments are zero: each of these calls refuses such pointers and lengths, and touches no memory.
    let result = unsafe { libc::syscall(number, 0, 0, 0, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn text(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn address() -> io::Result<usize> {
    text(ADDRESS).parse().map_err(io::Error::other)
}

fn pidfd(host: Pid) -> io::Result<OwnedFd> {
    let host = rustix::process::Pid::from_raw(host.as_raw()).expect("a parent");
    Ok(rustix::process::pidfd_open(host, PidfdFlags::empty())?)
}

fn signal_by_pidfd(host: Pid) -> io::Result<()> {
    let signal = rustix::process::Signal::URG;
    Ok(rustix::process::pidfd_send_signal(pidfd(host)?, signal)?)
}

fn write_memory(host: Pid) -> io::Result<()> {
    let word = WRITTEN[0].to_ne_bytes();
    let remote = RemoteIoVec { base: address()?, len: word.len() };
    process_vm_writev(host, &[IoSlice::new(&word)], &[remote])?;
    Ok(())
}

fn write_by_proc(host: Pid) -> io::Result<()> {
    let memory = File::options().write(true).open(format!("/proc/{host}/mem"))?;
    memory.write_all_at(&WRITTEN[1].to_ne_bytes(), address()? as u64 + 8)
}

fn environ(host: Pid) -> io::Result<()> {
    let mut all = Vec::new();
    File::open(format!("/proc/{host}/environ"))?.read_to_end(&mut all)?;
    let secret = text(SECRET);
    let found = all.split(|byte| *byte == 0).any(|entry| entry.starts_with(secret.as_bytes()));
    if found { Ok(()) } else { Err(io::Error::other("read, but not there")) }
}

fn take_descriptor(host: Pid) -> io::Result<()> {
    let number = text(DESCRIPTOR).parse().map_err(io::Error::other)?;
    rustix::process::pidfd_getfd(pidfd(host)?, number, PidfdGetfdFlags::empty())?;
    Ok(())
}

/// Sets a limit of the host's to what it is. RLIMIT_CPU would end it.
fn limit(host: Pid) -> io::Result<()> {
    let same = rustix::process::getrlimit(Resource::Msgqueue);
    let host = rustix::process::Pid::from_raw(host.as_raw());
    rustix::process::prlimit(host, Resource::Msgqueue, same)?;
    Ok(())
}

fn inherited() -> io::Result<()> {
    std::fs::metadata(format!("/proc/self/fd/{}", text(DESCRIPTOR))).map(drop)
}

fn secret() -> io::Result<()> {
    let found = std::env::var_os(text(SECRET)).map(drop);
    found.ok_or_else(|| io::Error::from(rustix::io::Errno::NOENT))
}

fn write_in(directory: &str) -> io::Result<()> {
    std::fs::write(format!("{}/written", text(directory)), "by a worker")
}

/// Whether a process shows this line in its status.
pub fn status(pid: u32, line: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let found = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(":\t"));
    found.unwrap_or_default().to_owned()
}
