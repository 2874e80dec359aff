//! A single-producer single-consumer ring of frames with an arena for their payloads (SPEC.md 3).
//!
//! In: frames and payload bytes from the [`Producer`].  Out: checked private copies from the [`Consumer`].
//! Never: system calls, sleeping, or a look at what a payload means.
//!
//! Words of the ring lie in two segments, each written by its owner alone:
//!
//! | word | writer | reader |
//! |---|---|---|
//! | slots, arena, `bell`, `space_wait` | producer | consumer |
//! | `head`, `arena_head`, `wait`, `space_bell` | consumer | producer |
//!
//! The peer's words lie in memory this side maps read-only, where only relaxed loads are promised not to fault: an
//! acquire is a relaxed load and then `fence(Acquire)`.

mod consumer;
mod history;
mod producer;

pub use consumer::{Armed, Consumer};
pub use history::{Gauge, History, Past, history};
pub use producer::{Producer, PushError};

use bytes::BytesMut;
use nylon_protocol::Frame;

use crate::sync::{AtomicU32, AtomicU64};

/// The memory of one ring: where its words, slots and arena bytes are.
///
/// Implemented by the mapped segments and, in the loom models, by loom's cells. Offsets and lengths handed in are in
/// range by the ring's arithmetic; an implementation asserts it all the same.
pub trait Memory {
    /// N, a power of two.
    fn slots(&self) -> u32;
    /// A in bytes, a power of two.
    fn arena(&self) -> u64;
    /// Publish word of slot `index`, `0 .. N`.
    fn seq(&self, index: u32) -> &AtomicU32;
    /// Slots released by the consumer.
    fn head(&self) -> &AtomicU32;
    /// Arena bytes released by the consumer.
    fn arena_head(&self) -> &AtomicU64;
    /// Doorbell of this ring.
    fn bell(&self) -> &AtomicU32;
    /// The consumer's sleep word: even = awake, odd = sleeping epoch.
    fn wait(&self) -> &AtomicU32;
    /// The producer's out-of-space word: even = has space, odd = waiting epoch.
    fn space_wait(&self) -> &AtomicU32;
    /// Doorbell of a producer out of space.
    fn space_bell(&self) -> &AtomicU32;
    /// Writes `frame`, but for its publish word, and `inline`, at most 88 bytes, into slot `index`; the rest of the lines
    /// it touches becomes zero.
    fn put_frame(&self, index: u32, frame: &Frame, inline: &[u8]);
    /// Copies the frame out of slot `index`.
    fn get_frame(&self, index: u32) -> Frame;
    /// Appends a copy of the first `len` bytes of slot `index`'s inline payload to `out`, `len <= 88`.
    fn get_inline(&self, index: u32, len: u32, out: &mut BytesMut);
    /// Writes `bytes` into the arena at `at`, `at + bytes.len() <= A`.
    fn put_bytes(&self, at: u64, bytes: &[u8]);
    /// Appends a copy of `len` arena bytes from `at` to `out`, `at + len <= A`.
    fn get_bytes(&self, at: u64, len: u32, out: &mut BytesMut);
}
