//! Spans and pairs: where a record's strings stand (SPEC.md 4.1).

use super::names::{Names, name_of};
use crate::bytes::{len32, u32_at};
use crate::violation::Violation;

/// Bytes of a span, `{off u32, len u32}`.
pub(super) const SPAN: usize = 8;
/// Bytes of a pair of spans, name and value.
pub(super) const PAIR: usize = 2 * SPAN;
/// Bytes of strings a writer makes room for per pair, so that most records grow their buffer once.
pub(super) const TEXT: usize = 48;

/// What a record calls the ways its spans can be wrong.
pub(super) struct SpanRules {
    pub(super) past_end: &'static str,
    pub(super) in_header: &'static str,
    pub(super) overflow: &'static str,
    pub(super) empty: &'static str,
    pub(super) name_id: &'static str,
}

impl SpanRules {
    /// Checks the span at `at`: behind `floor` and inside `record`; an empty one has offset 0.
    pub(super) fn check(&self, record: &[u8], at: usize, floor: usize) -> Result<(), Violation> {
        let (Some(off), Some(len)) = (u32_at(record, at), u32_at(record, at + 4)) else {
            return Err(Violation::Record(self.past_end));
        };
        if len == 0 {
            return if off == 0 { Ok(()) } else { Err(Violation::Record(self.empty)) };
        }
        let Some(end) = off.checked_add(len) else {
            return Err(Violation::Record(self.overflow));
        };
        if (off as usize) < floor {
            return Err(Violation::Record(self.in_header));
        }
        if end as usize > record.len() {
            return Err(Violation::Record(self.past_end));
        }
        Ok(())
    }

    /// Checks the pairs of headers that stand from `at` to `end`.
    pub(super) fn check_headers(
        &self,
        record: &[u8],
        (at, end): (usize, usize),
        floor: usize,
        names: Names,
    ) -> Result<(), Violation> {
        for at in (at..end).step_by(PAIR) {
            match id_at(record, at) {
                Some(id) if names == Names::Ids => {
                    name_of(id).ok_or(Violation::Record(self.name_id))?;
                }
                _ => self.check(record, at, floor)?,
            }
            self.check(record, at + SPAN, floor)?;
        }
        Ok(())
    }
}

/// The id the name span at `at` stands for, if it is one: no length, but an offset (SPEC.md 4.8).
fn id_at(record: &[u8], at: usize) -> Option<u32> {
    u32_at(record, at).filter(|&off| off != 0 && u32_at(record, at + 4) == Some(0))
}

/// The bytes of the checked span at `at`.
pub(super) fn span(record: &[u8], at: usize) -> &[u8] {
    let (Some(off), Some(len)) = (u32_at(record, at), u32_at(record, at + 4)) else { return &[] };
    let off = off as usize;
    record.get(off..off.saturating_add(len as usize)).unwrap_or_default()
}

/// Appends `bytes` to the record that starts at `start`, and writes their span at `at` (from `out`'s start).
pub(super) fn put_span(out: &mut Vec<u8>, start: usize, at: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return; // the span stays {0, 0}
    }
    let off = len32(out.len() - start);
    out[at..at + 4].copy_from_slice(&off.to_le_bytes());
    out[at + 4..at + SPAN].copy_from_slice(&len32(bytes.len()).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends the strings of `pairs` and writes their spans, which start at `at`: one walk.
pub(super) fn put_pairs<'a>(
    out: &mut Vec<u8>,
    start: usize,
    at: usize,
    pairs: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])>,
    names: Names,
) {
    let end = at + pairs.len() * PAIR;
    for (at, (name, value)) in (at..end).step_by(PAIR).zip(pairs) {
        match names.id(name) {
            0 => put_span(out, start, at, name),
            id => out[at..at + 4].copy_from_slice(&id.to_le_bytes()),
        }
        put_span(out, start, at + SPAN, value);
    }
}

/// The name and value pairs of a checked record, in order; repeated names are kept.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    record: &'a [u8],
    at: usize,
    left: usize,
}

impl<'a> Pairs<'a> {
    /// `count` pairs from offset `at` of `record`, all checked.
    pub(super) fn new(record: &'a [u8], at: usize, count: usize) -> Self {
        Self { record, at, left: count }
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let at = self.at;
        self.at += PAIR;
        let id = id_at(self.record, at).and_then(name_of);
        Some((id.unwrap_or_else(|| span(self.record, at)), span(self.record, at + SPAN)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Pairs<'_> {}
