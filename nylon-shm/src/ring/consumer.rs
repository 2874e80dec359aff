//! The reading end: peek → copy → check → release.

use bytes::BytesMut;
use nylon_protocol::check::{self, FrameContext, Side};
use nylon_protocol::{Frame, Violation, wire};

use super::producer::slot_index;
use super::{Gauge, Memory};
use crate::sync::{Ordering, fence};

/// What [`Consumer::arm`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    /// A frame is there; the end stays awake.
    Ready,
    /// Nothing is there. Sleep until the producer rings: futex value of `bell` to wait on.
    Sleep(u32),
}

/// Reads frames; exactly one exists per ring.
#[derive(Debug)]
pub struct Consumer<M> {
    ring: M,
    /// Who writes this ring.
    from: Side,
    /// Whether that side may send CALL though it is the worker.
    host_calls: bool,
    /// Whether its final frames say how long the handler ran.
    handler_time: bool,
    /// Whether there are conversations.
    websocket: bool,
    /// Next position to read, free-running.
    pos: u64,
    /// Where the bump rule puts the next arena payload.
    apos: u64,
    /// `pos` and `apos` as last released.
    released: (u64, u64),
    /// Own `wait`.
    epoch: u32,
    /// Last odd `space_wait` rung for.
    last_space_woken: u32,
}

impl<M: Memory> Consumer<M> {
    /// A consumer at position 0 of a fresh ring written by `from`.
    pub fn new(ring: M, from: Side, host_calls: bool) -> Self {
        Self::starting_at(ring, from, host_calls, 0, 0)
    }

    /// A consumer at `pos` and `apos`, see [`super::Producer::starting_at`].
    pub fn starting_at(ring: M, from: Side, host_calls: bool, pos: u64, apos: u64) -> Self {
        let (released, handler_time, websocket) = ((pos, apos), false, false);
        Self {
            ring,
            from,
            host_calls,
            handler_time,
            websocket,
            pos,
            apos,
            released,
            epoch: 0,
            last_space_woken: 0,
        }
    }

    /// The same, where the feature `handler_time` is on or off.
    #[must_use]
    pub fn handler_time(self, on: bool) -> Self {
        Self { handler_time: on, ..self }
    }

    /// The same, where the feature `websocket` is on or off.
    #[must_use]
    pub fn websocket(self, on: bool) -> Self {
        Self { websocket: on, ..self }
    }

    /// Next position: frames taken since the ring was made.
    pub fn pos(&self) -> u64 {
        self.pos
    }

    /// The ring's memory, for the words this end may read.
    pub fn memory(&self) -> &M {
        &self.ring
    }

    /// How far the ends are; for people. What is published and not taken yet counts as far as it could be taken: up to
    /// the first frame that breaks a rule.
    pub fn gauge(&self) -> Gauge {
        let (released, arena_released) = self.released;
        let (published, apos) = self.ahead();
        Gauge {
            published,
            released,
            // One that does not wait for room writes over its own frames.
            arena_used: (apos - arena_released).min(self.ring.arena()),
            sleeps: self.epoch & 1 == 1,
            starved: self.ring.space_wait().load(Ordering::Relaxed) & 1 == 1,
        }
    }

    /// `pos` and `apos` as they will be once all that is published now is taken, at most a lap after what was released.
    fn ahead(&self) -> (u64, u64) {
        let (mut pos, mut apos) = (self.pos, self.apos);
        let slots = self.ring.slots();
        while pos < self.released.0 + u64::from(slots) {
            let index = slot_index(pos, slots);
            let found = self.ring.seq(index).load(Ordering::Relaxed);
            if check::check_seq(pos, slots, found) != Ok(true) {
                break;
            }
            // Acquire: pairs with the Release in `Producer::push` (frame bytes visible).
            fence(Ordering::Acquire);
            let (frame, context) = (self.ring.get_frame(index), self.context(apos));
            if check::check_frame(&frame, self.from, &context).is_err() {
                break;
            }
            (pos, apos) = (pos + 1, check::next_apos(&frame, &context));
        }
        (pos, apos)
    }

    /// What a frame whose payload stands at `apos` is held to.
    fn context(&self, apos: u64) -> FrameContext {
        let Self { host_calls, handler_time, websocket, .. } = *self;
        FrameContext { arena: self.ring.arena(), apos, host_calls, handler_time, websocket }
    }

    /// Whether a frame is there.
    ///
    /// # Errors
    /// [`Violation::Seq`] if the publish word is neither published nor "not yet".
    pub fn published(&self) -> Result<bool, Violation> {
        let found = self.ring.seq(self.index()).load(Ordering::Relaxed);
        let published = check::check_seq(self.pos, self.ring.slots(), found)?;
        if published {
            // Acquire: pairs with the Release in `Producer::push` (frame and payload bytes visible).
            fence(Ordering::Acquire);
        }
        Ok(published)
    }

