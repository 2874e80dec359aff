//! WebSockets towards clients: the handshake and the framing of RFC 6455.
//!
//! In: upgraded connections, and encoded frames for them.  Out: whole messages, checked.
//! Never: a plugin, a worker, or a clock; who drives a socket decides when it has waited long enough.

pub(crate) mod frame;
pub(crate) mod handshake;
mod origins;
mod outgoing;
mod reader;
pub(crate) mod socket;

pub(crate) use origins::Origins;
