//! The last lines of the log as objects, for those who ask the process itself for them.

use std::fmt::{self, Display, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::PLUGIN;
use super::line::{Escape, put_text};
use crate::history::History;

/// Lines that are kept, and bytes of them.
const LINES: usize = 1000;
const BYTES: usize = 1 << 20;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogRecord {
    /// Its number: from 1, without gaps, of [`recent`](super::recent) and of [`requests`](super::requests) each.
    pub seq: u64,
    /// When: RFC 3339, UTC, microseconds.
    pub time: String,
    /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    pub level: String,
    /// What part of the host it comes from; `plugin`: what a plugin printed.
    pub target: String,
    /// What it says; may be empty, and may have control characters in it.
    pub message: String,
    /// The plugin it is of or about.
    pub plugin: Option<String>,
    /// Pid of the worker.
    pub worker: Option<u32>,
    /// Which start of the plugin that worker is, from 1.
    pub generation: Option<u32>,
    /// Id of the request.
    pub request_id: Option<String>,
    /// All others, by their names.
    pub fields: Map<String, Value>,
}

/// A line as it is in the log, a JSON object: taken apart for those who look, as nobody may.
#[derive(Debug)]
struct Line {
    seq: u64,
    json: Box<str>,
}

/// Lines of one kind.
#[derive(Debug)]
pub(super) struct Ring {
    lines: History<Line>,
    wanted_by: AtomicUsize,
}

impl Ring {
    /// Lines that are kept in any case, or only as long as somebody follows them.
    pub(super) const fn new(always: bool) -> Self {
        let wanted_by = AtomicUsize::new(if always { 1 } else { 0 });
        Self { lines: History::new(LINES, BYTES), wanted_by }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted_by.load(Ordering::Relaxed) > 0
    }

    /// Keeps a line, a JSON object.
    pub(super) fn keep(&self, json: &str) {
        let json: Box<str> = json.into();
        self.lines.add(json.len() + PLACE, |seq| Line { seq, json });
    }
}

/// What a line takes beside its text: its place in the ring, and its head in memory.
const PLACE: usize = 64;

/// The last lines of the log: 1 000, and no more than a MiB of them. Lines to come can be waited for; who logs them waits for
/// nobody.
#[derive(Debug)]
pub struct Recent(&'static Ring);

impl Recent {
    pub(super) fn of(ring: &'static Ring) -> Self {
        ring.wanted_by.fetch_add(1, Ordering::Relaxed);
        Self(ring)
    }

    /// Lines after number `after`, oldest first, and how many of those are not kept any more. 0: all there are. A number
    /// that this process has not come to is taken for one of a process before it, likewise.
    pub fn since(&self, after: u64) -> (Vec<LogRecord>, u64) {
        records(self.0.lines.since(after))
    }

    /// As [`Self::since`], at least one: waits for it.
    pub async fn next(&self, after: u64) -> (Vec<LogRecord>, u64) {
        records(self.0.lines.next(after).await)
    }

    /// Number of the last line, 0 before the first.
    pub fn last(&self) -> u64 {
        self.0.lines.last()
    }
}

impl Drop for Recent {
    fn drop(&mut self) {
        if self.0.wanted_by.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.lines.clear();
        }
    }
}

fn records((lines, lost): (Vec<Arc<Line>>, u64)) -> (Vec<LogRecord>, u64) {
    (lines.iter().map(|line| LogRecord::of(line)).collect(), lost)
}

impl LogRecord {
    /// Takes a line of the log apart.
    fn of(Line { seq, json }: &Line) -> Self {
        // What a plugin says may be nested deeper than is read here: then its line stands as it is.
        let unread = || Map::from_iter([("message".to_owned(), Value::from(&**json))]);
        let mut fields = serde_json::from_str(json).unwrap_or_else(|_| unread());
        let mut take = |name: &str| fields.shift_remove(name);
        let text = |value| match value {
            Some(Value::String(text)) => Some(text),
            other => other.map(|value: Value| value.to_string()),
        };
        let number = |value: Option<Value>| u32::try_from(value?.as_u64()?).ok();
        Self {
            seq: *seq,
            time: text(take("time")).unwrap_or_default(),
            level: text(take("level")).unwrap_or_default(),
            target: text(take("target")).unwrap_or_default(),
            message: text(take("message")).unwrap_or_default(),
            plugin: text(take("plugin")),
            worker: number(take("worker")),
            generation: number(take("generation")),
            request_id: text(take("request_id")),
            fields,
        }
    }
}

/// As in the log's text.
impl Display for LogRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, level, target, message, plugin, worker, generation, request_id, .. } =
            self;
        let said = target == PLUGIN;
        let mut line = format!("{time} {level:>5} {target}:");
        if !said && !message.is_empty() {
            line.push(' ');
            Escape { into: &mut line, quoted: false }.write_str(message)?;
        }
        let texts = [("plugin", plugin), ("request_id", request_id)];
        let numbers = [("worker", worker), ("generation", generation)];
        let [plugin, request_id] =
            texts.map(|(name, text)| (name, text.as_deref().map(Value::from)));
        let [worker, generation] = numbers.map(|(name, number)| (name, number.map(Value::from)));
        let known = [plugin, worker, generation, request_id];
        let known = known.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?)));
        for (name, value) in known.chain(self.fields.iter().map(|(name, value)| (&**name, value))) {
            let _ = write!(line, " {name}=");
            match value {
                Value::String(text) => put_text(&mut line, format_args!("{text}")),
                other => Escape { into: &mut line, quoted: false }.write_str(&other.to_string())?,
            }
        }
        if said {
            line.push_str(" | ");
            Escape { into: &mut line, quoted: false }.write_str(message)?;
        }
        f.write_str(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(always: bool) -> &'static Ring {
        Box::leak(Box::new(Ring::new(always)))
    }

    #[test]
    fn a_line_is_taken_apart_and_shown_as_in_the_log() {
        let ring = ring(true);
        ring.keep(
            r#"{"time":"T","level":"INFO","target":"plugin","message":"x\ny","plugin":"a b","worker":7,"generation":2,"stream":"stderr","request_id":"r","attributes":{"user":"\u009b"}}"#,
        );
        ring.keep(r#"{"time":"T","level":"WARN","target":"nylon","message":"gone","how":"by itself","ms":1.5}"#);
        ring.keep(&"[".repeat(500));
        let (records, lost) = Recent::of(ring).since(0);
        assert_eq!((records.len(), lost), (3, 0));
        let said = &records[0];
        assert_eq!((said.seq, said.message.as_str()), (1, "x\ny"));
        assert_eq!((said.plugin.as_deref(), said.request_id.as_deref()), (Some("a b"), Some("r")));
        assert_eq!((said.worker, said.generation, said.fields.len()), (Some(7), Some(2), 2));
        let expected = r#"T  INFO plugin: plugin="a b" worker=7 generation=2 request_id=r stream=stderr attributes={"user":"\u009b"} | x\ny"#;
        assert_eq!(said.to_string(), expected);
        assert_eq!(records[1].to_string(), "T  WARN nylon: gone how=\"by itself\" ms=1.5");
        assert_eq!(records[2].message.len(), 500);
        let json = serde_json::to_string(said).expect("JSON");
        assert_eq!(serde_json::from_str::<LogRecord>(&json).expect("it"), *said);
    }

    #[test]
    fn lines_of_requests_are_kept_for_those_who_follow_only() {
        let ring = ring(false);
        assert!(!ring.is_wanted());
        let (one, other) = (Recent::of(ring), Recent::of(ring));
        drop(one);
        assert!(ring.is_wanted());
        ring.keep("{}");
        assert_eq!((other.since(0).0.len(), other.last()), (1, 1));
        drop(other);
        assert!(!ring.is_wanted());
        assert_eq!(Recent::of(ring).since(0), (vec![], 1));
    }
}
