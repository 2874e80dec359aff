//! Another process of this program: it says `ready`, and answers each line by a line. It ends with its input.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Result;

pub(super) struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// Starts `role` with its arguments and waits until it is ready.
    pub(super) fn start(role: &str, args: &[String]) -> Result<Self> {
        let itself = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut command = Command::new(itself);
        command.arg(role).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("cannot start {role}: {e}"))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or("no pipes")?;
        let mut process = Self { child, input, output: BufReader::new(output) };
        match process.line()?.as_str() {
            "ready" => Ok(process),
            other => Err(format!("{role} said {other:?}, not that it is ready")),
        }
    }

    pub(super) fn ask(&mut self, line: &str) -> Result<String> {
        writeln!(self.input, "{line}").map_err(|e| e.to_string())?;
        self.line()
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|e| e.to_string())?;
        if line.is_empty() {
            return Err("a process of this bench ended before its answer".into());
        }
        Ok(line.trim_end().to_owned())
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
