//! A route: which requests go to which services, and through which middleware.

use super::Declared;
use super::diagnostic::Report;
use super::fields::{Fields, Located};
use super::middleware::{Item, Middleware, items};
use super::service::Service;
use super::suggest;
use super::websocket::{WebSockets, WebSocketsChange};
use super::yaml::Node;
use crate::dispatch::route::{Matcher, host_without_port};
use http::Method;
use std::sync::Arc;

/// A configured route.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its unique name.
    pub name: String,
    /// Runs before that of the path.
    pub middleware: Vec<Middleware>,
    /// Its paths, in the order of the file.
    pub paths: Vec<Path>,
}

/// One path item of a route.
#[derive(Debug, Clone)]
pub struct Path {
    /// Who answers. `Err` says why this path answers 500 `CONFIG_ERROR` (lenient mode only).
    pub service: Result<Arc<Service>, String>,
    /// What the pattern's literal prefix is replaced by.
    pub rewrite: Option<String>,
    /// Runs after that of the route.
    pub middleware: Vec<Middleware>,
    /// What its WebSockets may do.
    pub websocket: WebSockets,
}

/// A route whose references are not looked up yet.
#[derive(Debug)]
pub(super) struct RouteItem {
    pub(super) matchers: Vec<Matcher>,
    pub(super) middleware: Vec<Item>,
    pub(super) websocket: WebSocketsChange,
    pub(super) paths: Vec<PathItem>,
}

#[derive(Debug)]
pub(super) struct PathItem {
    pub(super) patterns: Vec<Located<String>>,
    pub(super) methods: Vec<Method>,
    pub(super) service: Located<String>,
    pub(super) rewrite: Option<Located<String>>,
    pub(super) middleware: Vec<Item>,
    pub(super) websocket: WebSocketsChange,
    pub(super) fault: Option<String>,
}

const METHODS: [Method; 9] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::OPTIONS,
    Method::HEAD,
    Method::CONNECT,
    Method::TRACE,
    Method::PATCH,
];

pub(super) fn read(node: &Node, report: &mut Report) -> Option<Declared<RouteItem>> {
    let mut fields = Fields::of(node, "route", report)?;
    // What is forgiven in a path or an item breaks only what it belongs to.
    let name = fields.required_text("name", report);
    fields.required("paths", report);
    fields.refuse_empty("paths", "name the paths this route takes, or take it out", report);
    let paths = fields.list("paths", report);
    let paths = paths.iter().filter_map(|node| path(node, report)).collect();
    let middleware = items(fields.list("middleware", report), report);
    let mark = report.mark();
    let matchers = matchers(&mut fields, report);
    tls(&mut fields, report);
    let websocket = WebSocketsChange::read(&mut fields, report);
    fields.finish(report);
    let item = matchers.map(|matchers| RouteItem { matchers, middleware, websocket, paths });
    Some(Declared { name: name?, item, fault: report.fault_since(mark) })
}

fn matchers(fields: &mut Fields<'_>, report: &mut Report) -> Option<Vec<Matcher>> {
    fields.required("route", report)?;
    let mut route = fields.map("route", "route matcher", report)?;
    let by_host = route.required_choice("type", &[("host", true), ("header", false)], report);
    let value = route.required_text("value", report);
    route.finish(report);
    let (by_host, value) = (by_host?.value, value?);
    if !by_host {
        if value.value.contains('|') {
            let message =
                format!("`{}` is taken literally: only hosts are split at `|`", value.value);
            report.warning(&value.at, message).help =
                Some("write a route for each value of the header".to_owned());
        }
        return Some(vec![Matcher::Header(value.value)]);
    }
    let mut hosts: Vec<&str> = Vec::new();
    for host in value.value.split('|').map(str::trim).filter(|host| !host.is_empty()) {
        if hosts.iter().any(|earlier| earlier.eq_ignore_ascii_case(host)) {
            report.error(&value.at, format!("`{host}` is listed twice")).help =
                Some("remove one; hosts are compared in any case".to_owned());
        } else {
            hosts.push(host);
        }
    }
    if hosts.is_empty() {
        report.error(&value.at, "`value` names no host");
    }
    let hosts = hosts.into_iter().map(|host| Matcher::Host(checked_host(host, &value, report)));
    Some(hosts.collect())
}

