//! R7: a plugin that eats memory.

use std::time::{Duration, Instant};

use serde_json::json;

use super::bed::{self, none_wrong, still_runs, untouched};
use super::{Found, Mode};
use crate::{Client, Gateway, Site, Upstream, proc, step, telemetry};

const LIMIT: u64 = 256 << 20;
/// What a host's memory may change by.
const HOST: u64 = 5 << 20;
const EVERY: Duration = Duration::from_secs(4);

/// R7: a handler of `a` takes a gigabyte where 256 MiB are allowed; its worker is killed, again and again.
pub(super) async fn eaten(mode: Mode) -> Found {
    let rounds = mode.pick(1, 5, 60);
    let up = Upstream::start().await;
    let mut limited = bed::plugin(2);
    // Small arenas: the host's part of them is resident once they were gone through, and would pass for growth.
    limited["limits"] = json!({"memory": "256MiB", "arena": "256KiB"});
    let mut other = bed::plugin(2);
    other["limits"] = json!({"arena": "256KiB"});
    let site = Site::new().upstream("up", up.addr).plugin_with("a", "probe", limited);
    let site = site.plugin_with("b", "probe", other);
    let site = ["a", "b"]
        .iter()
        .fold(site, |site, name| site.path(&format!("/load/{name}"), "up", &[step(name, "nonce")]));
    let site = site.path("/eat", "up", &[step("a", "eat")]);
    let mut gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);

    // The host's pools and tables of a load of this size are there by then.
    let (_, [a, b]) = bed::loads(mode, &gateway, EVERY);
    let _ = (a.end().await, b.end().await);
    let host = proc::rss(gateway.pid());
    let (start, [a, b]) = bed::loads(mode, &gateway, EVERY * rounds);
    let (mut answers, mut slowest, mut most) = (Vec::new(), Duration::ZERO, 0u64);
    for round in 0..rounds {
        tokio::time::sleep_until((start + EVERY * round + EVERY / 8).into()).await;
        let workers = gateway.workers();
        let eating = client.clone();
        let eat = tokio::spawn(async move { eating.try_get("/eat").await });
        let mut crossed = None;
        while !eat.is_finished() {
            let memory = workers.iter().map(|w| proc::rss(w.pid)).max().unwrap_or(0);
            most = most.max(memory);
            if memory > LIMIT {
                crossed.get_or_insert_with(Instant::now);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        slowest = slowest.max(crossed.map_or(Duration::MAX, |at| at.elapsed()));
        answers.push(eat.await.expect("no panic").map(|answer| answer.status));
    }
    let (a, b) = (a.end().await, b.end().await);
    let now = proc::rss(gateway.pid());
    let row = telemetry::settled(gateway.pid(), "a").await;

    let mut found = Found::new(mode);
    found.count(format!("a worker had {} MiB of {}", most >> 20, LIMIT >> 20), most > LIMIT);
    let gone = row.crashes;
    found.count(format!("the host counted {gone} workers gone"), gone == u64::from(rounds));
    let refused = answers.iter().all(|answer| *answer == Ok(502));
    found.count(format!("who ate got {answers:?}, 502 wanted"), refused);
    found.time(
        format!("killed {slowest:.0?} after it crossed, 1 s at most"),
        slowest <= Duration::from_secs(1),
    );
    still_runs(&mut found, &mut gateway);
    none_wrong(&mut found, &[&a, &b]);
    let (right, sent) = (a.right(), a.outcomes.len());
    found.count(format!("a: {right} of {sent} right, 99 % wanted"), right * 100 >= sent * 99);
    untouched(&mut found, "b", &b);
    let (moved, bound) = (now.abs_diff(host), HOST >> 10);
    found.time(
        format!("host memory {} KiB, {} KiB off, {bound} at most", host >> 10, moved >> 10),
        moved <= HOST,
    );
    found
}
