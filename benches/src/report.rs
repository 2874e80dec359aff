//! What people and programs read.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::Result;
use crate::cpus::Cpus;

/// Which figure of a row is its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// The median, in ns.
    P50,
    /// The 99th percentile, in ns.
    P99,
    /// Calls per second, the median of the rounds.
    Rate,
}

impl Figure {
    pub(crate) fn unit(self) -> &'static str {
        if self == Self::Rate { "per_s" } else { "ns" }
    }

    /// Of one round: sorted samples and a rate. None where there is none.
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a call are far below 2^52")]
    pub(crate) fn of(self, sorted: &[u64], rate: f64) -> Option<f64> {
        match self {
            Self::Rate => (rate > 0.0).then_some(rate),
            _ if sorted.is_empty() => None,
            Self::P50 => Some(at(sorted, 500) as f64),
            Self::P99 => Some(at(sorted, 990) as f64),
        }
    }
}

/// One finished row.
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    /// Value of the row it is held against; none where there is nothing to hold it against.
    pub(crate) limit: Option<f64>,
    /// [`Row::PERCENTILES`] of the samples in ns, where there are samples.
    pub(crate) percentiles: Option<[u64; 4]>,
    /// CPU seconds of all sides for a million calls, where calls are counted.
    pub(crate) cpu_s_per_million: Option<f64>,
    pub(crate) samples: usize,
    /// Rounds that do not count.
    pub(crate) spoilt: usize,
    /// Whether enough rounds counted; a row of a full run always does.
    pub(crate) counts: bool,
}

impl Row {
    /// p50, p90, p99 and p99.9, in thousandths.
    pub(crate) const PERCENTILES: [usize; 4] = [500, 900, 990, 999];

    /// A figure by itself.
    pub(crate) fn plain(case: &str, unit: &'static str, value: f64) -> Self {
        Self {
            case: case.to_owned(),
            unit,
            value,
            limit: None,
            percentiles: None,
            cpu_s_per_million: None,
            samples: 1,
            spoilt: 0,
            counts: true,
        }
    }

    fn ratio(&self) -> Option<f64> {
        let limit = self.limit.filter(|l| *l > 0.0)?;
        Some(rounded(self.value / limit, 3))
    }

    fn json(&self, bench: &str) -> Value {
        let [p50, p90, p99, p999] = self.percentiles.map_or([None; 4], |p| p.map(Some));
        json!({
            "bench": bench, "case": self.case, "unit": self.unit,
            "value": rounded(self.value, 3),
            "p50_ns": p50, "p90_ns": p90, "p99_ns": p99, "p999_ns": p999,
            "limit": self.limit.map(|l| rounded(l, 3)), "ratio": self.ratio(),
            "cpu_s_per_million": self.cpu_s_per_million.map(|s| rounded(s, 4)),
            "samples": self.samples, "spoilt": self.spoilt, "counts": self.counts,
        })
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (value * factor).round() / factor
}

/// The sample below which `thousandths` of them lie.
pub(crate) fn at(sorted: &[u64], thousandths: usize) -> u64 {
    sorted[(sorted.len() - 1) * thousandths / 1000]
}

/// What to know of the machine before reading a figure.
pub(crate) fn facts(cpus: &Cpus) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": "));
    let siblings =
        format!("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpus.host);
    println!(
        "{} CPUs ({}), host on {}, worker on {}; threads of the host's core: {}; clock {}; kernel {}; load {}",
        cpus.count,
        model.map_or("model unknown", |(_, name)| name),
        cpus.host,
        cpus.worker,
        read(&siblings),
        read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        read("/proc/sys/kernel/osrelease"),
        read("/proc/loadavg"),
    );
}

pub(crate) fn table(rows: &[Row]) {
    println!(
        "{:<26} {:>12} {:<5} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>6}",
        "", "value", "", "ratio", "p50", "p90", "p99", "p99.9", "cpu s/M", "samples", "spoilt"
    );
    for row in rows {
        let Row { case, value, unit, samples, spoilt, counts, .. } = row;
        let ratio = row.ratio().map_or_else(String::new, |r| format!("{r:.2}"));
        let cpu = row.cpu_s_per_million.map_or_else(String::new, |s| format!("{s:.3}"));
        let [p50, p90, p99, p999] =
            row.percentiles.map_or_else(Default::default, |p| p.map(|ns| ns.to_string()));
        let note = if *counts { "" } else { "  does not count" };
        println!(
            "{case:<26} {value:>12.1} {unit:<5} {ratio:>8} {p50:>9} {p90:>9} {p99:>9} {p999:>9} {cpu:>9} \
             {samples:>7} {spoilt:>6}{note}"
        );
    }
}

/// Writes the rows as an array.
pub(crate) fn json(bench: &str, rows: &[Row], path: &Path) -> Result<()> {
    let rows: Vec<_> = rows.iter().map(|row| row.json(bench)).collect();
    let text = serde_json::to_string_pretty(&rows).map_err(|e| e.to_string())?;
    fs::write(path, text + "\n").map_err(|e| format!("{}: {e}", path.display()))
}
