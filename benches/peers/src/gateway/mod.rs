//! `gateway-*`: requests per second through one Go plugin in front of a server of hyper's that answers a static body:
//! behind the lane (Nylon's own tower layer), behind unary calls of gRPC, and without a plugin.
//!
//! The gateway has the CPU of clients; the plugin and those who ask share the other one.

mod layer;
mod load;
mod serve;

use std::process::Command;
use std::time::Duration;

use crate::Result;
use crate::contender::Role;
use crate::cpus::Cpus;
use crate::process::{Child, cpu_time, itself};
use crate::report::Row;

pub(crate) use serve::serve;

/// The contenders: first word of a row, and its role.
const ALL: [(&str, Role); 3] = [
    ("gateway-nylon", Role::Lane),
    ("gateway-grpc", Role::Peer),
    ("gateway-none", Role::Reference),
];

/// Connections, each with one request at a time.
const CONNECTIONS: [usize; 2] = [16, 64];

/// Takes every row whose name `wants` says is wanted, in turns.
pub(crate) fn run(
    cpus: &Cpus,
    rounds: usize,
    time: Duration,
    wants: impl Fn(&str) -> bool,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for connections in CONNECTIONS {
        let name = |contender: &str| format!("{contender}/{connections}");
        if !ALL.iter().any(|(contender, _)| wants(&name(contender))) {
            continue;
        }
        let mut lines = Vec::new();
        for (contender, role) in ALL {
            lines.push((role, Line::start(name(contender), contender, cpus)?));
        }
        for turn in 0..rounds {
            for at in 0..lines.len() {
                let at = (at + turn) % lines.len();
                lines[at].1.round(cpus, connections, time)?;
            }
        }
        let limit = lines[0].1.rate();
        rows.extend(lines.into_iter().map(|(role, line)| line.row(role, limit)));
    }
    Ok(rows)
}

/// One gateway and what it gave so far.
struct Line {
    name: String,
    child: Child,
    port: u16,
    plugin: Option<u32>,
    samples: Vec<u64>,
    time: Duration,
    cpu: Duration,
}

impl Line {
    fn start(name: String, contender: &str, cpus: &Cpus) -> Result<Self> {
        let mut command = Command::new(itself()?);
        command.args(["gateway", contender]);
        cpus.give(&mut command);
        Cpus::pin(&[cpus.client])?;
        let child = Child::start(&mut command)?;
        let mut words = child.said.split_whitespace().skip(1);
        let port = words.next().and_then(|port| port.parse().ok()).ok_or("no port")?;
        let plugin = words.next().and_then(|pid| pid.parse().ok()).filter(|pid| *pid != 0);
        let (samples, time, cpu) = (Vec::new(), Duration::ZERO, Duration::ZERO);
        Ok(Self { name, child, port, plugin, samples, time, cpu })
    }

    fn round(&mut self, cpus: &Cpus, connections: usize, time: Duration) -> Result<()> {
        let pids: Vec<u32> = [Some(self.child.pid()), self.plugin].into_iter().flatten().collect();
        let used = || pids.iter().map(|pid| cpu_time(*pid)).sum::<Result<Duration>>();
        Cpus::pin(&[cpus.server])?;
        let plugged = self.plugin.is_some();
        load::run(self.port, connections, time / 10, plugged)?;
        let before = used()?;
        let taken = load::run(self.port, connections, time, plugged);
        let taken = taken.map_err(|e| format!("{}: {e}", self.name))?;
        self.cpu += used()?.saturating_sub(before);
        self.time += taken.time;
        self.samples.extend(taken.samples);
        Ok(())
    }

    /// Requests per second.
    #[expect(clippy::cast_precision_loss, reason = "requests of a run are far below 2^52")]
    fn rate(&self) -> f64 {
        self.samples.len() as f64 / self.time.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn row(mut self, role: Role, limit: f64) -> Row {
        self.samples.sort_unstable();
        let (rate, count) = (self.rate(), self.samples.len() as u64);
        Row::named(self.name, role, &self.samples).of_rate(rate, limit).costing(self.cpu, count)
    }
}
