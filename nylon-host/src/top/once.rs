//! `nylon top --once`: everything, printed.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Duration;

use nylon_host::admin::top::{Top, TopPhase, TopPlugin, TopWorker};
use nylon_shm::telemetry::{HostState, PHASES, PhaseRow, PluginRow, WorkerRow};
use serde_json::json;

use super::columns::{self, COLUMNS, Line, spin_reason, state};
use super::units::age;
use super::view::{Plugin, View, Watch, Worker};
use crate::table::Column;

/// Prints the host; returns what was printed, or nothing if nobody reads any more.
pub(super) fn run(watch: &mut Watch, json: bool) -> Result<Option<View>, Box<dyn Error>> {
    let mut view = watch.look()?;
    if view.state == HostState::Running && !view.is_stale() {
        // Once more after all rows were stored: that tells the rates.
        let period = view.host.period_ms.clamp(100, 2000);
        std::thread::sleep(Duration::from_millis(period + period / 10));
        view = watch.look()?;
    }
    let text = if json { format!("{:#}\n", json!(top(&view))) } else { table(&view) };
    match io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(None),
        done => Ok(done.map(|()| Some(view))?),
    }
}

fn table(view: &View) -> String {
    let mut out = String::new();
    let host = &view.host;
    let heard = age(view.stale_ms());
    let _ = writeln!(out, "host {}  nylon {}  heard of {heard} ago", host.pid, host.version);
    if let Some(trouble) = view.trouble() {
        let _ = writeln!(out, "{trouble}");
    }
    if view.torn > 0 {
        let _ = writeln!(out, "{} rows are damaged", view.torn);
    }
    let cells = |line| COLUMNS.iter().map(|column| (column.cell)(view, line)).collect();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for plugin in &view.plugins {
        rows.push(cells(Line::Plugin(plugin)));
        rows.extend(plugin.workers.iter().map(|worker| cells(Line::Worker(worker))));
    }
    rows.extend(view.strays.iter().map(|worker| cells(Line::Worker(worker))));
    let titled = |column: &columns::Column| match column.is_text {
        true => Column::text(column.title),
        false => Column::number(column.title),
    };
    out + &crate::table::table(&COLUMNS.iter().map(titled).collect::<Vec<_>>(), &rows)
}

fn top(view: &View) -> Top {
    let workers = view.plugins.iter().flat_map(|plugin| {
        plugin.workers.iter().map(|worker| worker_row(view, Some(plugin), worker))
    });
    let strays = view.strays.iter().map(|worker| worker_row(view, None, worker));
    Top {
        pid: view.host.pid,
        version: view.host.version.to_string(),
        host_alive: view.state != HostState::Gone,
        host_state: match view.state {
            HostState::Running => "running".to_owned(),
            HostState::Stopped => "stopped".to_owned(),
            HostState::Gone => "gone".to_owned(),
        },
        stale_ms: view.stale_ms(),
        period_ms: view.host.period_ms,
        started_ms: view.host.started_ms,
        damaged_rows: view.torn,
        plugins: view.plugins.iter().map(|plugin| plugin_row(view, plugin)).collect::<Vec<_>>(),
        workers: workers.chain(strays).collect::<Vec<_>>(),
    }
}

fn plugin_row(view: &View, plugin: &Plugin) -> TopPlugin {
    let row: &PluginRow = &plugin.row;
    let (spin_ns, reason) = plugin.spin();
    TopPlugin {
        name: row.name.to_string(),
        state: state(row.state).to_string(),
        age_ms: view.since(row.updated_ms),
        generation: row.generation,
        build: row.build,
        sandbox: row.sandbox,
        workers_ready: row.workers_ready,
        workers_wanted: row.workers_wanted,
        calls: row.calls,
        calls_per_s: plugin.calls_per_s(),
        deadlines: row.deadlines,
        crashes: row.crashes,
        restarts: row.restarts,
        late: row.late,
        violations: row.violations,
        refused: row.refused,
        passed_open: row.passed_open,
        in_flight: row.in_flight,
        queue_depth: row.queue_depth,
        sessions: row.sessions,
        oldest_session_ms: view.since(plugin.oldest_session()),
        ring_down: plugin.sum(|row| row.ring_down),
        ring_up: plugin.sum(|row| row.ring_up),
        ring_slots: plugin.sum(|row| row.ring_slots),
        arena_down_bytes: plugin.sum(|row| row.arena_down),
        arena_up_bytes: plugin.sum(|row| row.arena_up),
        arena_bytes: plugin.sum(|row| row.arena_bytes),
        wakes: plugin.sum(|row| row.wakes),
        wakes_per_s: plugin.wakes_per_s(),
        spin_ns,
        spin_reason: spin_reason(reason).to_string(),
        frames_down: row.frames_down,
        frames_up: row.frames_up,
        rss_bytes: plugin.rss_bytes(),
        cpu_percent: plugin.cpu_percent(),
        phases: phases(&row.phases),
        last_exit: row.last_exit.to_string(),
    }
}

