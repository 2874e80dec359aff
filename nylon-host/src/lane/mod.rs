//! Lane: one pair of rings to one worker process, and who waits for what on it.
//!
//! In: frames from sessions.  Out: frames of the worker, each in the inbox of the invocation it belongs to.
//! Never: the meaning of a method or a record; HTTP; spawning or killing (it reports a fault, the supervisor acts).

mod buffer;
mod conversation;
mod depth;
mod dump;
mod ear;
mod flood;
mod frames;
mod gate;
#[cfg(test)]
mod gate_tests;
mod origin;
mod peer;
mod pins;
mod polling;
mod queue;
mod reactor;
mod registry;
mod storm;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use nylon_protocol::{Frame, Token, Violation, wire};
use nylon_shm::{Consumer, HostEnd, MappedRing, WorkerWaker};
use tokio::sync::Notify;

pub(crate) use depth::Depth;
pub use dump::{LaneCounters, LaneDump, RingDump, RunDump, SessionDump, WorkerSays};
pub use frames::{Direction, FrameDump};
pub(crate) use gate::{Cpus, Gate};
pub use gate::{SpinDecision, SpinReason, WaitPolicy};
pub(crate) use origin::{Ask, Begun, Origin};
pub(crate) use peer::{Fault, Peer};
pub(crate) use queue::Queue;
pub(crate) use registry::{Pin, Registry};
pub(crate) use table::Inbound;

use buffer::Buffer;
use polling::Polling;
use queue::Place;
use table::{Delivery, Table};
use writer::{Sent, Writer};

use crate::error::Failure;

/// Counters of one lane, for people.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Frames taken from the worker.
    pub frames_up: AtomicU64,
    /// Bytes of payload they had.
    pub bytes_up: AtomicU64,
    /// Invocations begun.
    pub calls: AtomicU64,
    /// Invocations that ran out of time.
    pub deadlines: AtomicU64,
    /// Frames of invocations that were over.
    pub late: AtomicU64,
    /// Times the worker was asked to take a lane over.
    pub rescues: AtomicU64,
}

/// The host's end of a lane to a ready worker.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) peer: Arc<Peer>,
    pub(crate) counters: Counters,
    /// Invocations without their final frame.
    flying: AtomicUsize,
    /// Open conversations.
    conversing: AtomicUsize,
    /// So much waits for room that conversations send nothing more, and whether any of them stands in line to.
    crowded: AtomicBool,
    in_line: AtomicBool,
    /// No new session comes.
    withdrawn: AtomicBool,
    /// An invocation ended while somebody waited for a credit.
    freed: Notify,
    /// Bytes of bodies the worker has staged for commits to come.
    staged: AtomicU64,
    /// Callers that wait for a credit.
    waiting: AtomicU64,
    table: Mutex<Table>,
    writer: Mutex<Writer>,
    up: Mutex<Up>,
    waker: WorkerWaker,
    /// N of either ring.
    slots: u32,
    /// Its number among the lanes of its worker.
    index: u32,
    polling: Polling,
    /// Frames were published and the worker is to be rung at the end of the turn.
    owed: Notify,
    /// Wakes the reactor: to flush, to watch progress, to arm again.
    nudge: Arc<Notify>,
    watching: AtomicBool,
    watch_nudge: Notify,
}

/// What is on its way on a lane, and waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Frames sent that the worker has not taken, or that there was no room for yet.
    pub(crate) ring: u64,
    /// Bytes of the down ring's arena that the worker has not given back.
    pub(crate) arena: u64,
    /// Bytes of bodies the worker has staged.
    pub(crate) staged: u64,
}

/// The host's reading end, with the place where payloads go.
#[derive(Debug)]
struct Up {
    ring: Consumer<MappedRing>,
    buffer: Buffer,
}

