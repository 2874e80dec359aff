//! What rooms count.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A number that grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the rooms of a node did.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Messages sent to a room by a connection of this node.
    pub(crate) broadcasts: Counter,
    /// Messages of rooms and other connections queued for a client of this node.
    pub(crate) deliveries: Counter,
    /// Messages dropped because a client was slow.
    pub(crate) dropped: Counter,
    /// Clients given up because they were slow.
    pub(crate) overflowed: Counter,
    /// Joins refused, as a bound was reached.
    pub(crate) refused: Counter,
    /// Texts that were not UTF-8, and went to nobody.
    pub(crate) not_text: Counter,
    /// Of the way to other nodes.
    pub(crate) redis: RedisCounters,
}

/// What went to Redis and came from it.
#[derive(Debug, Default)]
pub(crate) struct RedisCounters {
    /// Whether it can be reached.
    pub(super) up: AtomicBool,
    /// Connections made to it.
    pub(crate) connects: Counter,
    /// Events published.
    pub(crate) published: Counter,
    /// Messages dropped, as more waited for Redis than may.
    pub(crate) unpublished: Counter,
    /// Events that came, without this node's own.
    pub(crate) received: Counter,
    /// Events dropped, as they came faster than they could be looked at.
    pub(crate) unread: Counter,
    /// Events that made no sense.
    pub(crate) junk: Counter,
    /// Connections of dead nodes removed.
    pub(crate) swept: Counter,
}

impl RedisCounters {
    /// Whether Redis can be reached.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }
}
