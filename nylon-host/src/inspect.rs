//! What is shown of workers: of live ones a [`WorkerDump`], of dead ones a [`CrashReport`]; and what happened to them, an
//! [`Event`] each.
//!
//! All are data, for JSON as well as for people, who get them by `Display`. [`Host::dump`](crate::Host::dump),
//! [`Host::crash_reports`](crate::Host::crash_reports) and [`Host::events`](crate::Host::events) give them.

pub use crate::lane::{
    Direction, FrameDump, LaneCounters, LaneDump, RingDump, RunDump, SessionDump, WorkerSays,
};
pub use crate::log::LogRecord;
pub use crate::supervisor::{
    Cause, CrashReport, Event, EventKind, ExitReport, Journal, LogLine, WorkerDump,
};
