//! What is on its way to one client: frames that its socket has not taken yet.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

/// A frame for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Out {
    /// As it goes over the socket; a room's is shared between its members.
    pub(crate) frame: Bytes,
    /// Of its sender's window, given back when it is written or dropped; 0 for what came from a room or another connection.
    pub(crate) cost: u32,
}

/// What happens to a client that does not read as fast as it is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Overflow {
    /// Who sends to it waits. A room does not: the oldest of its messages to that client is dropped.
    #[default]
    Block,
    /// The oldest message is dropped.
    DropOldest,
    /// The connection is closed, with 1008.
    Close,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits its turn.
    Queued,
    /// It waits its turn, and older ones had to go: so much of the sender's window is free again.
    Dropped {
        /// The sum of their costs.
        cost: u32,
        /// How many.
        frames: u32,
    },
    /// Nothing waits any longer: the socket is to be closed with 1008.
    Overflowed,
}

/// The frames of one client, in their order. One task takes them out; any may put them in.
#[derive(Debug)]
pub(crate) struct Outbox {
    overflow: Overflow,
    /// Bytes that may wait. A single frame may be larger.
    bound: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Out>,
    bytes: usize,
    overflowed: bool,
    /// Whether who takes them out has been woken since it overflowed.
    told: bool,
    waker: Option<Waker>,
}

/// Frames an empty outbox keeps room for.
const KEPT: usize = 32;

impl Outbox {
    /// Holds at most `bound` bytes, and then does as `overflow` says.
    pub(crate) fn new(overflow: Overflow, bound: usize) -> Self {
        Self { overflow, bound, waiting: Mutex::default() }
    }

    /// Queues a frame of the connection's own; of those that count for its window none is dropped under [`Overflow::Block`].
    /// For the task that takes frames out, and looks for them next: it is not woken.
    pub(crate) fn push(&self, out: Out) -> Pushed {
        let mut waiting = self.lock();
        let waits = self.overflow == Overflow::Block && out.cost > 0;
        let made = if waits { Made::Enough } else { self.make_room(&mut waiting, out.frame.len()) };
        let pushed = match made {
            _ if waiting.overflowed => Pushed::Overflowed,
            Made::Dropped { cost, frames } => Pushed::Dropped { cost, frames },
            _ => Pushed::Queued,
        };
        if pushed != Pushed::Overflowed {
            waiting.put(out);
        }
        pushed
    }

    /// Queues a frame of a room or of another connection. The cost of what is dropped for it goes over to the next frame.
    pub(super) fn push_shared(&self, frame: &Bytes) -> Made {
        let mut waiting = self.lock();
        let made = self.make_room(&mut waiting, frame.len());
        if matches!(made, Made::Enough | Made::Dropped { .. }) {
            waiting.put(Out { frame: frame.clone(), cost: 0 });
        }
        if let (Made::Dropped { cost, .. }, Some(next)) = (made, waiting.frames.front_mut()) {
            next.cost = next.cost.saturating_add(cost);
        }
        wake(waiting);
        made
    }

