//! The other processes: building the Go one, starting them, and ending them with the bench.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use nylon_protocol::segment::Header;
use nylon_protocol::{Geometry, wire};

use crate::Result;

/// What a worker prints once it serves.
pub(crate) const READY: &str = "ready";

/// Of every lane here: default size.
pub(crate) fn header() -> Header {
    let geometry = Geometry::default();
    Header { geometry, epoch: 0xbe7c4, abi_minor: wire::ABI_MINOR, features: 0 }
}

/// Builds sdk-go/internal/NAME beside this program.
pub(crate) fn build(name: &str) -> Result<PathBuf> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk-go");
    let itself = std::env::current_exe().map_err(|e| e.to_string())?;
    let program = itself.with_file_name(name);
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&program).arg(format!("./internal/{name}"));
    let built = go.current_dir(module).env("CGO_ENABLED", "0").status();
    match built {
        Ok(status) if status.success() => Ok(program),
        Ok(status) => Err(format!("go build of {name}: {status}")),
        Err(e) => Err(format!("go: {e}; the worker of these benches is written in Go")),
    }
}

/// A process that ends with the bench.
pub(crate) struct Child(process::Child);

impl Child {
    /// Starts it and waits until it says that it is ready; its output must be a pipe.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let mut child = Self(command.spawn().map_err(|e| format!("cannot start a worker: {e}"))?);
        let out = child.0.stdout.take().ok_or("no pipe from the worker")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).map_err(|e| e.to_string())?;
        match line.trim_end() {
            READY => Ok(child),
            other => Err(format!("the worker said {other:?}, not that it is ready")),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
