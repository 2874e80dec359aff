//! `cargo xtask loom [--mutants]`: the shipped ring and doorbell under loom, and proof that the models notice.
//!
//! `--mutants` reads nylon-shm/tests/mutants.toml: rows of {name, file, find, replace, test}. Each row is applied to a copy of
//! the crate, and the named loom test must fail there. A mutant that does not apply exactly once is an error, so
//! that the table cannot fall behind the code.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use toml::{Table, Value};

use crate::process::{self, Ran};
use crate::{Result, target};

const LIMIT: Duration = Duration::from_secs(600);
const TESTS: [&str; 2] = ["loom_ring", "loom_doorbell"];

pub(crate) fn run(root: &Path, mutants: bool) -> Result<()> {
    if mutants {
        return run_mutants(root);
    }
    process::show(&mut command(root, &target(root).join("loom"), &TESTS))
}

/// The models that exist; the files of [`TESTS`] are the ones that must.
pub(crate) fn missing(root: &Path) -> Vec<&'static str> {
    let file = |test: &&str| !root.join(format!("nylon-shm/tests/{test}.rs")).exists();
    TESTS.into_iter().filter(file).collect()
}

/// All models, captured for the test runner.
pub(crate) fn captured(root: &Path) -> Result<Ran> {
    process::capture(&mut command(root, &target(root).join("loom"), &TESTS), LIMIT)
}

fn command(workspace: &Path, target: &Path, tests: &[&str]) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "-p", "nylon-shm", "--release"]).current_dir(workspace);
    for test in tests {
        cargo.args(["--test", test]);
    }
    cargo.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", target);
    cargo.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    cargo
}

struct Mutant {
    name: String,
    file: String,
    find: String,
    replace: String,
    test: String,
}

fn run_mutants(root: &Path) -> Result<()> {
    let mutants = table(&root.join("nylon-shm/tests/mutants.toml"))?;
    // Not the models' own folder: a mutated library must never be found there.
    let target =
        std::path::absolute(target(root).join("loom-mutants")).map_err(|e| e.to_string())?;
    println!("{:<34} {:<14} {:>8}  result", "mutant", "test", "seconds");
    let mut escaped = Vec::new();
    for mutant in &mutants {
        let copy = prepare(root, mutant)?;
        let ran = process::capture(&mut command(&copy, &target, &[&mutant.test]), LIMIT)?;
        // A mutant that does not compile proves nothing.
        let tested = ran.stdout.contains("test result:") || ran.stdout.contains("running ");
        if !tested {
            return Err(format!("mutant {} did not build:\n{}", mutant.name, ran.stderr));
        }
        let caught = !ran.ok();
        let word = if caught { "caught" } else { "ESCAPED" };
        println!("{:<34} {:<14} {:>8.1}  {word}", mutant.name, mutant.test, ran.seconds);
        if !caught {
            escaped.push(mutant.name.as_str());
        }
    }
    println!("{} mutants, {} caught", mutants.len(), mutants.len() - escaped.len());
    if escaped.is_empty() { Ok(()) } else { Err(format!("not caught: {}", escaped.join(", "))) }
}

fn table(path: &Path) -> Result<Vec<Mutant>> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let table: Table = text.parse().map_err(|e| format!("{}: {e}", path.display()))?;
    let rows = table.get("mutant").and_then(Value::as_array).ok_or("no [[mutant]] rows")?;
    if rows.is_empty() {
        return Err("no [[mutant]] rows".into());
    }
    let field = |row: &Value, key: &str| -> Result<String> {
        let value = row.get(key).and_then(Value::as_str);
        value.map(str::to_owned).ok_or(format!("a [[mutant]] without `{key}`: {row}"))
    };
    rows.iter()
        .map(|row| {
            Ok(Mutant {
                name: field(row, "name")?,
                file: field(row, "file")?,
                find: field(row, "find")?,
                replace: field(row, "replace")?,
                test: field(row, "test")?,
            })
        })
        .collect()
}

/// A small workspace of its own with the two crates, the text replaced.
fn prepare(root: &Path, mutant: &Mutant) -> Result<PathBuf> {
    let copy = target(root).join("mutants").join(&mutant.name);
    let _ = fs::remove_dir_all(&copy);
    for name in ["nylon-shm", "protocol"] {
        copy_tree(&root.join(name), &copy.join(name))?;
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml")).map_err(|e| e.to_string())?;
    let mut manifest: Table = manifest.parse().map_err(|e| format!("Cargo.toml: {e}"))?;
    let workspace = manifest.get_mut("workspace").and_then(Value::as_table_mut);
    let workspace = workspace.ok_or("Cargo.toml has no [workspace]")?;
    let members = ["nylon-shm", "protocol"].map(|m| Value::String(m.into()));
    workspace.insert("members".into(), Value::Array(members.into()));
    fs::write(copy.join("Cargo.toml"), manifest.to_string()).map_err(|e| e.to_string())?;
    fs::copy(root.join("Cargo.lock"), copy.join("Cargo.lock")).map_err(|e| e.to_string())?;

    // `file` is relative to the crate, with or without its name in front.
    let relative = mutant.file.strip_prefix("nylon-shm/").unwrap_or(&mutant.file);
    let file = copy.join("nylon-shm").join(relative);
    let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", mutant.file))?;
    let count = text.matches(&mutant.find).count();
    if count != 1 {
        return Err(format!(
            "mutant {}: `find` occurs {count} times in {}",
            mutant.name, mutant.file
        ));
    }
    fs::write(&file, text.replacen(&mutant.find, &mutant.replace, 1)).map_err(|e| e.to_string())?;
    Ok(copy)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(|e| e.to_string())?;
    for entry in fs::read_dir(from).map_err(|e| format!("{}: {e}", from.display()))?.flatten() {
        let (path, into) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_tree(&path, &into)?;
        } else {
            fs::copy(&path, &into).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}
