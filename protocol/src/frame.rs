//! One slot of a ring, 128 bytes: the fixed-layout frame, and a payload that fits beside it (SPEC.md 3).

use core::mem::{offset_of, size_of};

use bytemuck::{Pod, Zeroable};

use crate::wire;

/// A frame as its slot begins, 40 bytes. An inline payload stands behind it, see [`Slot`].
///
/// A `Frame` is always a private copy; the ring writes and reads the shared one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Frame {
    /// Publish word, `low32(pos) + 1`; written last, by the ring.
    pub seq: u32,
    /// One of `wire::KIND_*`.
    pub kind: u8,
    /// 0 ..= 5, one of `wire::PHASE_*`.
    pub phase: u8,
    /// `wire::FLAG_*` bits.
    pub flags: u16,
    /// Session id, > 0 on frames of an invocation.
    pub sid: u32,
    /// One of `wire::METHOD_*`, 0 when the kind needs none.
    pub method: u32,
    /// Index into the host's slab.
    pub call_idx: u32,
    /// Count of that slot's reuse, from 1.
    pub call_gen: u32,
    /// Virtual arena position; 0 when the payload is inline.
    pub arena_pos: u64,
    /// Payload length in bytes.
    pub len: u32,
    /// Meaning by kind: budget in ms, wanted phases, call number, reason or nonce.
    pub status: u32,
}

/// A whole slot of a ring, 128 bytes: the frame line (64 B) and the tail line (64 B).
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Slot {
    /// What every slot has.
    pub frame: Frame,
    /// The inline payload, and zeros after it. The first 24 bytes are in the frame line.
    pub inline: [u8; wire::SIZE_INLINE],
}

const _: () = {
    assert!(size_of::<Slot>() == wire::SIZE_SLOT);
    assert!(size_of::<Frame>() == wire::SLOT_INLINE);
    assert!(wire::SLOT_INLINE + wire::SIZE_INLINE_HEAD == wire::SLOT_TAIL);
    assert!(offset_of!(Frame, seq) == wire::SLOT_SEQ);
    assert!(offset_of!(Frame, kind) == wire::SLOT_KIND);
    assert!(offset_of!(Frame, phase) == wire::SLOT_PHASE);
    assert!(offset_of!(Frame, flags) == wire::SLOT_FLAGS);
    assert!(offset_of!(Frame, sid) == wire::SLOT_SID);
    assert!(offset_of!(Frame, method) == wire::SLOT_METHOD);
    assert!(offset_of!(Frame, call_idx) == wire::SLOT_CALL_IDX);
    assert!(offset_of!(Frame, call_gen) == wire::SLOT_CALL_GEN);
    assert!(offset_of!(Frame, arena_pos) == wire::SLOT_ARENA_POS);
    assert!(offset_of!(Frame, len) == wire::SLOT_LEN);
    assert!(offset_of!(Frame, status) == wire::SLOT_STATUS);
    assert!(offset_of!(Slot, inline) == wire::SLOT_INLINE);
};

/// Names one invocation: a slot of the host's slab and how often it was used (SPEC.md 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Token {
    /// Index into the host's slab.
    pub idx: u32,
    /// Count of that slot's reuse, from 1.
    pub generation: u32,
}

impl Frame {
    /// A frame of `kind` with every other field zero.
    pub fn new(kind: u8) -> Self {
        Self { kind, ..Self::zeroed() }
    }

    /// A frame of the invocation `token` of session `sid` in `phase`.
    pub fn of(kind: u8, token: Token, sid: u32, phase: u8) -> Self {
        Self { sid, phase, call_idx: token.idx, call_gen: token.generation, ..Self::new(kind) }
    }

    /// The same frame with `method`.
    #[must_use]
    pub fn method(self, method: u32) -> Self {
        Self { method, ..self }
    }

    /// The same frame with `status`.
    #[must_use]
    pub fn status(self, status: u32) -> Self {
        Self { status, ..self }
    }

    /// The same frame with `flags` added.
    #[must_use]
    pub fn flags(self, flags: u16) -> Self {
        Self { flags: self.flags | flags, ..self }
    }

    /// The frame as it stands in memory, in words. Made of the fields, not read from where they may just have been
    /// written: a load that is wider than the stores before it waits for them.
    #[inline]
    pub fn to_words(&self) -> [u64; wire::SLOT_INLINE / 8] {
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let kind = u32::from(self.kind) | u32::from(self.phase) << 8 | u32::from(self.flags) << 16;
        [
            pair(self.seq, kind),
            pair(self.sid, self.method),
            pair(self.call_idx, self.call_gen),
            self.arena_pos,
            pair(self.len, self.status),
        ]
    }

    /// The frame that [`Self::to_words`] gave.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a word is taken apart")]
    pub fn from_words(words: [u64; wire::SLOT_INLINE / 8]) -> Self {
        let [publish, session, token, arena_pos, length] = words;
        Self {
            seq: publish as u32,
            kind: (publish >> 32) as u8,
            phase: (publish >> 40) as u8,
            flags: (publish >> 48) as u16,
            sid: session as u32,
            method: (session >> 32) as u32,
            call_idx: token as u32,
            call_gen: (token >> 32) as u32,
            arena_pos,
            len: length as u32,
            status: (length >> 32) as u32,
        }
    }

    /// The invocation this frame belongs to.
    pub fn token(&self) -> Token {
        Token { idx: self.call_idx, generation: self.call_gen }
    }

    /// Whether all bits of `flags` are set.
    pub fn has(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }
}

impl Slot {
    /// A slot with `payload`, at most 88 bytes, in itself.
    ///
    /// # Panics
    /// If `payload` is longer than `wire::SIZE_INLINE`.
    pub fn inline(frame: Frame, payload: &[u8]) -> Self {
        let mut inline = [0; wire::SIZE_INLINE];
        inline[..payload.len()].copy_from_slice(payload);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most 88, or the copy above panicked"
        )]
        let len = payload.len() as u32;
        Self { frame: Frame { arena_pos: 0, len, ..frame.flags(wire::FLAG_INLINE) }, inline }
    }

    /// The inline payload, as far as `len`, which is at most 88 in a frame that was checked.
    pub fn payload(&self) -> &[u8] {
        &self.inline[..(self.frame.len as usize).min(wire::SIZE_INLINE)]
    }
}

impl From<Frame> for Slot {
    fn from(frame: Frame) -> Self {
        Self { frame, inline: [0; wire::SIZE_INLINE] }
    }
}

/// The original's in-process frame, 32 bytes: what a slot maps to inside one process (SPEC.md 3.1).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FfiBuffer {
    /// Session id.
    pub sid: u32,
    /// Phase, 0 ..= 5.
    pub phase: u8,
    /// Method id.
    pub method: u32,
    /// First byte of the payload in this process, or null when `len` is 0.
    pub ptr: *const u8,
    /// Payload length in bytes.
    pub len: u64,
}

const _: () = {
    assert!(size_of::<FfiBuffer>() == 32);
    assert!(offset_of!(FfiBuffer, ptr) == 16);
    assert!(offset_of!(FfiBuffer, len) == 24);
};
