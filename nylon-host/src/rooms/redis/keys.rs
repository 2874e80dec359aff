//! Where things stand in Redis, below a prefix.
//!
//! | key | type | what |
//! |---|---|---|
//! | `connections:<id>` | string | a connection, as JSON |
//! | `connection_rooms:<id>` | set | keys of the rooms it is in |
//! | `rooms:<room>` | set | ids of a room's members, in all nodes |
//! | `node_connections:<node>` | set | ids of a node's connections |
//! | `nodes:<node>` | string | a node is alive; gone 30 s after it said so last |
//! | `janitor` | string | the node that looks for dead ones; gone after 25 s |
//! | `events` | channel | what nodes tell each other |

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::Pipeline;
use serde_json::json;

use super::event::{Event, Message};
use super::queue::Job;
use crate::rooms::adapter::Change;

/// How long a node counts as alive after it said so.
pub(super) const NODE_TTL: Duration = Duration::from_secs(30);
/// How long a janitor keeps others from it.
pub(super) const JANITOR_TTL: Duration = Duration::from_secs(25);

/// The keys of a node.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
    pub(super) node: String,
}

impl Keys {
    pub(super) fn new(prefix: &str, node: &str) -> Self {
        Self { prefix: prefix.to_owned(), node: node.to_owned() }
    }

    pub(super) fn channel(&self) -> String {
        format!("{}:events", self.prefix)
    }

    pub(super) fn janitor(&self) -> String {
        format!("{}:janitor", self.prefix)
    }

    /// As bytes, as what other programs put into Redis need not be text.
    pub(super) fn of(&self, kind: &str, what: &[u8]) -> Vec<u8> {
        [self.prefix.as_bytes(), b":", kind.as_bytes(), b":", what].concat()
    }

    pub(super) fn room(&self, key: impl AsRef<[u8]>) -> Vec<u8> {
        self.of("rooms", key.as_ref())
    }

    pub(super) fn connection(&self, id: impl AsRef<[u8]>) -> Vec<u8> {
        self.of("connections", id.as_ref())
    }

    pub(super) fn connection_rooms(&self, id: impl AsRef<[u8]>) -> Vec<u8> {
        self.of("connection_rooms", id.as_ref())
    }

    pub(super) fn node(&self, node: impl AsRef<[u8]>) -> Vec<u8> {
        self.of("nodes", node.as_ref())
    }

    pub(super) fn node_connections(&self, node: impl AsRef<[u8]>) -> Vec<u8> {
        self.of("node_connections", node.as_ref())
    }

    /// What finds the sets of all nodes' connections.
    pub(super) fn node_connections_pattern(&self) -> String {
        let mut pattern = String::new();
        for c in self.prefix.chars() {
            if "*?[]^\\".contains(c) {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern + ":node_connections:*"
    }

    /// The node whose set that is.
    pub(super) fn node_of<'k>(&self, node_connections: &'k [u8]) -> Option<&'k [u8]> {
        node_connections.strip_prefix(self.node_connections("").as_slice())
    }

    /// Says that this node is alive.
    pub(super) fn alive(&self, pipe: &mut Pipeline) {
        pipe.set_ex(self.node(&self.node), unix_now(), NODE_TTL.as_secs());
    }

    /// Writes a connection of this node down.
    pub(super) fn came(&self, id: &str, pipe: &mut Pipeline) {
        let session = id.rsplit_once(':').and_then(|(_, n)| n.parse::<u64>().ok()).unwrap_or(0);
        let connection = json!({
            "id": id,
            "session_id": session,
            "rooms": [],
            "node_id": self.node,
            "connected_at": unix_now(),
            "metadata": {},
        });
        pipe.set(self.connection(id), connection.to_string());
        pipe.sadd(self.node_connections(&self.node), id);
    }

    pub(super) fn joined(&self, id: &str, room: &str, pipe: &mut Pipeline) {
        pipe.sadd(self.room(room), id);
        pipe.sadd(self.connection_rooms(id), room);
    }

    pub(super) fn left(&self, id: &[u8], room: &[u8], pipe: &mut Pipeline) {
        pipe.srem(self.room(room), id);
        pipe.srem(self.connection_rooms(id), room);
    }

    /// Removes what is left of a connection that was in `rooms`.
    pub(super) fn gone<R: AsRef<[u8]>>(
        &self,
        node: &[u8],
        id: &[u8],
        rooms: &[R],
        pipe: &mut Pipeline,
    ) {
        for room in rooms {
            pipe.srem(self.room(room), id);
        }
        pipe.del(&[self.connection_rooms(id), self.connection(id)]);
        pipe.srem(self.node_connections(node), id);
    }

    /// The commands of a job. A question and a farewell have none.
    pub(super) fn commands(&self, job: &Job, pipe: &mut Pipeline) {
        let node = || self.node.as_str().into();
        let event = match job {
            Job::Change(Change::Came { id }) => return self.came(id, pipe),
            Job::Change(Change::Joined { id, room }) => {
                self.joined(id, room, pipe);
                let (connection_id, room) = ((&**id).into(), (&**room).into());
                Event::JoinRoom { connection_id, room, node_id: node() }
            }
            Job::Change(Change::Left { id, room }) => {
                self.left(id.as_bytes(), room.as_bytes(), pipe);
                let (connection_id, room) = ((&**id).into(), (&**room).into());
                Event::LeaveRoom { connection_id, room, node_id: node() }
            }
            Job::Change(Change::Gone { id, rooms }) => {
                let rooms: Vec<_> = rooms.iter().map(|room| room.as_bytes()).collect();
                self.gone(self.node.as_bytes(), id.as_bytes(), &rooms, pipe);
                Event::Disconnect { connection_id: (&**id).into(), node_id: node() }
            }
            Job::Publish(room, kind, payload) => Event::BroadcastToRoom {
                room: (&**room).into(),
                message: Message::new(*kind, payload),
                exclude_connection: None,
                sender_node_id: node(),
            },
            Job::SendTo(id, kind, payload) => Event::SendToConnection {
                connection_id: (&**id).into(),
                message: Message::new(*kind, payload),
                sender_node_id: node(),
            },
            Job::Size(..) | Job::Close(_) => return,
        };
        pipe.publish(self.channel(), event.to_json());
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_below_the_prefix() {
        let keys = Keys::new("nylon:ws", "n1");
        assert_eq!(keys.room("lobby"), b"nylon:ws:rooms:lobby");
        assert_eq!(keys.connection_rooms("n1:7"), b"nylon:ws:connection_rooms:n1:7");
        assert_eq!(keys.channel(), "nylon:ws:events");
        assert_eq!(keys.node_of(b"nylon:ws:node_connections:n2"), Some(&b"n2"[..]));
        assert_eq!(keys.node_of(b"nylon:ws:nodes:n2"), None);
        let pattern = Keys::new("a*[b]", "n").node_connections_pattern();
        assert_eq!(pattern, "a\\*\\[b\\]:node_connections:*");
    }
}
