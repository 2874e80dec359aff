//! What people and programs read.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Result;
use crate::cell::Cell;
use crate::contender::{Contender, Role};
use crate::cpus::Cpus;

/// One finished row.
pub(crate) struct Row {
    case: String,
    role: Role,
    /// p50, p90, p99, p99.9, ns; none: it cannot do this cell.
    percentiles: Option<[u64; 4]>,
    refused: Option<String>,
    samples: usize,
    /// p50 of the lane in the same cell, ns.
    limit: u64,
    /// Requests per second, its own and those of the lane: what the row is about, if there.
    rate: Option<(f64, f64)>,
    /// Of client and server together, in a million calls.
    cpu_s_per_million: f64,
}

impl Row {
    /// Of samples in order.
    pub(crate) fn of(
        contender: &Contender,
        cell: &Cell,
        sorted: &[u64],
        refused: Option<String>,
    ) -> Self {
        let row = Self::named(format!("{}/{cell}", contender.name), contender.role, sorted);
        Self { refused, ..row }
    }

    /// Of samples in order.
    pub(crate) fn named(case: String, role: Role, sorted: &[u64]) -> Self {
        let at = |thousandths: usize| sorted[(sorted.len() - 1) * thousandths / 1000];
        Self {
            case,
            role,
            percentiles: (!sorted.is_empty()).then(|| [at(500), at(900), at(990), at(999)]),
            refused: None,
            samples: sorted.len(),
            limit: 0,
            rate: None,
            cpu_s_per_million: 0.0,
        }
    }

    /// The same, about requests per second, held against `limit` of them.
    pub(crate) fn of_rate(self, rate: f64, limit: f64) -> Self {
        Self { rate: Some((rate.round(), limit.round())), ..self }
    }

    /// p50, ns; 0 if it cannot do the cell.
    pub(crate) fn p50(&self) -> u64 {
        self.percentiles.map_or(0, |p| p[0])
    }

    /// The same, held against `limit`, ns.
    pub(crate) fn against(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    /// The same, with what its calls cost.
    #[expect(clippy::cast_precision_loss, reason = "calls of a run are far below 2^52")]
    pub(crate) fn costing(self, cpu: Duration, calls: u64) -> Self {
        let each = cpu.as_secs_f64() / calls.max(1) as f64;
        Self { cpu_s_per_million: round(each * 1e6), ..self }
    }

    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a call are far below 2^52")]
    fn ratio(&self) -> f64 {
        if let Some((rate, limit)) = self.rate {
            return round(rate / limit.max(1.0));
        }
        round(self.p50() as f64 / self.limit.max(1) as f64)
    }

    fn json(&self) -> Value {
        let role = match self.role {
            Role::Lane => "lane",
            Role::Limit => "limit",
            Role::Peer => "peer",
            Role::InProcess => "in-process",
            Role::Reference => "reference",
        };
        let Some([p50, p90, p99, p999]) = self.percentiles else {
            let why = self.refused.as_deref().unwrap_or("no sample in time");
            return json!({
                "bench": "peers", "case": self.case, "role": role, "unit": "ns", "value": null, "unsupported": why,
            });
        };
        let (unit, value, limit) = match self.rate {
            Some((rate, limit)) => ("req/s", json!(rate), json!(limit)),
            None => ("ns", json!(p50), json!(self.limit)),
        };
        json!({
            "bench": "peers", "case": self.case, "role": role, "unit": unit, "value": value, "p50_ns": p50,
            "p90_ns": p90, "p99_ns": p99, "p999_ns": p999, "limit": limit, "ratio": self.ratio(),
            "cpu_s_per_million": self.cpu_s_per_million, "samples": self.samples,
        })
    }
}

fn round(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

/// What to know of the machine before reading a figure.
pub(crate) fn facts(cpus: &Cpus) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": "));
    println!(
        "{}; clients on CPU {}, servers on {}; kernel {}; load {}",
        model.map_or("CPU unknown", |(_, name)| name),
        cpus.client,
        cpus.server,
        read("/proc/sys/kernel/osrelease"),
        read("/proc/loadavg"),
    );
}

/// Names of the columns.
pub(crate) fn head() {
    println!(
        "{:<24} {:>10} {:>10} {:>10} {:>10} {:>7} {:>10} {:>8}",
        "", "p50 ns", "p90 ns", "p99 ns", "p99.9 ns", "ratio", "CPU s/1e6", "samples"
    );
}

/// The rows of one cell.
pub(crate) fn table(rows: &[Row]) {
    for row in rows {
        let case = &row.case;
        match row.percentiles {
            Some([p50, p90, p99, p999]) => println!(
                "{case:<24} {p50:>10} {p90:>10} {p99:>10} {p999:>10} {:>7.2} {:>10.2} {:>8}",
                row.ratio(),
                row.cpu_s_per_million,
                row.samples
            ),
            None => {
                let why = row.refused.as_deref().unwrap_or("no sample in time");
                println!("{case:<24} unsupported: {why}");
            }
        }
    }
}

/// Rows about requests per second.
pub(crate) fn rates(rows: &[Row]) {
    for row in rows {
        let rate = row.rate.map_or(0.0, |(rate, _)| rate);
        println!("{:<24} {rate:>10.0} requests/s", row.case);
    }
    table(rows);
}

/// All rows, as an array in `path`.
pub(crate) fn json(rows: &[Row], path: &Path) -> Result<()> {
    let rows: Vec<Value> = rows.iter().map(Row::json).collect();
    let text = serde_json::to_string_pretty(&rows).map_err(|e| e.to_string())?;
    fs::write(path, text + "\n").map_err(|e| format!("{}: {e}", path.display()))
}
