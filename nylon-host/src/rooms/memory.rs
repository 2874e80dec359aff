//! The connections and rooms of this node.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::Limits;
use super::counters::Counters;
use super::name::RoomError;
use super::outbox::{Made, Outbox};

/// What this node holds. A room's messages reach all its members in one order.
///
/// Locks are taken in this order: a connection's rooms, the table of rooms, a room's members, an outbox.
#[derive(Debug)]
pub(super) struct Memory {
    limits: Limits,
    /// Connections by id.
    connections: RwLock<HashMap<Arc<str>, Arc<Connection>>>,
    /// Rooms by key, none of them empty.
    rooms: RwLock<HashMap<Arc<str>, Arc<Room>>>,
    next: AtomicU64,
    pub(super) counters: Counters,
}

/// A connection of this node.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: Arc<str>,
    pub(super) namespace: Option<Arc<str>>,
    pub(super) outbox: Arc<Outbox>,
    /// What its rooms know it by.
    number: u64,
    rooms: Mutex<Vec<Arc<Room>>>,
}

#[derive(Debug)]
struct Room {
    key: Arc<str>,
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    outboxes: FxHashMap<u64, Arc<Outbox>>,
    /// It was empty, and is not in the table any longer.
    gone: bool,
}

impl Memory {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            connections: RwLock::default(),
            rooms: RwLock::default(),
            next: AtomicU64::new(0),
            counters: Counters::default(),
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes a connection in. One of the same id is no longer found by it.
    pub(super) fn attach(
        &self,
        id: &str,
        namespace: Option<&str>,
        outbox: Outbox,
    ) -> Arc<Connection> {
        let connection = Arc::new(Connection {
            id: id.into(),
            namespace: namespace.map(Into::into),
            outbox: Arc::new(outbox),
            number: self.next.fetch_add(1, Ordering::Relaxed),
            rooms: Mutex::default(),
        });
        let mut connections = self.connections.write().unwrap_or_else(PoisonError::into_inner);
        connections.insert(connection.id.clone(), connection.clone());
        connection
    }

    /// Lets a connection go. Returns the keys of the rooms it was in.
    pub(super) fn detach(&self, connection: &Arc<Connection>) -> Vec<Arc<str>> {
        let mut connections = self.connections.write().unwrap_or_else(PoisonError::into_inner);
        if connections.get(&connection.id).is_some_and(|found| Arc::ptr_eq(found, connection)) {
            connections.remove(&connection.id);
        }
        drop(connections);
        self.leave_all(connection)
    }

    /// Takes a connection out of every room. Returns the keys of those it was in.
    pub(super) fn leave_all(&self, connection: &Connection) -> Vec<Arc<str>> {
        let rooms = std::mem::take(&mut *lock(&connection.rooms));
        rooms.iter().for_each(|room| self.remove(room, connection.number));
        rooms.iter().map(|room| room.key.clone()).collect()
    }

    /// Puts a connection into a room. Returns the room's key; none: it is in it already.
    ///
    /// # Errors
    /// [`RoomError::TooMany`] or [`RoomError::Full`].
    pub(super) fn join(
        &self,
        connection: &Connection,
        key: &str,
    ) -> Result<Option<Arc<str>>, RoomError> {
        let mut rooms = lock(&connection.rooms);
        if rooms.iter().any(|room| *room.key == *key) {
            return Ok(None);
        }
        if rooms.len() >= self.limits.rooms_per_connection {
            self.counters.refused.one();
            return Err(RoomError::TooMany);
        }
        loop {
            let room = self.room(key)?;
            let mut members = lock(&room.members);
            if members.gone {
                continue; // Emptied and removed between the look and the lock.
            }
            members.outboxes.insert(connection.number, connection.outbox.clone());
            drop(members);
            let key = room.key.clone();
            rooms.push(room);
            return Ok(Some(key));
        }
    }

    /// Takes a connection out of a room. Returns the room's key; none: it was not in it.
    pub(super) fn leave(&self, connection: &Connection, key: &str) -> Option<Arc<str>> {
        let mut rooms = lock(&connection.rooms);
        let at = rooms.iter().position(|room| *room.key == *key)?;
        let room = rooms.swap_remove(at);
        drop(rooms);
        self.remove(&room, connection.number);
        Some(room.key.clone())
    }

