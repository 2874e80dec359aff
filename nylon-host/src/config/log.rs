//! What is told of requests and plugins: the log, the header of failed plugins, traces.

use super::diagnostic::Report;
use super::fields::Fields;
use super::yaml::Value;
use crate::log::{Format, LEVELS_HELP, not_understood};

/// How the gateway logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// How a line looks; `NYLON_LOG_FORMAT` goes before it.
    pub format: Format,
    /// A level, or one per target; empty: `info`. `NYLON_LOG` goes before it.
    pub level: String,
    /// Whether each request is logged when it is over.
    pub access: bool,
}

impl Log {
    pub(super) fn read(fields: &mut Fields<'_>, report: &mut Report) -> Self {
        let mut log = Self::default();
        let Some(mut section) = fields.map("log", "log section", report) else { return log };
        let format = section.choice("format", &Format::NAMES, report);
        log.format = format.map_or(log.format, |format| format.value);
        if let Some(level) = section.text("level", report) {
            if let Some(piece) = not_understood(&level.value) {
                let message = format!("`{piece}` is neither a level nor TARGET=LEVEL");
                report.error(&level.at, message).help = Some(LEVELS_HELP.to_owned());
            }
            log.level = level.value;
        }
        log.access = section.boolean("access", report).unwrap_or(log.access);
        section.finish(report);
        log
    }
}

/// Which requests are traced (W3C Trace Context).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracing {
    /// Whether sampled traces of clients are continued, and others begun.
    pub enabled: bool,
    /// Of the requests that come without a trace, the share for which one begins: 0 none ..= `u32::MAX` all.
    pub sample: u32,
}

impl Default for Tracing {
    /// What clients sampled is continued; no trace begins here.
    fn default() -> Self {
        Self { enabled: true, sample: 0 }
    }
}

impl Tracing {
    pub(super) fn read(fields: &mut Fields<'_>, report: &mut Report) -> Self {
        let mut tracing = Self::default();
        let Some(mut section) = fields.map("tracing", "tracing section", report) else {
            return tracing;
        };
        tracing.enabled = section.boolean("enabled", report).unwrap_or(tracing.enabled);
        if let Some(node) = section.get("sample") {
            let share = match &node.value {
                Value::Number(number) => {
                    number.as_f64().filter(|share| (0.0..=1.0).contains(share))
                }
                _ => None,
            };
            match share {
                #[expect(clippy::cast_possible_truncation, reason = "0 ..= u32::MAX")]
                Some(share) => tracing.sample = (share * f64::from(u32::MAX)) as u32,
                None => {
                    report
                        .error(&node.at, "`sample` must be a number from 0 to 1".to_owned())
                        .help =
                        Some("0.01 begins a trace for one in a hundred requests".to_owned());
                }
            }
        }
        section.finish(report);
        tracing
    }
}
