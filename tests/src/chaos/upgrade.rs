//! R14: a plugin's program is replaced while requests come.

use std::collections::{HashMap, HashSet};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::bed::{self, Load, still_runs, untouched};
use super::{Found, Mode};
use crate::load::{Report, Stamp};
use crate::{Answer, Client, Gateway, Site, Upstream, program, step};

/// R14: `a` goes from one program to the other and back; every third is one that does not start.
pub(super) async fn upgraded(mode: Mode) -> Found {
    let every = Duration::from_secs(mode.pick(2, 5, 5));
    let rounds: usize = mode.pick(4, 9, 120);
    let up = Upstream::start().await;
    let site = bed::two(&up).path("/versions", "up", &[step("a", "versions")]);
    // In one folder: an upgrade takes programs from that of the one it has.
    let programs = ["v1", "v2"].map(|name| copy(&site, name));
    let broken = broken(&site);
    let site = site.change("a", json!({"file": programs[0]}));
    let mut gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);
    let duration = every * u32::try_from(rounds + 1).expect("few");
    let start = std::time::Instant::now();
    let a = Load::stamped(mode, &gateway, "/versions", start, duration, stamp);
    let b = Load::from(mode, &gateway, "/load/b", start, duration);

    let (mut done, mut refused, mut failures) = (0, 0, Vec::new());
    let mut serving = String::new();
    let mut kept = true;
    for round in 1..=rounds {
        tokio::time::sleep_until((start + every * u32::try_from(round).expect("few")).into()).await;
        let bad = round % 3 == 0;
        let program = if bad { &broken } else { &programs[round % 2] };
        let file = program.display().to_string();
        let said = gateway.operate(&site, &["plugin", "upgrade", "a", "--program", &file]).await;
        match (bad, said) {
            (false, Ok(_)) => done += 1,
            (true, Err(_)) => refused += 1,
            (_, said) => failures.push(format!("{file}: {said:?}")),
        }
        let now =
            client.get_with("/versions", &[("x-nonce", "n")]).await.header("x-version").to_owned();
        kept &= !bad || now == serving;
        serving = now;
    }
    let (a, b) = (a.end().await, b.end().await);

    let mut found = Found::new(mode);
    let bad = rounds / 3;
    let why = failures.first().map(|f| format!(", first {f}")).unwrap_or_default();
    found.count(format!("{done} of {} upgrades done{why}", rounds - bad), done == rounds - bad);
    found.count(format!("{refused} of {bad} that do not start were refused"), refused == bad);
    found.count("the old one kept serving where the new one did not start", kept);
    still_runs(&mut found, &mut gateway);
    untouched(&mut found, "a", &a);
    untouched(&mut found, "b", &b);
    let served: HashSet<u32> = a.outcomes.iter().filter_map(|o| o.worker).collect();
    found.count(format!("{} processes served", served.len()), served.len() >= 2 * (done + 1));
    let (logged, mixed) = logged(&site, &a);
    found.count(
        format!("{mixed} of {logged} requests were logged by another process than answered"),
        mixed == 0 && logged >= a.right() * 99 / 100,
    );
    found
}

/// Another program, byte for byte the same: it knows itself by its name.
fn copy(site: &Site, name: &str) -> PathBuf {
    let to = site.dir().join(name);
    std::fs::copy(program::plugin("probe"), &to).expect("a copy");
    to
}

/// A program that ends before it is a worker.
fn broken(site: &Site) -> PathBuf {
    let to = site.dir().join("broken");
    std::fs::write(&to, "#!/bin/sh\nexit 3\n").expect("a file");
    std::fs::set_permissions(&to, Permissions::from_mode(0o755)).expect("it is ours");
    to
}

/// Three of the four phases are on the answer. If they are not of one process, the nonce is nobody's.
fn stamp(answer: &Answer) -> Stamp {
    let (request, response) = (answer.header("x-plugin-pid"), answer.header("x-response-pid"));
    let one = request == response && answer.text() == request;
    let nonce = if one { answer.header("x-nonce-echo").to_owned() } else { "mixed".to_owned() };
    Stamp { nonce, pid: request.parse().ok() }
}

/// The fourth is in the trace: how many of the answers are there, and how many with another process.
fn logged(site: &Site, report: &Report) -> (usize, usize) {
    let trace = site.trace();
    let by_nonce: HashMap<&str, &str> =
        trace.iter().filter_map(|l| l.strip_prefix("version ")?.split_once(' ')).collect();
    let answered = report
        .outcomes
        .iter()
        .filter_map(|o| Some((by_nonce.get(o.nonce.as_str())?.parse::<u32>().ok()?, o.worker?)));
    let pairs: Vec<(u32, u32)> = answered.collect();
    (pairs.len(), pairs.iter().filter(|(logged, answered)| logged != answered).count())
}
