//! What is shown of workers: of live ones a [`WorkerDump`], of dead ones a [`CrashReport`].
//!
//! Both are data, for JSON as well as for people, who get them by `Display`. [`Host::dump`](crate::Host::dump) and
//! [`Host::crash_reports`](crate::Host::crash_reports) give them.

pub use crate::lane::{
    Direction, FrameDump, LaneCounters, LaneDump, RingDump, RunDump, SessionDump, WorkerSays,
};
pub use crate::supervisor::{Cause, CrashReport, ExitReport, LogLine, WorkerDump};
