//! Rooms: who is sent what one connection says to many.
//!
//! In: joins, leaves and messages of connections, each of which has a [`Member`] as long as it lives.  Out: frames, encoded
//! once and shared, in the [`Outbox`] of each member; and, with Redis, events for other nodes.  Never: a plugin, a socket,
//! or a wait in a local delivery.

mod adapter;
mod budget;
mod counters;
mod memory;
mod name;
mod outbox;
mod redis;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use adapter::{Adapter, Change};
use budget::Budget;
use memory::{Connection, Memory};
use redis::Redis;

use crate::config::{RedisConfig, Rooms};

use crate::websocket::{Kind, frame};

pub(crate) use counters::Counters;
pub(crate) use name::{RoomError, RoomName};
pub(crate) use outbox::{Out, Outbox, Overflow, Pushed};
pub(crate) use redis::RedisUnusable;

/// How much rooms may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Rooms one connection may be in.
    pub(crate) rooms_per_connection: usize,
    /// Rooms in this node.
    pub(crate) rooms: usize,
    /// Bytes per second that one connection's broadcasts may come to in all members, 64 for each delivery among them.
    pub(crate) broadcast_rate: u64,
    /// The largest message taken from another node.
    pub(crate) max_message: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rooms_per_connection: 64,
            rooms: 1 << 17,
            broadcast_rate: 64 << 20,
            max_message: 16 << 20,
        }
    }
}

/// The rooms of this node, and the way to those of others.
pub(crate) struct Hub {
    node_id: String,
    memory: Arc<Memory>,
    adapter: Option<Box<dyn Adapter>>,
    next: AtomicU64,
}

impl Hub {
    /// Rooms in the memory of this process.
    pub(crate) fn memory(limits: Limits) -> Arc<Self> {
        let memory = Arc::new(Memory::new(limits));
        Arc::new(Self::new(node_id(), memory, None))
    }

    /// Rooms shared with all nodes at a Redis.
    ///
    /// # Errors
    /// [`RedisUnusable`] if it cannot be reached now. Later it may go and come.
    pub(crate) async fn redis(
        config: &RedisConfig,
        limits: Limits,
    ) -> Result<Arc<Self>, RedisUnusable> {
        let (node_id, memory) = (node_id(), Arc::new(Memory::new(limits)));
        let redis = Redis::start(config, &node_id, memory.clone()).await?;
        Ok(Arc::new(Self::new(node_id, memory, Some(Box::new(redis)))))
    }

    /// Rooms as the configuration has them.
    ///
    /// # Errors
    /// Those of [`Hub::redis`].
    pub(crate) async fn start(rooms: &Rooms, limits: Limits) -> Result<Arc<Self>, RedisUnusable> {
        match rooms {
            Rooms::Memory => Ok(Self::memory(limits)),
            Rooms::Redis(config) => Self::redis(config, limits).await,
        }
    }

    fn new(node_id: String, memory: Arc<Memory>, adapter: Option<Box<dyn Adapter>>) -> Self {
        Self { node_id, memory, adapter, next: AtomicU64::new(0) }
    }

    /// This node, as others know it: another at each start.
    #[cfg(test)]
    pub(crate) fn node_id(&self) -> &str {
        &self.node_id
    }

