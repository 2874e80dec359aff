//! `cargo xtask test [GROUP…]`: every test of every language, in groups.
//!
//! One cargo invocation builds every test program of the workspace; [`rust`] and [`golang`] run what they find and read
//! the outputs; [`report`] counts. A group in which nothing ran fails, so a missing toolchain or a lost file is seen.

mod artifact;
mod bugs;
mod golang;
mod report;
mod rust;
mod vectors;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Result, go, loom, process, target, tool};
use artifact::Artifacts;
use report::Report;

/// Groups that must exist, in the order they run; other test programs follow under their package's name.
const GROUPS: [&str; 23] = [
    "plugins",
    "protocol",
    "shm",
    "loom",
    "config",
    "host",
    "doc",
    "sdk-go",
    "xtask",
    "harness",
    "phases",
    "requests",
    "responses",
    "streams",
    "proxying",
    "leftovers",
    "badinput",
    "lifecycle",
    "crash",
    "chaos",
    "bigbody",
    "examples",
    "bench",
];

/// The group that needs Autobahn's tests.
const AUTOBAHN: &str = "websocket_autobahn";

/// The group that needs clients of WebSockets in other languages.
const CLIENTS: &str = "websocket_clients";

/// The group that compares the marks of the original's defects with the names of the tests that ran.
const BUGS: &str = "bugs";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these groups
    group: Vec<String>,
    /// Write one object per group to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Run everything this many times; the build happens once
    #[arg(long, default_value_t = 1)]
    repeat: u32,
    /// Also what takes longer than the default run allows
    #[arg(long)]
    long: bool,
}

/// What every group gets to see.
struct Run<'a> {
    root: &'a Path,
    /// Absolute, as test programs run in their own folders.
    target: PathBuf,
    artifacts: Artifacts,
    /// Autobahn's `wstest`, if a group needs it and it is there.
    wstest: Option<PathBuf>,
    long: bool,
    /// Only tests with this in their name: set when the group `bugs` runs alone.
    filter: Option<&'static str>,
}

pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    let start = Instant::now();
    let target = std::path::absolute(target(root)).map_err(|e| e.to_string())?;
    let mut artifacts = Artifacts::default();
    if args.group.is_empty() || args.group.iter().any(|g| needs_cargo(g)) {
        artifacts = artifact::build(root, &target)?;
        println!("build {:.1} s", start.elapsed().as_secs_f64());
    }
    let names = selected(&args.group, &artifacts)?;
    let alone = args.group.iter().all(|g| g == BUGS) && !args.group.is_empty();
    let filter = alone.then_some("bug_");
    let wstest = (names.iter().any(|n| n == AUTOBAHN) && !alone)
        .then(|| tool::autobahn(&target).map_err(|why| eprintln!("{AUTOBAHN}: {why}")).ok())
        .flatten();
    if names.iter().any(|n| n == CLIENTS) && !alone {
        // Its tests fail, and say what they miss.
        tool::websocket_clients(root, &target).unwrap_or_else(|why| eprintln!("{CLIENTS}: {why}"));
    }
    let run = Run { root, target, artifacts, wstest, long: args.long, filter };

    let mut all: Vec<Report> = Vec::new();
    for round in 1..=args.repeat.max(1) {
        if args.repeat > 1 {
            println!("round {round} of {}", args.repeat);
        }
        all.extend(one_round(&run, &names));
    }
    if let Some(file) = &args.json {
        let rows: Vec<Value> = all.iter().map(Report::json).collect();
        let text = serde_json::to_string_pretty(&rows).map_err(|e| e.to_string())?;
        fs::write(file, text + "\n").map_err(|e| format!("{}: {e}", file.display()))?;
    }
    finish(&all, start)
}

/// The groups asked for, or all there are.
fn selected(asked: &[String], artifacts: &Artifacts) -> Result<Vec<String>> {
    let mut known: Vec<String> = GROUPS.iter().map(|g| (*g).to_owned()).collect();
    for group in artifacts.groups() {
        if !known.contains(&group) {
            known.push(group);
        }
    }
    if asked.is_empty() || asked.iter().all(|g| g == BUGS) {
        known.push(BUGS.into());
        return Ok(known);
    }
    for group in asked {
        if group != BUGS && !known.contains(group) {
            return Err(format!("no group `{group}`; there are {}, {BUGS}", known.join(", ")));
        }
    }
    Ok(asked.to_vec())
}

fn needs_cargo(group: &str) -> bool {
    !matches!(group, "plugins" | "sdk-go" | "loom")
}

fn one_round(run: &Run<'_>, names: &[String]) -> Vec<Report> {
    println!("{:<12} {:>7} {:>7} {:>8} {:>9}", "group", "passed", "failed", "skipped", "seconds");
    let mut reports: Vec<Report> = Vec::new();
    for name in names.iter().filter(|n| *n != BUGS) {
        let start = Instant::now();
        let mut report = Report::new(name);
        group(run, name, &mut report);
        report.seconds = start.elapsed().as_secs_f64();
        if report.ran() == 0 && run.filter.is_none() {
            report.fail("nothing ran", &report.why_nothing());
        }
        report.print();
        reports.push(report);
    }
    if names.iter().any(|n| n == BUGS) {
        let report = bugs::compare(&reports);
        report.print();
        reports.push(report);
    }
    reports
}

/// Runs one group: what every language has in it.
fn group(run: &Run<'_>, name: &str, report: &mut Report) {
    let done = match name {
        "plugins" => plugins(run, report),
        "loom" => loom_models(run, report),
        "doc" => rust::doc_tests(run, report),
        "sdk-go" => golang::sdk(run, report),
        "protocol" => rust::group(run, name, report).and_then(|()| vectors::both(run, report)),
        "examples" => rust::group(run, name, report).and_then(|()| golang::examples(run, report)),
        _ => rust::group(run, name, report),
    };
    if let Err(why) = done {
        report.fail(name, &why);
    }
}

/// Every Go plugin, built as its author would; the groups after this one use the programs.
fn plugins(run: &Run<'_>, report: &mut Report) -> Result<()> {
    if run.filter.is_some() {
        return Ok(());
    }
    tool::go(run.root)?;
    for plugin in go::plugins(run.root) {
        let mut build = go::build(&plugin, &run.target.join("plugins"));
        let ran = process::capture(&mut build, Duration::from_secs(300))?;
        report.count(&plugin.name, ran.ok(), &ran.text());
    }
    Ok(())
}

fn loom_models(run: &Run<'_>, report: &mut Report) -> Result<()> {
    if run.filter.is_some() {
        return Ok(());
    }
    let missing = loom::missing(run.root);
    if !missing.is_empty() {
        return Err(format!("nylon-shm/tests lacks {}", missing.join(", ")));
    }
    let ran = loom::captured(run.root)?;
    rust::read("loom", &ran, report);
    Ok(())
}

fn finish(all: &[Report], start: Instant) -> Result<()> {
    let sum = |of: fn(&Report) -> usize| all.iter().map(of).sum::<usize>();
    let (passed, failed) = (sum(|r| r.passed.len()), sum(|r| r.failed.len()));
    let skipped = sum(|r| r.skipped.len());
    for report in all.iter().filter(|r| !r.failed.is_empty()) {
        report.print_failures();
    }
    println!("\n{:.1} s", start.elapsed().as_secs_f64());
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { Ok(()) } else { std::process::exit(1) }
}
