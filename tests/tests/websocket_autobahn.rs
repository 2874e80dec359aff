//! R26: Autobahn's fuzzing client, which nobody here wrote, against an echo plugin behind the gateway.
//!
//! Its report is read case by case: every case ran, none failed, and those it calls not strict are named here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use nylon_tests::{Gateway, Site, watchdog};
use serde_json::{Value, json};

/// A message, and a frame that breaks the protocol right behind it. The answer to the message comes from a plugin, and is waited
/// for before the socket is failed, for half a second at most: where the machine takes longer, the case is what Autobahn calls
/// not strict, as RFC 6455 7.1.7 allows to fail a socket at once.
const NOT_STRICT: [&str; 10] =
    ["3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"];

/// How many cases each group has, all options of the default run.
const CASES: [(&str, usize); 8] =
    [("1", 16), ("2", 11), ("3", 7), ("4", 10), ("5", 20), ("6", 145), ("7", 37), ("10", 1)];
/// Messages of up to 16 MiB.
const LARGE: (&str, usize) = ("9", 54);

/// `wstest`, where `cargo xtask test websocket_autobahn` put it.
fn wstest() -> PathBuf {
    let program = std::env::var_os("NYLON_WSTEST").map(PathBuf::from);
    let found = program.or_else(|| {
        let own = std::env::current_exe().unwrap_or_default();
        let below = |dir: &std::path::Path| dir.join("tools/autobahn/wstest");
        own.ancestors().map(below).find(|file| file.exists())
    });
    found.expect("Autobahn's wstest, which `cargo xtask test websocket_autobahn` fetches")
}

/// Runs `groups` and gives what the report says of each case: its behaviour, and that of its close.
async fn run(groups: &[&str], within: Duration) -> BTreeMap<String, (String, String)> {
    let site = Site::new().plugin("probe").service("echo", "probe", "ws-echo", Value::Null);
    let limits = json!({"websocket": {"max_message": "20MiB", "max_frame": "20MiB"}});
    let site = site.path_with("/", "echo", &[], limits);
    let gateway = Gateway::start(&site).await;
    let spec = json!({
        "outdir": site.dir().join("report"),
        "servers": [{"agent": "nylon", "url": format!("ws://{}/", gateway.addr)}],
        "cases": groups.iter().map(|group| format!("{group}.*")).collect::<Vec<_>>(),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    });
    let file = site.dir().join("spec.json");
    std::fs::write(&file, spec.to_string()).expect("the folder is there");
    let mut client = tokio::process::Command::new(wstest());
    client.args(["-m", "fuzzingclient", "-s"]).arg(&file).current_dir(site.dir());
    let out = tokio::time::timeout(within, client.kill_on_drop(true).output()).await;
    let out = out.expect("Autobahn ends in time").expect("wstest runs");
    let index = site.dir().join("report/index.json");
    let report = std::fs::read_to_string(&index).unwrap_or_else(|e| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        panic!("no report: {e}; {}\n{}\n{}", out.status, text(&out.stdout), text(&out.stderr))
    });
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let cases = report["nylon"].as_object().expect("a report of the one server");
    let word = |case: &Value, key: &str| case[key].as_str().expect("a word").to_owned();
    let pair = |case| (word(case, "behavior"), word(case, "behaviorClose"));
    cases.iter().map(|(id, case)| (id.clone(), pair(case))).collect()
}

/// Every case of `groups` ran, and went well.
fn judge(cases: &BTreeMap<String, (String, String)>, groups: &[(&str, usize)]) {
    for (group, count) in groups {
        let ran = cases.keys().filter(|id| id.split('.').next() == Some(group)).count();
        assert_eq!(ran, *count, "cases of group {group}");
    }
    assert_eq!(cases.len(), groups.iter().map(|(_, count)| count).sum::<usize>());
    // Informational: cases that have no right answer.
    let bad = |word: &str| !matches!(word, "OK" | "NON-STRICT" | "INFORMATIONAL");
    let failed: Vec<_> = cases.iter().filter(|(_, (a, b))| bad(a) || bad(b)).collect();
    assert!(failed.is_empty(), "failed: {failed:?}");
    let loose = cases.iter().filter(|(_, (a, b))| a == "NON-STRICT" || b == "NON-STRICT");
    let loose: BTreeSet<&str> = loose.map(|(id, _)| id.as_str()).collect();
    let unnamed: Vec<_> = loose.iter().filter(|id| !NOT_STRICT.contains(id)).collect();
    assert!(unnamed.is_empty(), "not strict, and not named: {unnamed:?}");
}

#[tokio::test]
async fn every_case_of_a_default_run_passes() {
    let _dog = watchdog(150);
    let groups = CASES.map(|(group, _)| group);
    judge(&run(&groups, Duration::from_secs(120)).await, &CASES);
}

#[tokio::test]
#[ignore = "long: messages of up to 16 MiB"]
async fn every_case_with_large_messages_passes() {
    let _dog = watchdog(900);
    judge(&run(&[LARGE.0], Duration::from_secs(840)).await, &[LARGE]);
}
