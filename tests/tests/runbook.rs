//! The runbook (docs/operations.md) explains every metric, reason, state and exit there is. Names come from the program that
//! runs, or from where they are declared; not from a list of what should be there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::CommandFactory as _;
use nylon_host::Failure;
use nylon_host::cli::Cli;
use nylon_tests::{
    Client, Exposition, Gateway, Site, Upstream, WebSocket, ports, program, step, watchdog,
};
use serde_json::json;

/// The document, and what of it is asked for.
struct Runbook(String);

impl Runbook {
    fn read() -> Runbook {
        Runbook(source("docs/operations.md"))
    }

    /// The part below a heading of the document, up to the next one of its kind.
    fn section(&self, heading: &str) -> &str {
        let (_, rest) = self
            .0
            .split_once(&format!("\n{heading}\n"))
            .unwrap_or_else(|| panic!("no `{heading}`"));
        let level = heading.split(' ').next().expect("a heading");
        rest.split(&format!("\n{level} ")).next().expect("a part")
    }
}

/// The rows of the tables in a text.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines().filter(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

fn source(path: &str) -> String {
    let file = program::root().join(path);
    fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// The variants of an enum where it is declared, as they are written in data: `not_the_host`.
fn variants(path: &str, declared: &str) -> Vec<String> {
    let text = source(path);
    let (_, body) = text
        .split_once(&format!("enum {declared} {{\n"))
        .unwrap_or_else(|| panic!("{path}: no {declared}"));
    let body = body.split("\n}").next().expect("it ends");
    let names = body.lines().filter_map(|line| line.strip_prefix("    "));
    let names = names.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    let found: Vec<_> = names
        .map(|line| snake(line.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default()))
        .collect();
    assert!(found.len() > 1, "{path}: {declared} {found:?}");
    found
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// What is not in a text.
fn missing<'n>(
    text: &str,
    names: impl IntoIterator<Item = &'n str>,
    form: impl Fn(&str) -> String,
) -> Vec<&'n str> {
    names.into_iter().filter(|name| !text.contains(&form(name))).collect()
}

fn ticked(name: &str) -> String {
    format!("`{name}`")
}

