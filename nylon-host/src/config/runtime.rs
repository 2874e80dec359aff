//! The runtime part of the configuration: addresses, threads, shutdown.

use super::admin::Admin;
use super::diagnostic::Report;
use super::fields::{Fields, Located};
use super::log::{Log, Tracing};
use super::rooms::Rooms;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the gateway itself runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// Addresses to listen on for HTTP, at least one.
    pub http: Vec<SocketAddr>,
    /// Addresses to answer `/metrics`, `/livez` and `/readyz` on; none: nowhere.
    pub metrics: Vec<SocketAddr>,
    /// Threads that serve requests (`pingora.threads`).
    pub threads: usize,
    /// How long requests in flight may take after a stop (`pingora.grace_period_seconds`).
    pub grace_period: Duration,
    /// Directory where reports of crashed workers are written; none: they are kept in memory only.
    pub crash_reports: Option<PathBuf>,
    /// Idle connections kept per upstream endpoint (`pingora.upstream_keepalive_pool_size`).
    pub upstream_keepalive_pool_size: usize,
    /// What is logged, and how.
    pub log: Log,
    /// Which requests are traced.
    pub tracing: Tracing,
    /// Whether a response says which plugins failed on its way.
    pub failure_header: bool,
    /// Where an operator reaches it.
    pub admin: Admin,
    /// Where rooms of WebSockets are kept.
    pub rooms: Rooms,
    /// Whether each plugin has rooms of its own: then the same name means another room in another plugin.
    pub rooms_per_plugin: bool,
    /// Whether a change of its files is reason enough to read the configuration anew.
    pub watch: bool,
}

const DEFAULT_KEEPALIVE_POOL: u64 = 128;

impl Runtime {
    /// Reads the runtime keys, in which paths are relative to `base`; returns `config_dir` as it is written beside them.
    pub(super) fn read(
        fields: &mut Fields<'_>,
        base: &Path,
        report: &mut Report,
    ) -> (Self, Option<Located<String>>) {
        fields.required("http", report);
        fields.refuse_empty("http", "name an address, as in `127.0.0.1:8080`", report);
        let http = addresses("http", fields, report);
        refuse_repeated(&http, report);
        let http = without_covered(http, report);
        let metrics = addresses("metrics", fields, report);
        refuse_repeated(&metrics, report);
        for Located { value, at } in metrics.iter().filter(|address| http.contains(&address.value))
        {
            report.error(at, format!("`{value}` is listened on for `http` already")).help =
                Some("metrics are not for clients: give them an address of their own".to_owned());
        }
        let metrics = without_covered(metrics, report);
        addresses("https", fields, report);
        if let Some(at) = fields.place("https") {
            report.no_effect(at, "`https`", "only `http` addresses are served");
        }
        if fields.text("acme", report).is_some()
            && let Some(at) = fields.place("acme")
        {
            report.no_effect(at, "`acme`", "certificates are not requested");
        }
        let config_dir = fields.text("config_dir", report);
        let crash_reports = fields.text("crash_reports", report).map(|dir| base.join(dir.value));
        let (rooms, rooms_per_plugin) = websocket(fields, report);
        let runtime = pingora(http, fields, report);
        let mut runtime = Self { metrics, crash_reports, rooms, rooms_per_plugin, ..runtime };
        runtime.log = Log::read(fields, report);
        runtime.tracing = Tracing::read(fields, report);
        runtime.failure_header = fields.boolean("failure_header", report).unwrap_or(true);
        runtime.admin = Admin::read(fields, base, report);
        runtime.watch = fields.boolean("watch", report).unwrap_or(false);
        (runtime, config_dir)
    }
}

fn addresses(
    key: &'static str,
    fields: &mut Fields<'_>,
    report: &mut Report,
) -> Vec<Located<SocketAddr>> {
    let texts = fields.texts(key, report);
    texts
        .into_iter()
        .filter_map(|Located { value, at }| match value.parse() {
            Ok(value) => Some(Located { value, at }),
            Err(_) => {
                report.error(&at, format!("`{value}` is not an address to listen on")).help =
                    Some("write an IP address and a port, as in `127.0.0.1:8080`".to_owned());
                None
            }
        })
        .collect()
}

