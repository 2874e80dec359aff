//! Answers as text for people.

use std::fmt::Write as _;

use nylon_host::admin::view::{Change, CrashList, Health, PluginList, PluginView, WorkerView};

use crate::table::{Column, table};

/// A line for each plugin, and below it one for each of its workers.
pub(super) fn plugins(list: &PluginList) -> String {
    let columns = [
        Column::text("PLUGIN"),
        Column::text("STATE"),
        Column::number("BUILD"),
        Column::number("PID"),
        Column::number("GEN"),
        Column::text("SANDBOX"),
        Column::number("RUNNING"),
        Column::number("CALLS"),
        Column::number("CRASHES"),
        Column::text("LAST END"),
    ];
    let mut rows = Vec::new();
    for plugin in &list.plugins {
        let PluginView { name, state, build, in_flight, calls, crashes, last_end, .. } = plugin;
        let ready = plugin.workers.iter().filter(|worker| worker.admitted).count();
        rows.push(vec![
            name.clone(),
            format!("{state} {ready}/{}", plugin.wanted),
            build.to_string(),
            String::new(),
            plugin.generation.to_string(),
            sandbox(plugin),
            in_flight.to_string(),
            calls.to_string(),
            crashes.to_string(),
            last_end.clone(),
        ]);
        rows.extend(plugin.workers.iter().map(worker));
    }
    table(&columns, &rows)
}

fn worker(worker: &WorkerView) -> Vec<String> {
    let WorkerView { generation, pid, build, state, .. } = worker;
    let pid = if *pid == 0 { String::new() } else { pid.to_string() };
    vec!["  worker".to_owned(), state.clone(), build.to_string(), pid, generation.to_string()]
}

/// The level truly reached, and what was asked for where that is another.
fn sandbox(plugin: &PluginView) -> String {
    let sandbox = &plugin.sandbox;
    let mut text = sandbox.reached.clone();
    if sandbox.asked != sandbox.reached {
        let _ = write!(text, " (of {})", sandbox.asked);
    }
    text
}

pub(super) fn change(change: &Change) -> String {
    let Change { plugin, done, build } = change;
    match done.as_str() {
        "restarted" | "upgraded" | "rolled_back" => {
            format!("{plugin}: {}, build {build} serves\n", done.replace('_', " "))
        }
        _ => format!("{plugin}: {done}\n"),
    }
}

pub(super) fn health(health: &Health) -> String {
    if health.ready {
        return "ready\n".to_owned();
    }
    let mut text = "not ready\n".to_owned();
    if health.draining {
        text += "  the gateway stops\n";
    }
    for missing in &health.not_ready {
        let _ = writeln!(text, "  {} is {}: {}", missing.plugin, missing.state, missing.reason);
    }
    text
}

pub(super) fn crashes(list: &CrashList) -> String {
    let columns = [
        Column::text("CRASH"),
        Column::text("ENDED"),
        Column::number("PID"),
        Column::number("REQUESTS"),
        Column::text("HOW"),
    ];
    let row = |crash: &nylon_host::admin::view::Crash| {
        let (pid, sessions) = (crash.pid.to_string(), crash.sessions.to_string());
        vec![crash.id.clone(), crash.ended.clone(), pid, sessions, crash.how.clone()]
    };
    table(&columns, &list.crashes.iter().map(row).collect::<Vec<_>>())
}
