//! A live worker as people are shown it.

use std::sync::Arc;
use std::time::Instant;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lane::{Lane, LaneDump};

/// A worker in service.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WorkerDump {
    /// Its plugin.
    pub plugin: String,
    /// Its process id.
    pub pid: u32,
    /// Which start of the plugin it is, from 1.
    pub generation: u32,
    /// When it was ready: RFC 3339, UTC.
    pub started: String,
    /// Its memory, as the kernel counts it.
    pub rss_bytes: Option<u64>,
    /// Its lanes.
    pub lanes: Vec<LaneDump>,
}

/// The workers behind `lanes`, which are those in service of one plugin.
pub(crate) fn workers(lanes: &[Arc<Lane>]) -> Vec<WorkerDump> {
    let now = Instant::now();
    let mut workers: Vec<WorkerDump> = Vec::new();
    for lane in lanes {
        let peer = &lane.peer;
        let dump = lane.dump(now);
        match workers.iter_mut().find(|worker| worker.generation == peer.generation) {
            Some(worker) => worker.lanes.push(dump),
            None => workers.push(WorkerDump {
                plugin: peer.plugin.to_string(),
                pid: peer.pid,
                generation: peer.generation,
                started: humantime::format_rfc3339_millis(peer.since.1).to_string(),
                rss_bytes: rss(peer.pid),
                lanes: vec![dump],
            }),
        }
    }
    workers
}

/// Resident memory of a process.
fn rss(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}
