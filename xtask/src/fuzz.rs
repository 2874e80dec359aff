//! `cargo xtask fuzz [TARGET] [--seconds N]`: every fuzz target that exists, for a while.
//!
//! Rust targets are the tests of protocol/tests/fuzz.rs and nylon-shm/tests/fuzz.rs; they read NYLON_FUZZ_SECONDS. Go
//! targets are the `Fuzz…` functions of sdk-go.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::{Result, go, process, tool};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only targets whose name contains this
    target: Option<String>,
    /// For each target
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// One target and the command that runs it.
struct Target {
    name: String,
    command: Command,
}

pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    let mut targets = rust_targets(root, args.seconds)?;
    targets.extend(go_targets(root, args.seconds)?);
    if let Some(part) = &args.target {
        targets.retain(|t| t.name.contains(part.as_str()));
    }
    if targets.is_empty() {
        return Err("no fuzz target of that name".into());
    }
    let mut failed = 0;
    for target in &mut targets {
        let ran =
            process::capture(&mut target.command, Duration::from_secs(args.seconds * 3 + 240))?;
        let word = if ran.ok() { "ok    " } else { "FAILED" };
        println!("{word} {:<60} {:>6.1} s", target.name, ran.seconds);
        if !ran.ok() {
            failed += 1;
            println!("{}\n{}", ran.how(), ran.text());
        }
    }
    println!("{} targets, {failed} failed", targets.len());
    if failed == 0 { Ok(()) } else { Err(format!("{failed} fuzz targets failed")) }
}

fn rust_targets(root: &Path, seconds: u64) -> Result<Vec<Target>> {
    let mut found = Vec::new();
    for (dir, package) in [("protocol", "nylon-protocol"), ("nylon-shm", "nylon-shm")] {
        if !root.join(dir).join("tests/fuzz.rs").exists() {
            continue;
        }
        let cargo = || {
            let mut cargo = Command::new("cargo");
            cargo.args(["test", "--quiet", "-p", package, "--test", "fuzz"]).current_dir(root);
            cargo
        };
        let list = process::capture(cargo().args(["--", "--list"]), Duration::from_secs(600))?;
        if !list.ok() {
            return Err(list.text());
        }
        for name in list.stdout.lines().filter_map(|l| l.strip_suffix(": test")) {
            let mut command = cargo();
            command.args(["--", "--exact", name, "--include-ignored"]);
            command.env("NYLON_FUZZ_SECONDS", seconds.to_string());
            found.push(Target { name: format!("{package} {name}"), command });
        }
    }
    Ok(found)
}

fn go_targets(root: &Path, seconds: u64) -> Result<Vec<Target>> {
    let sdk = root.join("sdk-go");
    if !sdk.join("go.mod").exists() {
        return Ok(Vec::new());
    }
    tool::go(root)?;
    let mut list = go::command(&sdk, &["test", "-list", "^Fuzz", "-json", "./..."]);
    let list = process::capture(&mut list, Duration::from_secs(600))?;
    let mut found = Vec::new();
    for line in list.stdout.lines() {
        let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let (package, output) = (event["Package"].as_str(), event["Output"].as_str());
        let (Some(package), Some(name)) = (package, output.map(str::trim)) else { continue };
        if name.starts_with("Fuzz") {
            let (fuzz, time) = (format!("-fuzz=^{name}$"), format!("-fuzztime={seconds}s"));
            let command = go::command(&sdk, &["test", "-run=^$", &fuzz, &time, package]);
            found.push(Target { name: format!("{package} {name}"), command });
        }
    }
    Ok(found)
}
