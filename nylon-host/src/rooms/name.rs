//! Names of rooms, and the keys they are kept under.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The longest name of a room, in bytes.
pub(crate) const MAX_NAME: usize = 128;

/// The name of a room as a plugin writes it: 1 to 128 bytes of UTF-8 without ASCII control characters (SPEC 4.11).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RoomName(Arc<str>);

/// Why a connection is not let into a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RoomError {
    #[error("a room's name is empty")]
    Empty,
    #[error("a room's name is longer than {MAX_NAME} bytes")]
    TooLong,
    #[error("a room's name holds a control character")]
    Control,
    #[error("the connection is in as many rooms as it may be in")]
    TooMany,
    #[error("there are as many rooms as there may be")]
    Full,
}

impl RoomName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`RoomError::Empty`], [`RoomError::TooLong`] or [`RoomError::Control`].
    pub(crate) fn parse(name: &str) -> Result<Self, RoomError> {
        match name {
            "" => Err(RoomError::Empty),
            long if long.len() > MAX_NAME => Err(RoomError::TooLong),
            odd if odd.bytes().any(|b| b.is_ascii_control()) => Err(RoomError::Control),
            name => Ok(Self(name.into())),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Stands between a namespace and a name in a key. No name holds it, so no room of the one is a room of the other.
const SEPARATOR: char = '\u{1f}';

/// The longest key, in bytes: a namespace is the name of a plugin.
const MAX_KEY: usize = 512;

/// What a room is kept under, here and in other nodes: its name, behind its namespace where it has one.
pub(super) fn key<'n>(namespace: Option<&str>, room: &'n RoomName) -> Cow<'n, str> {
    match namespace {
        None => Cow::Borrowed(room.as_str()),
        Some(namespace) => Cow::Owned(format!("{namespace}{SEPARATOR}{room}")),
    }
}

/// Whether `text`, which another node wrote, is a key.
pub(super) fn is_key(text: &str) -> bool {
    let (namespace, name) = match text.split_once(SEPARATOR) {
        None => ("", text),
        Some((namespace, name)) => (namespace, name),
    };
    text.len() <= MAX_KEY
        && RoomName::parse(name).is_ok()
        && !namespace.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "with space", "ünïcode", "a/b:c*", &"x".repeat(MAX_NAME)] {
            assert_eq!(RoomName::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(RoomName::parse(""), Err(RoomError::Empty));
        assert_eq!(RoomName::parse(&"x".repeat(MAX_NAME + 1)), Err(RoomError::TooLong));
        for odd in ["a\0b", "\n", "a\u{1f}b", "\u{7f}"] {
            assert_eq!(RoomName::parse(odd), Err(RoomError::Control), "{odd:?}");
        }
    }

    #[test]
    fn keys_of_namespaces_do_not_meet() {
        let room = RoomName::parse("lobby").unwrap();
        let all = [key(None, &room), key(Some("chat"), &room), key(Some("game"), &room)];
        assert!(all.iter().all(|key| is_key(key)), "{all:?}");
        assert!(all[0] != all[1] && all[1] != all[2]);
    }

    #[test]
    fn keys_of_others_are_checked() {
        for bad in ["", "chat\u{1f}", "a\0", "a\u{1f}b\u{1f}c", "\n\u{1f}a", &"x".repeat(129)] {
            assert!(!is_key(bad), "{bad:?}");
        }
    }
}