/// Bytes one worker may have staged at a time, over all its handlers.
const STAGED_MAX: u64 = 128 * 1024 * 1024;
/// What a lane is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// N of either ring.
    pub(crate) slots: u32,
    /// Bytes of DATA in flight per invocation and direction.
    pub(crate) window: u32,
    /// Its number among the lanes of its worker, `0 .. lanes`.
    pub(crate) index: u32,
    /// How many lanes the worker has, at least 1.
    pub(crate) lanes: u32,
}

impl Lane {
    /// A lane whose reactor runs from now on as a task of the current runtime, until the worker is gone.
    ///
    /// `host_bell` is a descriptor of its own of the eventfd that the worker rings for all its lanes.
    pub(crate) fn open(
        peer: Arc<Peer>,
        end: HostEnd,
        host_bell: OwnedFd,
        shape: Shape,
        gate: Gate,
    ) -> std::io::Result<Arc<Self>> {
        let Shape { slots, window, .. } = shape;
        let credits = slots / 2;
        let nudge = peer.nudge();
        let writer =
            Writer::new(peer.clone(), end.down, backlog_max(credits, window), nudge.clone());
        let lane = Arc::new(Self {
            peer,
            counters: Counters::default(),
            flying: AtomicUsize::new(0),
            conversing: AtomicUsize::new(0),
            crowded: AtomicBool::new(false),
            in_line: AtomicBool::new(false),
            withdrawn: AtomicBool::new(false),
            freed: Notify::new(),
            staged: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            table: Mutex::new(Table::new(&shape)),
            writer: Mutex::new(writer),
            slots,
            index: shape.index,
            up: Mutex::new(Up { ring: end.up, buffer: Buffer::default() }),
            waker: end.waker,
            polling: Polling::new(gate, Instant::now()),
            owed: Notify::new(),
            nudge,
            watching: AtomicBool::new(false),
            watch_nudge: Notify::new(),
        });
        reactor::start(&lane, host_bell)?;
        Ok(lane)
    }

    /// Forgets a session on this side; `tell` the worker unless it closed it itself.
    pub(crate) fn close_session(&self, sid: u32, tell: bool) {
        // What was open when the worker was given up stays to be seen until the lane goes.
        if self.peer.fault().is_none() {
            self.table().close_session(sid);
        }
        if tell {
            self.send(&Frame { sid, ..Frame::new(wire::KIND_CLOSE) }, &[]);
        }
    }

    /// Waits for a credit, as the plugin's [`Queue`] allows and at most its budget, and opens an invocation; with `sid` 0 in
    /// a new session.
    pub(crate) async fn begin(&self, ask: Ask<'_>) -> Result<Begun, Failure> {
        // Whoever came first gets the next credit.
        let free = self.waiting.load(Ordering::Relaxed) == 0;
        let begun = if free { self.table().begin(ask, Instant::now()) } else { None };
        let begun = match begun {
            Some(begun) => begun,
            None => self.wait_to_begin(ask).await?,
        };
        self.counters.calls.fetch_add(1, Ordering::Relaxed);
        self.flying.fetch_add(1, Ordering::SeqCst);
        self.peer.called();
        Ok(begun)
    }

    async fn wait_to_begin(&self, ask: Ask<'_>) -> Result<Begun, Failure> {
        let _place = Place::take(&self.waiting);
        let credit = async {
            loop {
                // Registered before the look, so that an end in between is not missed.
                let mut freed = std::pin::pin!(self.freed.notified());
                freed.as_mut().enable();
                if self.peer.fault().is_some() {
                    return Err(self.failure());
                }
                if let Some(begun) = self.table().begin(ask, Instant::now()) {
                    return Ok(begun);
                }
                freed.await;
            }
        };
        self.peer.queue.wait(ask.budget, credit).await
    }

