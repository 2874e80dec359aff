//! The last lines a worker printed, whatever became of them in the log: for the report of its end.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::output::text;

/// A line that a worker printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// When it was read: RFC 3339, UTC.
    pub at: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// Its text, escaped, and cut off at 2 KiB.
    pub text: String,
    /// Whether it is missing in the log, as the worker printed too much.
    pub dropped: bool,
}

/// Lines kept, of both streams together.
pub(super) const LINES: usize = 50;
/// Bytes kept of each before it is escaped: a worker costs the host 100 KiB or so, and never more.
const LINE_KEPT: usize = 2 * 1024;

/// Keeps the last lines, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Tail {
    lines: Mutex<VecDeque<Kept>>,
}

#[derive(Debug)]
struct Kept {
    at: SystemTime,
    stream: &'static str,
    line: Vec<u8>,
    dropped: bool,
}

impl Tail {
    /// Adds a line; one that is `dropped` is not in the log.
    pub(super) fn push(&self, stream: &'static str, line: &[u8], dropped: bool) {
        let kept = &line[..line.len().min(LINE_KEPT)];
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut oldest = None;
        if lines.len() >= LINES {
            oldest = lines.pop_front();
        }
        // Its memory is used again.
        let mut line = oldest.map(|old| old.line).unwrap_or_default();
        line.clear();
        line.extend_from_slice(kept);
        lines.push_back(Kept { at: SystemTime::now(), stream, line, dropped });
    }

    /// Adds the last lines of `bytes`, none of which are in the log; what follows the last line's end is left out.
    pub(super) fn push_dropped(&self, stream: &'static str, bytes: &[u8]) {
        let ends = bytes.iter().rposition(|b| *b == b'\n').unwrap_or(0);
        let last: Vec<_> = bytes[..ends].rsplit(|b| *b == b'\n').take(LINES).collect();
        for line in last.iter().rev().filter(|_| ends > 0) {
            self.push(stream, line, true);
        }
    }

    /// What is kept, oldest first.
    pub(super) fn lines(&self) -> Vec<LogLine> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = |kept: &Kept| LogLine {
            at: humantime::format_rfc3339_millis(kept.at).to_string(),
            stream: kept.stream.to_owned(),
            text: text(&kept.line),
            dropped: kept.dropped,
        };
        lines.iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(tail: &Tail) -> Vec<String> {
        tail.lines().into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn the_last_fifty_lines_of_both_streams_in_order() {
        let tail = Tail::default();
        for n in 0..60 {
            let stream = if n % 2 == 0 { "stdout" } else { "stderr" };
            tail.push(stream, format!("line {n}").as_bytes(), false);
        }
        let expected: Vec<_> = (10..60).map(|n| format!("line {n}")).collect();
        assert_eq!(texts(&tail), expected);
        assert!(tail.lines().iter().all(|line| !line.dropped && line.at.ends_with('Z')));
        assert_eq!(tail.lines()[1].stream, "stderr");
    }

    #[test]
    fn long_lines_are_cut_and_escaped() {
        let tail = Tail::default();
        tail.push("stdout", &[b'x'; 10_000], false);
        tail.push("stdout", b"\x1b[31mred\r", false);
        assert_eq!(texts(&tail), ["x".repeat(LINE_KEPT), "\\u{1b}[31mred".to_owned()]);
    }

    #[test]
    fn what_was_dropped_is_kept_by_its_lines() {
        let tail = Tail::default();
        tail.push_dropped("stderr", b"no end");
        tail.push_dropped("stderr", b"");
        assert_eq!(tail.lines(), []);
        tail.push_dropped("stderr", b"one\ntwo\nbegun");
        assert_eq!(texts(&tail), ["one", "two"]);
        let many: String = (0..200).map(|n| format!("{n}\n")).collect();
        tail.push_dropped("stderr", many.as_bytes());
        assert_eq!(texts(&tail), (150..200).map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(tail.lines().iter().all(|line| line.dropped));
    }
}
