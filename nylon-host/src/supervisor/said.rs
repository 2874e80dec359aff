//! A line of a worker that `sdk.Logger()` made: a JSON object with a mark. Its words are the plugin's, so none of them
//! can stand for what the host says of it: plugin, worker, generation, stream.

use serde_json::{Map, Value};
use tracing::Level;

use crate::printable::printable;

/// What marks such an object, as the SDK writes it.
const MARK: &[u8] = br#""nylon_log":1"#;
/// Bytes kept of a name or an id.
const NAME_MAX: usize = 128;

#[derive(Debug, PartialEq)]
pub(super) struct Said {
    pub(super) level: Level,
    pub(super) message: String,
    pub(super) entry: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) trace_id: Option<String>,
    /// A JSON object of what else it says.
    pub(super) attributes: Option<String>,
}

impl Said {
    /// `None` when the line is any other text.
    pub(super) fn of(line: &[u8]) -> Option<Self> {
        if line.first() != Some(&b'{') || !line.windows(MARK.len()).any(|part| part == MARK) {
            return None;
        }
        let mut said: Map<String, Value> = serde_json::from_slice(line).ok()?;
        if said.shift_remove("nylon_log")?.as_u64() != Some(1) {
            return None;
        }
        let mut text = |key: &str, max| match said.shift_remove(key) {
            Some(Value::String(text)) => Some(printable(&text, max)),
            Some(other) => Some(printable(&other.to_string(), max)),
            None => None,
        };
        let (_, _) = (text("time", 0), text("plugin", 0));
        let level = level(&text("level", NAME_MAX).unwrap_or_default());
        let message = text("msg", usize::MAX).unwrap_or_default();
        let entry = text("entry", NAME_MAX);
        let request_id = text("request_id", NAME_MAX);
        let trace_id = text("trace_id", NAME_MAX);
        let attributes = (!said.is_empty()).then(|| Value::Object(said).to_string());
        Some(Self { level, message, entry, request_id, trace_id, attributes })
    }
}

/// Go's levels, which lie between those with names as well: `INFO+2`.
fn level(text: &str) -> Level {
    match text.split(['+', '-']).next() {
        Some("DEBUG") => Level::DEBUG,
        Some("WARN") => Level::WARN,
        Some("ERROR") => Level::ERROR,
        _ => Level::INFO,
    }
}

#[cfg(test)]
mod tests {
    use super::{Level, Said};

    #[test]
    fn a_line_of_the_logger_is_taken_apart() {
        let line = br#"{"time":"x","level":"WARN+1","msg":"gave\nup","nylon_log":1,"plugin":"forged","worker":1,"target":"nylon","entry":"check","request_id":"r-1"}"#;
        assert_eq!(
            Said::of(line),
            Some(Said {
                level: Level::WARN,
                message: "gave\\nup".into(),
                entry: Some("check".into()),
                request_id: Some("r-1".into()),
                trace_id: None,
                attributes: Some(r#"{"worker":1,"target":"nylon"}"#.into()),
            })
        );
    }

    #[test]
    fn other_lines_are_text() {
        for line in [
            &b"plain"[..],
            b"",
            b"{}",
            br#"{"msg":"somebody else's JSON"}"#,
            br#"{"msg":"\"nylon_log\":1"}"#,
            br#"{"nylon_log":1,"msg":"cut o"#,
            br#"{"nylon_log":12,"msg":"x"}"#,
            br#"["nylon_log",{"nylon_log":1}]"#,
        ] {
            assert_eq!(Said::of(line), None, "{}", line.escape_ascii());
        }
        let deep = [br#"{"nylon_log":1,"x":"#.to_vec(), b"[".repeat(8000)].concat();
        assert_eq!(Said::of(&deep), None);
    }
}
