//! Each defect of the original that belongs to the plugin runtime has a mark, and a test named after it.

use super::report::Report;

/// B19–B21 are configuration and S4 HTTP/2: tested with those.
const MARKS: [&str; 22] = [
    "b01", "b02", "b03", "b04", "b05", "b06", "b07", "b08", "b09", "b10", "b11", "b12", "b13",
    "b14", "b15", "b16", "b17", "b18", "s1", "s2", "s3", "s5",
];

/// A mark passes when a test with `bug_MARK` in its name ran; whether that test passed, its own group says.
pub(super) fn compare(reports: &[Report]) -> Report {
    let mut report = Report::new("bugs");
    let names: Vec<String> =
        reports.iter().flat_map(Report::names).map(str::to_lowercase).collect();
    for mark in MARKS {
        let found = names.iter().any(|name| has(name, mark));
        let why = format!("no test named bug_{mark}_… ran in Rust or Go");
        report.count(&format!("bug_{mark}"), found, &why);
    }
    report
}

/// `bug_b05_…`, `TestBugB05…`, `Test_bug_b05`; not `bug_s1` in `bug_s12`.
fn has(name: &str, mark: &str) -> bool {
    [format!("bug_{mark}"), format!("bug{mark}")].iter().any(|needle| {
        name.match_indices(needle.as_str())
            .any(|(at, _)| !name[at + needle.len()..].starts_with(|c: char| c.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_in_the_names_of_both_languages() {
        assert!(has("phases bug_b05_parallel_getters", "b05"));
        assert!(has("sdk-go testbugb05parallelgetters", "b05"));
        assert!(has("sdk-go testbug_s1_fails_closed", "s1"));
        assert!(!has("bug_s12_other", "s1"));
    }

    #[test]
    fn a_mark_without_a_test_is_named() {
        let mut ran = Report::new("phases");
        ran.passed.push("phases bug_b01_deadline".into());
        let report = compare(&[ran]);
        assert_eq!(report.passed, ["bug_b01"]);
        assert!(report.failed.iter().any(|(name, _)| name == "bug_s5"));
    }
}
