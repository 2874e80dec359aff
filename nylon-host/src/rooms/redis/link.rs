//! The connection to Redis: one for all, made anew for ever.
//!
//! Not by the library's `ConnectionManager`: it holds on to a connection that has gone silent, as an answer that does not come
//! in time is no reason to it, and does not look whether a subscription was made anew.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, Pipeline, PushInfo, PushKind, RedisError,
    RedisResult, Value,
};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::inbox::Inbox;
use super::janitor;
use super::keys::{Keys, NODE_TTL};
use super::queue::{Job, Queue};
use crate::rooms::memory::Memory;

/// The longest Redis takes to answer; then the connection is taken for dead.
pub(super) const REPLY: Duration = Duration::from_secs(2);
/// The longest it takes to connect.
const CONNECT: Duration = Duration::from_secs(1);
/// Between attempts to connect: from the first to the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Between looks whether Redis is there.
const BEAT: Duration = Duration::from_secs(1);
/// Beats between words of life, between looks for dead nodes, and after a failure to write this node down.
const ALIVE: u64 = 10;
const SWEEP: u64 = 30;
const AGAIN: u64 = 5;

/// Log target of rooms.
const LOG: &str = "nylon::rooms";

/// What keeps the connection.
pub(super) struct Link {
    /// Host and port.
    pub(super) place: String,
    pub(super) client: Client,
    pub(super) keys: Keys,
    pub(super) memory: Arc<Memory>,
    pub(super) queue: Arc<Queue>,
    pub(super) inbox: Arc<Inbox>,
}

/// A connection that has subscribed.
pub(super) struct Connected {
    redis: MultiplexedConnection,
    lost: Arc<Notify>,
    /// Beats since it was made.
    beats: u64,
    /// The beat from which on this node may be written down again.
    sync_from: u64,
    /// Whether it was said that Redis refuses something.
    refused: bool,
    /// Looks for dead nodes; ends with the connection.
    sweeps: JoinSet<()>,
}

/// Why a connection came to its end.
enum Ended {
    Lost(RedisError),
    Closed,
}

impl From<RedisError> for Ended {
    fn from(e: RedisError) -> Self {
        Self::Lost(e)
    }
}