    /// An id that no other connection has or had, in any node.
    pub(crate) fn next_id(&self) -> String {
        format!("{}:{}", self.node_id, self.next.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Takes a connection in, whose rooms are those of `namespace` alone if it has one. At most `send_queue` bytes wait for
    /// it, and then `overflow` says what happens.
    pub(crate) fn attach(
        self: &Arc<Self>,
        id: String,
        namespace: Option<&str>,
        overflow: Overflow,
        send_queue: usize,
    ) -> Member {
        let connection = self.memory.attach(&id, namespace, Outbox::new(overflow, send_queue));
        self.note(|| Change::Came { id: connection.id.clone() });
        let budget = Budget::new(self.memory.limits().broadcast_rate, Instant::now());
        let (budget, departed) = (Mutex::new(budget), AtomicBool::new(false));
        Member { hub: self.clone(), connection, budget, departed }
    }

    /// Sends a message to all members of a room: those of this node first, the sender among them if it is one. Returns how
    /// many of this node it is queued for.
    pub(crate) fn broadcast(
        &self,
        namespace: Option<&str>,
        room: &RoomName,
        kind: Kind,
        payload: &Bytes,
    ) -> usize {
        let Some(frame) = self.encode(kind, payload) else { return 0 };
        self.counters().broadcasts.one();
        let key = name::key(namespace, room);
        let reached = self.memory.broadcast(&key, &frame);
        if let Some(adapter) = &self.adapter {
            adapter.publish(&key, kind, payload);
        }
        reached
    }

    /// Sends a message to one connection; whether it is queued, or on its way to another node.
    pub(crate) fn send_to(&self, id: &str, kind: Kind, payload: &Bytes) -> bool {
        let Some(frame) = self.encode(kind, payload) else { return false };
        if self.memory.has(id) {
            return self.memory.send_to(id, &frame);
        }
        let own = id.strip_prefix(&self.node_id).is_some_and(|rest| rest.starts_with(':'));
        self.adapter.as_ref().is_some_and(|adapter| !own && adapter.send_to(id, kind, payload))
    }

    /// Members of a room: in all nodes if the way to them is open, else in this one.
    pub(crate) async fn size(&self, namespace: Option<&str>, room: &RoomName) -> u64 {
        let key = name::key(namespace, room);
        let everywhere = match &self.adapter {
            Some(adapter) => adapter.size(&key).await,
            None => None,
        };
        everywhere.unwrap_or(0).max(self.memory.size(&key))
    }

    /// Connections of this node.
    #[cfg(test)]
    pub(crate) fn connections(&self) -> usize {
        self.memory.connections()
    }

    /// Rooms with members in this node.
    pub(crate) fn rooms(&self) -> usize {
        self.memory.rooms()
    }

    /// What was counted.
    pub(crate) fn counters(&self) -> &Counters {
        &self.memory.counters
    }

    /// Whether other nodes are to be reached at all.
    pub(crate) fn is_clustered(&self) -> bool {
        self.adapter.is_some()
    }

    /// Takes leave of other nodes, for at most a second: to be called when the last connection is gone.
    pub(crate) async fn close(&self) {
        if let Some(adapter) = &self.adapter {
            adapter.close().await;
        }
    }

    fn note(&self, change: impl FnOnce() -> Change) {
        if let Some(adapter) = &self.adapter {
            adapter.note(change());
        }
    }

    fn encode(&self, kind: Kind, payload: &[u8]) -> Option<Bytes> {
        let frame = frame(kind, payload);
        if frame.is_none() {
            self.counters().not_text.one();
        }
        frame
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("node_id", &self.node_id).finish_non_exhaustive()
    }
}

/// A connection's place in the hub. It leaves all rooms when this is dropped.
#[derive(Debug)]
pub(crate) struct Member {
    hub: Arc<Hub>,
    connection: Arc<Connection>,
    budget: Mutex<Budget>,
    departed: AtomicBool,
}

impl Member {
    /// Its id, as other connections may name it.
    pub(crate) fn id(&self) -> &str {
        &self.connection.id
    }

    /// What is on its way to the client.
    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.connection.outbox
    }

    /// Enters a room; once, however often.
    ///
    /// # Errors
    /// [`RoomError::TooMany`] or [`RoomError::Full`].
    pub(crate) fn join(&self, room: &RoomName) -> Result<(), RoomError> {
        let key = name::key(self.namespace(), room);
        if let Some(room) = self.hub.memory.join(&self.connection, &key)? {
            self.hub.note(|| Change::Joined { id: self.connection.id.clone(), room });
        }
        Ok(())
    }

    /// Leaves a room, if it is in it.
    pub(crate) fn leave(&self, room: &RoomName) {
        let key = name::key(self.namespace(), room);
        if let Some(room) = self.hub.memory.leave(&self.connection, &key) {
            self.hub.note(|| Change::Left { id: self.connection.id.clone(), room });
        }
    }

    /// Leaves every room.
    pub(crate) fn leave_all(&self) {
        for room in self.hub.memory.leave_all(&self.connection) {
            self.hub.note(|| Change::Left { id: self.connection.id.clone(), room });
        }
    }

    /// [`Hub::broadcast`] in its own namespace and on its own budget. Returns how many of this node it is queued for, and how
    /// long the sender's window is to be held back; mostly not at all.
    pub(crate) fn broadcast(
        &self,
        room: &RoomName,
        kind: Kind,
        payload: &Bytes,
    ) -> (usize, Duration) {
        let reached = self.hub.broadcast(self.namespace(), room, kind, payload);
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        (reached, budget.charge(reached, payload.len(), Instant::now()))
    }

    /// Whose rooms its rooms are, if not everybody's.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.connection.namespace.as_deref()
    }
}

impl Member {
    /// Leaves all rooms, and is found by its id no longer. It is to join none after that.
    pub(crate) fn depart(&self) {
        if self.departed.swap(true, Ordering::Relaxed) {
            return;
        }
        let rooms = self.hub.memory.detach(&self.connection);
        self.hub.note(|| Change::Gone { id: self.connection.id.clone(), rooms });
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.depart();
    }
}

fn node_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A message as one frame; none: a text that is not UTF-8.
fn frame(kind: Kind, payload: &[u8]) -> Option<Bytes> {
    let sound = kind == Kind::Binary || std::str::from_utf8(payload).is_ok();
    sound.then(|| frame::message(kind, payload))
}
