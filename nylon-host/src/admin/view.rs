//! What the admin endpoint answers, as data: the JSON of each verb of `nylon`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Diagnostic;
use crate::inspect::{CrashReport, WorkerDump};
use crate::supervisor::{Confinement, LimitStatus, PluginStatus, WorkerState, WorkerStatus};

/// A running gateway.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GatewayView {
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Newest version of the wire that it speaks: `1.0`.
    pub protocol: String,
    /// Its runtime file.
    pub config: PathBuf,
    /// When it began to serve: RFC 3339, UTC.
    pub started: String,
    /// Addresses it listens on for HTTP.
    pub http: Vec<String>,
    /// Names of its plugins, in the order of the configuration.
    pub plugins: Vec<String>,
    /// Times its configuration was replaced since its start.
    pub reloads: u64,
    /// Lines of the log that were lost.
    pub log_dropped: u64,
}

/// All plugins of a gateway: `nylon ps`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PluginList {
    /// In the order of the configuration.
    pub plugins: Vec<PluginView>,
}

/// How a plugin fares.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PluginView {
    /// Its name.
    pub name: String,
    /// Where it is: `starting`, `ready`, `backing_off`, `failed`, `stopped`, `paused`, `drained`.
    pub state: String,
    /// Whether the gateway is not ready without it.
    pub required: bool,
    /// The program that serves.
    pub program: PathBuf,
    /// What it says it is built with.
    pub sdk: String,
    /// Entries it registered.
    pub entries: Vec<String>,
    /// The program with its configuration that serves, from 1: what an upgrade or a reload changes.
    pub build: u32,
    /// Workers started so far.
    pub generation: u32,
    /// Workers there should be.
    pub wanted: u32,
    /// Workers there are, also those on their way in or out.
    pub workers: Vec<WorkerView>,
    /// How its workers are confined.
    pub sandbox: SandboxView,
    /// Handlers running now.
    pub in_flight: usize,
    /// Requests that hold a session now.
    pub sessions: usize,
    /// Handlers run.
    pub calls: u64,
    /// Handlers that ran out of time.
    pub deadlines: u64,
    /// Answers that came too late or twice.
    pub late: u64,
    /// Results refused as a whole: what they asked for is not allowed.
    pub refused: u64,
    /// Failures let pass by `on_failure: open`.
    pub passed_open: u64,
    /// Workers that ended without being asked to.
    pub crashes: u64,
    /// Workers started in place of one that ended, hung or did not start.
    pub restarts: u64,
    /// Of the crashes: for breaking the protocol.
    pub violations: u64,
    /// What the last violation was, and by which rule; empty: none.
    pub last_violation: String,
    /// How the last worker ended, or why it could not be started; empty: none has.
    pub last_end: String,
    /// What its limits did.
    pub limits: LimitView,
}

/// A worker.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WorkerView {
    /// Which start of its plugin it is, from 1.
    pub generation: u32,
    /// Its process, 0 before it is ready.
    pub pid: u32,
    /// The build it runs.
    pub build: u32,
    /// Where it is: `waiting` (to be started), `starting`, `ready`, `draining`, `quitting`, `stopping`, `dying`.
    pub state: String,
    /// Whether new requests go to it.
    pub admitted: bool,
}

/// How workers are confined.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SandboxView {
    /// The level asked for: `none`, `standard`, `strict`.
    pub asked: String,
    /// The highest level of which every part was reached.
    pub reached: String,
    /// What was not reached.
    pub missing: Vec<MissingView>,
}

/// A part of a sandbox that was not reached.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MissingView {
    /// The part.
    pub part: String,
    /// Why.
    pub why: String,
}

/// What the limits of a plugin did.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LimitView {
    /// Requests that have a place in the plugin now; 0 without `limits.concurrency`.
    pub concurrency: usize,
    /// Requests that wait for a place or a handler now.
    pub waiting: u64,
    /// Requests refused because `limits.queue` waited already.
    pub queue_full: u64,
    /// Requests refused after `limits.queue_wait`.
    pub queue_late: u64,
    /// Lines that workers printed and that were dropped.
    pub log_dropped: u64,
    /// Bytes resident of the worker that was looked at last; 0 without `limits.memory`.
    pub memory: u64,
    /// Workers killed for being over `limits.memory`.
    pub memory_kills: u64,
    /// Workers that the kernel killed for want of memory, as far as their cgroup tells.
    pub oom_kills: u64,
}

/// A change of a plugin that was carried out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The plugin.
    pub plugin: String,
    /// What was done: `restarted`, `drained`, `upgraded`, `rolled_back`, `paused`, `resumed`.
    pub done: String,
    /// The build that serves now, or would.
    pub build: u32,
}

