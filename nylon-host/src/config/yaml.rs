//! A YAML document as a tree in which everything knows its place.
//!
//! The tree comes before the types so that one run finds every problem, not only the first.

use super::diagnostic::{Diagnostic, Severity};
use super::source::{Location, Source};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::Spanned;
use serde_saphyr::options::DuplicateKeyPolicy;
use std::fmt;
use std::sync::Arc;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: Location,
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    /// Keys in the order of the file; one may come twice.
    Map(Vec<(Key, Node)>),
}

/// A key and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) at: Location,
    pub(super) name: String,
}

/// Reads a document. An empty one is null.
pub(super) fn parse(source: &Arc<Source>) -> Result<Node, Box<Diagnostic>> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        with_snippet: false,
    };
    let tree = serde_saphyr::from_str_with_options::<Spanned<Raw>>(&source.text, options)
        .map_err(|error| Box::new(syntax_error(source, &error)))?;
    node(source, tree)
}

fn syntax_error(source: &Arc<Source>, error: &serde_saphyr::Error) -> Diagnostic {
    let text = match error {
        serde_saphyr::Error::MultipleDocuments { .. } => {
            "a file holds one document, without `---` in between".to_owned()
        }
        other => other.to_string(),
    };
    let Some(place) = error.location() else {
        return Diagnostic::about_file(&source.name, format!("not valid YAML: {text}"));
    };
    let (line, column) = (place.line(), place.column());
    let at = Location::at_line(source, index(line), index(column));
    let message = text.replace(&format!(" at line {line}, column {column}"), "");
    at.diagnostic(Severity::Error, format!("not valid YAML: {message}"))
        .with_help("look at the indentation, quotes and brackets here and in the lines above")
}

/// A parsed value before it is tied to its file.
#[derive(Debug)]
enum Raw {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

fn node(source: &Arc<Source>, raw: Spanned<Raw>) -> Result<Node, Box<Diagnostic>> {
    let at = place(source, &raw);
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value),
        Raw::Number(value) => Value::Number(value),
        Raw::Text(value) => Value::Text(value),
        Raw::List(items) => {
            Value::List(items.into_iter().map(|item| node(source, item)).collect::<Result<_, _>>()?)
        }
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| Ok((self::key(source, key)?, node(source, value)?)))
                .collect::<Result<_, Box<Diagnostic>>>()?,
        ),
    };
    Ok(Node { at, value })
}

fn key(source: &Arc<Source>, raw: Spanned<Raw>) -> Result<Key, Box<Diagnostic>> {
    let at = place(source, &raw);
    let name = match raw.value {
        Raw::Text(name) => name,
        Raw::Bool(_) | Raw::Number(_) => at.text().to_owned(),
        _ => return Err(Box::new(at.diagnostic(Severity::Error, "a key must be a text"))),
    };
    Ok(Key { at, name })
}

/// Where the value was written: for an alias, its anchor.
fn place(source: &Arc<Source>, raw: &Spanned<Raw>) -> Location {
    let span = raw.defined.span();
    match (span.byte_offset(), span.byte_len()) {
        (Some(start), Some(len)) => Location::new(source, index(start)..index(start + len)),
        _ => Location::at_line(source, index(raw.defined.line()), index(raw.defined.column())),
    }
}

/// A position in a file that is in memory.
fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Raw, E> {
        Number::from_f64(value)
            .map(Raw::Number)
            .ok_or_else(|| E::custom("infinite and undefined numbers have no place here"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

impl Node {
    /// What this is, for "expected .., not ..".
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The value as JSON, in the order of the file; of a key that comes twice the last counts.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(value) => serde_json::Value::Number(value.clone()),
            Value::Text(value) => value.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                entries.iter().map(|(key, node)| (key.name.clone(), node.to_json())).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Source, parse};
    use serde_json::json;
    use std::sync::Arc;

    fn json(text: &str) -> serde_json::Value {
        let source = Arc::new(Source { name: "a.yaml".into(), text: text.into() });
        parse(&source).unwrap().to_json()
    }

    #[test]
    fn values_keep_their_types_and_order() {
        let text = "z: 1\na: -2\nf: 1.5\nb: true\nw: yes\nn: ~\nq: '7'\nl: [x, {k: v}]\n8: key\n";
        let expected = json!({"z": 1, "a": -2, "f": 1.5, "b": true, "w": "yes", "n": null,
            "q": "7", "l": ["x", {"k": "v"}], "8": "key"});
        assert_eq!(json(text).to_string(), expected.to_string());
    }

    #[test]
    fn aliases_and_merge_keys_are_resolved() {
        let text = "base: &b {x: 1}\ncopy: *b\nmore: {<<: *b, y: 2}\n";
        let value = json(text);
        assert_eq!(value["copy"], json!({"x": 1}));
        assert_eq!(value["more"]["x"], 1);
        assert_eq!(json("base: &b {x: 1}\nmore: {<<: *b, x: 2}\n")["more"], json!({"x": 2}));
    }

    #[test]
    fn an_empty_document_is_null() {
        assert_eq!(json("# nothing\n"), json!(null));
    }
}
