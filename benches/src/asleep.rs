//! Whether a side truly slept, told by the kernel.

use std::fs;

/// How often the threads of `pid` gave their CPU up to wait.
pub(crate) fn waits(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let count = |status: String| {
        let line = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    let statuses = tasks.filter_map(|t| fs::read_to_string(t.path().join("status")).ok());
    statuses.filter_map(count).sum()
}