/// Names of metrics as they are declared, which may lack a unit and `_total` at their end.
fn declared_metrics() -> BTreeSet<String> {
    let dir = program::root().join("nylon-host/src/metrics");
    let files = fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("a file").path());
    let traffic: PathBuf = program::root().join("nylon-host/src/gateway/traffic.rs");
    let mut found = BTreeSet::new();
    for file in files.chain([traffic]) {
        let text = fs::read_to_string(&file).expect("a file");
        let text = text.split("#[cfg(test)]").next().expect("a part").to_owned();
        for start in ["\"nylon_", "\"process_"] {
            let names = text.split(start).skip(1).filter_map(|rest| rest.split_once('"'));
            let named = names.map(|(name, _)| format!("{}{name}", &start[1..]));
            found.extend(
                named.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_')),
            );
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_and_every_label_of_a_scrape_is_explained() {
    let _dog = watchdog(60);
    let (up, addr) = (Upstream::start().await, ports::free());
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let site = site.plugin_with("twice", "probe", json!({"workers": 2, "retry": true}));
    let site = site.path("/twice", "up", &[step("twice", "exit")]);
    // Calls of every phase, a failure that is passed and one that is not: what has no series is not printed.
    let site = site.path("/panic", "up", &[step("probe", "panic")]);
    let site = site.path("/open", "up", &[step("probe", "panic-log")]);
    let site = site.path("/socket", "up", &[step("probe", "ws-echo")]);
    let site = site.runtime(json!({"metrics": [addr.to_string()]}));
    let gateway = Gateway::start(&site).await;
    let _socket = WebSocket::open(gateway.addr, "/socket").await;
    let (client, watch) = (Client::new(gateway.addr), Client::new(addr));
    assert_eq!(client.get("/panic").await.status, 502);
    // Sent once more, in vain.
    assert_eq!(client.get("/twice").await.status, 502);
    assert_eq!(client.get("/open").await.status, 200);
    let end = Instant::now() + Duration::from_secs(15);
    let text = loop {
        let text = watch.get("/metrics").await.text();
        if text.contains("nylon_plugin_passed_open_total{") {
            break text;
        }
        assert!(Instant::now() < end, "no failure was passed:\n{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let families: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let book = Runbook::read();
    for name in declared_metrics() {
        // Those of a Redis are there only with one.
        if name.starts_with("nylon_redis_") {
            assert!(book.section("## Metrics").contains(&format!("`{name}")), "{name}");
            continue;
        }
        assert!(
            families.iter().any(|family| family.starts_with(&name)),
            "{name} is not in the scrape:\n{text}"
        );
    }
    assert_eq!(missing(book.section("## Metrics"), families.iter().copied(), ticked), [""; 0]);

    let scrape = Exposition::read(&text);
    let values = |metric: &str, label: &str| -> BTreeSet<String> {
        let rows = scrape.samples.iter().filter(|sample| sample.name == metric);
        rows.map(|sample| sample.labels[label].clone()).collect()
    };
    let states = values("nylon_plugin_workers", "state");
    assert!(states.len() >= 7, "{states:?}");
    let in_a_row = |name: &str| format!("\n| `{name}` |");
    let ends = values("nylon_websocket_closed_total", "reason");
    assert!(ends.len() >= 8, "{ends:?}");
    let absent = missing(book.section("## WebSockets"), ends.iter().map(String::as_str), in_a_row);
    assert_eq!(absent, [""; 0], "ends of WebSockets");
    let absent = missing(book.section("### States"), states.iter().map(String::as_str), in_a_row);
    assert_eq!(absent, [""; 0], "states of plugins");
    let ends = values("nylon_plugin_worker_failures_total", "cause");
    assert!(ends.len() >= 6, "{ends:?}");
    let absent =
        missing(book.section("### How a worker ended"), ends.iter().map(String::as_str), in_a_row);
    assert_eq!(absent, [""; 0], "causes");
}

#[test]
fn every_reason_has_its_row_with_the_status_it_is_answered_with() {
    let book = Runbook::read();
    let text = book.section("### Why a call failed");
    let absent = missing(text, Failure::REASONS, |reason| format!("\n| `{reason}` |"));
    assert_eq!(absent, [""; 0]);
    let known = rows(text).len() - 2;
    assert_eq!(known, Failure::REASONS.len(), "no reason that there is not");
    for (failure, status) in [
        (Failure::Late, "504"),
        (Failure::NotReady, "503"),
        (Failure::Refused(String::new()), "502"),
    ] {
        assert!(text.contains(&format!("| `{}` | {status} |", failure.reason())));
        assert_eq!(failure.status().as_str(), status);
    }
}

#[test]
fn every_state_and_every_end_that_is_declared_has_its_word() {
    let book = Runbook::read();
    for (path, name, section, form) in [
        ("nylon-host/src/supervisor/status.rs", "WorkerState", "### States", "`"),
        ("nylon-host/src/supervisor/status.rs", "PluginState", "### States", "`"),
        ("nylon-host/src/supervisor/report.rs", "Cause", "### How a worker ended", "`"),
        ("nylon-host/src/supervisor/report.rs", "ExitReport", "### How a worker ended", "`"),
        ("nylon-host/src/lane/peer.rs", "Fault", "### How a worker ended", "*"),
        ("nylon-host/src/error.rs", "StartError", "### Why a worker does not start", "| "),
        ("nylon-host/src/error.rs", "ControlError", "### Why an order is not carried out", "| "),
    ] {
        let names = variants(path, name);
        let closed = |name: &str| match form {
            "| " => format!("\n| {} |", name.replace('_', " ")),
            around => format!("{around}{name}{around}"),
        };
        let absent = missing(book.section(section), names.iter().map(String::as_str), closed);
        assert_eq!(absent, [""; 0], "{name} in {section}");
    }
}

#[test]
fn every_verb_and_every_exit_code_is_in_the_table() {
    let book = Runbook::read();
    let text = book.section("### Exit codes");
    let cli = source("nylon-host/src/cli.rs");
    let codes = cli.lines().filter(|line| line.contains("pub const EXIT_"));
    let mut codes: Vec<&str> =
        codes.filter_map(|line| line.split("= ").nth(1)?.split(';').next()).collect();
    codes.extend(["0"]);
    codes.sort_unstable();
    assert!(codes.len() >= 4, "{codes:?}");
    let rows = rows(text);
    assert_eq!(rows[0][1..], codes, "a column for each");
    let verbs = Cli::command();
    let verbs: Vec<_> =
        verbs.get_subcommands().map(|verb| format!("nylon {}", verb.get_name())).collect();
    assert!(verbs.len() >= 5, "{verbs:?}");
    assert_eq!(missing(text, verbs.iter().map(String::as_str), ticked), [""; 0]);
    for row in &rows[2..] {
        assert!(row.len() == rows[0].len() && !row[1].is_empty() && !row[2].is_empty(), "{row:?}");
    }
}

#[test]
fn every_symptom_leads_to_a_section_that_says_what_to_do() {
    let book = Runbook::read();
    let anchors: BTreeSet<String> = book.0.lines().filter_map(anchor).collect();
    let links = book.0.split("](#").skip(1).filter_map(|rest| rest.split(')').next());
    let dead: Vec<&str> = links
        .filter(|link| !anchors.contains(*link) && !book.0.contains(&format!("<a id=\"{link}\">")))
        .collect();
    assert_eq!(dead, [""; 0], "links that lead nowhere");
    let symptoms = book.section("## By symptom");
    for section in symptoms.split("\n### ").skip(1) {
        for part in ["- **Shows:**", "- **Look:**", "- **Do:**"] {
            assert!(section.contains(part), "no {part} in\n{section}");
        }
    }
    assert!(symptoms.split("\n### ").count() > 14);
    let beside = |link: &str| Path::new("docs").join(link.split('#').next().unwrap_or_default());
    for link in book.0.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let local = !link.starts_with('#') && !link.contains("://");
        assert!(!local || program::root().join(beside(link)).exists(), "{link}");
    }
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(line: &str) -> Option<String> {
    let text = line.strip_prefix("##")?.trim_start_matches('#').strip_prefix(' ')?;
    let text = text.to_lowercase().replace(' ', "-");
    Some(text.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect())
}
