//! The log: lines of the gateway and its plugins on standard error, as text or JSON.
//!
//! In: `tracing` events of every room.  Out: lines, written by a thread of their own; the last of them as objects.
//! Never: a wait of who logs; a line that finds no room is dropped and counted ([`dropped`]).

mod levels;
mod line;
mod recent;
mod sink;

use std::fmt::Display;
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::Log;
use line::Lines;
use recent::Ring;
use sink::{Sink, Stderr};

pub use recent::{LogRecord, Recent};

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Time, level, target, message, fields as `name=value`.
    #[default]
    Text,
    /// A JSON object: `time`, `level`, `target`, `message`, and each field by its name.
    Json,
}

impl Format {
    /// All of them, by name.
    pub(crate) const NAMES: [(&'static str, Self); 2] =
        [("text", Self::Text), ("json", Self::Json)];
}

/// Target of what plugins print.
pub(crate) const PLUGIN: &str = "plugin";
/// Target of one line per request.
pub(crate) const ACCESS: &str = "access";
/// Target of one line per span.
pub(crate) const TRACE: &str = "trace";
/// The field of a plugin's line that holds a JSON object of the plugin's own.
pub(crate) const ATTRIBUTES: &str = "attributes";

/// How long the end of the process waits for lines that are not written yet.
const LAST_LINES: Duration = Duration::from_secs(1);

static SINK: Sink = Sink::new();
static RECENT: Ring = Ring::new(true);
static REQUESTS: Ring = Ring::new(false);

/// The last lines of the gateway and its plugins, as far as the log's levels let them pass. None before [`start`]: a program
/// that embeds the host has a `tracing` subscriber of its own.
pub fn recent() -> Recent {
    Recent::of(&RECENT)
}

/// Likewise lines of requests, the targets `access` and `trace`; from now on, and as long as somebody follows them.
pub fn requests() -> Recent {
    Recent::of(&REQUESTS)
}

/// Lines lost since the start of the process: whoever reads standard error is too slow, or its disk is full.
pub fn dropped() -> u64 {
    SINK.dropped()
}

/// A log that was started. Dropped, it writes out what is queued, within a second.
#[derive(Debug)]
#[must_use = "dropped at once, what is logged last is lost"]
pub struct Logging {
    format: Format,
}

impl Logging {
    /// Tells the operator something of several lines: as they are, or as the message of one JSON line.
    pub fn warn(&self, lines: &dyn Display) {
        match self.format {
            Format::Text => eprintln!("{lines}"),
            Format::Json => tracing::warn!(target: "nylon", "{}", lines.to_string().trim_end()),
        }
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        SINK.flush(LAST_LINES);
    }
}

/// Logs to standard error from now on, panics included. `NYLON_LOG` and `NYLON_LOG_FORMAT` go before `settings`; what
/// is not understood in them is a warning.
///
/// # Panics
/// If the process logs already.
pub fn start(settings: &Log) -> Logging {
    let wanted = std::env::var_os("NYLON_LOG").unwrap_or_default();
    let wanted = wanted.to_string_lossy();
    let wanted = if wanted.trim().is_empty() { &settings.level } else { &*wanted };
    let wanted = levels::targets(wanted).unwrap_or_else(|piece| {
        eprintln!(
            "warning: `{piece}` in NYLON_LOG is neither a level nor TARGET=LEVEL: logging at `info`"
        );
        eprintln!("  = help: {LEVELS_HELP}\n");
        levels::info()
    });
    let format = format(settings.format);
    let lines = Lines { format, sink: &SINK, requests: &REQUESTS, recent: &RECENT };
    tracing_subscriber::registry().with(wanted).with(lines).init();
    let lost =
        |dropped| tracing::warn!(target: "nylon", dropped, "the log was too slow: lines dropped");
    let writer = std::thread::Builder::new().name("log".into());
    if let Err(e) = writer.spawn(move || SINK.run(Stderr, lost)) {
        eprintln!("warning: no thread for the log, which stays empty: {e}\n");
    }
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(tracing::field::display);
        let what = panic.payload_as_str().unwrap_or("a panic without a text");
        tracing::error!(target: "nylon", at, "panic: {what}");
    }));
    Logging { format }
}

/// What a level may look like, for who wrote another.
pub(crate) const LEVELS_HELP: &str =
    "levels are off, error, warn, info, debug and trace, as in `warn,plugin=info`";

/// The piece of `levels` that is neither a level nor `TARGET=LEVEL`, if there is one.
pub(crate) fn not_understood(levels: &str) -> Option<&str> {
    levels::targets(levels).err()
}

fn format(configured: Format) -> Format {
    let wanted = std::env::var_os("NYLON_LOG_FORMAT").unwrap_or_default();
    let wanted = wanted.to_string_lossy();
    let known = Format::NAMES.iter().find(|(name, _)| *name == wanted.trim());
    if known.is_none() && !wanted.trim().is_empty() {
        eprintln!("warning: `{wanted}` in NYLON_LOG_FORMAT is no format of the log");
        eprintln!("  = help: formats are text and json\n");
    }
    known.map_or(configured, |(_, format)| *format)
}
