//! A whole JSON value with templates in its strings.

use super::{Template, TemplateContext};
use bytes::Bytes;
use serde_json::Value;

/// A configured payload. One without templates is serialised once, here.
#[derive(Debug, Clone)]
pub struct PayloadTemplate {
    root: PayloadNode,
    constant: Option<Bytes>,
}

/// One value inside a payload; keys are never expanded.
#[derive(Debug, Clone)]
pub enum PayloadNode {
    /// A value that is passed on as it is.
    Constant(Value),
    /// A string with expressions in it.
    Text(Template),
    /// A list.
    List(Vec<PayloadNode>),
    /// A map, in the order of the file.
    Map(Vec<(String, PayloadNode)>),
}

impl PayloadTemplate {
    /// A payload made of `root`.
    pub fn new(root: PayloadNode) -> Self {
        let constant = root.constant().map(|value| Bytes::from(value.to_string()));
        Self { root, constant }
    }

    /// Whether the payload is the same for every request.
    pub fn is_constant(&self) -> bool {
        self.constant.is_some()
    }

    /// The payload of this request.
    pub fn expand(&self, context: &dyn TemplateContext) -> Value {
        self.root.expand(context)
    }

    /// The payload of this request as JSON text; a constant one costs a reference count.
    pub fn expand_json(&self, context: &dyn TemplateContext) -> Bytes {
        match &self.constant {
            Some(json) => json.clone(),
            None => Bytes::from(self.expand(context).to_string()),
        }
    }
}

impl PayloadNode {
    fn constant(&self) -> Option<Value> {
        match self {
            Self::Constant(value) => Some(value.clone()),
            Self::Text(template) => template.constant().map(Value::from),
            Self::List(items) => items.iter().map(Self::constant).collect(),
            Self::Map(entries) => entries
                .iter()
                .map(|(key, node)| Some((key.clone(), node.constant()?)))
                .collect::<Option<serde_json::Map<_, _>>>()
                .map(Value::Object),
        }
    }

    fn expand(&self, context: &dyn TemplateContext) -> Value {
        match self {
            Self::Constant(value) => value.clone(),
            Self::Text(template) => Value::String(template.expand(context)),
            Self::List(items) => items.iter().map(|item| item.expand(context)).collect(),
            Self::Map(entries) => {
                entries.iter().map(|(key, node)| (key.clone(), node.expand(context))).collect()
            }
        }
    }
}
