//! Looking at a ring without taking part in it: what was said last, and how far its ends are. For people.
//!
//! A slot stays as it is until the producer comes round again, and the memory stays mapped when a process is gone. So the
//! frames of the last lap can be read at any time, of a live worker and of a dead one, and nobody who uses the ring does
//! anything for it.

use bytes::BytesMut;
use nylon_protocol::{Slot, check, wire};

use super::Memory;
use super::producer::slot_index;
use crate::sync::{Ordering, fence};

/// A frame that was published, read without taking it and without checking it: what its producer wrote, true or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// Its position: frames published before it since the ring was made.
    pub pos: u64,
    /// The frame, and its payload if that is inline; else zeros.
    pub slot: Slot,
}

/// What was said last on a ring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Frames published since the ring was made.
    pub published: u64,
    /// The last of them, oldest first.
    pub frames: Vec<Past>,
}

/// How far the ends of a ring are, as one of them knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge {
    /// Frames published.
    pub published: u64,
    /// Frames whose slots were given back, `0 ..= published`.
    pub released: u64,
    /// Arena bytes between what was published and what was given back, `0 ..= A`.
    pub arena_used: u64,
    /// Whether the consumer says that it sleeps.
    pub sleeps: bool,
    /// Whether the producer says that it waits for room.
    pub starved: bool,
}

impl Gauge {
    /// Slots in use: published and not given back, `0 ..= N`.
    pub fn used(&self) -> u64 {
        self.published - self.released
    }
}

/// The last `n` frames of `ring`, fewer if there were fewer or less than a lap of them is left; `known` is a position
/// that its producer has reached, and at most a lap behind it.
///
/// A slot that holds another lap's frame is told by its publish word. A slot that is being written is not, since that word
/// is written last: so the one whose turn it is is left out, and so is all that the producer may have come to while this
/// reads. What is left of a race, on a machine that reorders stores, is a wrong line for people and never more.
pub fn history<M: Memory>(ring: &M, known: u64, n: u32) -> History {
    let end = published(ring, known);
    let first = end.saturating_sub(n.min(ring.slots()).into());
    let mut frames: Vec<_> = (first..end).filter_map(|pos| read(ring, pos)).collect();
    // Acquire: the copies above are made before the words below are looked at.
    fence(Ordering::Acquire);
    let reached = published(ring, end);
    frames.retain(|past| past.pos + u64::from(ring.slots()) > reached);
    History { published: end, frames }
}

/// The first position from `pos` on, at most a lap away, that is not published.
fn published<M: Memory>(ring: &M, pos: u64) -> u64 {
    let lap = pos..pos + u64::from(ring.slots());
    lap.into_iter().find(|&pos| !is_at(ring, pos)).unwrap_or(pos + u64::from(ring.slots()))
}

/// Whether the slot of position `pos` says that this position is published in it.
fn is_at<M: Memory>(ring: &M, pos: u64) -> bool {
    let found = ring.seq(slot_index(pos, ring.slots())).load(Ordering::Relaxed);
    // Acquire: pairs with the Release in `Producer::push` (frame and inline payload visible).
    fence(Ordering::Acquire);
    found == check::seq_of(pos)
}

/// Copies the frame of position `pos`, if its slot holds it before and after.
fn read<M: Memory>(ring: &M, pos: u64) -> Option<Past> {
    if !is_at(ring, pos) {
        return None;
    }
    let index = slot_index(pos, ring.slots());
    let mut slot = Slot::from(ring.get_frame(index));
    if slot.frame.has(wire::FLAG_INLINE) {
        let mut inline = BytesMut::with_capacity(wire::SIZE_INLINE);
        #[expect(clippy::cast_possible_truncation, reason = "88")]
        ring.get_inline(index, wire::SIZE_INLINE as u32, &mut inline);
        slot.inline.copy_from_slice(&inline);
    }
    // Acquire: the copies above are made before the word is looked at again.
    fence(Ordering::Acquire);
    is_at(ring, pos).then_some(Past { pos, slot })
}
