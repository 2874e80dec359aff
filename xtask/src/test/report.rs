//! What one group did.

use serde_json::{Value, json};

/// Lines of a failing program's output that are shown.
const SHOWN: usize = 120;

pub(super) struct Report {
    pub(super) group: String,
    pub(super) passed: Vec<String>,
    /// Name and output.
    pub(super) failed: Vec<(String, String)>,
    /// Name and reason.
    pub(super) skipped: Vec<(String, String)>,
    pub(super) seconds: f64,
}

impl Report {
    pub(super) fn new(group: &str) -> Report {
        let group = group.to_owned();
        Report { group, passed: Vec::new(), failed: Vec::new(), skipped: Vec::new(), seconds: 0.0 }
    }

    pub(super) fn count(&mut self, name: &str, ok: bool, output: &str) {
        if ok { self.passed.push(name.to_owned()) } else { self.fail(name, output) }
    }

    pub(super) fn fail(&mut self, name: &str, output: &str) {
        self.failed.push((name.to_owned(), output.to_owned()));
    }

    pub(super) fn skip(&mut self, name: &str, reason: &str) {
        self.skipped.push((name.to_owned(), reason.to_owned()));
    }

    pub(super) fn ran(&self) -> usize {
        self.passed.len() + self.failed.len()
    }

    /// Names of the tests that ran to an end.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.passed.iter().chain(self.failed.iter().map(|(name, _)| name)).map(String::as_str)
    }

    pub(super) fn why_nothing(&self) -> String {
        match self.skipped.len() {
            0 => format!("the group `{}` has no test that could be found", self.group),
            n => format!("all {n} tests of the group `{}` were skipped", self.group),
        }
    }

    pub(super) fn print(&self) {
        let Report { group, passed, failed, skipped, seconds } = self;
        let (p, f, s) = (passed.len(), failed.len(), skipped.len());
        println!("{group:<12} {p:>7} {f:>7} {s:>8} {seconds:>9.1}");
        for (name, _) in failed {
            println!("    FAILED {name}");
        }
        for (name, reason) in skipped {
            println!("    skipped {name}: {reason}");
        }
    }

    pub(super) fn print_failures(&self) {
        for (name, output) in &self.failed {
            println!("\n--- {}: {name}", self.group);
            let lines: Vec<&str> = output.trim_end().lines().collect();
            let cut = lines.len().saturating_sub(SHOWN);
            if cut > 0 {
                println!("… {cut} lines before these");
            }
            println!("{}", lines[cut..].join("\n"));
        }
    }

    pub(super) fn json(&self) -> Value {
        let failed: Vec<&str> = self.failed.iter().map(|(name, _)| name.as_str()).collect();
        let skipped: Vec<Value> =
            self.skipped.iter().map(|(name, why)| json!({"name": name, "reason": why})).collect();
        json!({
            "group": self.group, "ran": self.ran(), "passed": self.passed.len(),
            "failed": self.failed.len(), "skipped": self.skipped.len(),
            "seconds": (self.seconds * 10.0).round() / 10.0,
            "failures": failed, "skips": skipped,
        })
    }
}
