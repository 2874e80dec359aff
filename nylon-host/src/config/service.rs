//! A service: who answers a request.

use super::Declared;
use super::diagnostic::Report;
use super::fields::{Fields, Located};
use super::files::locate;
use super::middleware::{PluginCall, PluginUse};
use super::yaml::Node;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A configured service.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its unique name.
    pub name: String,
    /// Who answers.
    pub kind: ServiceKind,
}

/// Who answers a request.
#[derive(Debug, Clone)]
pub enum ServiceKind {
    /// Upstream servers, spoken to in plain HTTP, one after the other.
    Http {
        /// At least one.
        endpoints: Vec<SocketAddr>,
    },
    /// A plugin's entry.
    Plugin(Arc<PluginCall>),
    /// Files.
    Static(StaticFiles),
}

/// Files served from a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticFiles {
    /// The directory, as an absolute path; a relative one is looked for as a plugin's `file` is.
    pub root: PathBuf,
    /// The file a directory stands for.
    pub index: String,
    /// Whether a missing file is answered with the root's index.
    pub spa: bool,
}

/// A service whose plugin is not looked up yet.
#[derive(Debug)]
pub(super) enum ServiceItem {
    Http(Vec<SocketAddr>),
    Plugin(PluginUse),
    Static(StaticFiles),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Plugin,
    Static,
}

pub(super) fn read(node: &Node, base: &Path, report: &mut Report) -> Option<Declared<ServiceItem>> {
    let mark = report.mark();
    let mut fields = Fields::of(node, "service", report)?;
    let name = fields.required_text("name", report);
    let kinds = [("http", Kind::Http), ("plugin", Kind::Plugin), ("static", Kind::Static)];
    let kind = fields.required_choice("service_type", &kinds, report).map(|kind| kind.value);
    for (key, owner, word) in [
        ("algorithm", Kind::Http, "http"),
        ("endpoints", Kind::Http, "http"),
        ("health_check", Kind::Http, "http"),
        ("plugin", Kind::Plugin, "plugin"),
        ("static", Kind::Static, "static"),
    ] {
        if let Some(at) = fields.place(key).filter(|_| kind.is_some_and(|kind| kind != owner)) {
            let message = format!("`{key}` only has an effect with `service_type: {word}`");
            report.warning(at, message);
        }
    }
    let item = kind.and_then(|kind| match kind {
        Kind::Http => http(&mut fields, report),
        Kind::Plugin => plugin(&mut fields, report),
        Kind::Static => static_files(&mut fields, base, report),
    });
    fields.finish(report);
    Some(Declared { name: name?, item, fault: report.fault_since(mark) })
}

fn http(fields: &mut Fields<'_>, report: &mut Report) -> Option<ServiceItem> {
    let algorithms =
        [("round_robin", true), ("weighted", false), ("consistent", false), ("random", false)];
    let algorithm = fields.required_choice("algorithm", &algorithms, report);
    if let Some(algorithm) = algorithm.as_ref().filter(|algorithm| !algorithm.value) {
        let what = "this algorithm";
        report.no_effect(&algorithm.at, what, "the endpoints are used one after the other");
    }
    let nodes = fields.required("endpoints", report).map(|_| fields.list("endpoints", report))?;
    if nodes.is_empty() {
        report.error(fields.at(), "this service has no endpoints");
    }
    let endpoints = nodes.iter().filter_map(|node| endpoint(node, report)).collect();
    health_check(fields, report);
    algorithm.map(|_| ServiceItem::Http(endpoints))
}

fn endpoint(node: &Node, report: &mut Report) -> Option<SocketAddr> {
    let mut fields = Fields::of(node, "endpoint", report)?;
    let ip = fields.required_text("ip", report).and_then(|text| ip(&text, report));
    let port = fields
        .required("port", report)
        .and_then(|_| fields.integer("port", 1..=u64::from(u16::MAX), report))
        .and_then(|port| u16::try_from(port).ok());
    let weight = fields.integer("weight", 1..=u64::from(u32::MAX), report);
    if let Some(at) = fields.place("weight").filter(|_| weight.is_some_and(|weight| weight != 1)) {
        report.no_effect(at, "`weight`", "every endpoint gets the same share");
    }
    fields.finish(report);
    Some(SocketAddr::new(ip?, port?))
}

fn ip(text: &Located<String>, report: &mut Report) -> Option<IpAddr> {
    let parsed = text.value.parse();
    if parsed.is_err() {
        report.error(&text.at, format!("`{}` is not an IP address", text.value)).help =
            Some("host names are not looked up: write `127.0.0.1` or `::1`".to_owned());
    }
    parsed.ok()
}

/// All its keys are needed, as in the original; none has an effect yet.
fn health_check(fields: &mut Fields<'_>, report: &mut Report) {
    if let Some(at) = fields.place("health_check") {
        report.no_effect(at, "`health_check`", "every endpoint is taken to be healthy");
    }
    let Some(mut check) = fields.map("health_check", "health check", report) else { return };
    for key in
        ["enabled", "path", "interval", "timeout", "healthy_threshold", "unhealthy_threshold"]
    {
        check.required(key, report);
    }
    check.boolean("enabled", report);
    check.text("path", report);
    check.duration("interval", report);
    check.duration("timeout", report);
    check.integer("healthy_threshold", 1..=u64::from(u32::MAX), report);
    check.integer("unhealthy_threshold", 1..=u64::from(u32::MAX), report);
    check.finish(report);
}

fn plugin(fields: &mut Fields<'_>, report: &mut Report) -> Option<ServiceItem> {
    fields.required("plugin", report)?;
    let mut plugin = fields.map("plugin", "plugin service", report)?;
    let plugin_use = PluginUse::read(&mut plugin, "name", report);
    plugin.finish(report);
    plugin_use.map(ServiceItem::Plugin)
}

fn static_files(fields: &mut Fields<'_>, base: &Path, report: &mut Report) -> Option<ServiceItem> {
    fields.required("static", report)?;
    let mut files = fields.map("static", "static service", report)?;
    let root = files.required_text("root", report);
    let index = files.text("index", report);
    let spa = files.boolean("spa", report);
    files.finish(report);
    Some(ServiceItem::Static(StaticFiles {
        root: directory(&root?, base, report),
        index: index.map_or_else(|| "index.html".to_owned(), |index| index.value),
        spa: spa.unwrap_or(false),
    }))
}

/// The directory a `root` names; one that is not there breaks its service.
fn directory(root: &Located<String>, base: &Path, report: &mut Report) -> PathBuf {
    let found = locate(&root.value, base);
    if !found.is_dir() {
        let problem = if found.exists() { "is not a directory" } else { "is not there" };
        // Clients of a lenient gateway read the message: the whole path is for the operator alone.
        report.forgivable(&root.at, format!("the root `{}` {problem}", root.value)).help =
            Some(format!(
                "make the directory {}, or correct `root`: it is looked for beside this file, \
                 then in the working directory",
                found.display()
            ));
    }
    found
}
