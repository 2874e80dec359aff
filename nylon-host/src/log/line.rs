//! One event as one line, as text or as a JSON object. Whatever a value holds, it is one line, and drives no terminal.

use std::cell::RefCell;
use std::fmt::{self, Debug, Write as _};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::recent::Ring;
use super::sink::Sink;
use super::{ACCESS, ATTRIBUTES, Format, PLUGIN, TRACE};

/// Targets with a line for every request.
const BY_REQUEST: [&str; 2] = [ACCESS, TRACE];

/// Writes every event into a sink, and keeps it for those who ask for the last lines.
pub(super) struct Lines {
    pub(super) format: Format,
    pub(super) sink: &'static Sink,
    /// For lines by request, and for all others.
    pub(super) requests: &'static Ring,
    pub(super) recent: &'static Ring,
}

thread_local! {
    /// Memory of the lines of a thread.
    static PARTS: RefCell<Parts> = RefCell::default();
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let put = |parts: &mut Parts| {
            let (now, target) = (SystemTime::now(), event.metadata().target());
            let by_request = BY_REQUEST.contains(&target);
            parts.write(self.format, event, now);
            // A plugin may have as many as it likes.
            self.sink.put(parts.line.as_bytes(), by_request || target == PLUGIN);
            let ring = if by_request { self.requests } else { self.recent };
            if ring.is_wanted() {
                if self.format != Format::Json {
                    parts.write(Format::Json, event, now);
                }
                ring.keep(parts.line.trim_end());
            }
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
        match self.format {
            Format::Json => escape(self.fields, value, true),
            Format::Text => put_text(self.fields, value),
        }
    }
}

/// Adds a text as the value of a field, in quotes if it needs them.
pub(super) fn put_text(into: &mut String, value: fmt::Arguments<'_>) {
    let begin = into.len();
    escape(into, value, true);
    if is_plain(&into[begin + 1..into.len() - 1]) {
        into.pop();
        into.remove(begin);
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
pub(super) struct Escape<'a> {
    pub(super) into: &'a mut String,
    pub(super) quoted: bool,
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

    use super::super::recent::Recent;
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

    /// A log of its own, and its lines of requests if somebody follows them.
    fn log(format: Format, keeps: bool) -> Lines {
        let sink: &'static Sink = Box::leak(Box::new(Sink::new()));
        std::thread::spawn(move || sink.run(std::io::sink(), |_| ()));
        let ring = |keeps| -> &'static Ring { Box::leak(Box::new(Ring::new(keeps))) };
        Lines { format, sink, requests: ring(false), recent: ring(keeps) }
    }

    #[test]
    fn what_is_kept_is_what_is_logged_in_either_format() {
        for format in [Format::Text, Format::Json] {
            let lines = log(format, true);
            let (recent, requests) = (Recent::of(lines.recent), lines.requests);
            let subscriber = tracing_subscriber::registry().with(lines);
            let following = tracing::subscriber::with_default(subscriber, || {
                some();
                tracing::info!(target: "access", status = 200, "request");
                let following = Recent::of(requests);
                tracing::info!(target: "access", status = 201, "request");
                following
            });
            let (records, lost) = recent.since(0);
            assert_eq!((records.len(), lost), (3, 0), "{format:?}");
            let ready = &records[0];
            assert_eq!(
                (&*ready.level, &*ready.target, &*ready.message),
                ("INFO", "nylon", "ready")
            );
            assert_eq!((ready.plugin.as_deref(), ready.worker), (Some("authz"), Some(7)));
            assert_eq!(records[1].message, "two\nlines \"q\"");
            let shown = records[2].to_string();
            assert!(shown.ends_with("ERROR nylon: error=\"\\\"a=b\\\"\""), "{shown}");
            let (requests, lost) = following.since(0);
            assert_eq!((requests.len(), lost), (1, 0), "from then on");
            assert_eq!(requests[0].fields["status"], 201);
        }
    }

    /// What keeping lines costs those who log them: the same load on logs that do and that do not, in turn.
    #[test]
    #[ignore = "a measurement"]
    fn cost_of_keeping() {
        let load = |lines: Lines| {
            let subscriber = tracing_subscriber::registry().with(lines);
            let begin = std::time::Instant::now();
            tracing::subscriber::with_default(subscriber, || {
                for n in 0..20_000 {
                    tracing::info!(target: "plugin", plugin = "authz", worker = 4711, generation = 1, stream = "stdout", "line {n}");
                }
            });
            begin.elapsed().as_secs_f64() / 20_000.0 * 1e9
        };
        for format in [Format::Text, Format::Json] {
            let mut pairs: Vec<_> =
                (0..21).map(|_| (load(log(format, false)), load(log(format, true)))).collect();
            pairs.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
            let (without, with) = pairs[10];
            println!("{format:?}: {without:.0} ns, kept {with:.0} ns: x{:.2}", with / without);
        }
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
