//! The response head: status and headers as they stand (SPEC.md 4.4).

use super::TooLarge;
use super::names::Names;
use super::pairs::{PAIR, Pairs, SpanRules, TEXT, put_pairs};
use crate::bytes::{u16_at, u32_at};
use crate::violation::Violation;
use crate::wire;

const RULES: SpanRules = SpanRules {
    past_end: "head-span-past-end",
    in_header: "head-span-in-header",
    overflow: "head-span-overflow",
    empty: "head-span-empty",
    name_id: "head-name-id",
};

/// `{status u16, headers u16, flags u32}`, then the pairs.
const PAIRS: usize = 8;

/// Appends a response head to `out`. `flags` is `wire::HEAD_*`.
///
/// # Errors
/// [`TooLarge`] when it would be longer than `wire::LIMIT_RECORD`; `out` is then as before.
pub fn write_head<'a>(
    out: &mut Vec<u8>,
    status: u16,
    flags: u32,
    headers: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])>,
    names: Names,
) -> Result<(), TooLarge> {
    let count = u16::try_from(headers.len()).map_err(|_| TooLarge)?;
    let start = out.len();
    out.reserve(PAIRS + headers.len() * (PAIR + TEXT));
    out.extend_from_slice(&status.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    out.resize(start + PAIRS + headers.len() * PAIR, 0);
    put_pairs(out, start, start + PAIRS, headers, names);
    if out.len() - start > wire::LIMIT_RECORD {
        out.truncate(start);
        return Err(TooLarge);
    }
    Ok(())
}

/// A checked response head.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    record: &'a [u8],
    /// HTTP status.
    pub status: u16,
    /// `wire::HEAD_*` bits; unknown ones are left to later minors.
    pub flags: u32,
    headers: u16,
}

impl<'a> Head<'a> {
    /// Checks `record`, which is the head and nothing else.
    ///
    /// # Errors
    /// `Violation::Record` naming the broken rule of SPEC.md 4.1, 4.4 or 4.8.
    pub fn parse(record: &'a [u8], names: Names) -> Result<Self, Violation> {
        let short = Violation::Record("head-pairs-past-end");
        let status = u16_at(record, 0).ok_or(short)?;
        let headers = u16_at(record, 2).ok_or(short)?;
        let flags = u32_at(record, 4).ok_or(short)?;
        let floor = PAIRS + usize::from(headers) * PAIR;
        if floor > record.len() {
            return Err(short);
        }
        RULES.check_headers(record, (PAIRS, floor), floor, names)?;
        Ok(Self { record, status, flags, headers })
    }

    /// Header pairs, names in lower case; repeated names are kept.
    pub fn headers(&self) -> Pairs<'a> {
        Pairs::new(self.record, PAIRS, self.headers.into())
    }

    /// Whether the host holds a body set by an earlier step.
    pub fn has_body(&self) -> bool {
        self.flags & wire::HEAD_BODY != 0
    }

    /// The whole record.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.record
    }
}
