//! A whole JSON value with templates in its strings.

use super::{Template, TemplateContext};
use bytes::Bytes;
use serde_json::Value;

/// A configured payload, compiled to what its JSON text is put together from. One without templates is text already.
#[derive(Debug, Clone)]
pub struct PayloadTemplate {
    /// In order; never two texts in a row.
    pieces: Vec<Piece>,
    constant: Option<Bytes>,
}

/// A part of the JSON text.
#[derive(Debug, Clone)]
enum Piece {
    /// As it stands.
    Text(String),
    /// A string with expressions in it.
    Template(Template),
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
        let mut pieces = Vec::new();
        compile(root, &mut pieces);
        let constant = match pieces.as_slice() {
            [Piece::Text(text)] => Some(Bytes::from(text.clone())),
            _ => None,
        };
        Self { pieces, constant }
    }

    /// Whether the payload is the same for every request.
    pub fn is_constant(&self) -> bool {
        self.constant.is_some()
    }

    /// The payload of this request as JSON text; a constant one costs a reference count.
    pub fn expand_json(&self, context: &dyn TemplateContext) -> Bytes {
        if let Some(json) = &self.constant {
            return json.clone();
        }
        let mut json = Vec::with_capacity(256);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => json.extend_from_slice(text.as_bytes()),
                Piece::Template(template) => {
                    // A string into memory: neither can fail.
                    let _ = template.with(context, |text| serde_json::to_writer(&mut json, text));
                }
            }
        }
        json.into()
    }
}

fn compile(node: PayloadNode, pieces: &mut Vec<Piece>) {
    match node {
        PayloadNode::Constant(value) => text(&value.to_string(), pieces),
        PayloadNode::Text(template) => match template.constant() {
            Some(constant) => text(&Value::from(constant).to_string(), pieces),
            None => pieces.push(Piece::Template(template)),
        },
        PayloadNode::List(items) => {
            text("[", pieces);
            for (i, item) in items.into_iter().enumerate() {
                text(if i > 0 { "," } else { "" }, pieces);
                compile(item, pieces);
            }
            text("]", pieces);
        }
        PayloadNode::Map(entries) => {
            text("{", pieces);
            for (i, (key, node)) in entries.into_iter().enumerate() {
                text(if i > 0 { "," } else { "" }, pieces);
                text(&Value::from(key).to_string(), pieces);
                text(":", pieces);
                compile(node, pieces);
            }
            text("}", pieces);
        }
    }
}

fn text(more: &str, pieces: &mut Vec<Piece>) {
    match pieces.last_mut() {
        Some(Piece::Text(text)) => text.push_str(more),
        _ => pieces.push(Piece::Text(more.to_owned())),
    }
}
