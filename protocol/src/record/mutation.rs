//! The mutation record: everything one invocation changes, whole or not at all (SPEC.md 4.5).

use super::TooLarge;
use crate::bytes::{len32, pad8, u16_at, u32_at};
use crate::violation::Violation;
use crate::wire;

/// Ops as they stand on the wire: the method ids, 16 bits wide.
mod op {
    use crate::wire;

    macro_rules! ops {
        ($($name:ident = $method:ident),* $(,)?) => {
            $(#[expect(clippy::cast_possible_truncation, reason = "a method id under 65536")]
            pub(super) const $name: u16 = wire::$method as u16;)*
        };
    }
    ops! {
        SET_HEADER = METHOD_SET_RESPONSE_HEADER,
        REMOVE_HEADER = METHOD_REMOVE_RESPONSE_HEADER,
        STATUS = METHOD_SET_RESPONSE_STATUS,
        BODY = METHOD_SET_RESPONSE_FULL_BODY,
        ADD_HEADER = METHOD_ADD_RESPONSE_HEADER,
        SET_METHOD = METHOD_SET_REQUEST_METHOD,
        SET_PATH = METHOD_SET_REQUEST_PATH,
        SET_QUERY = METHOD_SET_REQUEST_QUERY,
        SET_REQUEST_HEADER = METHOD_SET_REQUEST_HEADER,
        REMOVE_REQUEST_HEADER = METHOD_REMOVE_REQUEST_HEADER,
        REQUEST_BODY = METHOD_SET_REQUEST_BODY,
    }
}

/// A body: in the entry itself, or sent before as DATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// The bytes themselves; empty means an empty body.
    Inline(&'a [u8]),
    /// The DATA of the same method, sent before.
    Staged,
}

