//! Conversations in the table: tokens beyond the credits, and windows that count messages as well as their bytes.
//!
//! A conversation is a token like that of an invocation, in phase 0 and without a credit: ten thousand sockets that say
//! nothing take none of the turns of requests.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nylon_protocol::check::{self, Issued};
use nylon_protocol::{Frame, Token, Violation, wire};

use super::{Delivery, INBOX_KEPT, NEVER, Slot, Table};

/// Bytes a conversation may have on their way in either direction, by what they cost.
#[expect(clippy::cast_possible_truncation, reason = "128 KiB")]
const WINDOW: u32 = wire::LIMIT_CONVERSATION as u32;
/// What a frame costs of it beside its bytes.
const COST: u64 = wire::LIMIT_MESSAGE_COST as u64;
/// What was taken is told when it is so much: a quarter, so that who waits for room for a whole piece gets it though three
/// quarters are not handed on.
const TELL: u64 = WINDOW as u64 / 4;
/// A message goes in no smaller pieces than this, but for its last.
const PIECE_MIN: usize = 4096;
/// Bytes of messages of all conversations that may wait in the host. Beyond that, one that still has some is given no more
/// room before it has none.
const HELD_MAX: u64 = 64 * 1024 * 1024;
/// Frames that an honest worker may have sent of a conversation when it hears that it was given up: what fills a window,
/// and a few beside.
const CROSSING: u64 = 2 * WINDOW as u64 / COST;

/// What a table keeps for its conversations.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    /// Slots of conversations that are over.
    free: Vec<u32>,
    /// What the conversations that are open hold of their windows: came up and was not handed on.
    held: u64,
    /// Frames of conversations given up that may still come.
    crossing: u64,
    /// Who has something to send down and waits until less does, in turn.
    line: VecDeque<Token>,
}

impl Slot {
    pub(super) fn is_conversation(&self) -> bool {
        self.issued.phase == wire::PHASE_NONE
    }
}

impl Table {
    /// Opens a conversation in session `sid`; `None` when there are as many as there may be or the worker is gone.
    pub(crate) fn converse(&mut self, sid: u32, at: Instant) -> Option<Token> {
        if self.dead {
            return None;
        }
        let idx = match self.conversations.free.pop() {
            Some(idx) => idx,
            None => self.grow()?,
        };
        let slot = &mut self.slots[idx as usize];
        let generation = slot.issued.generation.checked_add(1).unwrap_or(1);
        slot.renew(Issued { generation, live: true, sid, phase: wire::PHASE_NONE }, WINDOW);
        slot.begun = Some((at, Duration::ZERO));
        Some(Token { idx, generation })
    }

    fn grow(&mut self) -> Option<u32> {
        let idx = self.slots.len();
        if idx - self.credits >= wire::LIMIT_CONVERSATIONS {
            return None;
        }
        self.slots.push(Slot::new(NEVER, WINDOW));
        u32::try_from(idx).ok()
    }

    /// Conversations that are open.
    #[cfg(test)]
    pub(crate) fn conversations(&self) -> usize {
        self.slots.len() - self.credits - self.conversations.free.len()
    }

    /// Ends a conversation. If its final frame has not come, it was given up: what of it comes from now on is late.
    pub(crate) fn hang_up(&mut self, token: Token) {
        let Some(slot) = self.current(token) else { return };
        let (held, finished) = (slot.up.outstanding(), slot.finished);
        slot.issued.live = false;
        slot.waker = None;
        slot.inbox.clear();
        slot.inbox.shrink_to(INBOX_KEPT);
        self.conversations.held -= held;
        self.conversations.free.push(token.idx);
        if !finished {
            self.conversations.crossing += CROSSING;
        }
    }

    /// Whether a late frame is one that crossed with the end of its conversation.
    pub(super) fn crosses(&mut self, frame: &Frame) -> bool {
        let crossing = &mut self.conversations.crossing;
        let crosses = frame.call_idx as usize >= self.credits && *crossing > 0;
        *crossing -= u64::from(crosses);
        crosses
    }

