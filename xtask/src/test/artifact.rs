//! The build: one cargo invocation for every test program, and which group each belongs to.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Result;

/// One test program.
pub(super) struct Program {
    pub(super) path: PathBuf,
    /// Its package's folder, where it runs.
    pub(super) dir: PathBuf,
    pub(super) package: String,
    pub(super) kind: String,
    pub(super) target: String,
}

#[derive(Default)]
pub(super) struct Artifacts {
    pub(super) programs: Vec<Program>,
    /// The gateway.
    pub(super) nylon: PathBuf,
}

impl Artifacts {
    pub(super) fn groups(&self) -> Vec<String> {
        let mut groups: Vec<String> = self.programs.iter().map(|p| p.group().to_owned()).collect();
        groups.sort();
        groups.dedup();
        groups
    }
}

impl Program {
    /// Files of tests/tests are a group each; the rest goes by package.
    pub(super) fn group(&self) -> &str {
        match (self.package.as_str(), self.kind.as_str()) {
            (_, "example") => "examples",
            ("nylon-tests", "test") => &self.target,
            ("nylon-benches", "test") => "bench",
            // What measures is tested with what tests.
            ("nylon-tests" | "nylon-benches", _) => "harness",
            ("nylon-protocol", _) => "protocol",
            ("nylon-shm", _) => "shm",
            ("nylon-host", "test") if self.target.contains("config") => "config",
            ("nylon-host", _) => "host",
            (package, _) => package.strip_prefix("nylon-").unwrap_or(package),
        }
    }
}

pub(super) fn build(root: &Path, target: &Path) -> Result<Artifacts> {
    let mut artifacts = Artifacts::default();
    let args = ["test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"];
    for message in cargo(root, &args)? {
        if message["reason"] != "compiler-artifact" {
            continue;
        }
        let Some(path) = message["executable"].as_str().map(PathBuf::from) else { continue };
        let name = message["target"]["name"].as_str().unwrap_or_default().to_owned();
        let kind = message["target"]["kind"][0].as_str().unwrap_or_default().to_owned();
        let manifest = Path::new(message["manifest_path"].as_str().unwrap_or_default());
        let dir = manifest.parent().unwrap_or(root).to_owned();
        if message["profile"]["test"] == true {
            let package = package(manifest);
            artifacts.programs.push(Program { path, dir, package, kind, target: name });
        } else if name == "nylon" {
            artifacts.nylon = path;
        }
    }
    artifacts.programs.sort_by(|a, b| (&a.package, &a.target).cmp(&(&b.package, &b.target)));
    if artifacts.nylon.as_os_str().is_empty() {
        // Cargo builds a program beside its tests only where the package has a tests folder.
        cargo(root, &["build", "-p", "nylon-host", "--bin", "nylon"])?;
        artifacts.nylon = target.join("debug/nylon");
    }
    Ok(artifacts)
}

fn cargo(root: &Path, args: &[&str]) -> Result<Vec<Value>> {
    let mut command = Command::new("cargo");
    command.args(args).current_dir(root).stderr(Stdio::inherit());
    let out = command.output().map_err(|e| format!("cargo: {e}"))?;
    if !out.status.success() {
        return Err("the tests do not build".into());
    }
    let text = String::from_utf8_lossy(&out.stdout);
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn package(manifest: &Path) -> String {
    let text = std::fs::read_to_string(manifest).unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    table["package"]["name"].as_str().unwrap_or_default().to_owned()
}
