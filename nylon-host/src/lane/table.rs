//! The open invocations of one lane: who waits for which token, and what has arrived for them.
//!
//! The token of a frame is only ever a claim. A slot of this table says what was truly issued: generation, session,
//! phase, and how many bytes may be on their way in either direction.

mod conversation;

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nylon_protocol::check::{self, Issued, Verdict, Window};
use nylon_protocol::{Frame, Token, Violation, wire};
use rustc_hash::FxHashMap;

use super::Shape;
use super::flood::Flood;
use super::origin::{Ask, Begun, Open, Origin, Running};
use crate::rope;
use conversation::Conversations;

/// A frame that came up, with its payload.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) frame: Frame,
    pub(crate) payload: Bytes,
}

#[derive(Debug)]
struct Slot {
    /// What a frame's token is held to.
    issued: Issued,
    /// When it was begun, and the time it has.
    begun: Option<(Instant, Duration)>,
    /// Its final frame has come; what follows is dropped.
    finished: bool,
    /// CALLs of the worker not answered yet.
    calls: usize,
    /// DATA of the worker.
    up: Window,
    /// The total of the last WINDOW sent for it.
    told: u64,
    /// DATA to the worker.
    down: Window,
    inbox: VecDeque<Inbound>,
    /// Payload bytes in the inbox that no window counts.
    queued: usize,
    waker: Option<Waker>,
    /// It stands in line to send.
    in_line: bool,
}

impl Slot {
    fn new(issued: Issued, window: u32) -> Self {
        let (up, down) = (Window::new(window), Window::new(window));
        let inbox = VecDeque::new();
        let (calls, told, queued) = (0, 0, 0);
        let (begun, waker) = (None, None);
        let (finished, in_line) = (false, false);
        Self { issued, begun, finished, calls, up, told, down, inbox, queued, waker, in_line }
    }

    /// The same slot for another invocation: its inbox keeps its room, if it is small.
    fn renew(&mut self, issued: Issued, window: u32) {
        let mut inbox = std::mem::take(&mut self.inbox);
        inbox.clear();
        inbox.shrink_to(INBOX_KEPT);
        *self = Self { inbox, ..Self::new(issued, window) };
    }

    /// The invocation in slot `idx`, by its session.
    fn running(&self, idx: u32) -> Option<(u32, Running)> {
        let Issued { generation, live, sid, phase } = self.issued;
        let (since, budget) = self.begun.filter(|_| live)?;
        let running = Running {
            token: Token { idx, generation },
            phase,
            since,
            budget,
            answered: self.finished,
            inbox: self.inbox.len(),
            calls: self.calls,
            room: self.down.room(),
        };
        Some((sid, running))
    }

    /// Has `waker` woken by whatever comes next.
    fn wake_later(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    /// Queues a frame, within what an invocation may have waiting while its task waits for a client.
    fn push(&mut self, frame: Frame, payload: Bytes) -> Result<(), Violation> {
        if frame.kind != wire::KIND_DATA {
            self.queued += payload.len();
        }
        if self.inbox.len() >= INBOX_FRAMES || self.queued > INBOX_BYTES {
            return Err(Violation::Budget("frames of one invocation"));
        }
        self.inbox.push_back(Inbound { frame, payload });
        Ok(())
    }
}

/// What became of a frame.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// Put into an inbox; wake this task, if one waits.
    Delivered(Option<Waker>),
    /// Its invocation is over. Dropped.
    Late,
}

/// Slab of invocations, and behind them conversations.
#[derive(Debug)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    /// So many of them, the first, are the lane's credit.
    credits: usize,
    free: Vec<u32>,
    conversations: Conversations,
    /// Open sessions by id: whose, and since when.
    sids: FxHashMap<u32, (Origin, Instant)>,
    /// The oldest of them when that was asked for last.
    oldest: Option<(u32, Instant)>,
    last_sid: u32,
    /// The first session id of this lane and the distance to the next: no other lane of the worker has the same.
    first_sid: u32,
    sid_step: u32,
    window: u32,
    /// Cancelled invocations whose one final frame is still to come, and by when it should have.
    unanswered: Vec<(Token, Instant)>,
    /// PINGs without their PONG.
    pings: u32,
    /// Frames that were of no use to any invocation, and those of an open one that say nothing.
    unasked: Flood,
    empty: Flood,
    /// Frames after an invocation's final one, since `duplicates_since`.
    duplicates: u32,
    duplicates_since: Option<Instant>,
    dead: bool,
}

