//! One event as one line, as text or as a JSON object. Whatever a value holds, it is one line, and drives no terminal.

use std::cell::RefCell;
use std::fmt::{self, Debug, Write as _};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::sink::Sink;
use super::{ATTRIBUTES, Format, PLUGIN};

/// Targets with a line for every request, or as many as a plugin likes.
const MANY: [&str; 3] = [PLUGIN, super::ACCESS, super::TRACE];

/// Writes every event into a sink.
pub(super) struct Lines {
    pub(super) format: Format,
    pub(super) sink: &'static Sink,
}

thread_local! {
    /// Memory of the lines of a thread.
    static PARTS: RefCell<Parts> = RefCell::default();
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let put = |parts: &mut Parts| {
            parts.write(self.format, event, SystemTime::now());
            self.sink.put(parts.line.as_bytes(), MANY.contains(&event.metadata().target()));
        };
        PARTS.with(|parts| match parts.try_borrow_mut() {
            Ok(mut parts) => put(&mut parts),
            // A value that logs while it is written.
            Err(_) => put(&mut Parts::default()),
        });
    }
}

#[derive(Debug, Default)]
struct Parts {
    message: String,
    /// All others, each with what separates it from what is before it.
    fields: String,
    line: String,
}

impl Parts {
    fn write(&mut self, format: Format, event: &Event<'_>, now: SystemTime) {
        let Self { message, fields, line } = self;
        [&mut *message, &mut *fields, &mut *line].into_iter().for_each(String::clear);
        let (level, target) = (event.metadata().level(), event.metadata().target());
        let plugin = target == PLUGIN;
        event.record(&mut Visitor { format, plugin, message, fields });
        let time = humantime::format_rfc3339_micros(now);
        let _ = match format {
            Format::Json => {
                let message = if message.is_empty() { "\"\"" } else { message };
                let head =
                    format_args!(r#"{{"time":"{time}","level":"{level}","target":"{target}""#);
                writeln!(line, r#"{head},"message":{message}{fields}}}"#)
            }
            // What a plugin says comes last: it may look like anything, but is never taken for a field of the host.
            Format::Text if plugin => {
                writeln!(line, "{time} {level:>5} {target}:{fields} | {message}")
            }
            Format::Text if message.is_empty() => {
                writeln!(line, "{time} {level:>5} {target}:{fields}")
            }
            Format::Text => writeln!(line, "{time} {level:>5} {target}: {message}{fields}"),
        };
    }
}

struct Visitor<'a> {
    format: Format,
    plugin: bool,
    message: &'a mut String,
    fields: &'a mut String,
}

impl Visitor<'_> {
    fn key(&mut self, field: &Field) {
        let name = field.name();
        let name = name.strip_prefix("r#").unwrap_or(name);
        let _ = match self.format {
            Format::Json => write!(self.fields, r#","{name}":"#),
            Format::Text => write!(self.fields, " {name}="),
        };
    }

    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        self.key(field);
        let _ = write!(self.fields, "{value}");
    }

    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if field.name() == "message" {
            let quoted = self.format == Format::Json;
            return escape(self.message, value, quoted);
        }
        self.key(field);
        let begin = self.fields.len();
        escape(self.fields, value, true);
        if self.format == Format::Text && is_plain(&self.fields[begin + 1..self.fields.len() - 1]) {
            self.fields.pop();
            self.fields.remove(begin);
        }
    }
}

/// Whether a text needs no quotes.
fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || (c.is_ascii_graphic() && !r#""\="#.contains(c));
    !text.is_empty() && text.chars().all(plain)
}

impl Visit for Visitor<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.bare(field, value);
        } else {
            self.text(field, format_args!("{value}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if self.plugin && field.name() == ATTRIBUTES {
            self.key(field);
            // JSON already; only inside its texts are there characters to be escaped.
            let mut into = Escape { into: self.fields, quoted: false };
            let _ = into.write_str(value);
            return;
        }
        self.text(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, format_args!("{value:?}"));
    }
}

