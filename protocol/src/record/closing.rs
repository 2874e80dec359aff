//! How a WebSocket is closed: a code and a reason (SPEC.md 4.12).

use crate::bytes::u16_at;
use crate::check::Side;
use crate::violation::Violation;
use crate::wire;

/// Bytes of the code.
const CODE: usize = 2;

/// The payload of a close: of the worker's, which the host sends on, and of the host's, which tells what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closing<'a> {
    /// A [`close_code`]; `None`: the close frame has none. A host's is read as 1005 then.
    pub code: Option<u16>,
    /// For people, at most 123 bytes; empty without a code.
    pub reason: &'a str,
}

impl<'a> Closing<'a> {
    /// Reads what `from` says.
    ///
    /// # Errors
    /// `Violation::Record` for a single byte, more than 125, a reason that is not UTF-8, or a code that is none.
    pub fn parse(payload: &'a [u8], from: Side) -> Result<Self, Violation> {
        let bad = |rule| Err(Violation::Record(rule));
        if payload.is_empty() {
            return Ok(Self::default());
        }
        let Some((code, reason)) = u16_at(payload, 0).zip(payload.get(CODE..)) else {
            return bad("closing-one-byte");
        };
        if payload.len() > wire::LIMIT_PING {
            return bad("closing-long");
        }
        if !close_code(code, from) {
            return bad("closing-code");
        }
        match std::str::from_utf8(reason) {
            Ok(reason) => Ok(Self { code: Some(code), reason }),
            Err(_) => bad("closing-utf8"),
        }
    }

    /// Appends the payload to `out`; a reason past its limit is cut off, between two characters.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Some(code) = self.code else { return };
        out.extend_from_slice(&code.to_le_bytes());
        let cut = self.reason.floor_char_boundary(wire::LIMIT_PING - CODE);
        out.extend_from_slice(&self.reason.as_bytes()[..cut]);
    }
}

/// Whether `from` may give `code`: those that stand in a close frame (RFC 6455 7.4 and its registry), and from a host
/// also 1005, there was none, and 1006, there was no close frame.
pub fn close_code(code: u16, from: Side) -> bool {
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => true,
        1005 | 1006 => from == Side::Host,
        _ => false,
    }
}