fn refuse_repeated(addresses: &[Located<SocketAddr>], report: &mut Report) {
    for (index, Located { value, at }) in addresses.iter().enumerate() {
        if addresses[..index].iter().any(|earlier| earlier.value == *value) {
            report.error(at, format!("`{value}` is listed twice")).help =
                Some("an address can be listened on once: remove one".to_owned());
        }
    }
}

/// `0.0.0.0` covers every other address: as in the original, it is then the only one bound.
fn without_covered(addresses: Vec<Located<SocketAddr>>, report: &mut Report) -> Vec<SocketAddr> {
    let wildcard = addresses
        .iter()
        .position(|address| address.value.is_ipv4() && address.value.ip().is_unspecified());
    let Some(wildcard) = wildcard else {
        return addresses.into_iter().map(|address| address.value).collect();
    };
    let only = addresses[wildcard].value;
    for (index, address) in addresses.iter().enumerate() {
        if index != wildcard {
            report.warning(&address.at, format!("not listened on: only {only} is")).help =
                Some("an address with 0.0.0.0 stands for all of them".to_owned());
        }
    }
    vec![only]
}

fn pingora(http: Vec<SocketAddr>, fields: &mut Fields<'_>, report: &mut Report) -> Runtime {
    let mut threads = default_threads();
    let mut grace = 60;
    let mut pool = DEFAULT_KEEPALIVE_POOL;
    if let Some(mut pingora) = fields.map("pingora", "pingora section", report) {
        threads = pingora.integer("threads", 1..=1024, report).unwrap_or(threads);
        grace = pingora.integer("grace_period_seconds", 0..=86_400, report).unwrap_or(grace);
        pool =
            pingora.integer("upstream_keepalive_pool_size", 0..=1_000_000, report).unwrap_or(pool);
        pingora.integer("graceful_shutdown_timeout_seconds", 0..=86_400, report);
        pingora.boolean("daemon", report);
        pingora.boolean("work_stealing", report);
        for key in ["error_log", "pid_file", "upgrade_sock", "user", "group", "ca_file"] {
            pingora.text(key, report);
        }
        for (key, help) in [
            ("graceful_shutdown_timeout_seconds", "`grace_period_seconds` alone bounds the stop"),
            ("daemon", "the gateway stays in the foreground: let a service manager start it"),
            ("work_stealing", "work is always shared between threads"),
            ("error_log", "messages go to standard error"),
            ("pid_file", "ask the service manager for the process"),
            ("upgrade_sock", "there is no hand-over of sockets"),
            ("user", "start the gateway as the user it should run as"),
            ("group", "start the gateway as the group it should run as"),
            ("ca_file", "upstream servers are spoken to in plain HTTP"),
        ] {
            if let Some(at) = pingora.place(key) {
                report.no_effect(at, &format!("`{key}`"), help);
            }
        }
        pingora.finish(report);
    }
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Runtime {
        http,
        metrics: Vec::new(),
        threads: size(threads),
        grace_period: Duration::from_secs(grace),
        crash_reports: None,
        upstream_keepalive_pool_size: size(pool),
        log: Log::default(),
        tracing: Tracing::default(),
        failure_header: true,
        admin: Admin::default(),
        rooms: Rooms::default(),
        rooms_per_plugin: false,
        watch: false,
    }
}

/// All processors but one, but two from six on; between 1 and 16.
fn default_threads() -> u64 {
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let spare = if processors >= 6 { 2 } else { 1 };
    processors.saturating_sub(spare).clamp(1, 16)
}

/// Where rooms are kept, and whether each plugin has its own.
fn websocket(fields: &mut Fields<'_>, report: &mut Report) -> (Rooms, bool) {
    let Some(mut section) = fields.map("websocket", "websocket section", report) else {
        return (Rooms::default(), false);
    };
    let rooms = Rooms::read(&mut section, report);
    let names = section.choice("rooms", &[("global", false), ("per-plugin", true)], report);
    section.finish(report);
    (rooms, names.is_some_and(|per_plugin| per_plugin.value))
}