    /// Ends an invocation and gives its credit back. `unanswered`: its final frame has not come, and it should have by
    /// then.
    pub(crate) fn end(&self, token: Token, unanswered: Option<Instant>) {
        self.flying.fetch_sub(1, Ordering::Relaxed);
        // As in `close_session`.
        if self.peer.fault().is_none() {
            self.table().end(token, unanswered);
        }
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_one();
        }
    }

    /// Asks the worker whether it is there.
    pub(crate) fn ping(&self) {
        self.table().pinged();
        self.send(&Frame::new(wire::KIND_PING), &[]);
    }

    /// Handlers that were given up and have not ended: all, and those that should have by `before`.
    pub(crate) fn overdue(&self, before: Instant) -> (usize, usize) {
        self.table().overdue(before)
    }

    /// Takes `bytes` of a staged body into the host's memory; false when the worker has staged all it may.
    pub(crate) fn stage(&self, bytes: u64) -> bool {
        self.staged.fetch_add(bytes, Ordering::Relaxed) + bytes <= STAGED_MAX
    }

    /// Staged bytes are applied or dropped.
    pub(crate) fn unstage(&self, bytes: u64) {
        self.staged.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Publishes a frame down; what does not fit waits its turn.
    pub(crate) fn send(&self, frame: &Frame, payload: &[u8]) {
        let sent = lock(&self.writer).send(frame, payload, self.is_alone(), &self.waker);
        self.sent(sent);
    }

    /// Whether nobody else is likely to send in this turn.
    fn is_alone(&self) -> bool {
        // Who polls would keep the end of the turn from coming.
        self.flying.load(Ordering::Relaxed) <= 1 || self.polling.spins()
    }

    fn sent(&self, sent: Result<Sent, Violation>) {
        match sent {
            Ok(Sent::Told) => self.watch(),
            Ok(Sent::Owed) => {
                self.watch();
                self.owed.notify_one();
            }
            Err(v) => self.peer.report(Fault::Violation(v)),
        }
    }

    /// As [`Self::send`], with a payload of at most `wire::LIMIT_RECORD` bytes that `write` appends.
    ///
    /// # Errors
    /// Those of `write`; nothing is sent then.
    pub(crate) fn send_record<E>(
        &self,
        frame: &Frame,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let sent = lock(&self.writer).send_record(frame, write, self.is_alone(), &self.waker)?;
        self.sent(sent);
        Ok(())
    }

    /// Sends a piece of DATA down; the caller has asked [`Self::window_left`].
    pub(crate) fn send_data(&self, token: Token, frame: &Frame, piece: &[u8]) {
        let sent = u32::try_from(piece.len()).is_ok_and(|n| self.table().sent(token, n));
        debug_assert!(sent, "DATA past the window");
        self.send(frame, piece);
    }

    /// Notes that a CALL of the worker was answered.
    pub(crate) fn answered_call(&self, token: Token) {
        self.table().answered_call(token);
    }

    /// Bytes of DATA that may go down now.
    pub(crate) fn window_left(&self, token: Token) -> usize {
        usize::try_from(self.table().window_left(token)).unwrap_or(usize::MAX)
    }

    /// Notes that `bytes` of DATA were handed on and tells the worker when it is worth a frame, as long as `more` follow.
    pub(crate) fn give_back(&self, token: Token, frame: &Frame, bytes: usize, more: bool) {
        let total = self.table().give_back(token, bytes, more);
        if let Some(total) = total {
            self.send(frame, &total.to_le_bytes());
        }
    }

    /// Next frame of an invocation.
    pub(crate) fn poll_next(
        &self,
        token: Token,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Inbound, Failure>> {
        let mut table = self.table();
        if let Some(inbound) = table.take(token, cx.waker()) {
            return Poll::Ready(Ok(inbound));
        }
        drop(table);
        if self.peer.fault().is_some() {
            return Poll::Ready(Err(self.failure()));
        }
        Poll::Pending
    }

    /// Takes one frame, if there is one, and delivers it; returns how many bytes came with it.
    fn take_one(&self, up: &mut Up) -> Result<Option<usize>, Violation> {
        let Up { ring, buffer } = up;
        let Some(frame) = ring.pop_into(|frame| buffer.place(frame))? else { return Ok(None) };
        let payload = buffer.take(&frame);
        let bytes = payload.len();
        add(&self.counters.frames_up, 1);
        add(&self.counters.bytes_up, bytes as u64);
        self.peer.frames.fetch_add(1, Ordering::Relaxed);
        if frame.kind == wire::KIND_PONG && self.table().ponged() {
            return Ok(Some(bytes));
        }
        if matches!(frame.kind, wire::KIND_PONG | wire::KIND_GOAWAY) {
            self.table().unasked(Instant::now())?;
            return Ok(Some(bytes));
        }
        let delivery = self.table().deliver(frame, payload, Instant::now)?;
        match delivery {
            Delivery::Delivered(Some(waker)) => waker.wake(),
            Delivery::Delivered(None) => {}
            Delivery::Late => {
                self.counters.late.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(Some(bytes))
    }

    /// Has the reactor watch that the worker takes what was sent.
    fn watch(&self) {
        if !self.watching.load(Ordering::Relaxed) && !self.watching.swap(true, Ordering::Relaxed) {
            self.watch_nudge.notify_one();
        }
    }

    /// Frames published down so far.
    pub(crate) fn frames_down(&self) -> u64 {
        lock(&self.writer).sent()
    }

    /// The same, and the bytes of payload they had.
    pub(crate) fn sent_down(&self) -> (u64, u64) {
        let writer = lock(&self.writer);
        (writer.sent(), writer.bytes())
    }

    /// What is on its way and waits.
    pub(crate) fn load(&self) -> Load {
        let (sent, (backlog, _), arena) = {
            let writer = lock(&self.writer);
            (writer.sent(), writer.backlog(), writer.arena())
        };
        // What the worker says it took may be anything.
        let untaken = sent.saturating_sub(self.waker.taken()).min(self.slots.into());
        Load { ring: untaken + backlog as u64, arena, staged: self.staged.load(Ordering::Relaxed) }
    }

    /// Open sessions.
    pub(crate) fn sessions(&self) -> usize {
        self.table().sessions()
    }

    /// Invocations without their final frame.
    pub(crate) fn in_flight(&self) -> usize {
        self.flying.load(Ordering::SeqCst)
    }

    /// Callers that wait for a credit.
    pub(crate) fn waiting(&self) -> usize {
        usize::try_from(self.waiting.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// One of the worker's own statistics, never trusted.
    pub(crate) fn worker_stat(&self, index: usize) -> u64 {
        self.waker.stat(index)
    }

    /// The process is gone: takes what it had published.
    pub(crate) fn take_last(&self) {
        if !matches!(self.peer.fault(), Some(Fault::Violation(_))) {
            let mut up = lock(&self.up);
            // A child it left behind may still write: one ring's worth, not for as long as there is something.
            for _ in 0..self.slots {
                if !matches!(self.take_one(&mut up), Ok(Some(_))) {
                    break;
                }
            }
        }
    }

    /// Fails everything that waits; the worker has been reported on.
    pub(crate) fn die(&self) {
        let wakers = self.table().die();
        wakers.into_iter().for_each(std::task::Waker::wake);
        self.freed.notify_waiters();
        self.nudge.notify_one();
        self.watch_nudge.notify_one();
        self.owed.notify_one();
    }

    /// Why calls on this lane fail.
    fn failure(&self) -> Failure {
        match self.peer.fault() {
            None => Failure::Busy,
            Some(Fault::Stopped) => Failure::NotReady,
            Some(fault) => Failure::Crashed(fault.to_string()),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

/// Bytes that may wait for room towards a worker: for each credit its step, a window of DATA, and the answers to CALLs.
fn backlog_max(credits: u32, window: u32) -> usize {
    let each = (1 + wire::LIMIT_HOST_CALLS) * wire::LIMIT_RECORD + window as usize;
    credits as usize * each
}

/// Locks; a panic elsewhere does not poison what we keep consistent ourselves.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds to a counter that nobody else writes meanwhile: whoever takes frames has the lane's reading end.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed) + n, Ordering::Relaxed);
}
