//! The golden vectors in two languages: each prints `vectors: N files`, and the numbers are the same and not 0.

use std::path::Path;
use std::time::Duration;

use super::report::Report;
use super::{Run, golang};
use crate::{Result, process, tool};

pub(super) fn both(run: &Run<'_>, report: &mut Report) -> Result<()> {
    tool::go(run.root)?;
    let package = format!("./{}", golang::WIRE);
    let mut go = golang::test(run, &run.root.join("sdk-go"), &[]);
    let go = process::capture(go.arg("-v").arg(&package), Duration::from_secs(240))?;
    golang::read("", &go, report);
    if run.filter.is_some() {
        return Ok(());
    }

    let program = run.artifacts.programs.iter();
    let mut program = program.filter(|p| p.package == "nylon-protocol" && p.target == "vectors");
    let program = program.next().ok_or("protocol/tests/vectors.rs is missing")?;
    let mut rust = std::process::Command::new(&program.path);
    rust.arg("--show-output").current_dir(&program.dir);
    let rust = process::capture(&mut rust, Duration::from_secs(240))?;

    let found = files(&run.root.join("protocol/vectors"));
    let counts = (count(&rust.stdout), count(&go.stdout));
    let agree = matches!(counts, (Some(r), Some(g)) if r == g && r == found && r > 0);
    let text =
        |n: Option<usize>| n.map_or("no line `vectors: N files`".to_owned(), |n| n.to_string());
    let said = format!(
        "Rust: {}, Go: {}, protocol/vectors holds {found} .json files",
        text(counts.0),
        text(counts.1)
    );
    if agree {
        println!("    vectors: {found} files in Rust and in Go");
    }
    report.count("vectors: the same files in Rust and Go", agree, &said);
    Ok(())
}

/// N of the first `vectors: N files`, wherever it stands in a line.
fn count(output: &str) -> Option<usize> {
    let (_, rest) = output.split_once("vectors: ")?;
    let (number, rest) = rest.split_once(' ')?;
    rest.starts_with("files").then(|| number.parse().ok())?
}

fn files(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    entries
        .map(|p| {
            if p.is_dir() {
                files(&p)
            } else {
                usize::from(p.extension().is_some_and(|e| e == "json"))
            }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn finds_the_count_in_plain_and_in_json_output() {
        assert_eq!(count("x\nvectors: 121 files\n"), Some(121));
        assert_eq!(count(r#"{"Output":"    v_test.go:9: vectors: 7 files\n"}"#), Some(7));
        assert_eq!(count("vectors: many files"), None);
    }
}
