//! The way to other nodes: a Redis they share.
//!
//! In: changes and messages of this node, which go into a bounded queue; nobody waits for Redis.  Out: messages of other
//! nodes for the members here.  Whatever happens to Redis, rooms of this node go on; what it has of this node is put right
//! when it is back.

mod event;
mod inbox;
mod janitor;
mod keys;
mod link;
mod queue;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::{
    Client, ErrorKind, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo, RedisError,
};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::adapter::{Adapter, Change};
use super::memory::Memory;
use crate::config::RedisConfig;
use crate::websocket::Kind;
use inbox::Inbox;
use keys::Keys;
use link::{Link, REPLY};
use queue::{Job, Queue};

/// Why rooms cannot be shared: the server was not to be had at the start.
#[derive(Debug, thiserror::Error)]
#[error("the Redis of `websocket.redis` at {place}: {problem} ({help})")]
pub(crate) struct RedisUnusable {
    place: String,
    problem: String,
    help: &'static str,
}

/// The longest a farewell takes.
const FAREWELL: Duration = Duration::from_secs(1);

/// A node's end of the way.
pub(super) struct Redis {
    queue: Arc<Queue>,
    memory: Arc<Memory>,
    /// End with it.
    _tasks: JoinSet<()>,
}

impl Redis {
    /// Connects, and keeps connected.
    ///
    /// # Errors
    /// [`RedisUnusable`] if that does not succeed now.
    pub(super) async fn start(
        config: &RedisConfig,
        node: &str,
        memory: Arc<Memory>,
    ) -> Result<Self, RedisUnusable> {
        let unusable = |e: RedisError| unusable(config, &e);
        let client = client(config).map_err(unusable)?;
        let queue = Arc::new(Queue::default());
        let (inbox, heard) = Inbox::new(node, memory.clone());
        let link = Link {
            place: config.to_string(),
            client,
            keys: Keys::new(&config.key_prefix, node),
            memory: memory.clone(),
            queue: queue.clone(),
            inbox: Arc::new(inbox),
        };
        let connected = link.connect().await.map_err(unusable)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(link.inbox.clone().listen(heard));
        tasks.spawn(link.run(connected));
        Ok(Self { queue, memory, _tasks: tasks })
    }

    fn push(&self, job: Job) {
        let dropped = self.queue.push(job);
        self.memory.counters.redis.unpublished.add(dropped);
    }

    fn is_up(&self) -> bool {
        self.memory.counters.redis.is_up()
    }
}

impl Adapter for Redis {
    fn note(&self, change: Change) {
        self.push(Job::Change(change));
    }

    fn publish(&self, room: &str, kind: Kind, payload: &Bytes) {
        // A copy: what waits here for long must not hold a larger buffer.
        self.push(Job::Publish(room.into(), kind, Bytes::copy_from_slice(payload)));
    }

    fn send_to(&self, id: &str, kind: Kind, payload: &Bytes) -> bool {
        self.push(Job::SendTo(id.into(), kind, Bytes::copy_from_slice(payload)));
        true
    }

    fn size<'a>(&'a self, room: &'a str) -> BoxFuture<'a, Option<u64>> {
        async move {
            if !self.is_up() {
                return None;
            }
            let (reply, size) = oneshot::channel();
            self.push(Job::Size(room.into(), reply));
            timeout(REPLY, size).await.ok()?.ok()
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            if self.is_up() {
                let (reply, done) = oneshot::channel();
                self.push(Job::Close(reply));
                let _ = timeout(FAREWELL, done).await;
            }
        }
        .boxed()
    }
}

fn client(config: &RedisConfig) -> Result<Client, RedisError> {
    let mut settings = RedisConnectionInfo::default()
        .set_db(config.db.into())
        .set_protocol(ProtocolVersion::RESP3)
        .set_lib_name("nylon", env!("CARGO_PKG_VERSION"));
    if let Some(password) = &config.password {
        settings = settings.set_password(password);
    }
    let server = (config.host.as_str(), config.port).into_connection_info()?;
    Client::open(server.set_redis_settings(settings))
}

fn unusable(config: &RedisConfig, e: &RedisError) -> RedisUnusable {
    let said = e.to_string();
    let (problem, help) = match e.kind() {
        ErrorKind::RESP3NotSupported => {
            ("it does not speak RESP3".to_owned(), "version 6 or newer is needed")
        }
        _ if said.contains("NOAUTH") => ("it asks for a password".to_owned(), "set `password`"),
        _ if e.code() == Some("WRONGPASS") || e.kind() == ErrorKind::AuthenticationFailed => {
            (said, "correct `password`, or leave it out if there is none")
        }
        _ if e.is_timeout() => (
            "no answer".to_owned(),
            "is `port` that of a Redis, and does nothing on the way swallow packets?",
        ),
        ErrorKind::Io => (
            said,
            "start it, or correct `host` and `port`; with `adapter_type: memory` none is needed",
        ),
        _ => (said, "it answers, but not as it should"),
    };
    RedisUnusable { place: config.to_string(), problem, help }
}
