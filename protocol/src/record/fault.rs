//! The payload of an ERROR frame: a code and a text (SPEC.md 7).

use crate::bytes::u32_at;
use crate::violation::Violation;
use crate::wire;

/// A checked ERROR payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault<'a> {
    /// One of `wire::ERROR_*`; an unknown code reads like `wire::ERROR_INTERNAL`.
    pub code: u32,
    /// What happened, for people: at most 4096 bytes, not checked to be UTF-8.
    pub text: &'a [u8],
}

impl<'a> Fault<'a> {
    /// Splits an ERROR payload; text past its limit is cut off.
    ///
    /// # Errors
    /// `Violation::Error` when it is shorter than its code.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Violation> {
        let short = Violation::Error(payload.len());
        let code = u32_at(payload, 0).ok_or(short)?;
        let text = payload.get(4..).ok_or(short)?;
        Ok(Self { code, text: &text[..text.len().min(wire::LIMIT_ERROR_TEXT)] })
    }
}

/// Appends an ERROR payload to `out`; `text` past its limit is cut off, between two characters.
pub fn write_fault(out: &mut Vec<u8>, code: u32, text: &str) {
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..text.floor_char_boundary(wire::LIMIT_ERROR_TEXT)]);
}
