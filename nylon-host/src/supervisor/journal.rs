//! What happened to the plugins of a host: the last events, to be read and followed.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::history::History;
use crate::printable::printable;

/// Events that are kept, and bytes of them.
const KEPT: usize = 1000;
const KEPT_BYTES: usize = 1 << 20;
/// Bytes kept of what is told in detail.
const DETAIL_MAX: usize = 4 * 1024;

/// Something that happened to a plugin, to one of its workers, or to the host as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Its number: from 1 for each host, without gaps.
    pub seq: u64,
    /// When: RFC 3339, UTC.
    pub time: String,
    /// The plugin; empty where it is about all of them.
    pub plugin: String,
    /// What happened.
    pub kind: EventKind,
    /// Pid of the worker it happened to, if it was one that had been started.
    pub worker: Option<u32>,
    /// Which start of the plugin that worker is, from 1.
    pub generation: Option<u32>,
    /// The build, from 1, that the worker runs, or that serves from now on.
    pub build: Option<u32>,
    /// More of it, in words; may be empty. At most 4 KiB, and may have several lines.
    pub detail: String,
}

/// What happened. In JSON the name, `not_started`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// A worker process was started.
    Started,
    /// A worker is ready.
    Ready,
    /// A worker did not become one: why.
    NotStarted,
    /// A worker ended by itself, unasked: with which status.
    Exited,
    /// A worker ended unasked by a signal, whoever sent it: how.
    Crashed,
    /// A worker gives no sign, or too many of its handlers never answered: it was told to dump its stacks (SIGQUIT).
    Hung,
    /// The host kills a worker: why.
    Killed,
    /// No new requests go to a worker, which stops when it has none; or to the whole plugin, as an operator wants it.
    Draining,
    /// All workers of a drained plugin are gone.
    Drained,
    /// A worker ended as it was asked to: how.
    Stopped,
    /// An operator took the plugin out of service.
    Paused,
    /// It takes requests again.
    Resumed,
    /// An operator wants new workers of the same build.
    Restarting,
    /// They serve.
    Restarted,
    /// An operator wants another program to serve: which.
    Upgrading,
    /// It does.
    Upgraded,
    /// An operator wants the build back that served before.
    RollingBack,
    /// It serves.
    RolledBack,
    /// A restart, an upgrade or a rollback was not done: why.
    Refused,
    /// A reload wants another configuration of the plugin to serve.
    Reloading,
    /// It does; of the host as a whole: the new configuration serves.
    Reloaded,
    /// A reload was not done: why.
    ReloadRefused,
    /// Nothing is started any more until somebody says so: too many failures, or it would not help.
    Failed,
    /// The load asks for more workers, or fewer: how many.
    Scaled,
    /// The plugin is not kept any more: a reload left it out, or the host stops.
    Gone,
}

/// What an event is of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Of {
    pub(crate) worker: Option<u32>,
    pub(crate) generation: Option<u32>,
    pub(crate) build: Option<u32>,
}

impl Of {
    /// A worker: its pid, its generation and its build.
    pub(super) fn worker(pid: u32, generation: u32, build: u32) -> Self {
        Self { worker: Some(pid), generation: Some(generation), build: Some(build) }
    }

    /// A plugin, by the build it is about.
    pub(super) fn build(build: u32) -> Self {
        Self { build: Some(build), ..Self::default() }
    }
}

/// The events of a host: the last 1 000, and no more than a MiB of them. Clones are of the same host.
#[derive(Clone, Debug)]
pub struct Journal(Arc<History<Event>>);

impl Default for Journal {
    fn default() -> Self {
        Self(Arc::new(History::new(KEPT, KEPT_BYTES)))
    }
}

impl Journal {
    /// Events after number `after`, oldest first, and how many of those are not kept any more. 0: all there are. A number
    /// that this host has not come to is taken for one of a host before it, likewise.
    pub fn since(&self, after: u64) -> (Vec<Arc<Event>>, u64) {
        self.0.since(after)
    }

    /// As [`Self::since`], at least one: waits for it.
    pub async fn next(&self, after: u64) -> (Vec<Arc<Event>>, u64) {
        self.0.next(after).await
    }

    /// Number of the last event, 0 before the first.
    pub fn last(&self) -> u64 {
        self.0.last()
    }

    pub(crate) fn note(&self, plugin: &str, kind: EventKind, of: Of, detail: &str) {
        let Of { worker, generation, build } = of;
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let detail = detail[..detail.floor_char_boundary(DETAIL_MAX)].trim_end().to_owned();
        let plugin = plugin.to_owned();
        let bytes = size_of::<Event>() + time.len() + plugin.len() + detail.len();
        self.0.add(bytes, |seq| Event {
            seq,
            time,
            plugin,
            kind,
            worker,
            generation,
            build,
            detail,
        });
    }
}

impl Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One line, whatever is in it.
impl Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, plugin, kind, worker, generation, build, detail, .. } = self;
        write!(f, "{time} {kind}")?;
        if !plugin.is_empty() {
            write!(f, " {}", printable(plugin, usize::MAX))?;
        }
        for (name, number) in [("worker", worker), ("generation", generation), ("build", build)] {
            if let Some(number) = number {
                write!(f, " {name}={number}")?;
            }
        }
        if !detail.is_empty() {
            write!(f, ": {}", printable(detail, usize::MAX))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_and_one_object() {
        let journal = Journal::default();
        let of = Of::worker(4711, 3, 1);
        journal.note("authz", EventKind::NotStarted, of, "two\nlines \u{1b}[2J\n");
        journal.note("", EventKind::Reloaded, Of::default(), "");
        let (events, lost) = journal.since(0);
        assert_eq!((events.len(), lost, journal.last()), (2, 0, 2));
        let time = &events[0].time;
        assert_eq!(
            events[0].to_string(),
            format!(
                "{time} not_started authz worker=4711 generation=3 build=1: two\\nlines \\u{{1b}}[2J"
            )
        );
        assert_eq!(events[1].to_string(), format!("{} reloaded", events[1].time));
        let json = serde_json::to_value(&*events[0]).expect("JSON");
        assert_eq!((&json["kind"], &json["seq"]), (&"not_started".into(), &1.into()));
        assert_eq!(serde_json::from_value::<Event>(json).expect("it"), *events[0]);
    }

    #[test]
    fn details_are_bounded() {
        let journal = Journal::default();
        journal.note("a", EventKind::Failed, Of::default(), &"\u{e9}".repeat(DETAIL_MAX));
        assert_eq!(journal.since(0).0[0].detail.len(), DETAIL_MAX);
    }
}
