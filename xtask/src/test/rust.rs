//! Rust test programs: run with a limit, read as libtest prints.

use std::process::Command;
use std::time::Duration;

use super::Run;
use super::artifact::Program;
use super::report::Report;
use crate::Result;
use crate::process::{self, Ran};

/// Unit tests of these modules of nylon-host are the group `config`.
const CONFIG: [&str; 2] = ["config::", "template::"];

/// A program that is not done by then hangs.
const LIMIT: Duration = Duration::from_secs(240);
const LONG_LIMIT: Duration = Duration::from_secs(3600);

pub(super) fn group(run: &Run<'_>, name: &str, report: &mut Report) -> Result<()> {
    for program in &run.artifacts.programs {
        let host_units = program.package == "nylon-host" && program.kind == "lib";
        let wanted = program.group() == name || (name == "config" && host_units);
        // The models of loom need their own build; here the files are empty.
        if !wanted || program.target.starts_with("loom_") {
            continue;
        }
        let mut command = command(run, program);
        if host_units {
            split_host(name, &mut command);
        }
        let ran = process::capture(&mut command, if run.long { LONG_LIMIT } else { LIMIT })?;
        read(&program.target, &ran, report);
    }
    Ok(())
}

pub(super) fn doc_tests(run: &Run<'_>, report: &mut Report) -> Result<()> {
    if run.filter.is_some() {
        return Ok(());
    }
    let mut command = Command::new("cargo");
    command.args(["test", "--workspace", "--doc", "--no-fail-fast"]).current_dir(run.root);
    environment(run, &mut command);
    read("doc", &process::capture(&mut command, LIMIT)?, report);
    Ok(())
}

/// The unit tests of the host's library serve two groups.
fn split_host(group: &str, command: &mut Command) {
    for module in CONFIG {
        if group == "config" {
            command.arg(module);
        } else {
            command.args(["--skip", module]);
        }
    }
}

fn command(run: &Run<'_>, program: &Program) -> Command {
    let mut command = Command::new(&program.path);
    command.current_dir(&program.dir).arg("--show-output");
    command.env("CARGO_MANIFEST_DIR", &program.dir);
    if let Some(filter) = run.filter {
        command.arg(filter);
    }
    if run.long {
        command.arg("--include-ignored");
    }
    // Tests of whole processes on few cores: side by side they would measure each other.
    match (program.package.as_str(), program.group()) {
        ("nylon-tests", "phases" | "requests" | "responses" | "badinput" | "harness") => {
            command.arg("--test-threads=2")
        }
        // These wait most of the time: for a second of telemetry, for a back-off, for a watch.
        ("nylon-tests", "top" | "supervise" | "watch") => command.arg("--test-threads=2"),
        ("nylon-tests", _) | (_, "bench") => command.arg("--test-threads=1"),
        _ => &mut command,
    };
    environment(run, &mut command);
    command
}

fn environment(run: &Run<'_>, command: &mut Command) {
    command.env("NYLON_BIN", &run.artifacts.nylon);
    command.env("NYLON_PLUGINS", run.target.join("plugins"));
    if let Some(wstest) = &run.wstest {
        command.env("NYLON_WSTEST", wstest);
    }
    if run.long {
        command.env("NYLON_LONG", "1");
    }
}

/// Counts the lines `test NAME ... ok|FAILED|ignored[, reason]`; a program that ended otherwise than it says has failed.
pub(super) fn read(program: &str, ran: &Ran, report: &mut Report) {
    let before = report.failed.len();
    for (name, result) in ran.stdout.lines().filter_map(line) {
        let full = format!("{program} {name}");
        match result.split_once(", ").unwrap_or((result, "")) {
            ("ok", _) => report.passed.push(full),
            ("FAILED", _) => report.fail(&full, &section(&ran.stdout, name)),
            ("ignored", why) => report.skip(&full, if why.is_empty() { "ignored" } else { why }),
            _ => {}
        }
    }
    if !ran.ok() && report.failed.len() == before {
        report.fail(program, &format!("{}\n{}", ran.how(), ran.text()));
    }
}

/// `test a::b ... ok`, also `test a::b - should panic ... ok` and a doctest's `test src/lib.rs - (line 3) ... ok`.
fn line(text: &str) -> Option<(&str, &str)> {
    let (name, result) = text.strip_prefix("test ")?.rsplit_once(" ... ")?;
    Some((name.strip_suffix(" - should panic").unwrap_or(name), result.trim()))
}

/// What libtest kept of a failing test: from `---- NAME stdout ----` to the next heading.
fn section(stdout: &str, name: &str) -> String {
    let heading = format!("---- {name} stdout ----");
    let Some(from) = stdout.find(&heading) else { return String::new() };
    let rest = &stdout[from + heading.len()..];
    let end = ["\n---- ", "\nfailures:", "\nsuccesses:"].iter().filter_map(|h| rest.find(h)).min();
    rest[..end.unwrap_or(rest.len())].trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\nrunning 4 tests\ntest a::good ... ok\ntest a::panics - should panic ... ok\n\
        test slow ... ignored, long: an hour\ntest bad ... FAILED\n\nfailures:\n\n---- bad stdout ----\n\
        left is not right\n\nfailures:\n    bad\n\ntest result: FAILED. 2 passed; 1 failed; 1 ignored\n";

    #[test]
    fn counts_what_libtest_prints() {
        let ran = Ran { status: None, stdout: OUTPUT.into(), stderr: String::new(), seconds: 1.0 };
        let mut report = Report::new("x");
        read("p", &ran, &mut report);
        assert_eq!(report.passed, ["p a::good", "p a::panics"]);
        assert_eq!(report.failed, [("p bad".to_owned(), "left is not right".to_owned())]);
        assert_eq!(report.skipped, [("p slow".to_owned(), "long: an hour".to_owned())]);
    }

    #[test]
    fn a_program_that_never_ended_has_failed() {
        let ran = Ran { status: None, stdout: String::new(), stderr: String::new(), seconds: 9.0 };
        let mut report = Report::new("x");
        read("p", &ran, &mut report);
        assert_eq!(report.failed.len(), 1);
    }
}