fn worker_row(view: &View, plugin: Option<&Plugin>, worker: &Worker) -> TopWorker {
    let row: &WorkerRow = &worker.row;
    TopWorker {
        plugin: plugin.map(|plugin| plugin.row.name.to_string()),
        pid: row.pid,
        generation: row.generation,
        state: state(row.state).to_string(),
        age_ms: view.since(row.updated_ms),
        uptime_ms: view.since(row.started),
        calls: row.calls,
        calls_per_s: worker.calls_per_s(),
        deadlines: row.deadlines,
        late: row.late,
        in_flight: row.in_flight,
        sessions: row.sessions,
        oldest_session_ms: view.since(row.oldest_session),
        ring_down: row.ring_down,
        ring_up: row.ring_up,
        ring_slots: row.ring_slots,
        arena_down_bytes: row.arena_down,
        arena_up_bytes: row.arena_up,
        arena_bytes: row.arena_bytes,
        wakes: row.wakes,
        wakes_per_s: worker.wakes_per_s(),
        handovers: row.handovers,
        rescues: row.rescues,
        spin_ns: row.spin_ns,
        spin_reason: spin_reason(row.spin_reason).to_string(),
        rss_bytes: row.rss_bytes,
        cpu_ns: row.cpu_ns,
        cpu_percent: worker.cpu_percent(),
        frames_down: row.frames_down,
        frames_up: row.frames_up,
        phases: phases(&row.phases),
        last_exit: row.last_exit.to_string(),
    }
}

fn phases(phases: &[PhaseRow]) -> Vec<TopPhase> {
    let phases = PHASES.iter().zip(phases).map(|(name, phase)| TopPhase {
        phase: (*name).to_string(),
        calls: phase.calls,
        p50_ns: phase.p50_ns,
        p99_ns: phase.p99_ns,
    });
    phases.collect()
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::view;
    use super::{table, top};

    #[test]
    fn every_row_is_printed() {
        let text = table(&view());
        assert_eq!(text.lines().count(), 2 + 2 + 3, "{text}");
        assert!(
            text.lines()
                .nth(2)
                .is_some_and(|line| line.starts_with("auth") && line.contains("200"))
        );
        let json = serde_json::json!(top(&view()));
        assert_eq!(json["workers"][1]["pid"], 4002);
        assert_eq!(json["workers"][2]["plugin"], "log");
        assert_eq!(json["plugins"][0]["phases"][3]["phase"], "logging");
        assert_eq!(json["workers"][0]["phases"][1]["p99_ns"], 2_345_000);
        let depth = |row: &serde_json::Value| {
            ["ring_down", "ring_up", "ring_slots", "arena_down_bytes", "arena_bytes"]
                .map(|key| row[key].as_u64().unwrap())
        };
        assert_eq!(depth(&json["workers"][1]), [14, 1, 256, 64 << 10, 1 << 20]);
        assert_eq!(depth(&json["plugins"][0]), [21, 2, 512, 128 << 10, 2 << 20]);
        assert_eq!(json["plugins"][0]["oldest_session_ms"], 6_000);
        assert!(text.contains(" 21/2 ") && text.contains(" 128K/0B "), "{text}");
        assert_eq!((&json["stale_ms"], &json["host_alive"]), (&0.into(), &true.into()));
    }
}
