//! `cargo xtask bench NAME [ARGS]`: builds the benches in release and becomes the one asked for.
//!
//! The benches are the files of benches/src/bench; the first line of each says what it is. The rows of a whole run stay
//! in target/bench/NAME.json, where `plot` finds them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, process, target, tool};

/// What is run elsewhere.
const OTHERS: [(&str, &str); 2] = [
    ("peers", "The same payloads through what a user would pick instead; a workspace of its own"),
    ("plot", "Charts of target/bench/*.json, or of the folder named, into benches/charts"),
];

pub(crate) fn run(root: &Path, args: &[String]) -> Result<()> {
    let known = known(root);
    let (name, rest) = match args.split_first() {
        Some((name, rest)) if !name.starts_with('-') => (name.as_str(), rest),
        _ => {
            println!("{}", usage(&known));
            return Ok(());
        }
    };
    match name {
        "plot" => plot(root, rest),
        "peers" => peers(root, rest),
        _ if known.iter().any(|(n, _)| n == name) => ours(root, name, rest),
        _ => Err(format!("there is no bench `{name}`\n\n{}", usage(&known))),
    }
}

/// The benches, by name, each with the line that says what it is.
fn known(root: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(root.join("benches/src/bench")).into_iter().flatten().flatten();
    let mut known: Vec<_> = files.filter_map(|file| described(&file.path())).collect();
    known.extend(OTHERS.map(|(name, about)| (name.to_owned(), about.to_owned())));
    known.sort();
    known
}

fn described(file: &Path) -> Option<(String, String)> {
    let name = file.file_stem()?.to_str()?;
    let text = fs::read_to_string(file).ok()?;
    let about = text.lines().next()?.strip_prefix("//! ")?;
    (name != "mod").then(|| (name.to_owned(), about.to_owned()))
}

fn usage(known: &[(String, String)]) -> String {
    let mut text = "cargo xtask bench NAME [--json FILE] [--quick] [--only CASE]\n".to_owned();
    for (name, about) in known {
        text += &format!("\n  {name:<12}{about}");
    }
    text + "\n\nWhat each figure means stands in benches/README.md."
}

fn ours(root: &Path, name: &str, rest: &[String]) -> Result<()> {
    tool::go(root)?;
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "-p", "nylon-benches", "-p", "nylon-host", "--bins"]);
    process::show(build.current_dir(root))?;
    bench(root, name, &target(root).join("release/nylon-benches"), rest)
}

/// Runs `program`; the rows of a whole run are kept.
fn bench(root: &Path, name: &str, program: &Path, rest: &[String]) -> Result<()> {
    let mut bench = Command::new(program);
    bench.arg(name).args(rest).env("NYLON_BIN", target(root).join("release/nylon"));
    let part = ["--json", "--quick", "--only"];
    if !rest.iter().any(|arg| part.iter().any(|p| arg.starts_with(p))) {
        let kept = target(root).join("bench");
        fs::create_dir_all(&kept).map_err(|e| format!("{}: {e}", kept.display()))?;
        bench.arg("--json").arg(kept.join(format!("{name}.json")));
    }
    process::show(&mut bench)
}

/// The bench `peers` is the program of the workspace benches/peers.
fn peers(root: &Path, rest: &[String]) -> Result<()> {
    tool::go(root)?;
    let into = std::path::absolute(target(root)).map_err(|e| e.to_string())?;
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--locked", "--workspace", "--target-dir"]);
    build.arg(into.join("peers")).current_dir(root.join("benches/peers"));
    process::show(&mut build)?;
    bench(root, "peers", &into.join("peers/release/nylon-peers"), rest)
}

/// Runs benches/plot.py with the packages it names, in an environment of its own below the target folder.
fn plot(root: &Path, rest: &[String]) -> Result<()> {
    let folder = match rest {
        [] => target(root).join("bench"),
        [folder] => PathBuf::from(folder),
        _ => return Err("cargo xtask bench plot [FOLDER]".into()),
    };
    let benches = root.join("benches");
    let python = tool::venv(&target(root).join("plot"), &benches.join("requirements.txt"))?;
    let mut plot = Command::new(&python);
    process::show(plot.arg(benches.join("plot.py")).arg(folder).arg(benches.join("charts")))
}
