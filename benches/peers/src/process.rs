//! Other processes: what is started ends with the one that started it.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{self, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::Result;

/// A process that ends with this one.
pub(crate) struct Child {
    child: process::Child,
    pub(crate) input: Option<ChildStdin>,
    pub(crate) output: BufReader<ChildStdout>,
    /// What it printed first, without the line's end.
    pub(crate) said: String,
}

impl Child {
    /// Starts it with both ends piped and waits for its first line, which begins with `ready`.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().display().to_string();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("{name}: {e}"))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("no pipe from a child")?);
        let mut child = Self { child, input, output, said: String::new() };
        child.said = child.line()?;
        if child.said.starts_with("ready") {
            return Ok(child);
        }
        Err(format!("{name} said {:?}, not that it is ready", child.said))
    }

    /// The next line it prints.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|e| e.to_string())?;
        Ok(line.trim_end().to_owned())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// Its input ends first, so that it may end its own children.
impl Drop for Child {
    fn drop(&mut self) {
        drop(self.input.take());
        for _ in 0..100 {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time a process has used so far, all its threads together.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let pid = Pid::from_raw(i32::try_from(pid).map_err(|e| e.to_string())?);
    let time = clock_getcpuclockid(pid).and_then(clock_gettime);
    time.map(Duration::from).map_err(|e| format!("CPU time of {pid}: {e}"))
}

/// A program beside this one.
pub(crate) fn beside(name: &str) -> Result<PathBuf> {
    let program = itself()?.with_file_name(name);
    if program.exists() { Ok(program) } else { Err(format!("{} was not built", program.display())) }
}

/// This program.
pub(crate) fn itself() -> Result<PathBuf> {
    std::env::current_exe().map_err(|e| e.to_string())
}