    /// DATA of a conversation that is open: each frame stays what it is, as their bounds mean something.
    pub(super) fn deliver_said(
        &mut self,
        frame: Frame,
        payload: Bytes,
        now: impl Fn() -> Instant,
    ) -> Result<Delivery, Violation> {
        if frame.len == 0 && frame.has(wire::FLAG_MORE) {
            // Its cost counts, but who takes it has nothing to wait for.
            self.empty.useless(1, now())?;
        }
        let slot = &mut self.slots[frame.call_idx as usize];
        let cost = check::cost(&frame);
        slot.up.take(cost)?;
        self.conversations.held += u64::from(cost);
        slot.push(frame, payload)?;
        Ok(Delivery::Delivered(slot.waker.take()))
    }

    /// Notes that frames of this `cost` were handed on; gives the new total for WINDOW when it is worth a frame.
    pub(crate) fn give_back_cost(&mut self, token: Token, cost: u64) -> Option<u64> {
        let slot = self.current(token)?;
        let before = slot.up.outstanding();
        let total = slot.up.give(cost);
        let left = slot.up.outstanding();
        let due = !slot.finished && total - slot.told >= TELL;
        self.conversations.held -= before - left;
        let worth = due && (left == 0 || self.conversations.held <= HELD_MAX);
        worth.then(|| {
            self.slots[token.idx as usize].told = total;
            total
        })
    }

    /// Takes room for the next piece of a message of which `left` bytes are to go down; how many of them it has room for.
    /// `None`: whoever waits for the conversation is woken when there is more; that is `waker` from now on, if it is given.
    pub(crate) fn reserve(
        &mut self,
        token: Token,
        left: usize,
        waker: Option<&Waker>,
    ) -> Option<usize> {
        let slot = self.current(token)?;
        let room = slot.down.room().checked_sub(COST);
        let room = room.and_then(|room| usize::try_from(room).ok());
        let Some(room) = room.filter(|room| *room >= left.min(PIECE_MIN)) else {
            waker.inspect(|waker| slot.wake_later(waker));
            return None;
        };
        let piece = left.min(room).min(wire::LIMIT_DATA);
        let cost = u32::try_from(piece + wire::LIMIT_MESSAGE_COST);
        let taken = cost.is_ok_and(|cost| slot.down.take(cost).is_ok());
        debug_assert!(taken, "there is room");
        Some(piece)
    }

    /// Whether there is room for a message, a small one at least; if not, `waker` is woken when there is.
    pub(crate) fn has_room(&mut self, token: Token, waker: &Waker) -> bool {
        let Some(slot) = self.current(token) else { return true };
        let room = slot.down.room() >= COST + PIECE_MIN as u64;
        if !room {
            slot.wake_later(waker);
        }
        room
    }

    /// Has who waits for the conversation woken by [`Self::let_in`], in its turn: `waker` from now on, if it is given.
    pub(crate) fn stand_in_line(&mut self, token: Token, waker: Option<&Waker>) {
        let Some(slot) = self.current(token) else { return };
        waker.inspect(|waker| slot.wake_later(waker));
        if !std::mem::replace(&mut slot.in_line, true) {
            self.conversations.line.push_back(token);
        }
    }

    /// The first `most` of those who stand in line, and whether there are others.
    pub(crate) fn let_in(&mut self, most: usize) -> (Vec<Waker>, bool) {
        let line = &mut self.conversations.line;
        let first: Vec<_> = line.drain(..most.min(line.len())).collect();
        let others = !line.is_empty();
        let wake = |token: &Token| {
            let slot = self.current(*token)?;
            slot.in_line = false;
            slot.waker.take()
        };
        (first.iter().filter_map(wake).collect(), others)
    }

    /// Who waits in a conversation.
    pub(crate) fn wake_conversations(&mut self) -> Vec<Waker> {
        self.slots[self.credits..].iter_mut().filter_map(|slot| slot.waker.take()).collect()
    }
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