/// What an upgrade takes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// The new program; none: the same file as it is now. Absolute, in a directory of `admin.programs`, or without those
    /// in that of the configured program.
    #[serde(default)]
    pub program: Option<PathBuf>,
}

/// What takes nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A configuration that serves now.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// What in it has no effect.
    pub warnings: Vec<Diagnostic>,
}

/// Rings and sessions of the live workers of a plugin: `nylon dump`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Dump {
    /// Those in service.
    pub workers: Vec<WorkerDump>,
}

/// Crashes that are remembered, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CrashList {
    /// Of every plugin the last 16.
    pub crashes: Vec<Crash>,
}

/// A crash in a line; its report is there by its id.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Crash {
    /// Plugin and generation: `authz-7`.
    pub id: String,
    /// The plugin.
    pub plugin: String,
    /// The process that ended.
    pub pid: u32,
    /// When: RFC 3339, UTC.
    pub ended: String,
    /// How its process ended, and who ended it.
    pub how: String,
    /// Requests that it had.
    pub sessions: usize,
}

/// Whether the gateway can do its work: `nylon health`, and `/readyz?verbose`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// It can.
    pub ready: bool,
    /// It takes no new connections, as it stops.
    pub draining: bool,
    /// Required plugins that are not ready.
    pub not_ready: Vec<NotReady>,
}

/// A plugin that keeps the gateway from being ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotReady {
    /// The plugin.
    pub plugin: String,
    /// Where it is, as in [`PluginView::state`].
    pub state: String,
    /// Why.
    pub reason: String,
}

/// What was asked for was not done; everything is as it was.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Refusal {
    /// Why, in one word.
    pub error: String,
    /// Why, and what to do.
    pub message: String,
    /// The problems of a configuration that was refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Diagnostic>,
}

impl PluginView {
    pub(super) fn new(name: &str, required: bool, status: PluginStatus) -> Self {
        Self {
            name: name.to_owned(),
            state: status.state.name().to_owned(),
            required,
            program: status.program,
            sdk: status.sdk,
            entries: status.entries,
            build: status.build,
            generation: status.generation,
            wanted: status.wanted,
            workers: status.workers.iter().map(WorkerView::from).collect(),
            sandbox: SandboxView::from(&status.sandbox),
            in_flight: status.in_flight,
            sessions: status.sessions,
            calls: status.calls,
            deadlines: status.deadlines,
            late: status.late,
            refused: status.refused,
            passed_open: status.passed_open,
            crashes: status.crashes,
            restarts: status.restarts,
            violations: status.violations,
            last_violation: status.last_violation,
            last_end: status.last_end,
            limits: LimitView::from(&status.limits),
        }
    }
}

impl From<&WorkerStatus> for WorkerView {
    fn from(worker: &WorkerStatus) -> Self {
        let state = match worker.state {
            WorkerState::Waiting => "waiting",
            WorkerState::Starting => "starting",
            WorkerState::Ready => "ready",
            WorkerState::Draining => "draining",
            WorkerState::Quitting => "quitting",
            WorkerState::Stopping => "stopping",
            WorkerState::Dying => "dying",
        };
        let WorkerStatus { generation, build, admitted, pid, .. } = *worker;
        Self { generation, pid, build, state: state.to_owned(), admitted }
    }
}

impl From<&Confinement> for SandboxView {
    fn from(sandbox: &Confinement) -> Self {
        let missing = sandbox
            .missing()
            .map(|(part, why)| MissingView { part: part.as_str().to_owned(), why: why.to_owned() });
        Self {
            asked: sandbox.asked.to_string(),
            reached: sandbox.reached.to_string(),
            missing: missing.collect(),
        }
    }
}

impl From<&LimitStatus> for LimitView {
    fn from(limits: &LimitStatus) -> Self {
        Self {
            concurrency: limits.concurrency,
            waiting: limits.waiting,
            queue_full: limits.queue_full,
            queue_late: limits.queue_late,
            log_dropped: limits.log_dropped,
            memory: limits.memory,
            memory_kills: limits.memory_kills,
            oom_kills: limits.oom_kills,
        }
    }
}

impl From<&CrashReport> for Crash {
    fn from(report: &CrashReport) -> Self {
        Self {
            id: report.id.clone(),
            plugin: report.plugin.clone(),
            pid: report.pid,
            ended: report.ended.clone(),
            how: format!("{}, by {}", report.exit, report.cause),
            sessions: report.sessions().count(),
        }
    }
}
