//! What `nylon top --once --json` prints. It is read from the telemetry segment, and nobody is asked for it; the description of
//! the admin endpoint has it as the schema `Top`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A host at one moment. Counters are since its start, or since that of the worker; rates are over the last second or so, and
/// `null` where nothing tells them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Top {
    /// Its process id.
    pub pid: u64,
    /// Its version.
    pub version: String,
    /// Whether it has not gone.
    pub host_alive: bool,
    /// `running`, `stopped` by a signal, or `gone`.
    pub host_state: String,
    /// How long it has stored nothing, ms.
    pub stale_ms: u64,
    /// How often it stores its rows, ms.
    pub period_ms: u64,
    /// When it was started, ms since 1970.
    pub started_ms: u64,
    /// Rows that cannot be read.
    pub damaged_rows: usize,
    /// In the order of the configuration.
    pub plugins: Vec<TopPlugin>,
    /// Those of all plugins.
    pub workers: Vec<TopWorker>,
}

/// A plugin.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TopPlugin {
    /// Its name, cut off at 63 bytes.
    pub name: String,
    /// As `nylon ps` has it.
    pub state: String,
    /// Age of the row, ms.
    pub age_ms: Option<u64>,
    /// Workers started so far.
    pub generation: u64,
    /// The build that serves.
    pub build: u64,
    /// The sandbox's level truly reached: 0 none, 1 standard, 2 strict.
    pub sandbox: u64,
    /// Workers that serve.
    pub workers_ready: u64,
    /// Workers there should be.
    pub workers_wanted: u64,
    /// Handlers run.
    pub calls: u64,
    /// Handlers run each second.
    pub calls_per_s: Option<f64>,
    /// Handlers that ran out of time.
    pub deadlines: u64,
    /// Workers that ended without being asked to.
    pub crashes: u64,
    /// Workers started in place of one that ended, hung or did not start.
    pub restarts: u64,
    /// Answers that came too late or twice.
    pub late: u64,
    /// Breaches of the protocol.
    pub violations: u64,
    /// Results refused as a whole.
    pub refused: u64,
    /// Failures let pass.
    pub passed_open: u64,
    /// Handlers that run.
    pub in_flight: u64,
    /// Calls that wait.
    pub queue_depth: u64,
    /// Requests that hold a session.
    pub sessions: u64,
    /// Age of the oldest of those, ms; `null`: there is none.
    pub oldest_session_ms: Option<u64>,
    /// Slots in use of the rings to the workers.
    pub ring_down: u64,
    /// Frames in the rings from the workers that are not taken.
    pub ring_up: u64,
    /// Slots of the rings of one direction.
    pub ring_slots: u64,
    /// Arena bytes in use, to the workers.
    pub arena_down_bytes: u64,
    /// Likewise, from the workers.
    pub arena_up_bytes: u64,
    /// Arena bytes of one direction.
    pub arena_bytes: u64,
    /// Times workers woke up.
    pub wakes: u64,
    /// Likewise each second.
    pub wakes_per_s: Option<f64>,
    /// How long either side polls before it sleeps, ns.
    pub spin_ns: u64,
    /// Why.
    pub spin_reason: String,
    /// Frames sent.
    pub frames_down: u64,
    /// Frames taken.
    pub frames_up: u64,
    /// Memory of the workers.
    pub rss_bytes: u64,
    /// Their CPU time, in percent of one CPU.
    pub cpu_percent: Option<f64>,
    /// What its handlers took, by phase.
    pub phases: Vec<TopPhase>,
    /// How the last worker ended; empty: none has.
    pub last_exit: String,
}

/// A worker.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TopWorker {
    /// Its plugin; `null`: that has no row.
    pub plugin: Option<String>,
    /// Its process id.
    pub pid: u64,
    /// Which start of the plugin it is.
    pub generation: u64,
    /// Where it is.
    pub state: String,
    /// Age of the row, ms.
    pub age_ms: Option<u64>,
    /// How long it has run, ms.
    pub uptime_ms: Option<u64>,
    /// Handlers run.
    pub calls: u64,
    /// Handlers run each second.
    pub calls_per_s: Option<f64>,
    /// Handlers that ran out of time.
    pub deadlines: u64,
    /// Answers that came too late or twice.
    pub late: u64,
    /// Handlers that run.
    pub in_flight: u64,
    /// Requests that hold a session.
    pub sessions: u64,
    /// Age of the oldest of those, ms; `null`: there is none.
    pub oldest_session_ms: Option<u64>,
    /// Slots in use of its rings down.
    pub ring_down: u64,
    /// Frames in its rings up that are not taken.
    pub ring_up: u64,
    /// Slots of the rings of one direction.
    pub ring_slots: u64,
    /// Arena bytes in use, down.
    pub arena_down_bytes: u64,
    /// Likewise, up.
    pub arena_up_bytes: u64,
    /// Arena bytes of one direction.
    pub arena_bytes: u64,
    /// Times it woke up.
    pub wakes: u64,
    /// Likewise each second.
    pub wakes_per_s: Option<f64>,
    /// Times it handed a lane to another of its threads.
    pub handovers: u64,
    /// Times it was asked to take a lane over.
    pub rescues: u64,
    /// How long either side polls before it sleeps, ns.
    pub spin_ns: u64,
    /// Why.
    pub spin_reason: String,
    /// Its memory.
    pub rss_bytes: u64,
    /// Its CPU time, ns.
    pub cpu_ns: u64,
    /// Its CPU time, in percent of one CPU.
    pub cpu_percent: Option<f64>,
    /// Frames sent.
    pub frames_down: u64,
    /// Frames taken.
    pub frames_up: u64,
    /// What its handlers took, by phase.
    pub phases: Vec<TopPhase>,
    /// How the worker before it ended; empty: none has.
    pub last_exit: String,
}

/// What the handlers of a phase took.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TopPhase {
    /// The phase.
    pub phase: String,
    /// Handlers run.
    pub calls: u64,
    /// Half of the last ones took no longer, ns.
    pub p50_ns: u64,
    /// 99 of 100, ns.
    pub p99_ns: u64,
}
