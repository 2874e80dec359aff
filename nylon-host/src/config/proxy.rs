//! What the proxy files declare, merged, with references not looked up yet.

use super::Declared;
use super::diagnostic::Report;
use super::fields::{Fields, Located};
use super::middleware::{Item, header_name, items};
use super::plugin::Plugin;
use super::route::{self, RouteItem};
use super::service::{self, ServiceItem};
use super::yaml::{Node, Value};
use http::HeaderName;
use std::path::Path;

/// The declarations of every file, in the order they were read.
#[derive(Debug, Default)]
pub(super) struct Declarations {
    pub(super) header_selector: Option<HeaderName>,
    pub(super) plugins: Vec<Declared<Plugin>>,
    pub(super) services: Vec<Declared<ServiceItem>>,
    pub(super) groups: Vec<Declared<Vec<Item>>>,
    pub(super) routes: Vec<Declared<RouteItem>>,
    /// Whether any file has a proxy key, well-formed or not.
    pub(super) any_key: bool,
}

impl Declarations {
    /// Adds the proxy keys of one file; paths in it are relative to `base`.
    pub(super) fn read(&mut self, fields: &mut Fields<'_>, base: &Path, report: &mut Report) {
        self.any_key |= any_key(fields);
        if let Some(name) = fields.text("header_selector", report) {
            self.header_selector = header_name(&name, report).or(self.header_selector.take());
        }
        let plugins = fields.list("plugins", report);
        self.plugins.extend(plugins.iter().filter_map(|node| Plugin::read(node, base, report)));
        let services = fields.list("services", report);
        self.services.extend(services.iter().filter_map(|node| service::read(node, base, report)));
        for (key, node) in fields.named("middleware_groups", report) {
            let name = Located { value: key.name.clone(), at: key.at.clone() };
            self.groups.push(Declared { name, item: group(node, report), fault: None });
        }
        let routes = fields.list("routes", report);
        self.routes.extend(routes.iter().filter_map(|node| route::read(node, report)));
        for node in fields.list("tls", report) {
            tls(node, report);
        }
    }
}

/// Whether there is a proxy key in this file, well-formed or not.
pub(super) fn any_key(fields: &mut Fields<'_>) -> bool {
    let keys = ["header_selector", "plugins", "services", "middleware_groups", "routes", "tls"];
    // Each is asked for: what was not is unknown.
    keys.map(|key| fields.get(key).is_some()).contains(&true)
}

fn group(node: &Node, report: &mut Report) -> Option<Vec<Item>> {
    match &node.value {
        Value::List(nodes) => Some(items(nodes, report)),
        Value::Null => Some(Vec::new()),
        _ => {
            let message = format!("a middleware group must be a list, not {}", node.kind());
            report.error(&node.at, message).help = Some("start each item with `- `".to_owned());
            None
        }
    }
}

/// A certificate: checked for its keys, without effect yet.
fn tls(node: &Node, report: &mut Report) {
    let Some(mut fields) = Fields::of(node, "tls item", report) else { return };
    report.no_effect(fields.at(), "`tls`", "certificates are not served");
    let custom = fields.required_choice("type", &[("custom", true), ("acme", false)], report);
    if custom.is_some_and(|custom| custom.value) {
        fields.required_text("cert", report);
        fields.required_text("key", report);
    }
    for key in ["cert", "key"] {
        fields.text(key, report);
    }
    fields.texts("chain", report);
    fields.texts("domains", report);
    acme(&mut fields, report);
    if let Some(mut nested) = fields.map("acme", "acme section", report) {
        acme(&mut nested, report);
        nested.texts("domains", report);
        nested.finish(report);
    }
    fields.finish(report);
}

fn acme(fields: &mut Fields<'_>, report: &mut Report) {
    fields.choice("provider", &[("letsencrypt", ())], report);
    for key in ["email", "directory_url", "eab_kid", "eab_hmac_key"] {
        fields.text(key, report);
    }
    fields.boolean("staging", report);
}
