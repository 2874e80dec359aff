//! What people and programs read.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::Result;
use crate::cpus::Cpus;

/// One finished row.
pub(crate) struct Row {
    pub(crate) case: &'static str,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    /// p50 of the row it is held against.
    pub(crate) limit_ns: u64,
    pub(crate) samples: usize,
}

impl Row {
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a call are far below 2^52")]
    fn ratio(&self) -> f64 {
        let ratio = self.p50_ns as f64 / self.limit_ns.max(1) as f64;
        (ratio * 100.0).round() / 100.0
    }
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
    println!("{:<20} {:>10} {:>10} {:>8} {:>8}", "", "p50 ns", "p99 ns", "ratio", "samples");
    for row in rows {
        let Row { case, p50_ns, p99_ns, samples, .. } = row;
        println!("{case:<20} {p50_ns:>10} {p99_ns:>10} {:>8.2} {samples:>8}", row.ratio());
    }
}

pub(crate) fn json(rows: &[Row], path: &Path) -> Result<()> {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "bench": "roundtrip",
                "case": row.case,
                "unit": "ns",
                "value": row.p50_ns,
                "p50_ns": row.p50_ns,
                "p99_ns": row.p99_ns,
                "limit": row.limit_ns,
                "ratio": row.ratio(),
            })
        })
        .collect();
    let text = serde_json::to_string_pretty(&rows).map_err(|e| e.to_string())?;
    fs::write(path, text + "\n").map_err(|e| format!("{}: {e}", path.display()))
}
