//! `cargo xtask bench NAME [ARGS]`: builds the benches in release and becomes the one asked for. `peers` lives in a
//! workspace of its own, benches/peers.

use std::path::Path;
use std::process::Command;

use crate::{Result, go, process, target, tool};

pub(crate) fn run(root: &Path, name: &str, rest: &[String]) -> Result<()> {
    tool::go(root)?;
    if name == "peers" {
        return peers(root, rest);
    }
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "-p", "nylon-benches", "-p", "nylon-host", "--bins"]);
    process::show(build.current_dir(root))?;
    let bin = target(root).join("release");
    let plugins = target(root).join("plugins");
    for plugin in go::plugins(root) {
        process::show(&mut go::build(
            &plugin,
            &std::path::absolute(&plugins).map_err(|e| e.to_string())?,
        ))?;
    }
    let program = bin.join("nylon-benches");
    if !program.exists() {
        return Err("the crate nylon-benches has no program `nylon-benches`".into());
    }
    let mut bench = Command::new(program);
    bench.arg(name).args(rest).env("NYLON_BIN", bin.join("nylon")).env("NYLON_PLUGINS", plugins);
    process::show(&mut bench)
}

/// Builds what the lane is held against, in release, and runs it.
fn peers(root: &Path, rest: &[String]) -> Result<()> {
    let target = std::path::absolute(target(root)).map_err(|e| e.to_string())?.join("peers");
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--locked", "--workspace", "--target-dir"]).arg(&target);
    process::show(build.current_dir(root.join("benches/peers")))?;
    process::show(Command::new(target.join("release/nylon-peers")).arg("peers").args(rest))
}