impl Link {
    /// Connects and subscribes.
    pub(super) async fn connect(&self) -> RedisResult<Connected> {
        let lost = Arc::new(Notify::new());
        let (inbox, gone) = (self.inbox.clone(), lost.clone());
        // It must not wait.
        let push = move |push: PushInfo| {
            match push.kind {
                PushKind::Message => inbox.offer(push.data),
                PushKind::Disconnection => gone.notify_one(),
                _ => {}
            }
            Ok::<_, redis::aio::SendError>(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(REPLY))
            .set_push_sender(push);
        let connect = async {
            let client = &self.client;
            let mut redis = client.get_multiplexed_async_connection_with_config(&config).await?;
            redis.subscribe(self.keys.channel()).await?;
            Ok(redis)
        };
        let redis = timeout(CONNECT + REPLY, connect).await.unwrap_or_else(|_| Err(late()))?;
        self.memory.counters.redis.connects.one();
        let sweeps = JoinSet::new();
        Ok(Connected { redis, lost, beats: 0, sync_from: 0, refused: false, sweeps })
    }

    /// Serves the queue over `connected` and its successors, until the node takes its leave.
    pub(super) async fn run(self, connected: Connected) {
        let place = &self.place;
        let mut connected = Some(connected);
        let mut wait = BACKOFF.0;
        loop {
            let next = match connected.take() {
                Some(first) => Ok(first),
                None => self.connect().await,
            };
            let Ok(mut now) = next else {
                sleep(wait + jitter(wait)).await;
                wait = (wait * 2).min(BACKOFF.1);
                continue;
            };
            let up = &self.memory.counters.redis.up;
            up.store(true, Ordering::Relaxed);
            tracing::info!(target: LOG, redis = %place, "rooms are shared with other nodes");
            let ended = self.serve(&mut now).await;
            up.store(false, Ordering::Relaxed);
            match ended {
                Ended::Closed => return,
                Ended::Lost(why) => {
                    tracing::warn!(target: LOG, redis = %place, %why, "other nodes are out of reach; rooms of this one go on");
                }
            }
            // One that is lost at once is not asked again at once.
            wait = if now.beats > 5 { BACKOFF.0 } else { (wait * 2).min(BACKOFF.1) };
            sleep(wait + jitter(wait)).await;
        }
    }

    async fn serve(&self, now: &mut Connected) -> Ended {
        self.queue.set_stale();
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let lost = now.lost.clone();
        loop {
            let done = tokio::select! {
                biased;
                () = lost.notified() => Err(Ended::Lost(late())),
                _ = beat.tick() => self.beat(now).await.map_err(Ended::from),
                jobs = self.queue.next() => self.work(jobs, now).await,
            };
            if let Err(ended) = done {
                return ended;
            }
        }
    }

    /// Looks whether Redis is there, and that it has what it should have of this node.
    async fn beat(&self, now: &mut Connected) -> RedisResult<()> {
        let beat = now.beats;
        now.beats += 1;
        if beat % SWEEP == 1 {
            self.sweep(now);
        }
        if beat >= now.sync_from && self.queue.take_stale() {
            if let Err(e) = janitor::sync(&self.keys, &self.memory, &mut now.redis).await {
                self.queue.set_stale();
                now.sync_from = beat + AGAIN;
                return self.refused(e, now);
            }
            return Ok(());
        }
        if !beat.is_multiple_of(ALIVE) {
            return redis::cmd("PING")
                .exec_async(&mut now.redis)
                .await
                .or_else(|e| self.refused(e, now));
        }
        let mut alive = redis::cmd("EXPIRE");
        alive.arg(self.keys.node(&self.keys.node)).arg(NODE_TTL.as_secs());
        match alive.query_async(&mut now.redis).await {
            Ok(true) => {}
            // It was taken for dead, or Redis has forgotten all.
            Ok(false) => self.queue.set_stale(),
            Err(e) => self.refused(e, now)?,
        }
        Ok(())
    }

    fn sweep(&self, now: &mut Connected) {
        while now.sweeps.try_join_next().is_some() {}
        if !now.sweeps.is_empty() {
            return;
        }
        let (keys, memory, mut redis) = (self.keys.clone(), self.memory.clone(), now.redis.clone());
        now.sweeps.spawn(async move {
            // What fails is tried again at the next; a lost connection shows elsewhere.
            if let Ok(swept) = janitor::sweep(&keys, &mut redis).await
                && swept > 0
            {
                memory.counters.redis.swept.add(swept);
                tracing::info!(target: LOG, connections = swept, "removed what dead nodes left in Redis");
            }
        });
    }

    /// Does what waited, in its order.
    async fn work(&self, jobs: Vec<Job>, now: &mut Connected) -> Result<(), Ended> {
        let counters = &self.memory.counters.redis;
        let mut unsent = jobs.iter().filter(|job| job.is_message()).count() as u64;
        let mut done = Ok(());
        let mut pipe = redis::pipe();
        let mut messages = 0;
        for job in jobs {
            match job {
                Job::Size(room, reply) => {
                    done = self.flush(&mut pipe, &mut messages, &mut unsent, now).await;
                    if done.is_err() {
                        break;
                    }
                    match redis::cmd("SCARD")
                        .arg(self.keys.room(&*room))
                        .query_async(&mut now.redis)
                        .await
                    {
                        Ok(size) => drop(reply.send(size)),
                        Err(e) => done = self.refused(e, now),
                    }
                }
                Job::Close(reply) => {
                    let _ = self.flush(&mut pipe, &mut messages, &mut unsent, now).await;
                    let _ = janitor::farewell(&self.keys, &mut now.redis).await;
                    let _ = reply.send(());
                    return Err(Ended::Closed);
                }
                job => {
                    messages += u64::from(job.is_message());
                    self.keys.commands(&job, &mut pipe);
                }
            }
            if done.is_err() {
                break;
            }
        }
        if done.is_ok() {
            done = self.flush(&mut pipe, &mut messages, &mut unsent, now).await;
        }
        // At most once: what may have arrived is not sent again.
        counters.unpublished.add(unsent);
        done.map_err(Ended::from)
    }

    /// Sends what was put together.
    async fn flush(
        &self,
        pipe: &mut Pipeline,
        messages: &mut u64,
        unsent: &mut u64,
        now: &mut Connected,
    ) -> RedisResult<()> {
        let mut pipe = std::mem::take(pipe);
        let messages = std::mem::take(messages);
        if pipe.is_empty() {
            return Ok(());
        }
        let answers: Vec<RedisResult<Value>> =
            pipe.ignore_errors().query_async(&mut now.redis).await?;
        *unsent -= messages;
        self.memory.counters.redis.published.add(messages);
        if let Some(e) = answers.into_iter().find_map(Result::err) {
            self.queue.set_stale();
            self.refused(e, now)?;
        }
        Ok(())
    }

    /// What Redis refuses is said once for each connection; any other failure ends it.
    fn refused(&self, e: RedisError, now: &mut Connected) -> RedisResult<()> {
        if !is_answer(&e) {
            return Err(e);
        }
        if !std::mem::replace(&mut now.refused, true) {
            let place = &self.place;
            tracing::warn!(target: LOG, redis = %place, why = %e, "Redis refuses what rooms need; members in other nodes may be missing");
        }
        Ok(())
    }
}

/// Whether Redis answered, if not as was hoped for.
fn is_answer(e: &RedisError) -> bool {
    matches!(
        e.kind(),
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType
    )
}

/// The error of a connection that says nothing, or is closed.
fn late() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::ConnectionReset, "the connection is lost").into()
}

/// Up to a quarter of `wait`, so that nodes do not come all at once.
fn jitter(wait: Duration) -> Duration {
    let nanos =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    wait / 4 * (nanos % 1_024) / 1_024
}