fn checked_host(host: &str, value: &Located<String>, report: &mut Report) -> String {
    let at = value.at.narrow(host);
    if host_without_port(host) != host {
        report
            .error(&at, format!("`{host}` would never match: hosts are compared without port"))
            .help = Some(format!("write `{}`", host_without_port(host)));
    } else if host.contains('*') {
        report
            .warning(&at, format!("`{host}` is taken literally: there is no host wildcard"))
            .help = Some("list the hosts, as in `a.example.com|b.example.com`".to_owned());
    }
    host.to_owned()
}

fn tls(fields: &mut Fields<'_>, report: &mut Report) {
    if let Some(at) = fields.place("tls") {
        report.no_effect(at, "`tls`", "this route is served in plain HTTP");
    }
    let Some(mut tls) = fields.map("tls", "route tls section", report) else { return };
    tls.boolean("enabled", report);
    tls.text("redirect", report);
    tls.finish(report);
}

fn path(node: &Node, report: &mut Report) -> Option<PathItem> {
    let mut fields = Fields::of(node, "path", report)?;
    let middleware = items(fields.list("middleware", report), report);
    let mark = report.mark();
    fields.required("path", report);
    fields.refuse_empty("path", "name the paths it takes, or take this item out", report);
    let patterns = fields.texts("path", report);
    for pattern in &patterns {
        check_pattern(pattern, report);
    }
    fields.refuse_empty("methods", "leave `methods` out to take all of them", report);
    let methods = match fields.get("methods") {
        None => METHODS.to_vec(),
        Some(_) => {
            let names = fields.texts("methods", report);
            names.iter().filter_map(|name| method(name, report)).collect()
        }
    };
    let service = fields
        .required("service", report)
        .and_then(|node| Fields::of(node, "path service", report))
        .map(|mut service| {
            let name = service.required_text("name", report);
            let rewrite = service.text("rewrite", report);
            service.finish(report);
            if let Some(rewrite) = &rewrite {
                check_path("rewrite", rewrite, report);
            }
            (name, rewrite)
        });
    let websocket = WebSocketsChange::read(&mut fields, report);
    fields.finish(report);
    let (service, rewrite) = service?;
    let fault = report.fault_since(mark);
    let service = service?;
    Some(PathItem { patterns, methods, service, rewrite, middleware, websocket, fault })
}

/// What holds for patterns and rewrites: `kind` says which this is.
fn check_path(kind: &str, path: &Located<String>, report: &mut Report) -> bool {
    let Located { value, at } = path;
    if !value.starts_with('/') {
        report.error(at, format!("the {kind} `{value}` does not begin with `/`")).help =
            Some(format!("write `/{value}`"));
    } else if let Some(mark) = value.find(['?', '#']) {
        report.error(at, format!("the {kind} `{value}` has a query or a fragment")).help =
            Some(format!("a path ends before them: write `{}`", &value[..mark]));
    } else {
        return true;
    }
    false
}

fn check_pattern(pattern: &Located<String>, report: &mut Report) {
    let Located { value, at } = pattern;
    if check_path("path", pattern, report) && (value.ends_with("/*") || value.contains("/:")) {
        let message =
            format!("the path `{value}` has no parameter: `*` and `:` are taken literally");
        report.warning(at, message).help = Some("write `/{id}` or `/{*rest}`".to_owned());
    }
}

fn method(name: &Located<String>, report: &mut Report) -> Option<Method> {
    let found = METHODS.into_iter().find(|method| method.as_str() == name.value);
    if found.is_none() {
        let words: Vec<&str> = METHODS.iter().map(Method::as_str).collect();
        let list = format!("methods are: {}", words.join(", "));
        report.error(&name.at, format!("unknown method `{}`", name.value)).help =
            Some(suggest::sentence(&name.value, &words, list));
    }
    found
}
