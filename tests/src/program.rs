//! The programs under test: the gateway and the Go plugins, found where the runner put them or built once.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

/// The workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate sits in the workspace")
}

/// The gateway: NYLON_BIN, or built here.
pub fn nylon() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(path) = std::env::var_os("NYLON_BIN") {
            return path.into();
        }
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--quiet", "-p", "nylon-host", "--bin", "nylon"]);
        run(cargo.current_dir(root()), "the gateway");
        target().join("debug/nylon")
    })
}

/// The worker that breaks rules (tests/src/bin/hostile.rs): beside this program, or built here.
pub fn hostile() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let name = "nylon-hostile-worker";
    let found = BUILT.get_or_init(|| {
        let own = std::env::current_exe().unwrap_or_default();
        let beside = own.ancestors().skip(1).take(2).map(|dir| dir.join(name));
        beside.into_iter().find(|file| file.exists()).unwrap_or_else(|| {
            let mut cargo = Command::new("cargo");
            cargo.args(["build", "--quiet", "-p", "nylon-tests", "--bin", name]);
            run(cargo.current_dir(root()), name);
            target().join("debug").join(name)
        })
    });
    found.clone()
}

/// A Go plugin by name: from NYLON_PLUGINS, or built here into target/plugins.
pub fn plugin(name: &str) -> PathBuf {
    static BUILT: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    if let Some(dir) = std::env::var_os("NYLON_PLUGINS") {
        let program = Path::new(&dir).join(name);
        if program.exists() {
            return program;
        }
    }
    let program = target().join("plugins").join(name);
    let mut built = BUILT.lock().unwrap_or_else(|e| e.into_inner());
    if built.get_or_insert_default().insert(name.to_owned()) {
        let mut go = Command::new("go");
        go.args(["build", "-o"]).arg(&program).arg(".").env("CGO_ENABLED", "0");
        run(go.current_dir(module(name)), name);
    }
    program
}

fn module(name: &str) -> PathBuf {
    let own = root().join("tests/plugins/go").join(name);
    if own.exists() { own } else { root().join("examples").join(name).join("plugin") }
}

fn target() -> PathBuf {
    let dir = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    root().join(dir)
}

fn run(command: &mut Command, what: &str) {
    let status = command.status().unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(status.success(), "{what} does not build: {status}");
}