    /// The next frame. Pending: `cx` is woken when there is one, and once when it overflowed.
    pub(crate) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Out> {
        let mut waiting = self.lock();
        if let Some(out) = waiting.take(0) {
            if waiting.frames.is_empty() && waiting.frames.capacity() > KEPT {
                waiting.frames = VecDeque::new();
            }
            return Poll::Ready(out);
        }
        if waiting.overflowed && !mem::replace(&mut waiting.told, true) {
            cx.waker().wake_by_ref();
        }
        match &mut waiting.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// What everything that waits has cost, which is not to be given back again.
    pub(crate) fn take_costs(&self) -> u32 {
        let mut waiting = self.lock();
        let costs = waiting.frames.iter_mut().map(|out| mem::take(&mut out.cost));
        costs.fold(0, u32::saturating_add)
    }

    /// Whether the socket is to be closed with 1008.
    pub(crate) fn overflowed(&self) -> bool {
        self.lock().overflowed
    }

    /// Bytes that wait.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Makes room for `len` bytes, as [`Overflow`] has it.
    fn make_room(&self, waiting: &mut Waiting, len: usize) -> Made {
        if waiting.overflowed {
            return Made::Closed;
        }
        if waiting.bytes.saturating_add(len) <= self.bound || waiting.frames.is_empty() {
            return Made::Enough;
        }
        if self.overflow == Overflow::Close {
            let waker = waiting.waker.take();
            *waiting = Waiting { overflowed: true, waker, ..Waiting::default() };
            return Made::Overflowed;
        }
        let (mut cost, mut frames) = (0_u32, 0);
        while waiting.bytes.saturating_add(len) > self.bound {
            let oldest = match self.overflow {
                Overflow::Block => waiting.frames.iter().position(|out| out.cost == 0),
                _ => Some(0),
            };
            let Some(out) = oldest.and_then(|at| waiting.take(at)) else { break };
            cost = cost.saturating_add(out.cost);
            frames += 1;
        }
        if frames == 0 { Made::Enough } else { Made::Dropped { cost, frames } }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How room was made for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// There was enough.
    Enough,
    /// So many frames had to go, which had cost so much.
    Dropped { cost: u32, frames: u32 },
    /// It was not made: all frames went.
    Overflowed,
    /// It overflowed earlier.
    Closed,
}

impl Waiting {
    fn put(&mut self, out: Out) {
        self.bytes += out.frame.len();
        self.frames.push_back(out);
    }

    fn take(&mut self, at: usize) -> Option<Out> {
        let out = if at == 0 { self.frames.pop_front() } else { self.frames.remove(at) }?;
        self.bytes -= out.frame.len();
        Some(out)
    }
}

/// Wakes who takes frames out, if it waits.
fn wake(mut waiting: MutexGuard<'_, Waiting>) {
    let waker = waiting.waker.take();
    if waiting.overflowed && waker.is_some() {
        waiting.told = true;
    }
    drop(waiting);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    fn out(len: usize, cost: u32) -> Out {
        Out { frame: Bytes::from(vec![0; len]), cost }
    }

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn pop(outbox: &Outbox) -> Option<Out> {
        match outbox.poll_pop(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(out) => Some(out),
            Poll::Pending => None,
        }
    }

    fn all(outbox: &Outbox) -> Vec<(usize, u32)> {
        std::iter::from_fn(|| pop(outbox)).map(|out| (out.frame.len(), out.cost)).collect()
    }

    #[test]
    fn frames_come_out_in_their_order() {
        let outbox = Outbox::new(Overflow::Block, 100);
        assert_eq!(outbox.push(out(1, 65)), Pushed::Queued);
        assert_eq!(outbox.push_shared(&Bytes::from(vec![0; 2])), Made::Enough);
        assert_eq!(outbox.push(out(3, 67)), Pushed::Queued);
        assert_eq!(outbox.bytes(), 6);
        assert_eq!(all(&outbox), [(1, 65), (2, 0), (3, 67)]);
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn its_own_wait_and_a_rooms_are_dropped() {
        let outbox = Outbox::new(Overflow::Block, 10);
        assert_eq!(outbox.push(out(8, 72)), Pushed::Queued);
        for len in [4, 5, 6] {
            outbox.push_shared(&Bytes::from(vec![0; len]));
        }
        assert_eq!(outbox.push(out(9, 73)), Pushed::Queued);
        assert_eq!(all(&outbox), [(8, 72), (6, 0), (9, 73)]);
    }

    #[test]
    fn the_oldest_is_dropped_and_its_cost_is_not_lost() {
        let outbox = Outbox::new(Overflow::DropOldest, 10);
        outbox.push(out(5, 1));
        outbox.push(out(5, 2));
        assert_eq!(outbox.push(out(6, 4)), Pushed::Dropped { cost: 3, frames: 2 });
        let made = outbox.push_shared(&Bytes::from(vec![0; 7]));
        assert_eq!(made, Made::Dropped { cost: 4, frames: 1 });
        assert_eq!(outbox.take_costs(), 4);
        assert_eq!(all(&outbox), [(7, 0)]);
    }

    #[test]
    fn a_frame_larger_than_the_bound_goes_alone() {
        for overflow in [Overflow::Block, Overflow::DropOldest, Overflow::Close] {
            let outbox = Outbox::new(overflow, 10);
            assert_eq!(outbox.push_shared(&Bytes::from(vec![0; 50])), Made::Enough, "{overflow:?}");
            assert_eq!(all(&outbox), [(50, 0)]);
        }
    }

    #[test]
    fn it_overflows_once_and_for_all() {
        let outbox = Outbox::new(Overflow::Close, 10);
        let woken = Arc::new(Woken::default());
        outbox.push(out(8, 72));
        assert_eq!(outbox.push_shared(&Bytes::from(vec![0; 3])), Made::Overflowed);
        assert!(outbox.overflowed());
        assert_eq!((outbox.bytes(), outbox.push(out(1, 65))), (0, Pushed::Overflowed));
        assert_eq!(outbox.push_shared(&Bytes::from(vec![0; 3])), Made::Closed);

        // Whoever looked before it overflowed, and asks for a frame after, is woken; once.
        let waker = woken.clone().into();
        for _ in 0..3 {
            assert!(outbox.poll_pop(&mut Context::from_waker(&waker)).is_pending());
        }
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn who_waits_is_woken() {
        let woken = Arc::new(Woken::default());
        let waker = woken.clone().into();
        let outbox = Outbox::new(Overflow::Close, 10);
        assert!(outbox.poll_pop(&mut Context::from_waker(&waker)).is_pending());
        outbox.push_shared(&Bytes::from(vec![0; 8]));
        outbox.push_shared(&Bytes::from(vec![0; 1]));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        while pop(&outbox).is_some() {}
        assert!(outbox.poll_pop(&mut Context::from_waker(&waker)).is_pending());
        outbox.push_shared(&Bytes::from(vec![0; 8]));
        outbox.push_shared(&Bytes::from(vec![0; 8]));
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_drained_one_keeps_little() {
        let outbox = Outbox::new(Overflow::Block, usize::MAX);
        (0..1_000).for_each(|_| assert_eq!(outbox.push(out(1, 65)), Pushed::Queued));
        while pop(&outbox).is_some() {}
        assert!(outbox.lock().frames.capacity() <= KEPT);
    }
}
