//! Builds the programs written in Go, beside this one.

use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::process::itself;

/// Of a Unix socket's path there is little room, of a name's length enough: each program is `peer-NAME`.
pub(crate) fn all() -> Result<()> {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR"));
    go(&peers.join("../../sdk-go"), "./internal/echoworker", false)?;
    go(&peers.join("go"), "./cmd/...", false)
}

/// `go build` of the programs in `what`.
fn go(module: &Path, what: &str, cgo: bool) -> Result<()> {
    let itself = itself()?;
    let into = itself.parent().ok_or("this program is nowhere")?;
    let mut command = Command::new("go");
    command.args(["build", "-o"]).arg(into.join("")).arg(what).current_dir(module);
    match command.env("CGO_ENABLED", if cgo { "1" } else { "0" }).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("go build {what} in {}: {status}", module.display())),
        Err(e) => Err(format!("go: {e}; half of the peers are written in Go")),
    }
}
