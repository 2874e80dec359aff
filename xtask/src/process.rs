//! Running a program: its own process group, a time limit, both outputs read to the end.

use std::io::Read;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// How a program ended.
pub(crate) struct Ran {
    /// `None`: it ran past its limit and was killed.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) seconds: f64,
}

impl Ran {
    pub(crate) fn ok(&self) -> bool {
        self.status.is_some_and(|s| s.success())
    }

    /// "exit status 101", "signal 9", "no end after 120 s".
    pub(crate) fn how(&self) -> String {
        match self.status {
            None => format!("no end after {:.0} s, killed", self.seconds),
            Some(s) => match (s.code(), s.signal()) {
                (Some(code), _) => format!("exit status {code}"),
                (None, signal) => format!("signal {}", signal.unwrap_or(0)),
            },
        }
    }

    /// Both outputs, for a person.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs `command` to its end or `limit`, keeping what it prints.
pub(crate) fn capture(command: &mut Command, limit: Duration) -> Result<Ran> {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|e| format!("{}: {e}", command.get_program().display()))?;
    let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let status = wait(&mut child, start, limit);
    // Whoever it left behind holds the pipes open, and has no business after it.
    kill_group(child.id());
    let text = |from: mpsc::Receiver<Vec<u8>>| {
        let bytes = from.recv_timeout(Duration::from_secs(5)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (stdout, stderr) = (text(stdout), text(stderr));
    Ok(Ran { status, stdout, stderr, seconds: start.elapsed().as_secs_f64() })
}

/// Runs `command` with this terminal's outputs; an error names the program and how it ended.
pub(crate) fn show(command: &mut Command) -> Result<()> {
    let name = command.get_program().display().to_string();
    let status = command.status().map_err(|e| format!("{name}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name}: {status}")) }
}

fn wait(child: &mut Child, start: Instant, limit: Duration) -> Option<ExitStatus> {
    let mut pause = Duration::from_millis(1);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if start.elapsed() < limit => thread::sleep(pause),
            _ => break,
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    kill_group(child.id());
    let _ = child.wait();
    None
}

/// Every process of the group `leader` started with `process_group(0)`.
fn kill_group(leader: u32) {
    let _ = Command::new("sh")
        .arg("-c")
        .arg(format!("kill -KILL -{leader}"))
        .stderr(Stdio::null())
        .status();
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = send.send(bytes);
    });
    receive
}
