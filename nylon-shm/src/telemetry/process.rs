//! Whether the process that made a segment is still there.

use std::fs;

/// How the process of a host is, as `/proc` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostState {
    /// It runs, or may at any time.
    Running,
    /// A signal or a debugger stopped it.
    Stopped,
    /// It ended. Another process may have its number.
    Gone,
}

/// How process `pid` that started at `start_ticks` is.
pub fn host_state(pid: u32, start_ticks: u64) -> HostState {
    match stat(pid) {
        Some((_, started)) if started != start_ticks => HostState::Gone,
        Some(('Z' | 'X' | 'x', _)) | None => HostState::Gone,
        Some(('T' | 't', _)) => HostState::Stopped,
        Some(_) => HostState::Running,
    }
}

/// When process `pid` started, ticks since boot; none where there is no such process.
pub(super) fn start_ticks(pid: u32) -> Option<u64> {
    stat(pid).map(|(_, started)| started)
}

/// State and start: fields 3 and 22 of `/proc/PID/stat`. The name before them may hold anything between its brackets.
fn stat(pid: u32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{HostState, host_state, start_ticks};

    #[test]
    fn a_process_is_known_by_number_and_start() {
        let pid = std::process::id();
        let started = start_ticks(pid).expect("this process runs");
        assert_eq!(host_state(pid, started), HostState::Running);
        assert_eq!(host_state(pid, started + 1), HostState::Gone, "its number was used again");
        assert_eq!(host_state(u32::MAX, started), HostState::Gone);
    }
}
