//! Metrics: what is counted and timed, and how it is told to Prometheus.
//!
//! In: the times of calls and what failed, from sessions, dispatch and the supervisor.  Out: snapshots, and the
//! registry's text at a scrape.  Never: a lock or an allocation where a call goes by.

mod calls;
mod collector;
mod exposition;
mod histogram;
mod plugin;
pub(crate) mod process;
mod rooms;
mod sockets;
mod window;

pub use calls::{Parts, Timings};
pub use histogram::Times;

pub(crate) use calls::{CallTimes, waited};
pub(crate) use collector::{HostCollector, Scrape, labels};
pub(crate) use exposition::{Format, text};
pub(crate) use histogram::Histogram;
pub(crate) use plugin::{End, LaneTotals, PluginMetrics};
pub(crate) use rooms::RoomsCollector;
pub(crate) use sockets::{SocketCounts, SocketEnd, Way};
pub(crate) use window::Window;
