//! One slot of a ring: the fixed-layout frame, 128 bytes (SPEC.md 3).

use core::mem::{offset_of, size_of};

use bytemuck::{Pod, Zeroable};

use crate::wire;

/// A frame as it stands in a slot: the frame line (64 B) and the tail line (64 B).
///
/// A `Frame` is always a private copy; the ring writes and reads the shared one.
#[repr(C, align(64))]
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
    /// First 24 bytes of an inline payload.
    pub inline: [u8; wire::SIZE_INLINE_HEAD],
    /// The other 64 bytes of an inline payload.
    pub tail: [u8; 64],
}

const _: () = {
    assert!(size_of::<Frame>() == wire::SIZE_SLOT);
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
    assert!(offset_of!(Frame, inline) == wire::SLOT_INLINE);
    assert!(offset_of!(Frame, tail) == wire::SLOT_TAIL);
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

    /// The invocation this frame belongs to.
    pub fn token(&self) -> Token {
        Token { idx: self.call_idx, generation: self.call_gen }
    }

    /// Whether all bits of `flags` are set.
    pub fn has(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }

    /// Copies `payload` (at most 88 bytes) into the slot itself and sets INLINE.
    ///
    /// # Panics
    /// If `payload` is longer than `wire::SIZE_INLINE`.
    pub fn set_inline(&mut self, payload: &[u8]) {
        let head = payload.len().min(wire::SIZE_INLINE_HEAD);
        self.inline[..head].copy_from_slice(&payload[..head]);
        self.tail[..payload.len() - head].copy_from_slice(&payload[head..]);
        self.flags |= wire::FLAG_INLINE;
        self.arena_pos = 0;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most 88, or the copy above panicked"
        )]
        {
            self.len = payload.len() as u32;
        }
    }

    /// The inline payload: what stands in the frame line, then what stands in the tail line. `len` has been checked to
    /// be at most 88.
    pub fn inline_parts(&self) -> [&[u8]; 2] {
        let len = (self.len as usize).min(wire::SIZE_INLINE);
        let head = len.min(wire::SIZE_INLINE_HEAD);
        [&self.inline[..head], &self.tail[..len - head]]
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
