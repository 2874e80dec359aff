//! The section `websocket` of a step record: which socket a conversation is about (SPEC.md 4.10).

use super::{TooLarge, name};
use crate::bytes::{u16_at, u32_at};
use crate::violation::Violation;

/// `{flags u32, id_len u16, protocol_len u16}`, then both strings.
const HEAD: usize = 8;

/// What a worker is told of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSocketSection<'a> {
    /// `wire::SOCKET_*` bits; unknown ones are left to later minors.
    pub flags: u32,
    /// The connection's id, a [`name`].
    pub id: &'a str,
    /// The subprotocol of the 101; empty: none.
    pub protocol: &'a str,
}

impl<'a> WebSocketSection<'a> {
    /// Checks the section's body.
    ///
    /// # Errors
    /// `Violation::Record` naming the broken rule of SPEC.md 4.10.
    pub fn parse(body: &'a [u8]) -> Result<Self, Violation> {
        let length = Violation::Record("step-websocket-len");
        let flags = u32_at(body, 0).ok_or(length)?;
        let id_len: usize = u16_at(body, 4).ok_or(length)?.into();
        let protocol_len: usize = u16_at(body, 6).ok_or(length)?.into();
        let strings = &body[HEAD..];
        if strings.len() != id_len + protocol_len {
            return Err(length);
        }
        let (id, protocol) = strings.split_at(id_len);
        let id = name(id).map_err(|_| Violation::Record("step-websocket-id"))?;
        let protocol = std::str::from_utf8(protocol)
            .map_err(|_| Violation::Record("step-websocket-protocol"))?;
        Ok(Self { flags, id, protocol })
    }

    /// Appends the section's body to `out`.
    ///
    /// # Errors
    /// [`TooLarge`] when a string is longer than its length can say; nothing is written then.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        let len = |text: &str| u16::try_from(text.len()).map_err(|_| TooLarge);
        let (id_len, protocol_len) = (len(self.id)?, len(self.protocol)?);
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.extend_from_slice(&id_len.to_le_bytes());
        out.extend_from_slice(&protocol_len.to_le_bytes());
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(self.protocol.as_bytes());
        Ok(())
    }
}
