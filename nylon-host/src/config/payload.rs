//! Templates in the configuration: payloads and the values of header modifiers.

use super::diagnostic::Report;
use super::source::Location;
use super::yaml::{Node, Value};
use crate::template::{PayloadNode, PayloadTemplate, Template};

/// The payload of a middleware item or plugin service: a map, so that plugins can decode it.
pub(super) fn payload(node: Option<&Node>, report: &mut Report) -> Option<PayloadTemplate> {
    let node = node?;
    if !matches!(node.value, Value::Map(_)) {
        report.error(&node.at, format!("`payload` must be a map, not {}", node.kind()));
        return None;
    }
    Some(PayloadTemplate::new(payload_node(node, report)))
}

fn payload_node(node: &Node, report: &mut Report) -> PayloadNode {
    match &node.value {
        Value::Text(source) => match template(source, &node.at, report) {
            Some(template) => PayloadNode::Text(template),
            None => PayloadNode::Constant(serde_json::Value::Null),
        },
        Value::List(items) => {
            PayloadNode::List(items.iter().map(|item| payload_node(item, report)).collect())
        }
        Value::Map(entries) => PayloadNode::Map(
            entries
                .iter()
                .map(|(key, node)| (key.name.clone(), payload_node(node, report)))
                .collect(),
        ),
        _ => PayloadNode::Constant(node.to_json()),
    }
}

/// Parses a template and reports what is wrong with it.
pub(super) fn template(source: &str, at: &Location, report: &mut Report) -> Option<Template> {
    match Template::parse(source) {
        Ok((template, warnings)) => {
            for warning in warnings {
                let message = format!("{}: it expands to nothing", warning.message);
                report.warning(&at.narrow(&warning.expression), message);
            }
            Some(template)
        }
        Err(error) => {
            let message = format!("this template does not parse: {}", error.message);
            report.error(&at.narrow(&error.expression), message).help =
                Some("an expression reads like ${header(x-id)} or ${or(host, 'none')}".to_owned());
            None
        }
    }
}
