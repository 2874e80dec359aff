//! The host's writing end of a lane: one short lock, never held over an await.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nylon_protocol::{Frame, Violation, wire};
use nylon_shm::{MappedRing, Producer, PushError, WorkerWaker};
use tokio::sync::Notify;

use super::Peer;

/// Most frames published before the worker is rung, whatever else the turn brings.
const BATCH_FRAMES: u32 = 64;
/// The longest a published frame waits for the end of the turn.
const BATCH_AGE: Duration = Duration::from_micros(1000);

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The worker knows, or will be told with the frames before it.
    Told,
    /// It is the first of a batch: [`Writer::ring`] is owed at the end of the turn.
    Owed,
}

/// Frames down to one worker.
///
/// What does not fit waits here, in order, up to a bound. An honest worker keeps below it even when it sleeps: credits,
/// windows and the answers to open CALLs see to that. One that asks and asks and takes no answer does not.
#[derive(Debug)]
pub(crate) struct Writer {
    peer: Arc<Peer>,
    down: Producer<MappedRing>,
    backlog: VecDeque<(Frame, Vec<u8>)>,
    /// Bytes the backlog holds, 0 ..= limit.
    waiting: usize,
    limit: usize,
    /// Wakes the reactor when nothing waits any more, and it was not its doing.
    emptied: Arc<Notify>,
    sent: u64,
    /// Bytes of payload in what was sent.
    bytes: u64,
    /// Frames published for which the worker was not rung yet, and when the first of them was.
    unrung: u32,
    unrung_since: Option<Instant>,
    /// Where a record is written before it goes into the ring.
    scratch: Vec<u8>,
}

impl Writer {
    /// Frames for `peer`; at most `limit` bytes wait for room. `emptied` is told when a sender found room for all of them.
    pub(crate) fn new(
        peer: Arc<Peer>,
        down: Producer<MappedRing>,
        limit: usize,
        emptied: Arc<Notify>,
    ) -> Self {
        Self {
            peer,
            down,
            backlog: VecDeque::new(),
            waiting: 0,
            limit,
            emptied,
            sent: 0,
            bytes: 0,
            unrung: 0,
            unrung_since: None,
            scratch: Vec::new(),
        }
    }

    /// Publishes `frame`, or queues it behind those that wait for room. The worker is rung if it sleeps: now, if this
    /// frame is `alone`, else once for all frames of a turn.
    pub(crate) fn send(
        &mut self,
        frame: &Frame,
        payload: &[u8],
        alone: bool,
        waker: &WorkerWaker,
    ) -> Result<Sent, Violation> {
        if self.backlog.is_empty() {
            match self.down.push(frame, payload) {
                Ok(()) => {
                    self.sent += 1;
                    self.bytes += payload.len() as u64;
                    return Ok(self.batch(alone, waker));
                }
                Err(PushError::Full) => {}
                Err(PushError::Peer(v)) => return Err(v),
                Err(PushError::TooLarge(_)) => {
                    return Err(Violation::Record("frame larger than the lane takes"));
                }
            }
        }
        self.waiting += cost(payload);
        if self.waiting > self.limit {
            self.waiting -= cost(payload);
            return Err(Violation::Budget("frames it does not take"));
        }
        self.backlog.push_back((*frame, payload.to_vec()));
        self.flush(waker)?;
        if self.backlog.is_empty() {
            // The worker has no reason to ring for room any more.
            self.emptied.notify_one();
        }
        Ok(Sent::Told)
    }

    /// Rings for the frame just published, or leaves that to the end of the turn.
    fn batch(&mut self, alone: bool, waker: &WorkerWaker) -> Sent {
        if alone || self.unrung + 1 >= BATCH_FRAMES {
            self.ring(waker);
            return Sent::Told;
        }
        self.unrung += 1;
        match self.unrung_since {
            None => {
                self.unrung_since = Some(Instant::now());
                return Sent::Owed;
            }
            Some(since) if since.elapsed() > BATCH_AGE => self.ring(waker),
            Some(_) => {}
        }
        Sent::Told
    }

    /// As [`Self::send`], with a payload that `write` appends.
    ///
    /// # Errors
    /// Those of `write`; nothing is sent then.
    pub(crate) fn send_record<E>(
        &mut self,
        frame: &Frame,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        alone: bool,
        waker: &WorkerWaker,
    ) -> Result<Result<Sent, Violation>, E> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let written = write(&mut scratch);
        let sent = written.map(|()| self.send(frame, &scratch, alone, waker));
        self.scratch = scratch;
        sent
    }

    /// Publishes what waits, as far as there is room; announces that we wait for the rest.
    pub(crate) fn flush(&mut self, waker: &WorkerWaker) -> Result<(), Violation> {
        while let Some((frame, payload)) = self.backlog.front() {
            match self.down.push(frame, payload) {
                Ok(()) => {
                    self.bytes += payload.len() as u64;
                    self.waiting -= cost(payload);
                    self.backlog.pop_front();
                    self.sent += 1;
                    self.peer.made_room.fetch_add(1, Ordering::Relaxed);
                }
                Err(PushError::Full) => {
                    let len = payload.len();
                    match self.down.arm_space(len) {
                        Ok(None) => {}
                        Ok(Some(_)) => {
                            self.ring(waker);
                            return Ok(());
                        }
                        Err(PushError::Peer(v)) => return Err(v),
                        Err(_) => return Ok(()),
                    }
                }
                Err(PushError::Peer(v)) => return Err(v),
                Err(PushError::TooLarge(_)) => {
                    self.waiting -= cost(payload);
                    self.backlog.pop_front();
                }
            }
        }
        self.down.disarm_space();
        self.ring(waker);
        Ok(())
    }

    /// Whether frames wait for room.
    pub(crate) fn waits(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// The ring, for those who look at it.
    pub(super) fn down(&self) -> &Producer<MappedRing> {
        &self.down
    }

    /// Frames that wait for room, and what they hold in bytes.
    pub(super) fn backlog(&self) -> (usize, usize) {
        (self.backlog.len(), self.waiting)
    }

    /// Frames published so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes of payload they had.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the ring's arena that the worker has not given back.
    pub(crate) fn arena(&self) -> u64 {
        self.down.arena_in_use()
    }

    /// Wakes the worker if it sleeps and something was published.
    pub(crate) fn ring(&mut self, waker: &WorkerWaker) {
        (self.unrung, self.unrung_since) = (0, None);
        if self.down.must_ring()
            && let Err(e) = waker.ring()
        {
            self.peer.not_rung(&e);
        }
    }
}

/// Bytes a waiting frame takes.
fn cost(payload: &[u8]) -> usize {
    wire::SIZE_SLOT + payload.len()
}
