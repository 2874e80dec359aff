//! System calls of processes, counted by the kernel as they are entered: an instance of tracefs, and nothing that would
//! stop or slow whom it watches.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

use nix::libc;

/// One system call, as it was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syscall {
    /// When, by CLOCK_MONOTONIC, µs.
    pub at: u64,
    /// The thread.
    pub thread: u32,
    /// Which call.
    pub number: i64,
}

/// Its name, if it is one that runtimes make by themselves; else its number.
impl fmt::Display for Syscall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(i64, &str); 9] = [
            (libc::SYS_clock_nanosleep, "clock_nanosleep"),
            (libc::SYS_epoll_pwait, "epoll_pwait"),
            (libc::SYS_futex, "futex"),
            (libc::SYS_madvise, "madvise"),
            (libc::SYS_nanosleep, "nanosleep"),
            (libc::SYS_read, "read"),
            (libc::SYS_sched_yield, "sched_yield"),
            (libc::SYS_tgkill, "tgkill"),
            (libc::SYS_write, "write"),
        ];
        match NAMES.iter().find(|(number, _)| *number == self.number) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "system call {}", self.number),
        }
    }
}

/// The kernel's own record, which goes away with this.
#[derive(Debug)]
pub struct Trace(PathBuf);

/// KiB of the buffers of all CPUs together: over a million calls. What does not fit ends the count with an error.
const BUFFERS_KIB: usize = 96 << 10;

impl Trace {
    /// Records from now on what the threads of `processes` enter, and the threads that those start.
    ///
    /// # Errors
    /// The kernel's: this is not root, tracefs is not mounted, or there are no system call events.
    pub fn start(processes: &[u32]) -> io::Result<Self> {
        let name = format!("/sys/kernel/tracing/instances/nylon-{}", std::process::id());
        fs::create_dir(&name).map_err(|e| io::Error::new(e.kind(), format!("{name}: {e}")))?;
        let trace = Self(name.into());
        trace.set("trace_clock", "mono")?;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        trace.set("buffer_size_kb", &(BUFFERS_KIB / cpus).max(4096).to_string())?;
        trace.set("options/overwrite", "0")?;
        trace.set("options/event-fork", "1")?;
        let threads = processes.iter().flat_map(|p| threads(*p));
        let threads: Vec<String> = threads.map(|thread| thread.to_string()).collect();
        trace.set("set_event_pid", &threads.join(" "))?;
        trace.set("events/raw_syscalls/sys_enter/enable", "1")?;
        Ok(trace)
    }

    /// Ends the record: what there was, in the order of time.
    ///
    /// # Errors
    /// The kernel's; or the buffer was too small.
    pub fn stop(self) -> io::Result<Vec<Syscall>> {
        self.set("tracing_on", "0")?;
        self.whole()?;
        let text = fs::read_to_string(self.0.join("trace"))?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let calls =
            lines.map(|l| call(l).ok_or_else(|| io::Error::other(format!("not understood: {l}"))));
        calls.collect()
    }

    /// Whether every CPU's buffer held all there was.
    fn whole(&self) -> io::Result<()> {
        for cpu in fs::read_dir(self.0.join("per_cpu"))? {
            let stats = fs::read_to_string(cpu?.path().join("stats"))?;
            let dropped = stats.lines().find_map(|line| line.strip_prefix("dropped events: "));
            if dropped != Some("0") {
                return Err(io::Error::other(format!("more calls than the buffer holds: {stats}")));
            }
        }
        Ok(())
    }

    fn set(&self, file: &str, value: &str) -> io::Result<()> {
        let path = self.0.join(file);
        let failed = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        fs::write(&path, value).map_err(failed)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// The threads of a process.
pub fn threads(process: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).collect()
}

/// `NAME-THREAD [CPU] FLAGS SECONDS.MICROS: sys_enter: NR NUMBER (ARGS)`; a name may hold anything.
fn call(line: &str) -> Option<Syscall> {
    let (left, right) = line.rsplit_once(": sys_enter: NR ")?;
    let number = right.split_whitespace().next()?.parse().ok()?;
    let (left, at) = left.rsplit_once(' ')?;
    let (seconds, micros) = at.split_once('.')?;
    let at = seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?;
    let (left, _) = left.rsplit_once(" [")?;
    let thread = left.trim_end().rsplit_once('-')?.1.parse().ok()?;
    Some(Syscall { at, thread, number })
}