/// A slot never used.
const NEVER: Issued = Issued { generation: 0, live: false, sid: 0, phase: 0 };
/// CALLs one invocation may have open before it is a flood.
const CALLS_MAX: usize = 1024;
/// Frames after the final one that are tolerated a minute (HARDENING row 15).
const DUPLICATES_PER_MINUTE: u32 = 100;
/// Frames one invocation may have waiting. DATA is joined and CALLs are counted, so an honest one stays far below.
const INBOX_FRAMES: usize = 4096;
/// Frames an inbox keeps room for between invocations.
const INBOX_KEPT: usize = 4;
/// Frames an inbox keeps room for while it is empty.
const INBOX_ROOM: usize = 32;
/// Bytes of records one invocation may have waiting: a commit and a final frame, and room to spare.
const INBOX_BYTES: usize = 4 * wire::LIMIT_RECORD;

impl Table {
    pub(crate) fn new(shape: &Shape) -> Self {
        let (credits, window) = (shape.slots / 2, shape.window);
        Self {
            slots: (0..credits).map(|_| Slot::new(NEVER, window)).collect(),
            credits: credits as usize,
            free: (0..credits).rev().collect(),
            conversations: Conversations::default(),
            sids: FxHashMap::default(),
            oldest: None,
            last_sid: 0,
            first_sid: shape.index + 1,
            sid_step: shape.lanes,
            window,
            unanswered: Vec::new(),
            pings: 0,
            unasked: Flood::new("frames nobody asked for"),
            empty: Flood::new("frames that carry nothing"),
            duplicates: 0,
            duplicates_since: None,
            dead: false,
        }
    }

    /// A session id no open session of this lane has, `1 ..= i32::MAX`.
    fn open_session(&mut self, origin: &Origin, now: Instant) -> u32 {
        loop {
            let next = self.last_sid + self.sid_step;
            let wraps = self.last_sid == 0 || next > i32::MAX.unsigned_abs();
            self.last_sid = if wraps { self.first_sid } else { next };
            if let Entry::Vacant(free) = self.sids.entry(self.last_sid) {
                free.insert((origin.clone(), now));
                return self.last_sid;
            }
        }
    }

    pub(crate) fn close_session(&mut self, sid: u32) {
        self.sids.remove(&sid);
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sids.len()
    }

    /// When the oldest session was opened that is open. For people: who opens and closes sessions does nothing for it, so
    /// that they are all looked through once the last answer is closed.
    pub(super) fn oldest(&mut self) -> Option<Instant> {
        let is_open = |(sid, since): &(u32, Instant)| {
            self.sids.get(sid).is_some_and(|(_, opened)| opened == since)
        };
        let kept = self.oldest.filter(is_open);
        let all = self.sids.iter().map(|(&sid, &(_, since))| (sid, since));
        self.oldest = kept.or_else(|| all.min_by_key(|(_, since)| *since));
        self.oldest.map(|(_, since)| since)
    }

    /// What is open, by session id: for people.
    pub(super) fn open(&self) -> Vec<Open> {
        let running: FxHashMap<u32, Running> =
            (0..).zip(&self.slots).filter_map(|(idx, slot)| slot.running(idx)).collect();
        let mut open: Vec<_> = (self.sids.iter())
            .map(|(&sid, (origin, since))| Open {
                sid,
                origin: origin.clone(),
                since: *since,
                running: running.get(&sid).copied(),
            })
            .collect();
        open.sort_unstable_by_key(|open| open.sid);
        open
    }

