//! Other processes, as `/proc` shows them.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// A child of a gateway that runs another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its process id.
    pub pid: u32,
    /// Its arguments, the first one the program.
    pub command: Vec<String>,
}

/// The workers of `parent`: children that are not the parent's own program (one between fork and exec is).
pub fn workers(parent: u32) -> Vec<Worker> {
    let own = exe(parent);
    let mut found: Vec<Worker> = pids()
        .filter(|pid| parent_of(*pid) == Some(parent) && alive(*pid))
        .filter(|pid| exe(*pid).is_some() && exe(*pid) != own)
        .map(|pid| Worker { pid, command: command(pid) })
        .collect();
    found.sort_by_key(|w| w.pid);
    found
}

/// Whether the process exists and has not ended: neither a zombie (`Z`) nor one that is just being reaped (`X`; proc(5)).
pub fn alive(pid: u32) -> bool {
    state(pid).is_some_and(|s| !matches!(s, 'Z' | 'X'))
}

/// Whether every thread of the process has stopped: a signal takes a moment to reach them.
pub fn stopped(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let states = tasks.map(|task| {
        let text = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        text.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next())
    });
    let states: Vec<_> = states.collect();
    !states.is_empty() && states.iter().all(|s| *s == Some('T'))
}

/// Sends `signal`; a process that is gone is no error.
pub fn kill(pid: u32, signal: Signal) {
    let _ = signal::kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), signal);
}

/// Peak resident memory in bytes, 0 if the process is gone.
pub fn peak_rss(pid: u32) -> u64 {
    status(pid, "VmHWM:")
}

/// Resident memory in bytes, 0 if the process is gone.
pub fn rss(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

/// Resident memory of its own in bytes, without what it shares with others; 0 if the process is gone.
pub fn own_rss(pid: u32) -> u64 {
    status(pid, "RssAnon:")
}

/// Time on a CPU, its threads together; of threads that are gone, nothing.
pub fn cpu(pid: u32) -> std::time::Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let on_cpu = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    std::time::Duration::from_nanos(on_cpu.sum())
}

/// Names in /dev/shm.
pub fn shm_names() -> Vec<String> {
    let entries = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok())
}

fn exe(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

fn command(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let parts = bytes.split(|b| *b == 0).filter(|part| !part.is_empty());
    parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// Fields of /proc/PID/stat after the name, which may hold anything between its brackets.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn state(pid: u32) -> Option<char> {
    stat(pid)?.first()?.chars().next()
}

fn parent_of(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

fn status(pid: u32, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(key));
    let kib: Option<u64> = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0) * 1024
}
