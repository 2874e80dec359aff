//! What a process uses, as the kernel says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::supervisor::Sample;

/// What a process has and had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Memory of it that is in RAM, bytes; what it shares with others is in it.
    pub(crate) resident: u64,
    /// Time it had a CPU, in user and kernel mode.
    pub(crate) cpu: Duration,
}

/// What the process `pid`, or `self`, uses; `None` when it is not there.
pub(crate) fn usage(pid: &str) -> Option<Usage> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// When this process was started, since the Unix epoch.
pub(crate) fn started() -> Option<Duration> {
    let up: f64 = std::fs::read_to_string("/proc/uptime").ok()?.split(' ').next()?.parse().ok()?;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let ticks: u64 = fields(&stat)?.get(22 - STATE)?.parse().ok()?;
    let at =
        Duration::from_millis(ticks.saturating_mul(1000) / rustix::param::clock_ticks_per_second());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(now.saturating_sub(Duration::try_from_secs_f64(up).ok()?.saturating_sub(at)))
}

/// Open files of this process.
pub(crate) fn open_files() -> Option<usize> {
    // One of them is the directory's own.
    std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1))
}

/// The first of [`fields`], as proc(5) numbers them.
const STATE: usize = 3;

/// What follows the name of the program, which stands in parentheses and may hold anything.
fn fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace().collect())
}

fn parse(stat: &str) -> Option<Usage> {
    let Sample { rss_bytes, cpu_ns } = Sample::parse(stat.as_bytes())?;
    Some(Usage { resident: rss_bytes, cpu: Duration::from_nanos(cpu_ns) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let usage = usage("self").expect("it is there");
        assert!(usage.resident > 1 << 16, "{usage:?}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let started = started().expect("it was started");
        assert!(started <= now && now - started < Duration::from_secs(3600), "{started:?}");
        assert!(open_files().expect("they can be listed") >= 3);
        assert_eq!(super::usage("0"), None);
    }

    #[test]
    fn a_name_with_parentheses_is_a_name() {
        let rest = "S 1 1 1 0 -1 4194304 10 0 0 0 200 50 0 0 20 0 1 0 99 1000 3 1844";
        let found = parse(&format!("7 (a) b) {rest}")).expect("it can be read");
        let page = rustix::param::page_size() as u64;
        let ticks = rustix::param::clock_ticks_per_second();
        let expected = Usage { resident: 3 * page, cpu: Duration::from_millis(250 * 1000 / ticks) };
        assert_eq!(found, expected);
        assert_eq!(parse("7 (cut"), None);
    }
}
