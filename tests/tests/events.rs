//! What a host tells of its plugins while it runs: every event, in order, to those who look later and those who follow.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use nylon_host::gateway::Gateway;
use nylon_host::inspect::{Event, EventKind};
use nylon_host::{Host, PluginSpec, config};
use nylon_tests::{Site, eventually, ports, proc, program, watchdog};
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);

fn spec(name: &str) -> PluginSpec {
    let mut spec = PluginSpec::new(name, program::plugin("probe"));
    spec.start_timeout = SOON;
    spec
}

/// The kinds of these events, without those of workers on their way.
fn kinds(events: &[Arc<Event>]) -> Vec<EventKind> {
    use EventKind as K;
    let passing = [K::Started, K::Ready, K::Draining, K::Stopped];
    events.iter().map(|e| e.kind).filter(|kind| !passing.contains(kind)).collect()
}

fn find(events: &[Arc<Event>], kind: EventKind) -> &Event {
    let found = events.iter().find(|e| e.kind == kind);
    found.unwrap_or_else(|| panic!("no {kind}: {events:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_to_a_plugin_is_told_in_order() {
    use EventKind as K;
    let _dog = watchdog(120);
    let host = Host::start(vec![spec("p")]).await.expect("it starts");
    let events = host.events().clone();
    let follower = tokio::spawn({
        let events = events.clone();
        async move {
            let mut all: Vec<Arc<Event>> = Vec::new();
            while all.last().is_none_or(|e| e.kind != K::Gone) {
                let (more, lost) = events.next(all.len() as u64).await;
                assert_eq!(lost, 0);
                all.extend(more);
            }
            all
        }
    });
    let pid = host.status("p").expect("it is there").pid;
    let (first, _) = events.since(0);
    assert_eq!(first.iter().map(|e| e.kind).collect::<Vec<_>>(), [K::Started, K::Ready]);
    for event in &first {
        let of = (event.plugin.as_str(), event.worker, event.generation, event.build);
        assert_eq!(of, ("p", Some(pid), Some(1), Some(1)));
    }

    let before = events.last();
    proc::kill(pid, Signal::SIGKILL);
    let ready = || {
        let (events, _) = events.since(before);
        events.iter().any(|e| e.kind == K::Ready).then_some(events)
    };
    let crash = eventually("another worker", SOON, ready).await;
    let crashed = find(&crash, K::Crashed);
    assert_eq!((crashed.worker, crashed.generation), (Some(pid), Some(1)));
    assert!(crashed.detail.contains("SIGKILL"), "{crashed}");
    assert_eq!(find(&crash, K::Ready).generation, Some(2));

    let before = events.last();
    host.pause("p").await.expect("it is there");
    host.resume("p").await.expect("it is there");
    host.restart("p").await.expect("it starts");
    let upgraded = host.upgrade("p", None).await.expect("it starts");
    host.upgrade("p", Some(PathBuf::from("/not/there"))).await.expect_err("it is not there");
    host.rollback("p").await.expect("it starts");
    host.drain("p").await.expect("it is there");
    let (operated, lost) = events.since(before);
    assert_eq!(lost, 0);
    let expected = [
        K::Paused,
        K::Resumed,
        K::Restarting,
        K::Restarted,
        K::Upgrading,
        K::Upgraded,
        K::Upgrading,
        K::NotStarted,
        K::Refused,
        K::RollingBack,
        K::RolledBack,
        K::Drained,
    ];
    assert_eq!(kinds(&operated), expected, "{operated:#?}");
    assert_eq!(find(&operated, K::Upgraded).build, Some(upgraded));
    let refused = find(&operated, K::Refused);
    assert!(refused.detail.starts_with("upgrade: ") && refused.detail.contains("/not/there"));
    assert_eq!(refused.build, Some(upgraded), "what goes on");

    host.stop(Duration::from_secs(5)).await;
    let followed = follower.await.expect("it saw all");
    let (all, lost) = events.since(0);
    assert_eq!((followed, lost), (all, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_thousand_last_are_kept_and_the_others_counted() {
    let _dog = watchdog(60);
    let host = Host::start(vec![spec("p")]).await.expect("it starts");
    for _ in 0..600 {
        host.pause("p").await.expect("it is there");
        host.resume("p").await.expect("it is there");
    }
    let (events, lost) = host.events().since(1);
    assert_eq!((events.len(), events[0].seq), (1000, lost + 2));
    assert_eq!(events[999].seq, host.events().last());
    assert!(events.windows(2).all(|two| two[1].seq == two[0].seq + 1));
    host.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_is_told_of_each_plugin_and_of_the_whole() {
    use EventKind as K;
    let _dog = watchdog(60);
    let site = |more| Site::new().plugin("probe").plugin_with("other", "probe", more);
    let load = |site: &Site| {
        let file = site.write(ports::free());
        config::load(&file, config::Mode::Strict).expect("it is good").config
    };
    let (first, second) = (site(json!({})), site(json!({"workers": 2})));
    let broken = second.dir().join("broken");
    std::fs::copy("/bin/true", &broken).expect("a copy");
    let third = site(json!({"file": broken}));

    let (gateway, _) = Gateway::start(load(&first), false).await.expect("it starts");
    let (control, events) = (gateway.control(), gateway.host().events().clone());
    let before = events.last();
    control.reload(load(&second)).await.expect("it starts");
    let (reloaded, _) = events.since(before);
    let of = |events: &[Arc<Event>], kind| {
        let of_kind = events.iter().filter(|e| e.kind == kind);
        of_kind.map(|e| e.plugin.clone()).collect::<Vec<_>>()
    };
    // The trace file of the one is in a folder of its own: both have changed.
    let mut changed = of(&reloaded, K::Reloading);
    changed.sort();
    assert_eq!(changed, ["other", "probe"], "{reloaded:#?}");
    let whole = || of(&events.since(before).0, K::Reloaded).contains(&String::new()).then_some(());
    eventually("all of it is told", SOON, whole).await;

    let before = events.last();
    control.reload(load(&third)).await.expect_err("it does not start");
    let (refused, _) = events.since(before);
    let whole = refused.iter().find(|e| e.kind == K::ReloadRefused && e.plugin.is_empty());
    assert!(whole.is_some_and(|e| e.detail.contains("other")), "{refused:#?}");
    let of_plugin = refused.iter().find(|e| e.kind == K::ReloadRefused && e.plugin == "other");
    assert!(of_plugin.is_some_and(|e| e.detail.contains("shaking hands")), "{refused:#?}");
    let before = events.last();
    std::fs::remove_file(first.runtime_file()).expect("it is there");
    control.reload_file().await.expect_err("there is no file");
    let (refused, _) = events.since(before);
    // What was given up before may be told of only now.
    assert!(of(&refused, K::ReloadRefused).contains(&String::new()), "{refused:#?}");
    gateway.serve(std::future::ready(())).await;
}
