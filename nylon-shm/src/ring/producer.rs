//! The writing end: reserve → write → publish → ring.

use nylon_protocol::{Frame, Violation, check, wire};

use super::{Gauge, Memory};
use crate::sync::{Ordering, fence};

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// No free slot or arena space: wait for the consumer ([`Producer::arm_space`]).
    #[error("the ring is full")]
    Full,
    /// The payload is larger than a quarter of the arena and will never fit.
    #[error("payload of {0} bytes is too large for this lane")]
    TooLarge(usize),
    /// The consumer's words are impossible; its process is to be retired.
    #[error("the peer broke the ring: {0}")]
    Peer(#[from] Violation),
}

/// Writes frames; exactly one exists per ring.
#[derive(Debug)]
pub struct Producer<M> {
    ring: M,
    /// Next position, free-running.
    pos: u64,
    /// Next arena byte, free-running.
    apos: u64,
    /// Last `head` taken, widened: `0 ..= pos`.
    head: u64,
    /// Last `arena_head` taken, `0 ..= apos`.
    arena_head: u64,
    /// Last odd `wait` rung for, so that one sleep costs one ring.
    last_woken: u32,
    /// Own `space_wait`.
    space_epoch: u32,
    /// Slots only frames without arena payload may take.
    kept: u32,
}

impl<M: Memory> Producer<M> {
    /// A producer at position 0 of a fresh ring.
    pub fn new(ring: M) -> Self {
        Self::starting_at(ring, 0, 0)
    }

    /// A producer at `pos` and `apos` of a ring whose words already stand there: for models and vectors that start
    /// below a wrap.
    pub fn starting_at(ring: M, pos: u64, apos: u64) -> Self {
        Self {
            ring,
            pos,
            apos,
            head: pos,
            arena_head: apos,
            last_woken: 0,
            space_epoch: 0,
            kept: 0,
        }
    }

    /// The same producer, which leaves the last `slots` free slots to frames without arena payload: how a host can
    /// still cancel when its ring is full of bodies (SPEC.md 3.10).
    #[must_use]
    pub fn keeping(self, slots: u32) -> Self {
        Self { kept: slots.min(self.ring.slots() - 1), ..self }
    }

    /// Next position: frames published since the ring was made.
    pub fn pos(&self) -> u64 {
        self.pos
    }

    /// Bytes of arena that the consumer has not given back, by its own word as it stands now: for people.
    pub fn arena_in_use(&self) -> u64 {
        let head = self.ring.arena_head().load(Ordering::Relaxed);
        check::check_arena_head(self.apos, self.arena_head, head)
            .map_or(self.apos - self.arena_head, |head| self.apos - head)
    }

    /// The ring's memory, for the words this end may read.
    pub fn memory(&self) -> &M {
        &self.ring
    }

    /// How far the ends are, as this one knows; for people. Words of the consumer that cannot be are not believed.
    pub fn gauge(&self) -> Gauge {
        let head = self.ring.head().load(Ordering::Relaxed);
        let released = check::check_head(self.pos, self.head, head).unwrap_or(self.head);
        Gauge {
            published: self.pos,
            released,
            arena_used: self.arena_in_use(),
            sleeps: self.peer_sleeps(),
            starved: self.space_epoch & 1 == 1,
        }
    }

    /// Publishes `frame` with `payload`; does not ring.
    ///
    /// The payload goes into the slot when it fits (88 bytes), else into the arena. INLINE, `len`, `arena_pos` and `seq`
    /// are filled in here, whatever `frame` says of them, so that a frame that was popped may be pushed again. After the last frame of a batch call [`Self::must_ring`].
    ///
    /// # Errors
    /// [`PushError::Full`] leaves the ring as it was.
    pub fn push(&mut self, frame: &Frame, payload: &[u8]) -> Result<(), PushError> {
        let len = u32::try_from(payload.len()).map_err(|_| PushError::TooLarge(payload.len()))?;
        let place = self.reserve(len)?;
        let index = self.index();
        match place {
            None => {
                let flags = frame.flags | wire::FLAG_INLINE;
                let frame = Frame { flags, arena_pos: 0, len, ..*frame };
                self.ring.put_frame(index, &frame, payload);
            }
            Some((arena_pos, next)) => {
                self.ring.put_bytes(arena_pos & (self.ring.arena() - 1), payload);
                let flags = frame.flags & !wire::FLAG_INLINE;
                self.ring.put_frame(index, &Frame { flags, arena_pos, len, ..*frame }, &[]);
                self.apos = next;
            }
        }
        // Release: pairs with the Acquire in `Consumer::published` (frame and payload bytes visible).
        self.ring.seq(index).store(check::seq_of(self.pos), Ordering::Release);
        self.pos += 1;
        Ok(())
    }

