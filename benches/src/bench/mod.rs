//! The benches, a file each; the first line of a file is what `cargo xtask bench --help` says of it.

mod body;
mod coldstart;
mod gateway;
mod idle;
mod limit;
mod ring;
mod roundtrip;
mod session;
mod sparse;
mod throughput;
mod websocket;

use crate::Result;
use crate::env::Env;
use crate::report::Row;

/// A bench: its name, and what makes its rows.
pub(crate) type Bench = (&'static str, fn(&Env) -> Result<Vec<Row>>);

/// All of them.
pub(crate) const ALL: &[Bench] = &[
    ("limit", limit::rows),
    ("ring", ring::rows),
    ("roundtrip", roundtrip::rows),
    ("session", session::rows),
    ("throughput", throughput::rows),
    ("body", body::rows),
    ("sparse", sparse::rows),
    ("idle", idle::rows),
    ("coldstart", coldstart::rows),
    ("gateway", gateway::rows),
    ("websocket", websocket::rows),
];

/// The busy limit.
const PING_PONG: &str = "limit/ping-pong";
/// The parked limit.
const FUTEX: &str = "limit/futex";
/// The limit of a flight.
const RTRB: &str = "limit/rtrb/64B";
