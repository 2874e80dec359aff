//! R8: plugins that never become ready.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bed::{self, Load, still_runs, untouched};
use super::{Found, Mode};
use crate::{Client, Gateway, Site, Upstream, ports, program, step, telemetry};

/// A plugin that does not start.
struct Broken {
    name: &'static str,
    file: PathBuf,
    /// What the hostile worker does instead.
    mode: &'static str,
    /// The log's words for it: one of these.
    reasons: &'static [&'static str],
    /// How soon after the start they are there.
    known: Duration,
    /// Whether it is tried again.
    retried: bool,
}

fn broken() -> [Broken; 4] {
    let case = |name, mode, reasons, known, retried| {
        let known = Duration::from_secs(known);
        Broken { name, file: program::hostile(), mode, reasons, known, retried }
    };
    let missing: &[_] = &["not there", "No such file"];
    [
        case("exits", "exit", &["exited"], 1, true),
        case("newer", "major-newer", &["version", "speaks"], 1, false),
        Broken { file: "/nowhere/plugin".into(), ..case("missing", "", missing, 1, true) },
        // After five seconds it is given up.
        case("late", "late", &["not ready", "within", "5s"], 6, true),
    ]
}

/// R8: four plugins that are not required fail to start, each in its way; `b` serves from the start.
pub(super) async fn never_ready(mode: Mode) -> Found {
    let duration = Duration::from_secs(mode.pick(8, 12, 60));
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin_with("b", "probe", bed::plugin(2));
    let mut site = site.path("/load/b", "up", &[step("b", "nonce")]);
    let broken = broken();
    for Broken { name, file, mode, .. } in &broken {
        let keys = json!({"args": [mode], "required": false});
        site = site.program(name, file, keys).service(name, name, "serve", Value::Null);
        site = site.path(&format!("/{name}"), name, &[]);
    }
    let addr = ports::free();
    let config = site.write(addr);
    let start = Instant::now();
    let mut gateway = Gateway::spawn(&config, site.dir(), addr);
    gateway.ready(&["/ready/b".to_owned()]).await;
    let served = start.elapsed();
    let load = Load::from(mode, &gateway, "/load/b", Instant::now(), duration);
    let client = Client::new(addr);
    let mut told = vec![None; broken.len()];
    let mut statuses = vec![Vec::new(); broken.len()];
    while start.elapsed() < duration {
        for (index, Broken { name, reasons, .. }) in broken.iter().enumerate() {
            let says = |l: &str| l.contains(name) && reasons.iter().any(|r| l.contains(r));
            if told[index].is_none() && !gateway.log_lines(says).is_empty() {
                told[index] = Some(start.elapsed());
            }
            let status = client.try_get(&format!("/{name}")).await.map_or(0, |a| a.status);
            if !statuses[index].contains(&status) {
                statuses[index].push(status);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let b = load.end().await;

    let mut found = Found::new(mode);
    let soon = Duration::from_secs(1);
    found.time(format!("b serves after {served:.0?}, 1 s at most"), served <= soon);
    still_runs(&mut found, &mut gateway);
    untouched(&mut found, "b", &b);
    for ((broken, seen), told) in broken.iter().zip(&statuses).zip(&told) {
        let Broken { name, known, .. } = broken;
        found.count(format!("{name}: its route answered {seen:?}, 503 wanted"), *seen == [503]);
        found.count(format!("{name}: the reason is in the log, after {told:.1?}"), told.is_some());
        found.time(format!("{name}: within {known:?}"), told.is_some_and(|at| at <= *known));
        let row = telemetry::row(gateway.pid(), name).unwrap_or_default();
        let (starts, state) = (row.generation, row.state);
        // Ready it never is; failed it is where trying again would not help.
        let holds = match broken.retried {
            true => state != 1 && (starts > 1 || *known > soon),
            false => state == 3 && starts == 1,
        };
        let wanted = if broken.retried { "more" } else { "one" };
        found.count(format!("{name}: {starts} starts, {wanted} wanted, state {state}"), holds);
    }
    found
}
