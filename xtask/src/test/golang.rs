//! Go tests, read as `go test -json` prints.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::Run;
use super::report::Report;
use crate::process::{self, Ran};
use crate::{Result, go, tool};

const LIMIT: Duration = Duration::from_secs(300);

/// The package whose vectors the group `protocol` runs.
pub(super) const WIRE: &str = "internal/wire";

/// The SDK: all packages without cgo, then under the race detector what `-short` leaves.
pub(super) fn sdk(run: &Run<'_>, report: &mut Report) -> Result<()> {
    tool::go(run.root)?;
    let dir = run.root.join("sdk-go");
    let list = process::capture(&mut go::command(&dir, &["list", "./..."]), LIMIT)?;
    if !list.ok() {
        return Err(list.text());
    }
    let packages: Vec<&str> = list.stdout.lines().filter(|p| !p.ends_with(WIRE)).collect();
    let mut all = test(run, &dir, &[]);
    read("", &process::capture(all.args(&packages).env("CGO_ENABLED", "0"), LIMIT)?, report);

    if let Err(why) = tool::cc() {
        report.skip("race detector", &why);
        return Ok(());
    }
    let mut race = test(run, &dir, &["-race", "-short"]);
    read("race ", &process::capture(race.args(&packages).env("CGO_ENABLED", "1"), LIMIT)?, report);
    Ok(())
}

/// The examples' own tests.
pub(super) fn examples(run: &Run<'_>, report: &mut Report) -> Result<()> {
    tool::go(run.root)?;
    for plugin in go::plugins(run.root) {
        if plugin.dir.starts_with(run.root.join("examples")) {
            let ran = process::capture(test(run, &plugin.dir, &[]).arg("./..."), LIMIT)?;
            read("", &ran, report);
        }
    }
    Ok(())
}

/// `go test -json -count=1` with the flags and, in the group `bugs` alone, its filter.
pub(super) fn test(run: &Run<'_>, dir: &Path, flags: &[&str]) -> Command {
    let mut command = go::command(dir, &["test", "-json", "-count=1"]);
    command.args(flags);
    if run.filter.is_some() {
        command.args(["-run", "(?i)bug_?[bs][0-9]"]);
    }
    if run.long {
        command.env("NYLON_LONG", "1").arg("-timeout=55m");
    }
    command
}

/// Counts tests and subtests; a package that failed without a failing test (build, panic, limit) counts as one.
pub(super) fn read(prefix: &str, ran: &Ran, report: &mut Report) {
    let mut output: HashMap<String, String> = HashMap::new();
    let mut build = String::new();
    let before = report.failed.len();
    for line in ran.stdout.lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            build.push_str(line);
            build.push('\n');
            continue;
        };
        let text = |key: &str| event[key].as_str().unwrap_or_default();
        let package = text("Package").rsplit("/nylon/").next().unwrap_or_default();
        let name = format!("{prefix}{package} {}", text("Test")).trim_end().to_owned();
        match (text("Action"), text("Test").is_empty()) {
            ("output", _) => output.entry(name).or_default().push_str(text("Output")),
            ("build-output", _) => build.push_str(text("Output")),
            ("pass", false) => report.passed.push(name),
            ("skip", false) => {
                let said = output.remove(&name).unwrap_or_default();
                report.skip(&name, reason(&said));
            }
            ("fail", false) => {
                let said = output.remove(&name).unwrap_or_default();
                report.fail(&name, &said);
            }
            ("fail", true) if !report.failed.iter().any(|(n, _)| n.starts_with(&name)) => {
                let said = output.remove(&name).unwrap_or_default();
                report.fail(&name, &format!("{build}{said}"));
            }
            _ => {}
        }
    }
    if !ran.ok() && report.failed.len() == before {
        report.fail(&format!("{prefix}go test"), &format!("{}\n{build}{}", ran.how(), ran.stderr));
    }
}

/// The last line a skipped test printed that is its own: `    x_test.go:12: needs two cores`.
fn reason(output: &str) -> &str {
    let own = output.lines().rev().map(str::trim);
    let mut own = own.filter(|l| !l.is_empty() && !l.starts_with("---") && !l.starts_with("==="));
    own.next().map_or("skipped", |l| l.split_once(": ").map_or(l, |(_, why)| why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_go_test_prints() {
        let stdout = [
            r#"{"Action":"output","Package":"github.com/nylon-rs/nylon/sdk-go","Test":"TestA","Output":"--- PASS: TestA\n"}"#,
            r#"{"Action":"pass","Package":"github.com/nylon-rs/nylon/sdk-go","Test":"TestA"}"#,
            r#"{"Action":"output","Package":"github.com/nylon-rs/nylon/sdk-go","Test":"TestB","Output":"    b_test.go:3: two cores\n"}"#,
            r#"{"Action":"output","Package":"github.com/nylon-rs/nylon/sdk-go","Test":"TestB","Output":"--- SKIP: TestB\n"}"#,
            r#"{"Action":"skip","Package":"github.com/nylon-rs/nylon/sdk-go","Test":"TestB"}"#,
            r#"{"Action":"build-output","ImportPath":"x","Output":"undefined: y\n"}"#,
            r#"{"Action":"fail","Package":"github.com/nylon-rs/nylon/sdk-go/internal/shm"}"#,
        ]
        .join("\n");
        let ran = Ran { status: None, stdout, stderr: String::new(), seconds: 1.0 };
        let mut report = Report::new("x");
        read("", &ran, &mut report);
        assert_eq!(report.passed, ["sdk-go TestA"]);
        assert_eq!(report.skipped, [("sdk-go TestB".to_owned(), "two cores".to_owned())]);
        assert_eq!(
            report.failed,
            [("sdk-go/internal/shm".to_owned(), "undefined: y\n".to_owned())]
        );
    }
}