    /// Cancelled invocations whose one final frame is still to come.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// Opens an invocation; `None` when all slots are in use or the worker is gone.
    pub(crate) fn begin(&mut self, ask: Ask<'_>, at: Instant) -> Option<Begun> {
        if self.dead {
            return None;
        }
        let idx = self.free.pop()?;
        let Ask { sid, phase, budget, origin } = ask;
        let sid = if sid == 0 { self.open_session(origin, at) } else { sid };
        let slot = &mut self.slots[idx as usize];
        let generation = slot.issued.generation.checked_add(1).unwrap_or(1);
        slot.renew(Issued { generation, live: true, sid, phase }, self.window);
        slot.begun = Some((at, budget));
        Some(Begun { token: Token { idx, generation }, sid, at })
    }

    /// Ends an invocation. `unanswered`: its final frame has not come and is expected; it should have come by then.
    pub(crate) fn end(&mut self, token: Token, unanswered: Option<Instant>) {
        let Some(slot) = self.current(token) else { return };
        slot.issued.live = false;
        slot.waker = None;
        slot.inbox.clear();
        slot.inbox.shrink_to(INBOX_KEPT);
        // Its final frame may have come in the very moment it was cancelled: then none is to come.
        let unanswered = unanswered.filter(|_| !slot.finished);
        self.free.push(token.idx);
        if let Some(due) = unanswered {
            self.unanswered.push((token, due));
        }
    }

    /// Handlers that were given up and have not ended: all, and those that should have by `before`.
    pub(crate) fn overdue(&self, before: Instant) -> (usize, usize) {
        let overdue = self.unanswered.iter().filter(|(_, due)| *due < before).count();
        (self.unanswered.len(), overdue)
    }

    /// A PING goes out.
    pub(crate) fn pinged(&mut self) {
        self.pings = self.pings.saturating_add(1);
    }

    /// A PONG came; whether one was asked for.
    pub(crate) fn ponged(&mut self) -> bool {
        let asked = self.pings > 0;
        self.pings = self.pings.saturating_sub(1);
        asked
    }

    /// Next frame for `token`; registers `waker` when there is none.
    pub(crate) fn take(&mut self, token: Token, waker: &Waker) -> Option<Inbound> {
        let slot = self.current(token)?;
        let next = slot.inbox.pop_front();
        if let Some(inbound) = next.as_ref().filter(|i| i.frame.kind != wire::KIND_DATA) {
            slot.queued -= inbound.payload.len();
        }
        if next.is_none() {
            slot.inbox.shrink_to(INBOX_ROOM);
            slot.wake_later(waker);
        }
        next
    }

    /// Next frame for `token`, for one who polls.
    pub(crate) fn peek(&self, token: Token) -> bool {
        self.slots.get(token.idx as usize).is_some_and(|s| !s.inbox.is_empty())
    }

    /// Notes that a CALL of `token` was answered.
    pub(crate) fn answered_call(&mut self, token: Token) {
        if let Some(slot) = self.current(token) {
            slot.calls = slot.calls.saturating_sub(1);
        }
    }

    /// Notes that `bytes` of DATA were handed on; gives the new total for WINDOW when it is worth a frame: half a window,
    /// and `more` follow.
    pub(crate) fn give_back(&mut self, token: Token, bytes: usize, more: bool) -> Option<u64> {
        let half = u64::from(self.window / 2);
        let slot = self.current(token)?;
        let total = slot.up.give(bytes as u64);
        let worth = more && total - slot.told >= half;
        worth.then(|| {
            slot.told = total;
            total
        })
    }

    /// How many bytes of DATA may be sent down now.
    pub(crate) fn window_left(&mut self, token: Token) -> u64 {
        self.current(token).map_or(0, |slot| slot.down.room())
    }

    /// Notes that `bytes` of DATA are sent down; false when the window does not hold them.
    pub(crate) fn sent(&mut self, token: Token, bytes: u32) -> bool {
        self.current(token).is_some_and(|slot| slot.down.take(bytes).is_ok())
    }

    /// The worker is gone: nothing will come any more. Wakes everybody.
    pub(crate) fn die(&mut self) -> Vec<Waker> {
        self.dead = true;
        self.slots.iter_mut().filter_map(|s| s.waker.take()).collect()
    }

