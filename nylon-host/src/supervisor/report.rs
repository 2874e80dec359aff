//! What is known of a worker that ended without being asked to.
//!
//! Made when its process is gone and its rings and sessions are still as it left them; nothing is done for it before.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use nix::sys::signal::Signal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::output::Output;
use super::spawn::Exit;
use super::tail::LogLine;
use super::{Plugin, PluginSpec};
use crate::lane::{Fault, Lane, LaneDump, SessionDump};

/// The end of a worker, as a report of it. Nothing of payloads is in it; request ids and what the worker printed are.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CrashReport {
    /// What it is called: plugin and generation, `authz-7`.
    pub id: String,
    /// The plugin.
    pub plugin: String,
    /// Its program.
    pub program: PathBuf,
    /// Which start of the plugin it was, from 1.
    pub generation: u32,
    /// Its process id.
    pub pid: u32,
    /// When it was ready, or when it was started if it never was: RFC 3339, UTC.
    pub started: String,
    /// When it had ended: likewise.
    pub ended: String,
    /// How long after that.
    pub lived_ms: u64,
    /// How its process ended.
    pub exit: ExitReport,
    /// Who ended it, and why.
    pub cause: Cause,
    /// Its memory when that was looked at last, if it was.
    pub rss_bytes: Option<u64>,
    /// Its lanes as it left them: rings, last frames, sessions in flight. None of one that never was ready.
    pub lanes: Vec<LaneDump>,
    /// What it printed last: 50 lines at most, also those that the log had no room for.
    pub log: Vec<LogLine>,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExitReport {
    /// By itself.
    Status(i32),
    /// By a signal.
    Signal {
        /// Its number.
        number: i32,
        /// Its name, `SIGKILL`; empty for those without.
        name: String,
    },
    /// The kernel did not say.
    Unknown(String),
}

/// Who ended a worker, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// Not the host: it did itself, or something outside.
    NotTheHost,
    /// The host, as it broke the protocol: which rule.
    Violation(String),
    /// The host, as so many of its handlers never answered.
    Hung,
    /// The host, for another reason.
    Killed(String),
    /// The host, as it never became a worker: what it did instead.
    NotReady(String),
}

impl CrashReport {
    /// Sessions in flight, of all lanes.
    pub fn sessions(&self) -> impl Iterator<Item = &SessionDump> {
        self.lanes.iter().flat_map(|lane| &lane.sessions)
    }
}

impl From<&io::Result<Exit>> for ExitReport {
    fn from(exit: &io::Result<Exit>) -> Self {
        match exit {
            Ok(Exit::Status(code)) => Self::Status(*code),
            Ok(Exit::Signal(number)) => {
                let name = Signal::try_from(*number).map_or("", Signal::as_str).to_owned();
                Self::Signal { number: *number, name }
            }
            Err(e) => Self::Unknown(e.to_string()),
        }
    }
}

impl From<Option<&Fault>> for Cause {
    fn from(fault: Option<&Fault>) -> Self {
        match fault {
            None | Some(Fault::Died(_)) => Self::NotTheHost,
            Some(Fault::Violation(rule)) => Self::Violation(rule.to_string()),
            Some(Fault::Hung) => Self::Hung,
            Some(other) => Self::Killed(other.to_string()),
        }
    }
}

/// A worker whose process is gone and was not asked to go.
pub(super) struct Ended<'a> {
    pub(super) spec: &'a PluginSpec,
    pub(super) generation: u32,
    pub(super) pid: u32,
    /// When it was ready, or started if it never was, by both clocks.
    pub(super) since: (Instant, SystemTime),
    pub(super) exit: &'a io::Result<Exit>,
    pub(super) cause: Cause,
    /// Its memory in bytes, if somebody knows.
    pub(super) rss: Option<u64>,
}

impl Ended<'_> {
    /// Makes the report of it, while the sessions of its lanes are still open; kept with its plugin's once its last words
    /// are read.
    pub(super) fn report(self, plugin: &Arc<Plugin>, lanes: &[Arc<Lane>], output: &Output) {
        let Self { spec, generation, pid, since: (since, started), exit, cause, rss } = self;
        let now = Instant::now();
        let mut report = CrashReport {
            id: format!("{}-{generation}", spec.name),
            plugin: spec.name.clone(),
            program: spec.program.clone(),
            generation,
            pid,
            started: humantime::format_rfc3339_millis(started).to_string(),
            ended: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            lived_ms: now.duration_since(since).as_millis().try_into().unwrap_or(u64::MAX),
            exit: exit.into(),
            cause,
            rss_bytes: rss,
            lanes: lanes.iter().map(|lane| lane.dump(now)).collect(),
            log: Vec::new(),
        };
        let (plugin, dir, last_words) =
            (plugin.clone(), spec.crash_reports.clone(), output.last_words());
        tokio::spawn(async move {
            report.log = last_words.await;
            plugin.crashes.keep(report, dir).await;
        });
    }
}
