//! The Go modules of the tree: the SDK, the test plugins, the examples, a client.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `honnef.co/go/tools` that runs on Go 1.26.
pub(crate) const STATICCHECK: &str = "honnef.co/go/tools/cmd/staticcheck@v0.8.2";

/// One program for a gateway to start.
pub(crate) struct Plugin {
    /// Name of the program in target/plugins.
    pub(crate) name: String,
    /// Its module.
    pub(crate) dir: PathBuf,
}

/// tests/plugins/go/NAME and examples/NAME/plugin, in the order of their names.
pub(crate) fn plugins(root: &Path) -> Vec<Plugin> {
    let mut found = Vec::new();
    for dir in folders(&root.join("tests/plugins/go")) {
        found.push((name(&dir), dir));
    }
    for example in folders(&root.join("examples")) {
        found.push((name(&example), example.join("plugin")));
    }
    found.retain(|(_, dir)| dir.join("go.mod").exists());
    found.into_iter().map(|(name, dir)| Plugin { name, dir }).collect()
}

/// Every module: the SDK first, a client of the tests last.
pub(crate) fn modules(root: &Path) -> Vec<PathBuf> {
    let sdk = root.join("sdk-go");
    let mut all: Vec<PathBuf> = plugins(root).into_iter().map(|p| p.dir).collect();
    all.push(root.join("tests/clients/go"));
    if sdk.join("go.mod").exists() {
        all.insert(0, sdk);
    }
    all
}

/// `go ARGS` in `dir`.
pub(crate) fn command(dir: &Path, args: &[&str]) -> Command {
    let mut go = Command::new("go");
    go.args(args).current_dir(dir);
    go
}

/// Builds one plugin without cgo, as its users do.
pub(crate) fn build(plugin: &Plugin, into: &Path) -> Command {
    let mut go = command(&plugin.dir, &["build", "-o"]);
    go.arg(into.join(&plugin.name)).arg(".").env("CGO_ENABLED", "0");
    go
}

/// The folders in `dir`, sorted; none if it does not exist.
pub(crate) fn folders(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.is_dir())
        .collect();
    found.sort();
    found
}

fn name(dir: &Path) -> String {
    dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
