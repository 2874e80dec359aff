//! Reads the keys of one map, with their types, and reports the rest.

use super::diagnostic::Report;
use super::source::Location;
use super::suggest;
use super::yaml::{Key, Node, Value};
use crate::bytesize::{self, Size};
use std::ops::RangeInclusive;
use std::time::Duration;

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) at: Location,
}

/// A map that is being read key by key. What was never asked for is unknown.
pub(super) struct Fields<'a> {
    /// What the map describes, as in `plugin`.
    what: &'static str,
    at: Location,
    entries: &'a [(Key, Node)],
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The keys of `node`, which describes a `what`. Nothing at all is an empty map.
    pub(super) fn of(node: &'a Node, what: &'static str, report: &mut Report) -> Option<Self> {
        let entries: &[_] = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            _ => {
                let message = format!("{} must be a map, not {}", one(what), node.kind());
                report.error(&node.at, message).help =
                    shape(what).map(|shape| format!("write it as {shape}"));
                return None;
            }
        };
        let at = entries.first().map_or(&node.at, |(key, _)| &key.at).clone();
        Some(Self { what, at, entries, known: Vec::new() })
    }

    /// Where the map begins.
    pub(super) fn at(&self) -> &Location {
        &self.at
    }

    /// The value of `key`; a key without a value counts as absent.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// Where `key` stands, if it is there.
    pub(super) fn place(&mut self, key: &'static str) -> Option<&'a Location> {
        self.entry(key).map(|(key, _)| &key.at)
    }

    fn entry(&mut self, key: &'static str) -> Option<&'a (Key, Node)> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let found = self.entries.iter().find(|(found, _)| found.name == key);
        found.filter(|(_, node)| !matches!(node.value, Value::Null))
    }

    pub(super) fn required(&mut self, key: &'static str, report: &mut Report) -> Option<&'a Node> {
        let found = self.get(key);
        if found.is_none() {
            report.error(&self.at, format!("this {} has no `{key}`", self.what)).help =
                Some(format!("add `{key}: {}`", example(key)));
        }
        found
    }

    pub(super) fn text(
        &mut self,
        key: &'static str,
        report: &mut Report,
    ) -> Option<Located<String>> {
        self.get(key).and_then(|node| text(node, key, report))
    }

    /// A text that must be there and must not be empty.
    pub(super) fn required_text(
        &mut self,
        key: &'static str,
        report: &mut Report,
    ) -> Option<Located<String>> {
        let found = self.required(key, report).and_then(|node| text(node, key, report))?;
        if found.value.is_empty() {
            report.error(&found.at, format!("`{key}` is empty"));
            return None;
        }
        Some(found)
    }

    pub(super) fn integer(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        report: &mut Report,
    ) -> Option<u64> {
        let node = self.get(key)?;
        let number = match &node.value {
            Value::Number(number) => number.as_u64().filter(|number| range.contains(number)),
            _ => None,
        };
        if number.is_none() {
            let (low, high) = (range.start(), range.end());
            let wanted = match high {
                &u64::MAX => format!("a whole number, {low} or more"),
                high => format!("a whole number from {low} to {high}"),
            };
            report.error(&node.at, format!("`{key}` must be {wanted}"));
        }
        number
    }

    pub(super) fn boolean(&mut self, key: &'static str, report: &mut Report) -> Option<bool> {
        let node = self.get(key)?;
        let Value::Bool(value) = node.value else {
            let message = format!("`{key}` must be true or false, not {}", node.kind());
            report.error(&node.at, message);
            return None;
        };
        Some(value)
    }

    /// A time span such as `5s` or `250ms`.
    pub(super) fn duration(&mut self, key: &'static str, report: &mut Report) -> Option<Duration> {
        let found = self.text(key, report)?;
        match humantime::parse_duration(&found.value) {
            Ok(duration) if duration.is_zero() => {
                report.error(&found.at, format!("`{key}` must be longer than zero")).help =
                    Some("zero is refused and does not mean \"for ever\": write `1h`, say".into());
                None
            }
            Ok(duration) => Some(duration),
            Err(_) => {
                let message = format!("`{key}` must be a time span, not `{}`", found.value);
                report.error(&found.at, message).help =
                    Some("write a number and a unit, as in `5s` or `250ms`".to_owned());
                None
            }
        }
    }

    /// A number of bytes such as `64KiB`.
    pub(super) fn bytes(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        report: &mut Report,
    ) -> Option<u64> {
        let found = self.text(key, report)?;
        let Some(bytes) = bytesize::parse(&found.value) else {
            let message = format!("`{key}` must be a number of bytes, not `{}`", found.value);
            report.error(&found.at, message).help =
                Some("write a whole number and a unit, as in `64KiB`, `256MiB` or `1GiB`".into());
            return None;
        };
        if !range.contains(&bytes) {
            let low = Size(*range.start());
            let wanted = match *range.end() {
                u64::MAX => format!("{low} or more"),
                high => format!("from {low} to {}", Size(high)),
            };
            report.error(&found.at, format!("`{key}` must be {wanted}"));
            return None;
        }
        Some(bytes)
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        report: &mut Report,
    ) -> Option<Located<T>> {
        let found = self.text(key, report)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == found.value) {
            return Some(Located { value: *value, at: found.at });
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let list = format!("`{key}` is one of {}", words.join(", "));
        report.error(&found.at, format!("unknown {key} `{}`", found.value)).help =
            Some(suggest::sentence(&found.value, &words, list));
        None
    }

    /// One of several words, which must be there.
    pub(super) fn required_choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        report: &mut Report,
    ) -> Option<Located<T>> {
        self.required(key, report)?;
        self.choice(key, choices, report)
    }

    pub(super) fn list(&mut self, key: &'static str, report: &mut Report) -> &'a [Node] {
        match self.get(key) {
            None => &[],
            Some(Node { value: Value::List(items), .. }) => items,
            Some(node) => {
                let message = format!("`{key}` must be a list, not {}", node.kind());
                report.error(&node.at, message).help = Some("start each item with `- `".into());
                &[]
            }
        }
    }

    /// A list of texts, or a single one.
    pub(super) fn texts(&mut self, key: &'static str, report: &mut Report) -> Vec<Located<String>> {
        match self.get(key) {
            Some(Node { value: Value::List(items), .. }) => {
                items.iter().filter_map(|item| text(item, key, report)).collect()
            }
            Some(Node { value: Value::Map(_), at }) => {
                report.error(at, format!("`{key}` must be a text or a list of texts, not a map"));
                Vec::new()
            }
            Some(single) => text(single, key, report).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// Refuses an empty list, which would leave what it belongs to without a use.
    pub(super) fn refuse_empty(&mut self, key: &'static str, help: &str, report: &mut Report) {
        if let Some(Node { value: Value::List(items), at }) = self.get(key)
            && items.is_empty()
        {
            report.error(at, format!("`{key}` is an empty list")).help = Some(help.to_owned());
        }
    }

    pub(super) fn map(
        &mut self,
        key: &'static str,
        what: &'static str,
        report: &mut Report,
    ) -> Option<Fields<'a>> {
        self.get(key).and_then(|node| Fields::of(node, what, report))
    }

    /// The entries of a map whose keys are names.
    pub(super) fn named(&mut self, key: &'static str, report: &mut Report) -> &'a [(Key, Node)] {
        match self.get(key) {
            None => &[],
            Some(Node { value: Value::Map(entries), .. }) => entries,
            Some(node) => {
                report.error(&node.at, format!("`{key}` must be a map, not {}", node.kind()));
                &[]
            }
        }
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self, report: &mut Report) {
        for (key, _) in self.entries.iter().filter(|(key, _)| !self.known.contains(&&*key.name)) {
            let list = format!("{} takes: {}", one(self.what), self.known.join(", "));
            report
                .forgivable(&key.at, format!("unknown key `{}` in {}", key.name, one(self.what)))
                .help = Some(suggest::sentence(&key.name, &self.known, list));
        }
    }
}

/// `a plugin`, `an endpoint`.
fn one(what: &str) -> String {
    let article = if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {what}")
}

/// What a map looks like that is often written as a text.
fn shape(what: &str) -> Option<&'static str> {
    Some(match what {
        "middleware item" => "`{plugin: .., entry: ..}` or `{group: ..}`",
        "path" => "`{path: /, service: {name: ..}}`",
        "path service" => "`service: {name: ..}`",
        "limit list" => "`limits: {concurrency: 100, memory: 256MiB}`",
        "plugin service" => "`plugin: {name: .., entry: ..}`",
        "static service" => "`static: {root: ..}`",
        "route matcher" => "`route: {type: host, value: example.com}`",
        "endpoint" => "`{ip: 127.0.0.1, port: 3000}`",
        "header to set" => "`{name: x-a, value: ..}`",
        _ => return None,
    })
}

/// What a missing key could be set to.
fn example(key: &str) -> &'static str {
    match key {
        "http" => "127.0.0.1:8080",
        "algorithm" => "round_robin",
        "service_type" => "http",
        "ip" => "127.0.0.1",
        "route" => "{type: host, value: example.com}",
        _ => "..",
    }
}

/// The text of `node`; numbers and truth values count as they are written.
pub(super) fn text(node: &Node, key: &str, report: &mut Report) -> Option<Located<String>> {
    let value = match &node.value {
        Value::Text(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => node.at.text().to_owned(),
        _ => {
            report.error(&node.at, format!("`{key}` must be a text, not {}", node.kind()));
            return None;
        }
    };
    Some(Located { value, at: node.at.clone() })
}

/// Reports keys that come twice in one map, anywhere below `node`.
pub(super) fn refuse_duplicate_keys(node: &Node, report: &mut Report) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| refuse_duplicate_keys(item, report)),
        Value::Map(entries) => {
            for (index, (key, value)) in entries.iter().enumerate() {
                if let Some((first, _)) = entries[..index].iter().find(|(k, _)| k.name == key.name)
                {
                    report.error(&key.at, format!("duplicate key `{}`", key.name)).help =
                        Some(format!("it is first set in line {}; remove one", first.at.line()));
                }
                refuse_duplicate_keys(value, report);
            }
        }
        _ => {}
    }
}
