//! Middleware: what runs around a service.

use super::diagnostic::Report;
use super::fields::{Fields, Located};
use super::payload::{payload, template};
use super::plugin::BUILT_INS;
use super::policy::{PhasePolicies, PolicyChange};
use super::source::Location;
use super::yaml::Node;
use crate::gateway::modifier::{HeaderModifier, is_framing};
use crate::template::PayloadTemplate;
use http::HeaderName;
use std::sync::Arc;

/// One middleware item, groups already expanded in place.
#[derive(Debug, Clone)]
pub enum Middleware {
    /// Every phase of a plugin's entry.
    Plugin(Arc<PluginCall>),
    /// Changes the request's headers.
    RequestHeaders(Arc<HeaderModifier>),
    /// Changes the response's headers.
    ResponseHeaders(Arc<HeaderModifier>),
}

/// One use of a plugin's entry. A group that is used twice shares its items.
#[derive(Debug)]
pub struct PluginCall {
    /// Unique in this configuration: a constant payload can be named by it.
    pub id: u32,
    /// Index of the plugin in [`Config::plugins`](super::Config::plugins).
    pub plugin: usize,
    /// The name of the entry.
    pub entry: String,
    /// The payload, if one is configured.
    pub payload: Option<PayloadTemplate>,
    /// Deadlines and failure policies of this use.
    pub policies: PhasePolicies,
    /// Where the entry is named.
    pub location: Location,
}

/// A middleware item as it stands in the file.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) kind: ItemKind,
    /// What lenient mode let pass in it.
    pub(super) fault: Option<String>,
}

#[derive(Debug)]
pub(super) enum ItemKind {
    Group(Located<String>),
    Plugin(PluginUse),
    BuiltIn(Middleware),
}

/// A plugin named by a middleware item or a service, not looked up yet.
#[derive(Debug)]
pub(super) struct PluginUse {
    pub(super) plugin: Located<String>,
    pub(super) entry: Located<String>,
    pub(super) payload: Option<PayloadTemplate>,
    pub(super) change: PolicyChange,
}

impl PluginUse {
    /// Reads a use whose plugin is named by `key`.
    pub(super) fn read(
        fields: &mut Fields<'_>,
        key: &'static str,
        report: &mut Report,
    ) -> Option<Self> {
        let plugin = fields.required_text(key, report);
        let entry = fields.required_text("entry", report);
        let payload = payload(fields.get("payload"), report);
        let change = PolicyChange::read(fields, report);
        Some(Self { plugin: plugin?, entry: entry?, payload, change })
    }
}

/// The items of a list.
pub(super) fn items(nodes: &[Node], report: &mut Report) -> Vec<Item> {
    nodes
        .iter()
        .filter_map(|node| {
            let mark = report.mark();
            let kind = item(node, report)?;
            Some(Item { kind, fault: report.fault_since(mark) })
        })
        .collect()
}

fn item(node: &Node, report: &mut Report) -> Option<ItemKind> {
    let mut fields = Fields::of(node, "middleware item", report)?;
    let plugin = fields.text("plugin", report);
    let group = fields.text("group", report);
    let built_in = plugin.as_ref().is_some_and(|name| BUILT_INS.contains(&&*name.value));
    let kind = match (group, plugin) {
        (Some(group), Some(_)) => {
            report.error(&group.at, "an item names a group or a plugin, not both").help =
                Some("make two items of it".to_owned());
            return None;
        }
        (Some(group), None) => Some(ItemKind::Group(group)),
        (None, Some(name)) if built_in => modifier(&name, &mut fields, report),
        _ => PluginUse::read(&mut fields, "plugin", report).map(ItemKind::Plugin),
    };
    fields.finish(report);
    kind
}

/// `RequestHeaderModifier` or `ResponseHeaderModifier`.
fn modifier(
    name: &Located<String>,
    fields: &mut Fields<'_>,
    report: &mut Report,
) -> Option<ItemKind> {
    let mut modifier = HeaderModifier::default();
    fields.required("payload", report)?;
    let mut payload = fields.map("payload", "header modifier payload", report)?;
    let sets = payload.list("set", report);
    for node in sets {
        let Some(mut set) = Fields::of(node, "header to set", report) else { continue };
        let header = set.required_text("name", report);
        let value = set.required("value", report);
        let value = value.and_then(|node| super::fields::text(node, "value", report));
        set.finish(report);
        if let (Some(header), Some(value)) = (header, value)
            && let Some(header) = modifiable(&header, report)
            && let Some(value) = template(&value.value, &value.at, report)
        {
            modifier.set.push((header, value));
        }
    }
    let remove = payload.texts("remove", report);
    if sets.is_empty() && remove.is_empty() {
        report.warning(&name.at, "this header modifier does nothing").help =
            Some("add `set` or `remove` to its payload".to_owned());
    }
    modifier.remove = remove.iter().filter_map(|name| modifiable(name, report)).collect();
    payload.finish(report);
    let modifier = Arc::new(modifier);
    Some(ItemKind::BuiltIn(if name.value == BUILT_INS[0] {
        Middleware::RequestHeaders(modifier)
    } else {
        Middleware::ResponseHeaders(modifier)
    }))
}

/// A header that a modifier may set or remove.
fn modifiable(name: &Located<String>, report: &mut Report) -> Option<HeaderName> {
    let header = header_name(name, report)?;
    if is_framing(&header) {
        report.error(&name.at, format!("a header modifier cannot change `{header}`")).help =
            Some("the gateway frames messages by itself: take this header out".to_owned());
        return None;
    }
    Some(header)
}

pub(super) fn header_name(name: &Located<String>, report: &mut Report) -> Option<HeaderName> {
    let parsed = name.value.parse();
    if parsed.is_err() {
        report.error(&name.at, format!("`{}` is not a header name", name.value));
    }
    parsed.ok()
}
