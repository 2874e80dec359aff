//! What connects the rooms of this node with those of others.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::websocket::Kind;

/// What became of a connection of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Came { id: Arc<str> },
    Joined { id: Arc<str>, room: Arc<str> },
    Left { id: Arc<str>, room: Arc<str> },
    Gone { id: Arc<str>, rooms: Vec<Arc<str>> },
}

/// The way to other nodes. Nothing of it waits but [`Adapter::size`], and local rooms never wait for it.
pub(super) trait Adapter: Send + Sync {
    /// Tells the others of a connection.
    fn note(&self, change: Change);
    /// Sends a message to the members of a room that other nodes have; `room` is its key.
    fn publish(&self, room: &str, kind: Kind, payload: &Bytes);
    /// Sends a message to a connection of another node; whether it is on its way.
    fn send_to(&self, id: &str, kind: Kind, payload: &Bytes) -> bool;
    /// Members of a room in all nodes; none: that cannot be told now.
    fn size<'a>(&'a self, room: &'a str) -> BoxFuture<'a, Option<u64>>;
    /// Takes leave of the others, for at most a second.
    fn close(&self) -> BoxFuture<'_, ()>;
}