fn escape(into: &mut String, value: fmt::Arguments<'_>, quoted: bool) {
    let quote = if quoted { "\"" } else { "" };
    into.push_str(quote);
    let _ = Escape { into, quoted }.write_fmt(value);
    into.push_str(quote);
}

/// Makes control characters visible, as JSON does, and quotes too if the text stands in quotes.
struct Escape<'a> {
    into: &'a mut String,
    quoted: bool,
}

impl fmt::Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '"' | '\\' if self.quoted => self.into.extend(['\\', c]),
                '\n' => self.into.push_str("\\n"),
                '\r' => self.into.push_str("\\r"),
                '\t' if !self.quoted => self.into.push('\t'),
                '\t' => self.into.push_str("\\t"),
                // Two that end a line for some readers besides the control characters.
                c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                    write!(self.into, "\\u{:04x}", u32::from(c))?;
                }
                c => self.into.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, UNIX_EPOCH};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    struct Kept(Format, Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut parts = Parts::default();
            let time = UNIX_EPOCH + Duration::from_micros(1_795_465_052_000_017);
            parts.write(self.0, event, time);
            self.1.lock().unwrap().push(parts.line);
        }
    }

    fn lines(format: Format, log: impl FnOnce()) -> Vec<String> {
        let kept = Arc::default();
        let subscriber = tracing_subscriber::registry().with(Kept(format, Arc::clone(&kept)));
        tracing::subscriber::with_default(subscriber, log);
        kept.lock().unwrap().drain(..).collect()
    }

    fn some() {
        tracing::info!(target: "nylon", plugin = %"authz", worker = 7, up = true, "ready");
        tracing::warn!(target: "nylon", how = "exit status 7", empty = "", ms = 1.25, "two\nlines \"q\"");
        tracing::error!(target: "nylon", error = ?"a=b");
    }

    #[test]
    fn text_is_one_line_with_fields_that_a_program_can_read() {
        assert_eq!(
            lines(Format::Text, some),
            [
                "2026-11-23T20:17:32.000017Z  INFO nylon: ready plugin=authz worker=7 up=true\n",
                "2026-11-23T20:17:32.000017Z  WARN nylon: two\\nlines \"q\" how=\"exit status 7\" empty=\"\" ms=1.25\n",
                "2026-11-23T20:17:32.000017Z ERROR nylon: error=\"\\\"a=b\\\"\"\n",
            ]
        );
    }

    #[test]
    fn json_is_flat_and_in_a_fixed_order() {
        let lines = lines(Format::Json, some);
        assert_eq!(
            lines[0],
            "{\"time\":\"2026-11-23T20:17:32.000017Z\",\"level\":\"INFO\",\"target\":\"nylon\",\
             \"message\":\"ready\",\"plugin\":\"authz\",\"worker\":7,\"up\":true}\n"
        );
        let second: serde_json::Value = serde_json::from_str(&lines[1]).expect("JSON");
        assert_eq!(second["message"], "two\nlines \"q\"");
        assert_eq!((&second["how"], &second["ms"]), (&"exit status 7".into(), &1.25.into()));
        let third: serde_json::Value = serde_json::from_str(&lines[2]).expect("JSON");
        assert_eq!(third["message"], "");
    }

    #[test]
    fn what_a_plugin_says_comes_last_and_is_escaped() {
        let said = || {
            let attributes = "{\"user\":\"\u{9b}31m\"}";
            tracing::info!(target: "plugin", plugin = "a", attributes, "x plugin=b\u{1b}[2J\u{2028}");
        };
        assert_eq!(
            lines(Format::Text, said),
            [
                "2026-11-23T20:17:32.000017Z  INFO plugin: plugin=a attributes={\"user\":\"\\u009b31m\"} | x plugin=b\\u001b[2J\\u2028\n"
            ]
        );
        let json: serde_json::Value =
            serde_json::from_str(&lines(Format::Json, said)[0]).expect("JSON");
        assert_eq!(json["plugin"], "a");
        assert_eq!(json["attributes"]["user"], "\u{9b}31m");
    }
}
