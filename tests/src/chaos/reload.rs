//! R13: the configuration changes while requests come.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use super::bed::{self, still_runs, untouched};
use super::{Found, Mode};
use crate::{Client, Gateway, Upstream, step};

const EVERY: Duration = Duration::from_secs(1);
/// So many good ones, then a bad one.
const GOOD: usize = 4;

/// R13: SIGHUP every second. Each time `a` has another configuration and there is a new path; `b` stays as it is.
pub(super) async fn reloaded(mode: Mode) -> Found {
    let rounds: usize = mode.pick(5, 30, 600);
    let up = Upstream::start().await;
    let mut site = bed::sockets(bed::two(&up));
    let mut gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);
    let before = bed::pids(&client, "/load/b", 2).await;
    let mut sockets = bed::open(&gateway).await;
    // The last reload has its second too.
    let duration = EVERY * u32::try_from(rounds + 1).expect("few");
    let (start, [a, b]) = bed::loads(mode, &gateway, duration);
    let (mut good, mut bad, mut missed) = (0, 0, Vec::new());
    for round in 1..=rounds {
        let due = start + EVERY * u32::try_from(round).expect("few");
        let said = gateway.log_lines(|_| true).len();
        if round % (GOOD + 1) == 0 {
            std::fs::write(site.proxy_file(), "routes: [{unknown: 1}]\n").expect("a file");
            gateway.signal(Signal::SIGHUP);
            bad += usize::from(refused(&gateway, said, due).await);
        } else {
            site = site.change("a", json!({"config": {"round": round}}));
            let path = format!("/round/{round}");
            site = site.path(&path, "up", &[step("a", "nonce"), step("b", "nonce")]);
            site.write(gateway.addr);
            gateway.signal(Signal::SIGHUP);
            match serves(&client, &path, due).await {
                true => good += 1,
                false => missed.push(round),
            }
        }
        tokio::time::sleep_until(due.into()).await;
    }
    let (a, b) = (a.end().await, b.end().await);
    let mut after = bed::pids(&client, "/load/b", 2).await;

    let mut found = Found::new(mode);
    let refusals = rounds / (GOOD + 1);
    let wanted = rounds - refusals;
    found.count(format!("{good} of {wanted} reloads took effect, not {missed:?}"), good == wanted);
    found.count(format!("{bad} of {refusals} bad ones were refused, by name"), bad == refusals);
    still_runs(&mut found, &mut gateway);
    untouched(&mut found, "a", &a);
    untouched(&mut found, "b", &b);
    let mut before = before;
    before.sort_unstable();
    after.sort_unstable();
    found.count(format!("b, which did not change: {before:?}, then {after:?}"), before == after);
    let mut alive = 0;
    for socket in &mut sockets {
        alive += usize::from(before.contains(&socket.pid().await));
    }
    let of = sockets.len();
    found.count(format!("{alive} of {of} WebSockets of b are where they were"), alive == of);
    found
}

/// Whether the new path is there in time.
async fn serves(client: &Client, path: &str, until: Instant) -> bool {
    while Instant::now() < until + EVERY {
        if client.try_get(path).await.is_ok_and(|a| a.status == 200) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// Whether the log, from line `said` on, names what is wrong with the file.
async fn refused(gateway: &Gateway, said: usize, until: Instant) -> bool {
    while Instant::now() < until + EVERY {
        if gateway.log_lines(|_| true)[said..].iter().any(|l| l.contains("unknown")) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}
