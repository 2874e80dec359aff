//! The last lines of the log, as the process that logs them has them: asked for, and followed.

use std::sync::OnceLock;
use std::time::Duration;

use nylon_host::gateway::Gateway;
use nylon_host::inspect::LogRecord;
use nylon_host::log::{self, Logging};
use nylon_host::{Host, PluginSpec, config};
use nylon_tests::{Client, Site, Upstream, eventually, ports, step, watchdog};
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};

const SOON: Duration = Duration::from_secs(20);

/// This process logs; as text, so that what is kept is not what is written. One test at a time: they share the log.
async fn logging() -> MutexGuard<'static, ()> {
    static LOGGING: OnceLock<Logging> = OnceLock::new();
    static ALONE: Mutex<()> = Mutex::const_new(());
    LOGGING.get_or_init(|| log::start(&config::Log::default()));
    ALONE.lock().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_of_plugins_and_of_the_host_are_followed_and_those_of_requests_on_demand() {
    let _dog = watchdog(120);
    let _alone = logging().await;
    let up = Upstream::start().await;
    let site = Site::new().runtime(json!({"log": {"access": true}}));
    let site = site.upstream("up", up.addr).plugin("probe");
    let site = site.path("/say", "up", &[step("probe", "say")]);
    let addr = ports::free();
    let file = site.write(addr);
    let config = config::load(&file, config::Mode::Strict).expect("it is good").config;
    let recent = log::recent();
    let before = recent.last();
    let (gateway, _) = Gateway::start(config, false).await.expect("it starts");
    let worker = gateway.host().status("probe").expect("it is there").pid;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(gateway.serve(async {
        let _ = stopped.await;
    }));

    let of_plugin = |r: &LogRecord| r.plugin.as_deref() == Some("probe");
    let find = async |what: &str, which: &dyn Fn(&LogRecord) -> bool| {
        let (mut at, mut seen) = (before, Vec::new());
        let found = async {
            loop {
                let (records, lost) = recent.next(at).await;
                assert_eq!(lost, 0);
                at = records.last().map_or(at, |r| r.seq);
                if let Some(found) = records.iter().find(|r| of_plugin(r) && which(r)) {
                    return found.clone();
                }
                seen.extend(records);
            }
        };
        let found = tokio::time::timeout(SOON, found).await;
        found.unwrap_or_else(|_| panic!("{what}"))
    };
    let ready = find("it is ready", &|r| r.message == "ready").await;
    assert_eq!((ready.worker, ready.generation), (Some(worker), Some(1)));
    assert_eq!(ready.target, "nylon_host::supervisor");

    let client = Client::new(addr);
    assert_eq!(client.get_with("/say", &[("x-request-id", "first")]).await.status, 200);
    let said = find("what it said", &|r| r.request_id.as_deref() == Some("first")).await;
    assert_eq!((said.worker, said.generation), (Some(worker), Some(1)));
    assert_eq!((&*said.target, &*said.level, &*said.message), ("plugin", "WARN", "said\\nso"));
    assert_eq!(said.fields["attributes"]["user"], 7);
    assert!(said.to_string().ends_with(" | said\\nso"), "{said}");
    // Its own words are never the host's.
    let forged = find("what it forged", &|r| r.message == "forged").await;
    assert_eq!((forged.worker, forged.generation), (Some(worker), Some(1)));

    let requests = log::requests();
    assert_eq!(requests.since(0).0, [], "nobody has wanted them so far");
    assert_eq!(client.get_with("/say", &[("x-request-id", "second")]).await.status, 200);
    let (records, lost) = requests.next(requests.last().saturating_sub(1)).await;
    assert_eq!((records.len(), lost), (1, 0));
    let access = (records[0].request_id.as_deref(), &records[0].fields["status"]);
    assert_eq!((&*records[0].target, access), ("access", (Some("second"), &json!(200))));
    assert!(recent.since(before).0.iter().all(|r| r.target != "access"));

    let _ = stop.send(());
    serving.await.expect("it serves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_thousand_lines_are_there_and_the_others_counted() {
    let _dog = watchdog(120);
    let _alone = logging().await;
    let recent = log::recent();
    let mut spec = PluginSpec::new("printer", "/bin/sh");
    spec.args =
        vec!["-c".into(), "i=0; while [ $i -lt 1500 ]; do echo line $i; i=$((i+1)); done".into()];
    // It prints, and is no plugin: that does not matter here.
    let started = Host::start(vec![spec]).await;
    assert!(started.is_err());
    let last = || {
        let (records, lost) = recent.since(0);
        records.iter().any(|r| r.message == "line 1499").then_some((records, lost))
    };
    let (records, lost) = eventually("all is printed", SOON, last).await;
    assert!(records.len() == 1000 && lost >= 500, "{} kept, {lost} not", records.len());
    assert_eq!(records[0].seq, lost + 1);
    let printed: Vec<_> = records.iter().filter(|r| r.target == "plugin").collect();
    assert!(printed.iter().all(|r| r.plugin.as_deref() == Some("printer")));
    assert!(printed.iter().all(|r| r.worker == printed[0].worker && r.generation == Some(1)));
}
