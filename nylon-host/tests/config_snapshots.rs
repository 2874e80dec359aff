//! Every `tests/config/NAME.yaml` is loaded, and what `nylon` would print about it is compared
//! with `NAME.stderr`. `NAME` may also be a directory with a `nylon.yaml` in it, for problems that
//! span files. A name that ends in `_lenient` is loaded in lenient mode.
//!
//! After a deliberate change of messages: `UPDATE_SNAPSHOTS=1 cargo test --test config_snapshots`,
//! then read the difference.

use nylon_host::config::{self, Mode};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const SNAPSHOTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config");

#[test]
fn messages_are_as_expected() {
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    let mut failures = String::new();
    let cases = cases();
    assert!(cases.len() >= 20, "only {} cases found in {SNAPSHOTS}", cases.len());
    for (name, file) in cases {
        // These two are about a machine without a system-wide configuration.
        let system_wide = matches!(name.as_str(), "empty_file" | "nothing_to_serve");
        if system_wide && Path::new("/etc/nylon/config").exists() {
            continue;
        }
        let printed = printed(&name, &file);
        let expected_file = Path::new(SNAPSHOTS).join(format!("{name}.stderr"));
        if update {
            fs::write(&expected_file, &printed).expect("snapshot is written");
        }
        let expected = fs::read_to_string(&expected_file).unwrap_or_default();
        if printed != expected {
            write!(failures, "== {name}\n-- expected\n{expected}-- printed\n{printed}").unwrap();
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// Name and runtime file of every case.
fn cases() -> Vec<(String, PathBuf)> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(SNAPSHOTS).expect("the directory of snapshots") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            cases.push((name, path.join("nylon.yaml")));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            cases.push((name, path));
        }
    }
    cases.sort();
    cases
}

/// What is printed about a file, and whether it was taken.
fn printed(name: &str, file: &Path) -> String {
    let mode = if name.ends_with("_lenient") { Mode::Lenient } else { Mode::Strict };
    let (text, verdict) = match config::load(file, mode) {
        Ok(loaded) => {
            let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
            (warnings.join("\n"), "taken")
        }
        Err(refused) => (refused.to_string(), "refused"),
    };
    format!("{text}-- {verdict}\n").replace(&format!("{SNAPSHOTS}/"), "")
}
