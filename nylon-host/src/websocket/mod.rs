//! WebSockets towards clients: the handshake and the framing of RFC 6455.
//!
//! In: upgraded connections, and encoded frames for them.  Out: whole messages, checked.
//! Never: a plugin, a worker, or a clock; who drives a socket decides when it has waited long enough.

pub(crate) mod frame;
mod handshake;
mod origins;
mod outgoing;
mod reader;
mod socket;

pub(crate) use frame::{Closing, Kind, Message};
pub(crate) use handshake::{Offer, Refusal};
pub use origins::Origins;
pub(crate) use socket::{Broken, Incoming, Socket, SocketLimits};
