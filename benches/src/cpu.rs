//! CPU time of processes, as the kernel counts it.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// Of this process.
pub(crate) fn own() -> Duration {
    of(std::process::id())
}

/// Of another; zero if it is gone.
pub(crate) fn of(pid: u32) -> Duration {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap_or(0));
    clock_getcpuclockid(pid).and_then(clock_gettime).map(Duration::from).unwrap_or_default()
}

/// Of the children that have ended.
pub(crate) fn ended_children() -> Duration {
    let time = |t: TimeVal| {
        let micros = t.tv_sec() * 1_000_000 + t.tv_usec();
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN);
    usage.map(|u| time(u.user_time()) + time(u.system_time())).unwrap_or_default()
}