/// One entry. What names and values may hold is the receiver's business, not the record's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// Replaces all response headers of that name.
    SetHeader {
        /// Header name in any case.
        name: &'a [u8],
        /// Header value.
        value: &'a [u8],
    },
    /// Adds a response header and keeps earlier ones.
    AddHeader {
        /// Header name in any case.
        name: &'a [u8],
        /// Header value.
        value: &'a [u8],
    },
    /// Removes all response headers of that name.
    RemoveHeader {
        /// Header name in any case.
        name: &'a [u8],
    },
    /// Sets the response status.
    Status(u16),
    /// Sets the response body.
    Body(Value<'a>),
    /// Sets the request method (since 1.1).
    SetMethod(&'a [u8]),
    /// Sets the request path (since 1.1).
    SetPath(&'a [u8]),
    /// Sets the request query (since 1.1).
    SetQuery(&'a [u8]),
    /// Replaces all request headers of that name (since 1.1).
    SetRequestHeader {
        /// Header name in any case.
        name: &'a [u8],
        /// Header value.
        value: &'a [u8],
    },
    /// Removes all request headers of that name (since 1.1).
    RemoveRequestHeader {
        /// Header name in any case.
        name: &'a [u8],
    },
    /// Sets the request body (since 1.1).
    RequestBody(Value<'a>),
}

/// Appends one mutation record to a `Vec<u8>`.
#[derive(Debug)]
pub struct MutationWriter<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    count: u32,
    too_large: bool,
}

impl<'o> MutationWriter<'o> {
    /// Starts a record at the end of `out`.
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        let start = out.len();
        out.resize(start + wire::MUTATION_ENTRIES, 0);
        Self { out, start, count: 0, too_large: false }
    }

    /// Appends one entry.
    pub fn op(&mut self, op: Op<'_>) -> &mut Self {
        match op {
            Op::SetHeader { name, value } => self.entry(op::SET_HEADER, 0, name, value),
            Op::AddHeader { name, value } => self.entry(op::ADD_HEADER, 0, name, value),
            Op::RemoveHeader { name } => self.entry(op::REMOVE_HEADER, 0, name, &[]),
            Op::Status(status) => self.entry(op::STATUS, 0, &[], &status.to_be_bytes()),
            Op::Body(value) => self.body_entry(op::BODY, value),
            Op::SetMethod(value) => self.entry(op::SET_METHOD, 0, &[], value),
            Op::SetPath(value) => self.entry(op::SET_PATH, 0, &[], value),
            Op::SetQuery(value) => self.entry(op::SET_QUERY, 0, &[], value),
            Op::SetRequestHeader { name, value } => {
                self.entry(op::SET_REQUEST_HEADER, 0, name, value)
            }
            Op::RemoveRequestHeader { name } => self.entry(op::REMOVE_REQUEST_HEADER, 0, name, &[]),
            Op::RequestBody(value) => self.body_entry(op::REQUEST_BODY, value),
        }
        self
    }

    /// Writes the record's length and count.
    ///
    /// # Errors
    /// [`TooLarge`] when it is longer than `wire::LIMIT_RECORD`; the `Vec` is then as before.
    pub fn finish(self) -> Result<(), TooLarge> {
        if self.too_large {
            self.out.truncate(self.start);
            return Err(TooLarge);
        }
        let len = len32(self.out.len() - self.start);
        let at = self.start + wire::MUTATION_LEN;
        self.out[at..at + 4].copy_from_slice(&len.to_le_bytes());
        let at = self.start + wire::MUTATION_COUNT;
        self.out[at..at + 4].copy_from_slice(&self.count.to_le_bytes());
        Ok(())
    }

    fn body_entry(&mut self, op: u16, value: Value<'_>) {
        match value {
            Value::Inline(bytes) => self.entry(op, 0, &[], bytes),
            Value::Staged => self.entry(op, wire::OPFLAG_STAGED, &[], &[]),
        }
    }

    fn entry(&mut self, op: u16, flags: u16, key: &[u8], value: &[u8]) {
        let used = self.out.len() - self.start;
        let strings = key.len().saturating_add(value.len());
        let end = used.saturating_add(wire::MUTATION_OP_BYTES).saturating_add(strings);
        if self.too_large || end > wire::LIMIT_RECORD {
            self.too_large = true;
            return;
        }
        self.out.extend_from_slice(&op.to_le_bytes());
        self.out.extend_from_slice(&flags.to_le_bytes());
        self.out.extend_from_slice(&len32(key.len()).to_le_bytes());
        self.out.extend_from_slice(&len32(value.len()).to_le_bytes());
        self.out.extend_from_slice(&0u32.to_le_bytes());
        self.out.extend_from_slice(key);
        self.out.extend_from_slice(value);
        pad8(self.out, self.start);
        self.count += 1;
    }
}

/// A checked mutation record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mutation<'a> {
    entries: &'a [u8],
    count: u32,
}

impl<'a> Mutation<'a> {
    /// Checks a whole payload; an empty one is a mutation without entries.
    ///
    /// # Errors
    /// `Violation::Record` naming the broken rule of SPEC.md 4.5.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Violation> {
        if payload.is_empty() {
            return Ok(Self::default());
        }
        let length = Violation::Record("mutation-len");
        if payload.len() > wire::LIMIT_RECORD {
            return Err(Violation::Record("mutation-too-large"));
        }
        if u32_at(payload, wire::MUTATION_LEN).map(|len| len as usize) != Some(payload.len()) {
            return Err(length);
        }
        let count = u32_at(payload, wire::MUTATION_COUNT).ok_or(length)?;
        let entries = payload.get(wire::MUTATION_ENTRIES..).ok_or(length)?;
        let mut rest = entries;
        for _ in 0..count {
            (_, rest) = entry(rest)?;
        }
        if !rest.is_empty() {
            return Err(Violation::Record("mutation-left-over"));
        }
        Ok(Self { entries, count })
    }

    /// The entries in order.
    pub fn ops(&self) -> Ops<'a> {
        Ops { rest: self.entries, left: self.count }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a> IntoIterator for Mutation<'a> {
    type Item = Op<'a>;
    type IntoIter = Ops<'a>;

    fn into_iter(self) -> Ops<'a> {
        self.ops()
    }
}