    /// Queues a frame for each member of a room. Returns how many there are that it was queued for.
    pub(super) fn broadcast(&self, key: &str, frame: &Bytes) -> usize {
        let Some(room) = self.find(key) else { return 0 };
        let (mut reached, mut dropped, mut overflowed) = (0, 0, 0);
        for outbox in lock(&room.members).outboxes.values() {
            match outbox.push_shared(frame) {
                Made::Enough => reached += 1,
                Made::Dropped { frames, .. } => {
                    reached += 1;
                    dropped += u64::from(frames);
                }
                Made::Overflowed => overflowed += 1,
                Made::Closed => {}
            }
        }
        self.counters.deliveries.add(reached);
        self.counters.dropped.add(dropped);
        self.counters.overflowed.add(overflowed);
        usize::try_from(reached).unwrap_or(usize::MAX)
    }

    /// Queues a frame for one connection; whether it is there and takes it.
    pub(super) fn send_to(&self, id: &str, frame: &Bytes) -> bool {
        let connections = self.connections.read().unwrap_or_else(PoisonError::into_inner);
        let Some(connection) = connections.get(id).cloned() else { return false };
        drop(connections);
        match connection.outbox.push_shared(frame) {
            Made::Enough => {}
            Made::Dropped { frames, .. } => self.counters.dropped.add(frames.into()),
            Made::Overflowed => {
                self.counters.overflowed.one();
                return false;
            }
            Made::Closed => return false,
        }
        self.counters.deliveries.one();
        true
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.connections.read().unwrap_or_else(PoisonError::into_inner).contains_key(id)
    }

    /// Members a room has.
    pub(super) fn size(&self, key: &str) -> u64 {
        self.find(key).map_or(0, |room| lock(&room.members).outboxes.len() as u64)
    }

    #[cfg(test)]
    pub(super) fn connections(&self) -> usize {
        self.connections.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(super) fn rooms(&self) -> usize {
        self.rooms.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Ids of all connections, each with the keys of its rooms.
    pub(super) fn snapshot(&self) -> Vec<(Arc<str>, Vec<Arc<str>>)> {
        let connections = self.connections.read().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<_> = connections.values().cloned().collect();
        drop(connections);
        all.iter()
            .map(|c| (c.id.clone(), lock(&c.rooms).iter().map(|room| room.key.clone()).collect()))
            .collect()
    }

    fn find(&self, key: &str) -> Option<Arc<Room>> {
        self.rooms.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// The room of that key, which is made if it is not there.
    fn room(&self, key: &str) -> Result<Arc<Room>, RoomError> {
        if let Some(room) = self.find(key) {
            return Ok(room);
        }
        let mut rooms = self.rooms.write().unwrap_or_else(PoisonError::into_inner);
        let full = rooms.len() >= self.limits.rooms;
        match rooms.entry(key.into()) {
            Entry::Occupied(found) => Ok(found.get().clone()),
            Entry::Vacant(_) if full => {
                self.counters.refused.one();
                Err(RoomError::Full)
            }
            Entry::Vacant(place) => {
                let room = Room { key: place.key().clone(), members: Mutex::default() };
                Ok(place.insert(Arc::new(room)).clone())
            }
        }
    }

    /// Takes a member out of a room, and the room out of the table with its last one.
    fn remove(&self, room: &Room, number: u64) {
        let mut members = lock(&room.members);
        members.outboxes.remove(&number);
        let left = members.outboxes.len();
        if members.outboxes.capacity() > 64 && left < members.outboxes.capacity() / 8 {
            members.outboxes.shrink_to(left * 2);
        }
        drop(members);
        if left > 0 {
            return;
        }
        let mut rooms = self.rooms.write().unwrap_or_else(PoisonError::into_inner);
        let mut members = lock(&room.members);
        if members.outboxes.is_empty() && !members.gone {
            members.gone = true;
            rooms.remove(&room.key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