    /// Takes the next frame; its payload replaces the contents of `payload`.
    ///
    /// The frame, then its payload, are copied once, checked on the copy (SPEC.md 3.2–3.6), and their place may be
    /// reused by the producer from the next release on.
    ///
    /// # Errors
    /// The rule that was broken. The ring is not to be read after that.
    pub fn pop(&mut self, payload: &mut BytesMut) -> Result<Option<Frame>, Violation> {
        payload.clear();
        self.pop_into(|_| payload)
    }

    /// As [`Self::pop`]; `place` says, knowing the frame, which buffer its payload is appended to.
    ///
    /// # Errors
    /// As [`Self::pop`].
    pub fn pop_into<'b>(
        &mut self,
        place: impl FnOnce(&Frame) -> &'b mut BytesMut,
    ) -> Result<Option<Frame>, Violation> {
        if !self.published()? {
            return Ok(None);
        }
        let frame = self.ring.get_frame(self.index());
        let context = self.context(self.apos);
        let arena = context.arena;
        check::check_frame(&frame, self.from, &context)?;
        let payload = place(&frame);
        if frame.has(wire::FLAG_INLINE) {
            self.ring.get_inline(self.index(), frame.len, payload);
        } else {
            self.ring.get_bytes(frame.arena_pos & (arena - 1), frame.len, payload);
        }
        self.apos = check::next_apos(&frame, &context);
        self.pos += 1;
        let (slot, byte) = self.released;
        if self.pos - slot >= u64::from(self.ring.slots() / 4) || self.apos - byte >= arena / 4 {
            self.release();
        }
        Ok(Some(frame))
    }

    /// Gives everything taken so far back to the producer. Afterwards ask [`Self::must_ring_space`].
    pub fn release(&mut self) {
        if self.released == (self.pos, self.apos) {
            return;
        }
        self.released = (self.pos, self.apos);
        // Release: pairs with the Acquire in `Producer::take_arena_head` (our reads are over).
        self.ring.arena_head().store(self.apos, Ordering::Release);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "`head` is the low half of the position"
        )]
        // Release: pairs with the Acquire in `Producer::take_head` (our reads are over).
        self.ring.head().store(self.pos as u32, Ordering::Release);
    }

    /// Whether the producer waits for space and has to be woken; releases and bumps `space_bell` if so.
    pub fn must_ring_space(&mut self) -> bool {
        // Fence: pairs with the one in `Producer::arm_space`; either we see its odd word or it sees our release.
        fence(Ordering::SeqCst);
        let wait = self.ring.space_wait().load(Ordering::Relaxed);
        if wait & 1 == 0 {
            return false;
        }
        self.release();
        if wait == self.last_space_woken {
            return false;
        }
        self.last_space_woken = wait;
        let bell = self.ring.space_bell();
        // Release: pairs with the Acquire of `space_bell` in `Producer::arm_space`.
        bell.store(bell.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        true
    }

    /// Announces that this end goes to sleep. Releases first, so that the producer never waits for a sleeper.
    ///
    /// With [`Armed::Sleep`] sleep until rung, then call [`Self::disarm`]; spurious wakes are harmless.
    ///
    /// # Errors
    /// As [`Self::published`].
    pub fn arm(&mut self) -> Result<Armed, Violation> {
        self.release();
        let bell = self.ring.bell().load(Ordering::Relaxed);
        // Acquire: pairs with the Release of `bell` in `Producer::must_ring`. Who rings for the odd word below has read
        // it first, so that bump can't be in `bell` already: the futex compares unequal, or we are queued and woken.
        fence(Ordering::Acquire);
        self.epoch = (self.epoch | 1).wrapping_add(if self.epoch & 1 == 1 { 2 } else { 0 });
        self.ring.wait().store(self.epoch, Ordering::Relaxed);
        // Fence: pairs with the one in `Producer::must_ring`; either it sees our odd word or we see its frame.
        fence(Ordering::SeqCst);
        if self.published()? {
            self.disarm();
            return Ok(Armed::Ready);
        }
        Ok(Armed::Sleep(bell))
    }

    /// Says that this end is awake again.
    pub fn disarm(&mut self) {
        if self.epoch & 1 == 1 {
            self.epoch = self.epoch.wrapping_add(1);
            self.ring.wait().store(self.epoch, Ordering::Relaxed);
        }
    }

    fn index(&self) -> u32 {
        slot_index(self.pos, self.ring.slots())
    }
}