/// Iterator over the entries of a [`Mutation`].
#[derive(Clone, Debug)]
pub struct Ops<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Iterator for Ops<'a> {
    type Item = Op<'a>;

    fn next(&mut self) -> Option<Op<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (op, rest) = entry(self.rest).ok()?;
        self.rest = rest;
        Some(op)
    }
}

/// Checks the first entry of `bytes` and returns it with what follows.
fn entry(bytes: &[u8]) -> Result<(Op<'_>, &[u8]), Violation> {
    let bad = |rule| Err(Violation::Record(rule));
    let past_end = Violation::Record("mutation-entry-past-end");
    let op = u16_at(bytes, wire::MUTATION_OP).ok_or(past_end)?;
    let flags = u16_at(bytes, wire::MUTATION_OP_FLAGS).ok_or(past_end)?;
    let key_len = u32_at(bytes, wire::MUTATION_KEY_LEN).ok_or(past_end)?;
    let value_len = u32_at(bytes, wire::MUTATION_VALUE_LEN).ok_or(past_end)?;
    if u32_at(bytes, wire::MUTATION_OP_RESERVED).ok_or(past_end)? != 0 {
        return bad("mutation-reserved");
    }
    let Some(strings) = key_len.checked_add(value_len) else {
        return bad("mutation-overflow");
    };
    let end = wire::MUTATION_OP_BYTES + strings as usize;
    let (body, rest) = bytes.split_at_checked(end.next_multiple_of(8)).ok_or(past_end)?;
    if body.iter().skip(end).any(|&b| b != 0) {
        return bad("mutation-padding");
    }
    let strings = body.get(wire::MUTATION_OP_BYTES..end).ok_or(past_end)?;
    let (key, value) = strings.split_at_checked(key_len as usize).ok_or(past_end)?;
    Ok((decode(op, flags, key, value)?, rest))
}

fn decode<'a>(op: u16, flags: u16, name: &'a [u8], value: &'a [u8]) -> Result<Op<'a>, Violation> {
    let bad = |rule| Err(Violation::Record(rule));
    let body = matches!(op, op::BODY | op::REQUEST_BODY);
    let staged = flags == wire::OPFLAG_STAGED;
    if flags != 0 && !(body && staged) {
        return bad("mutation-flags");
    }
    if staged && !value.is_empty() {
        return bad("mutation-staged-value");
    }
    let body = if staged { Value::Staged } else { Value::Inline(value) };
    let found = match op {
        op::SET_HEADER => Op::SetHeader { name, value },
        op::ADD_HEADER => Op::AddHeader { name, value },
        op::REMOVE_HEADER => Op::RemoveHeader { name },
        op::STATUS => match *value {
            [hi, lo] => Op::Status(u16::from_be_bytes([hi, lo])),
            _ => return bad("mutation-status-len"),
        },
        op::BODY => Op::Body(body),
        op::SET_METHOD => Op::SetMethod(value),
        op::SET_PATH => Op::SetPath(value),
        op::SET_QUERY => Op::SetQuery(value),
        op::SET_REQUEST_HEADER => Op::SetRequestHeader { name, value },
        op::REMOVE_REQUEST_HEADER => Op::RemoveRequestHeader { name },
        op::REQUEST_BODY => Op::RequestBody(body),
        _ => return bad("mutation-op"),
    };
    let unused = match found {
        Op::RemoveHeader { .. } | Op::RemoveRequestHeader { .. } => value,
        Op::SetHeader { .. } | Op::AddHeader { .. } | Op::SetRequestHeader { .. } => &[],
        _ => name,
    };
    if !unused.is_empty() {
        return bad("mutation-unused");
    }
    Ok(found)
}
