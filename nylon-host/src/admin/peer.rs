//! Who is at the other end of the Unix socket: an operator, or what a worker is or has started.

use std::fs;

use tokio::net::unix::UCred;

/// Parents that are looked at; a process has fewer.
const PARENTS_MAX: usize = 64;

/// Lets root and the gateway's own user in, but no worker and nothing that a worker started.
///
/// # Errors
/// Why it is refused.
pub(super) fn check(peer: UCred) -> Result<(), String> {
    let ours = rustix::process::geteuid().as_raw();
    if peer.uid() != 0 && peer.uid() != ours {
        return Err(format!("user {} is neither root nor the gateway's own", peer.uid()));
    }
    // Without a number it is outside of this container: no worker.
    let Some(pid) = peer.pid().filter(|pid| *pid != 0) else { return Ok(()) };
    let Some(own) = Process::read("self") else {
        return Err("this gateway cannot see its own process in /proc".to_owned());
    };
    let Some(process) = Process::read(&pid.to_string()) else {
        return Err(format!("process {pid} is not to be seen"));
    };
    // A worker's children may have lost their parents, but never its filter.
    if process.filters > own.filters {
        return Err(format!("process {pid} is confined, as workers are"));
    }
    let mut at = pid.cast_unsigned();
    for _ in 0..PARENTS_MAX {
        let parent = Process::read(&at.to_string()).map_or(0, |process| process.parent);
        if parent == own.pid {
            return Err(format!("process {pid} is a worker, or was started by one"));
        }
        if parent <= 1 {
            return Ok(());
        }
        at = parent;
    }
    Err(format!("process {pid} has too many parents"))
}

/// What /proc tells of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    /// System call filters that are upon it.
    filters: u32,
}

impl Process {
    fn read(pid: &str) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
    }

    /// `/proc/PID/status`; its name, which it chooses, has no line breaks there.
    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line?.trim().parse().ok()
        };
        Some(Self {
            pid: field("Pid")?,
            parent: field("PPid")?,
            filters: field("Seccomp_filters").unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_parents_and_filters() {
        let status = "Name:\tPPid: 1\nState:\tS\nTgid:\t7\nPid:\t7\nPPid:\t5\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        assert_eq!(Process::parse(status), Some(Process { pid: 7, parent: 5, filters: 1 }));
        assert_eq!(Process::parse("Name:\tx\n"), None);
    }

    #[tokio::test]
    async fn a_process_may_ask_itself_and_its_child_may_not() {
        let (one, _other) = tokio::net::UnixStream::pair().unwrap();
        check(one.peer_cred().unwrap()).unwrap();

        let dir = nylon_tests::Temp::new();
        let path = dir.path().join("s");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let connect = format!(
            "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect({path:?})\nsys.stdin.read()"
        );
        let mut child = std::process::Command::new("python3")
            .args(["-c", &connect])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let refused = check(stream.peer_cred().unwrap()).unwrap_err();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(refused.contains("started by one"), "{refused}");
    }
}
