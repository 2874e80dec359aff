//! The writing end: reserve → write → publish → ring.

use nylon_protocol::{Frame, Violation, check, wire};

use super::Memory;
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
}

impl<M: Memory> Producer<M> {
    /// A producer at position 0 of a fresh ring.
    pub fn new(ring: M) -> Self {
        Self::starting_at(ring, 0, 0)
    }

    /// A producer at `pos` and `apos` of a ring whose words already stand there: for models and vectors that start
    /// below a wrap.
    pub fn starting_at(ring: M, pos: u64, apos: u64) -> Self {
        Self { ring, pos, apos, head: pos, arena_head: apos, last_woken: 0, space_epoch: 0 }
    }

    /// Next position: frames published since the ring was made.
    pub fn pos(&self) -> u64 {
        self.pos
    }

    /// The ring's memory, for the words this end may read.
    pub fn memory(&self) -> &M {
        &self.ring
    }

    /// Publishes `frame` with `payload`; does not ring.
    ///
    /// The payload goes into the slot when it fits (88 bytes), else into the arena. `flags`, `len`, `arena_pos` and
    /// `seq` of `frame` are filled in here. After the last frame of a batch call [`Self::must_ring`].
    ///
    /// # Errors
    /// [`PushError::Full`] leaves the ring as it was.
    pub fn push(&mut self, frame: &Frame, payload: &[u8]) -> Result<(), PushError> {
        let mut frame = *frame;
        let placed = self.reserve(payload.len())?;
        match placed {
            None => frame.set_inline(payload),
            Some((size, at, next)) => {
                self.ring.put_bytes(at & (self.ring.arena() - 1), payload);
                frame.arena_pos = at;
                frame.len = size;
                self.apos = next;
            }
        }
        let index = self.index();
        self.ring.put_frame(index, &frame);
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
        self.reserve(len).map(drop)
    }

    /// Finds a slot and, for a payload over 88 bytes, its place in the arena: `(len, arena_pos, next apos)`.
    fn reserve(&mut self, len: usize) -> Result<Option<(u32, u64, u64)>, PushError> {
        let slots = u64::from(self.ring.slots());
        if self.pos - self.head >= slots {
            self.take_head()?;
            if self.pos - self.head >= slots {
                return Err(PushError::Full);
            }
        }
        if len <= wire::SIZE_INLINE {
            return Ok(None);
        }
        let arena = self.ring.arena();
        let size = match u32::try_from(len) {
            Ok(size) if u64::from(size) <= arena / 4 => size,
            _ => return Err(PushError::TooLarge(len)),
        };
        let (at, next) = check::bump(self.apos, size, arena);
        if next - self.arena_head > arena {
            self.take_arena_head()?;
            if next - self.arena_head > arena {
                return Err(PushError::Full);
            }
        }
        Ok(Some((size, at, next)))
    }

    fn take_head(&mut self) -> Result<(), Violation> {
        // Acquire: pairs with the Release in `Consumer::release` (its reads of the slots are over).
        let found = self.ring.head().load(Ordering::Acquire);
        self.head = check::check_head(self.pos, self.head, found)?;
        Ok(())
    }

    fn take_arena_head(&mut self) -> Result<(), Violation> {
        // Acquire: pairs with the Release in `Consumer::release` (its reads of the arena are over).
        let found = self.ring.arena_head().load(Ordering::Acquire);
        self.arena_head = check::check_arena_head(self.apos, self.arena_head, found)?;
        Ok(())
    }

    /// Whether the consumer sleeps and has to be woken for what was published; bumps the bell if so.
    ///
    /// Call it once per batch, and always before waiting for anything. One sleep of the consumer gives one `true`.
    pub fn must_ring(&mut self) -> bool {
        // Fence: pairs with the one in `Consumer::arm`; either we see its odd word or it sees our frame.
        fence(Ordering::SeqCst);
        let wait = self.ring.wait().load(Ordering::Acquire);
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
        let bell = self.ring.space_bell().load(Ordering::Acquire);
        self.space_epoch =
            (self.space_epoch | 1).wrapping_add(if self.space_epoch & 1 == 1 { 2 } else { 0 });
        self.ring.space_wait().store(self.space_epoch, Ordering::Relaxed);
        // Fence: pairs with the one in `Consumer::must_ring_space`.
        fence(Ordering::SeqCst);
        self.take_head()?;
        self.take_arena_head()?;
        match self.reserve(len) {
            Ok(_) => {
                self.disarm_space();
                Ok(None)
            }
            Err(PushError::Full) => Ok(Some(bell)),
            Err(e) => Err(e),
        }
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
