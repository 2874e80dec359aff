//! What a process takes of the machine: memory and CPU time, as `/proc/PID/stat` has them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// One process. The open file is that of this process and no other: once it is gone, it reads as gone.
#[derive(Debug)]
pub(super) struct Usage {
    stat: File,
}

/// What a process had taken at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Resident memory, bytes. The kernel sums it up loosely: some hundred KiB may be missing.
    pub(crate) rss_bytes: u64,
    /// CPU time of all its threads so far, in user and kernel, ns. The kernel counts it in hundredths of a second.
    pub(crate) cpu_ns: u64,
}

impl Usage {
    /// Of process `pid`, which the caller knows to be there: a child that is not reaped.
    pub(super) fn of(pid: u32) -> io::Result<Self> {
        Ok(Self { stat: File::open(format!("/proc/{pid}/stat"))? })
    }

    /// One read; none once the process is gone.
    pub(super) fn sample(&self) -> Option<Sample> {
        // 52 numbers of at most 20 digits, and a name of 16 bytes.
        let mut text = [0; 1280];
        let len = self.stat.read_at(&mut text, 0).ok()?;
        Sample::parse(&text[..len])
    }
}

impl Sample {
    /// Fields 14, 15 (ticks) and 24 (pages) of `/proc/PID/stat`; the name before them may hold anything between its
    /// brackets.
    pub(crate) fn parse(stat: &[u8]) -> Option<Self> {
        let name_end = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let user: u64 = fields.nth(11)?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        let pages: u64 = fields.nth(8)?.parse().ok()?;
        let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
        Some(Self {
            rss_bytes: pages.saturating_mul(rustix::param::page_size() as u64),
            cpu_ns: user.saturating_add(system).saturating_mul(tick_ns),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Sample, Usage};

    #[test]
    fn a_line_of_proc_is_understood_whatever_the_name() {
        let line = b"7 (a) b ) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 100 1000 3 99\n";
        let sample = Sample::parse(line).unwrap();
        let page = rustix::param::page_size() as u64;
        assert_eq!((sample.rss_bytes, sample.cpu_ns), (3 * page, 3_000_000_000));
        assert_eq!(Sample::parse(b""), None);
        assert_eq!(Sample::parse(b"7 (a) S 1 7"), None);
    }

    #[test]
    fn a_process_is_measured_until_it_is_reaped() {
        let own = Usage::of(std::process::id()).unwrap();
        assert!(own.sample().is_some_and(|sample| sample.rss_bytes > 0));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let usage = Usage::of(child.id()).unwrap();
        assert!(usage.sample().is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(usage.sample(), None);
    }
}
