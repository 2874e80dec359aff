//! A message to somebody by name: to a room, or to a connection (SPEC.md 4.11).

use crate::bytes::{len32, u16_at};
use crate::violation::Violation;
use crate::wire;

/// Bytes before the name, `name_len u16`.
const HEAD: usize = 2;

/// The first piece of a message to a room or to a connection; later pieces are bytes only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addressed<'a> {
    /// Whom it is for, a [`name`].
    pub name: &'a str,
    /// What the message begins with.
    pub bytes: &'a [u8],
}

impl<'a> Addressed<'a> {
    /// Splits the first piece.
    ///
    /// # Errors
    /// `Violation::Record` when it ends in the name, or the name is none.
    pub fn parse(piece: &'a [u8]) -> Result<Self, Violation> {
        let short = Violation::Record("addressed-short");
        let len = u16_at(piece, 0).ok_or(short)?;
        let (head, bytes) = piece.split_at_checked(HEAD + usize::from(len)).ok_or(short)?;
        Ok(Self { name: name(&head[HEAD..])?, bytes })
    }

    /// Appends the first piece to `out`. The name is written as it is: it has at most `wire::LIMIT_ROOM_NAME` bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        debug_assert!(name(self.name.as_bytes()).is_ok(), "{:?} is no name", self.name);
        out.extend_from_slice(&len32(self.name.len()).to_le_bytes()[..HEAD]);
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(self.bytes);
    }
}

/// `bytes` as the name of a room or of a connection (SPEC.md 4.11): 1 to 128 bytes of UTF-8, none below 0x20, nor 0x7f.
///
/// # Errors
/// `Violation::Record` naming the broken rule.
pub fn name(bytes: &[u8]) -> Result<&str, Violation> {
    let bad = |rule| Err(Violation::Record(rule));
    if bytes.is_empty() {
        return bad("name-empty");
    }
    if bytes.len() > wire::LIMIT_ROOM_NAME {
        return bad("name-long");
    }
    match std::str::from_utf8(bytes) {
        Ok(_) if bytes.iter().any(u8::is_ascii_control) => bad("name-control"),
        Ok(name) => Ok(name),
        Err(_) => bad("name-utf8"),
    }
}
