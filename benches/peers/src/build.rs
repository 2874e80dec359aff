//! Builds the programs written in Go, beside this one.

use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::process::itself;

/// Each program is `peer-NAME`, the shared library `libpeer-cgo.so`.
pub(crate) fn all() -> Result<()> {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR"));
    let itself = itself()?;
    let into = itself.parent().ok_or("this program is nowhere")?;
    go(&peers.join("../../sdk-go"), "0", &["./internal/echoworker"], &into.join(""))?;
    go(&peers.join("go"), "0", &["./cmd/..."], &into.join(""))?;
    go(&peers.join("go"), "1", &["-buildmode=c-shared", "./cgo"], &into.join("libpeer-cgo.so"))
}

/// `go build` in `module`.
fn go(module: &Path, cgo: &str, what: &[&str], into: &Path) -> Result<()> {
    let mut command = Command::new("go");
    command.args(["build", "-o"]).arg(into).args(what).current_dir(module);
    match command.env("CGO_ENABLED", cgo).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("go build {what:?} in {}: {status}", module.display())),
        Err(e) => Err(format!("go: {e}; half of the peers are written in Go")),
    }
}
