//! Spans and pairs: where a record's strings stand (SPEC.md 4.1).

use crate::bytes::{len32, u32_at};
use crate::violation::Violation;

/// Bytes of a span, `{off u32, len u32}`.
pub(super) const SPAN: usize = 8;
/// Bytes of a pair of spans, name and value.
pub(super) const PAIR: usize = 2 * SPAN;

/// What a record calls the four ways its spans can be wrong.
pub(super) struct SpanRules {
    pub(super) past_end: &'static str,
    pub(super) in_header: &'static str,
    pub(super) overflow: &'static str,
    pub(super) empty: &'static str,
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
        Some((span(self.record, at), span(self.record, at + SPAN)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Pairs<'_> {}