    /// Puts a frame of the worker into the inbox it belongs to (SPEC.md 5.2, 5.7, 5.8).
    pub(crate) fn deliver(
        &mut self,
        frame: Frame,
        payload: Bytes,
        now: impl Fn() -> Instant,
    ) -> Result<Delivery, Violation> {
        let slot = self.slots.get_mut(frame.call_idx as usize);
        let issued = slot.as_ref().map(|slot| slot.issued);
        let (Verdict::Current, Some(slot @ Slot { finished: false, .. })) =
            (check::check_token(&frame, issued)?, slot)
        else {
            return self.late(&frame, now());
        };
        self.unasked.useful(1);
        match frame.kind {
            wire::KIND_REPLY | wire::KIND_ERROR => slot.finished = true,
            wire::KIND_DATA if slot.is_conversation() => {
                return self.deliver_said(frame, payload, now);
            }
            wire::KIND_DATA => {
                if frame.len == 0 {
                    // No window counts it.
                    self.empty.useless(1, now())?;
                    if frame.has(wire::FLAG_MORE) {
                        return Ok(Delivery::Delivered(None));
                    }
                }
                slot.up.take(frame.len)?;
                if let Some(last) = slot.inbox.back_mut()
                    && last.frame.kind == wire::KIND_DATA
                    && last.frame.method == frame.method
                    && rope::join(&mut last.payload, &payload)
                {
                    last.frame.flags = frame.flags;
                    return Ok(Delivery::Delivered(slot.waker.take()));
                }
            }
            wire::KIND_WINDOW => {
                let freed = slot.down.on_total(check::window_total(&payload)?)?;
                if freed == 0 {
                    self.empty.useless(1, now())?;
                    return Ok(Delivery::Delivered(None));
                }
                let told = slot.inbox.back().is_some_and(|i| i.frame.kind == wire::KIND_WINDOW);
                if told || slot.is_conversation() {
                    return Ok(Delivery::Delivered(slot.waker.take()));
                }
            }
            wire::KIND_CALL => {
                slot.calls += 1;
                if slot.calls > CALLS_MAX {
                    return Err(Violation::Budget("open CALLs"));
                }
            }
            _ => {}
        }
        slot.push(frame, payload)?;
        Ok(Delivery::Delivered(slot.waker.take()))
    }

    /// A frame that belongs to no invocation, and that the host asked nobody for.
    pub(crate) fn unasked(&mut self, now: Instant) -> Result<(), Violation> {
        self.unasked.useless(1, now)
    }

    /// A frame of an invocation that is over: the one late answer of a cancelled one, what crossed with its CANCEL, or
    /// what an answered one must not send any more.
    fn late(&mut self, frame: &Frame, now: Instant) -> Result<Delivery, Violation> {
        if self.crosses(frame) {
            return Ok(Delivery::Late);
        }
        self.unasked.useless(1, now)?;
        let slot = self.slots.get(frame.call_idx as usize);
        let answered = slot.is_some_and(|s| s.finished && s.issued.generation == frame.call_gen);
        let token = Token { idx: frame.call_idx, generation: frame.call_gen };
        match frame.kind {
            wire::KIND_REPLY | wire::KIND_ERROR => {
                if let Some(at) = self.unanswered.iter().position(|(t, _)| *t == token) {
                    self.unanswered.swap_remove(at);
                    return Ok(Delivery::Late);
                }
            }
            wire::KIND_DATA | wire::KIND_CALL if answered => {}
            // A handler may go on reading after its end.
            _ => return Ok(Delivery::Late),
        }
        let minute = Duration::from_secs(60);
        if self.duplicates_since.is_none_or(|since| now - since > minute) {
            self.duplicates_since = Some(now);
            self.duplicates = 0;
        }
        self.duplicates += 1;
        if self.duplicates > DUPLICATES_PER_MINUTE {
            return Err(Violation::Budget("duplicate answers"));
        }
        Ok(Delivery::Late)
    }

    fn current(&mut self, token: Token) -> Option<&mut Slot> {
        self.slots
            .get_mut(token.idx as usize)
            .filter(|s| s.issued.live && s.issued.generation == token.generation)
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