    /// Whether a payload of `len` bytes would fit now: `Ok(())`, [`PushError::Full`] or a broken peer.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn has_room(&mut self, len: usize) -> Result<(), PushError> {
        let len = u32::try_from(len).map_err(|_| PushError::TooLarge(len))?;
        self.reserve(len).map(drop)
    }

    /// Finds a slot and, for a payload over 88 bytes, its place in the arena: `(arena_pos, next apos)`.
    fn reserve(&mut self, len: u32) -> Result<Option<(u64, u64)>, PushError> {
        let arena = self.ring.arena();
        let inline = len as usize <= wire::SIZE_INLINE;
        if !inline && u64::from(len) > arena / 4 {
            return Err(PushError::TooLarge(len as usize));
        }
        let slots = u64::from(self.ring.slots() - if inline { 0 } else { self.kept });
        if self.pos - self.head >= slots {
            self.take_head()?;
            if self.pos - self.head >= slots {
                return Err(PushError::Full);
            }
        }
        if inline {
            return Ok(None);
        }
        let (at, next) = check::bump(self.apos, len, arena);
        if next - self.arena_head > arena {
            self.take_arena_head()?;
            if next - self.arena_head > arena {
                return Err(PushError::Full);
            }
        }
        Ok(Some((at, next)))
    }

    fn take_head(&mut self) -> Result<(), Violation> {
        let found = self.ring.head().load(Ordering::Relaxed);
        // Acquire: pairs with the Release of `head` in `Consumer::release` (its reads of the slots are over).
        fence(Ordering::Acquire);
        self.head = check::check_head(self.pos, self.head, found)?;
        Ok(())
    }

    fn take_arena_head(&mut self) -> Result<(), Violation> {
        let found = self.ring.arena_head().load(Ordering::Relaxed);
        // Acquire: pairs with the Release of `arena_head` in `Consumer::release` (its reads of the arena are over).
        fence(Ordering::Acquire);
        self.arena_head = check::check_arena_head(self.apos, self.arena_head, found)?;
        Ok(())
    }

    /// Whether the consumer sleeps and has to be woken for what was published; bumps the bell if so.
    ///
    /// Call it once per batch, and always before waiting for anything. One sleep of the consumer gives one `true`.
    pub fn must_ring(&mut self) -> bool {
        // Fence: pairs with the one in `Consumer::arm`; either we see its odd word or it sees our frame.
        fence(Ordering::SeqCst);
        let wait = self.ring.wait().load(Ordering::Relaxed);
        if wait & 1 == 0 || wait == self.last_woken {
            return false;
        }
        self.last_woken = wait;
        let bell = self.ring.bell();
        // Release: pairs with the Acquire of `bell` in `Consumer::arm`.
        bell.store(bell.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        true
    }

    /// Announces that this end waits until `len` payload bytes fit; `None` if they fit already.
    ///
    /// The value is what to give to the futex on `space_bell`. Call [`Self::disarm_space`] after the wait.
    ///
    /// # Errors
    /// [`PushError::Peer`] if the consumer's words are impossible, [`PushError::TooLarge`] as for `push`.
    pub fn arm_space(&mut self, len: usize) -> Result<Option<u32>, PushError> {
        let bell = self.ring.space_bell().load(Ordering::Relaxed);
        // Acquire: pairs with the Release of `space_bell` in `Consumer::must_ring_space`, for the reason in `Consumer::arm`.
        fence(Ordering::Acquire);
        self.space_epoch =
            (self.space_epoch | 1).wrapping_add(if self.space_epoch & 1 == 1 { 2 } else { 0 });
        self.ring.space_wait().store(self.space_epoch, Ordering::Relaxed);
        // Fence: pairs with the one in `Consumer::must_ring_space`.
        fence(Ordering::SeqCst);
        match self.look_for_room(len) {
            Err(PushError::Full) => Ok(Some(bell)),
            found => {
                self.disarm_space();
                found.map(|()| None)
            }
        }
    }

    /// As [`Self::has_room`], by what the consumer's words say now.
    fn look_for_room(&mut self, len: usize) -> Result<(), PushError> {
        self.take_head()?;
        self.take_arena_head()?;
        self.has_room(len)
    }

    /// Takes the announcement of [`Self::arm_space`] back.
    pub fn disarm_space(&mut self) {
        if self.space_epoch & 1 == 1 {
            self.space_epoch = self.space_epoch.wrapping_add(1);
            self.ring.space_wait().store(self.space_epoch, Ordering::Relaxed);
        }
    }

    /// Whether the consumer says it sleeps.
    pub fn peer_sleeps(&self) -> bool {
        self.ring.wait().load(Ordering::Relaxed) & 1 == 1
    }

    fn index(&self) -> u32 {
        slot_index(self.pos, self.ring.slots())
    }
}

/// Slot of position `pos` in a ring of `slots`.
#[expect(clippy::cast_possible_truncation, reason = "masked below a u32")]
pub(super) fn slot_index(pos: u64, slots: u32) -> u32 {
    (pos & u64::from(slots - 1)) as u32
}
