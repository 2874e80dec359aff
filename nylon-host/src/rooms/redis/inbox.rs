//! What comes from Redis, which anybody may have written.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redis::Value;
use tokio::sync::mpsc;

use super::event::{self, Heard};
use crate::rooms::frame;
use crate::rooms::memory::Memory;

/// Events that wait to be looked at, and the most they come to in bytes.
const EVENTS: usize = 1_024;
const BYTES: usize = 8 << 20;

/// Takes events from the connection, which must not wait, and hands them to the members here.
#[derive(Debug)]
pub(super) struct Inbox {
    node: String,
    own_end: Vec<u8>,
    memory: Arc<Memory>,
    /// Bytes that wait.
    bytes: AtomicUsize,
    send: mpsc::Sender<Vec<u8>>,
}

/// The events, for [`Inbox::listen`].
pub(super) type Events = mpsc::Receiver<Vec<u8>>;

impl Inbox {
    pub(super) fn new(node: &str, memory: Arc<Memory>) -> (Self, Events) {
        let (send, events) = mpsc::channel(EVENTS);
        let (node, own_end) = (node.to_owned(), event::own_end(node));
        (Self { node, own_end, memory, bytes: AtomicUsize::new(0), send }, events)
    }

    /// Takes a message of the channel; it is dropped if too many wait.
    pub(super) fn offer(&self, message: Vec<Value>) {
        let counters = &self.memory.counters.redis;
        let json = match message.into_iter().nth(1) {
            Some(Value::BulkString(json)) if json.ends_with(&self.own_end) => return,
            Some(Value::BulkString(json)) => json,
            _ => return counters.junk.one(),
        };
        counters.received.one();
        let longest = event::longest(self.memory.limits().max_message);
        if json.len() > longest {
            return counters.junk.one();
        }
        // Relaxed: a bound, not a lock; only the connection's task adds.
        let waiting = self.bytes.load(Ordering::Relaxed);
        if waiting > 0 && waiting + json.len() > BYTES {
            return counters.unread.one();
        }
        let len = json.len();
        self.bytes.fetch_add(len, Ordering::Relaxed);
        if self.send.try_send(json).is_err() {
            self.bytes.fetch_sub(len, Ordering::Relaxed);
            counters.unread.one();
        }
    }

    /// Hands events to the members they are for.
    pub(super) async fn listen(self: Arc<Self>, mut events: Events) {
        while let Some(json) = events.recv().await {
            self.bytes.fetch_sub(json.len(), Ordering::Relaxed);
            let memory = &self.memory;
            match event::hear(&json, &self.node, memory.limits().max_message) {
                Heard::Room(room, kind, payload) => {
                    if let Some(frame) = frame(kind, &payload) {
                        memory.broadcast(&room, &frame);
                    }
                }
                Heard::Connection(id, kind, payload) => {
                    if let Some(frame) = frame(kind, &payload) {
                        memory.send_to(&id, &frame);
                    }
                }
                Heard::Nothing => {}
                Heard::Junk => memory.counters.redis.junk.one(),
            }
        }
    }
}
