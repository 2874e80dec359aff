//! Conversations on a lane: messages down as the worker has room for them, and what wakes those who wait.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use nylon_protocol::{Frame, Token};

use super::{Lane, lock};
use crate::error::Failure;

/// Bytes that wait for room in the ring before conversations send nothing more: what a worker does not take stays where
/// it came from.
const CROWDED: usize = 256 * 1024;
/// And so many are left when they do again.
const FREE: usize = CROWDED / 2;
/// Conversations let in at a time, so that a crowd does not come to find that the first few took the room.
const LET_IN: usize = 64;

impl Lane {
    /// Opens a conversation in session `sid`. It holds no credit; [`Self::hang_up`] ends it.
    ///
    /// # Errors
    /// [`Failure::Busy`] when the lane has `wire::LIMIT_CONVERSATIONS`, or why its worker is not to be used.
    pub(crate) fn converse(&self, sid: u32) -> Result<Token, Failure> {
        let token = self.table().converse(sid, Instant::now());
        let token = token.ok_or_else(|| self.failure())?;
        self.conversing.fetch_add(1, Ordering::Relaxed);
        Ok(token)
    }

    /// Ends a conversation; what of it still comes is late.
    pub(crate) fn hang_up(&self, token: Token) {
        self.conversing.fetch_sub(1, Ordering::Relaxed);
        // As in `close_session`.
        if self.peer.fault().is_none() {
            self.table().hang_up(token);
        }
    }

    /// Whether a message may be begun; if not, the task is woken when one may. Also when the worker is gone: who sends
    /// then sends nowhere.
    pub(crate) fn poll_room(&self, token: Token, cx: &mut Context<'_>) -> Poll<()> {
        if self.peer.fault().is_some() {
            return Poll::Ready(());
        }
        let room = self.table().has_room(token, cx.waker());
        if room && self.is_let_in(token, Some(cx.waker())) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Takes room for the next piece of a message of which `left` bytes are to go down, and says how many of them it has
    /// room for; `None`: `waker`, or who waits for the conversation anyway, is woken when there is more.
    pub(crate) fn reserve(
        &self,
        token: Token,
        left: usize,
        waker: Option<&Waker>,
    ) -> Option<usize> {
        if !self.is_let_in(token, waker) {
            return None;
        }
        self.table().reserve(token, left, waker)
    }

    /// Whether frames that wait for room leave some for others. Who is not let in has `waker` woken when that changes.
    fn is_let_in(&self, token: Token, waker: Option<&Waker>) -> bool {
        if !self.crowded.load(Ordering::Acquire) {
            return true;
        }
        let mut table = self.table();
        // Under the lock: whoever clears it looks at the line afterwards.
        let crowded = self.crowded.load(Ordering::Acquire);
        if crowded {
            table.stand_in_line(token, waker);
            self.in_line.store(true, Ordering::Release);
        }
        !crowded
    }

    /// Publishes a frame of a conversation; one of DATA after [`Self::reserve`].
    pub(crate) fn say(&self, frame: &Frame, payload: &[u8]) {
        let alone = self.conversing.load(Ordering::Relaxed) <= 1 && self.is_alone();
        let sent = {
            let mut writer = lock(&self.writer);
            let sent = writer.send(frame, payload, alone, &self.waker);
            if writer.backlog().1 >= CROWDED {
                // Under the lock: the reactor, which looks at the backlog once there is room, clears it afterwards.
                self.crowded.store(true, Ordering::Release);
            }
            sent
        };
        self.sent(sent);
        // After it was published: whoever looks after the worker counts it, or is told.
        self.peer.called();
    }

    /// Lets conversations send again once `backlog` bytes or less wait for room. Whether there are others to be let in.
    pub(super) fn let_in(&self, backlog: usize) -> bool {
        let waited = self.crowded.load(Ordering::Relaxed) || self.in_line.load(Ordering::Acquire);
        if !waited || backlog > FREE {
            return false;
        }
        let (wakers, others) = {
            let mut table = self.table();
            self.crowded.store(false, Ordering::Release);
            let (wakers, others) = table.let_in(LET_IN);
            self.in_line.store(others, Ordering::Release);
            (wakers, others)
        };
        wakers.into_iter().for_each(Waker::wake);
        others
    }

    /// Notes that what was said at this `cost` was handed on, and tells the worker when it is worth a frame.
    pub(crate) fn give_back_cost(&self, token: Token, frame: &Frame, cost: u64) {
        let total = self.table().give_back_cost(token, cost);
        if let Some(total) = total {
            self.say(frame, &total.to_le_bytes());
        }
    }

    /// Whether the worker takes no new sessions: what is open is to end, or to go on elsewhere.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Acquire)
    }

    /// Notes whether it takes new sessions, and tells its conversations.
    pub(super) fn set_withdrawn(&self, withdrawn: bool) {
        if self.withdrawn.swap(withdrawn, Ordering::AcqRel) != withdrawn {
            let wakers = self.table().wake_conversations();
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// Open conversations.
    #[cfg(test)]
    pub(crate) fn conversations(&self) -> usize {
        self.conversing.load(Ordering::Relaxed)
    }

    /// Whether its worker is expected to do something: frames of conversations are on their way to it. Those it has taken
    /// are its own business: no callback has a time limit.
    pub(crate) fn is_unheard(&self) -> bool {
        self.conversing.load(Ordering::Relaxed) > 0 && self.frames_down() > self.waker.taken()
    }
}
