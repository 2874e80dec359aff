//! The ring's memory on the heap: the same offsets as in a segment, exact bounds, and every byte open to a test that
//! plays the peer.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::cast_possible_truncation, reason = "small numbers, and words cut to size")]

use std::cell::UnsafeCell;
use std::sync::Arc;

use bytes::BytesMut;
use nylon_protocol::check::Side;
use nylon_protocol::{Frame, Slot, Token, wire};
use nylon_shm::sync::{AtomicU32, AtomicU64};
use nylon_shm::{Consumer, Memory, Producer};

/// One lane of one segment: `0x400 + N*128 + A` bytes and not one more.
struct Lane(Box<[UnsafeCell<u64>]>);

// SAFETY: words are only touched as atomics; the rest only as the ring's protocol orders it, or by one thread.
unsafe impl Send for Lane {}
// SAFETY: as above.
unsafe impl Sync for Lane {}

impl Lane {
    fn new(len: usize) -> Self {
        Self((0..len / 8).map(|_| UnsafeCell::new(0)).collect())
    }

    fn len(&self) -> usize {
        self.0.len() * 8
    }

    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(offset + len <= self.len(), "{offset:#x} + {len:#x} of {:#x}", self.len());
        // SAFETY: inside the allocation (asserted).
        unsafe { self.0.as_ptr().cast_mut().cast::<u8>().add(offset) }
    }

    fn u32(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4));
        // SAFETY: in bounds and aligned; the cell allows writes through a shared reference.
        unsafe { AtomicU32::from_ptr(self.at(offset, 4).cast()) }
    }

    fn u64(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8));
        // SAFETY: as for `u32`.
        unsafe { AtomicU64::from_ptr(self.at(offset, 8).cast()) }
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        // SAFETY: in bounds; the ring's protocol keeps readers away until it is published.
        unsafe {
            self.at(offset, bytes.len()).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        }
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        // SAFETY: in bounds; the ring's protocol keeps the writer away until it is released.
        unsafe { self.at(offset, to.len()).copy_to_nonoverlapping(to.as_mut_ptr(), to.len()) }
    }
}

/// One ring: the lane of the segment its producer owns, and that of its consumer.
#[derive(Clone)]
pub(crate) struct Heap {
    slots: u32,
    arena: u64,
    producer: Arc<Lane>,
    consumer: Arc<Lane>,
}

impl Heap {
    /// A fresh ring.
    pub(crate) fn new(slots: u32, arena: u64) -> Self {
        let len = wire::LANE_RING + slots as usize * wire::SIZE_SLOT + arena as usize;
        let lane = || Arc::new(Lane::new(len));
        Self { slots, arena, producer: lane(), consumer: lane() }
    }

    /// A ring at `pos` and `apos`, everything before being released.
    pub(crate) fn at(slots: u32, arena: u64, pos: u64, apos: u64) -> Self {
        use nylon_shm::sync::Ordering::Relaxed;
        let ring = Self::new(slots, arena);
        for next in pos..pos + u64::from(slots) {
            let not_yet = if next < slots.into() { 0 } else { next + 1 - u64::from(slots) };
            ring.seq((next % u64::from(slots)) as u32).store(not_yet as u32, Relaxed);
        }
        ring.head().store(pos as u32, Relaxed);
        ring.arena_head().store(apos, Relaxed);
        ring
    }

    /// Both ends of this ring at `pos` and `apos`, written by `from`.
    pub(crate) fn ends(&self, from: Side, pos: u64, apos: u64) -> (Producer<Self>, Consumer<Self>) {
        let consumer = Consumer::starting_at(self.clone(), from, true, pos, apos);
        (Producer::starting_at(self.clone(), pos, apos), consumer)
    }

    /// Length of one lane in bytes.
    pub(crate) fn len(&self) -> usize {
        self.producer.len()
    }

    /// Writes into the producer's segment, as only its owner could.
    pub(crate) fn write_producer(&self, offset: usize, bytes: &[u8]) {
        self.producer.write(offset, bytes);
    }

    /// Writes into the consumer's segment, as only its owner could.
    pub(crate) fn write_consumer(&self, offset: usize, bytes: &[u8]) {
        self.consumer.write(offset, bytes);
    }

    /// The producer's lane, byte for byte.
    pub(crate) fn producer_bytes(&self) -> Vec<u8> {
        let mut out = vec![0; self.len()];
        self.producer.read(0, &mut out);
        out
    }

    /// The consumer's lane, byte for byte.
    pub(crate) fn consumer_bytes(&self) -> Vec<u8> {
        let mut out = vec![0; self.len()];
        self.consumer.read(0, &mut out);
        out
    }

    fn slot(&self, index: u32) -> usize {
        assert!(index < self.slots);
        wire::LANE_RING + index as usize * wire::SIZE_SLOT
    }

    fn arena_at(&self, at: u64) -> usize {
        wire::LANE_RING + self.slots as usize * wire::SIZE_SLOT + at as usize
    }
}

impl Memory for Heap {
    fn slots(&self) -> u32 {
        self.slots
    }
    fn arena(&self) -> u64 {
        self.arena
    }
    fn seq(&self, index: u32) -> &AtomicU32 {
        self.producer.u32(self.slot(index) + wire::SLOT_SEQ)
    }
    fn head(&self) -> &AtomicU32 {
        self.consumer.u32(wire::LANE_HEAD)
    }
    fn arena_head(&self) -> &AtomicU64 {
        self.consumer.u64(wire::LANE_ARENA_HEAD)
    }
    fn bell(&self) -> &AtomicU32 {
        self.producer.u32(wire::LANE_BELL)
    }
    fn wait(&self) -> &AtomicU32 {
        self.consumer.u32(wire::LANE_WAIT)
    }
    fn space_wait(&self) -> &AtomicU32 {
        self.producer.u32(wire::LANE_SPACE_WAIT)
    }
    fn space_bell(&self) -> &AtomicU32 {
        self.consumer.u32(wire::LANE_SPACE_BELL)
    }
    fn put_frame(&self, index: u32, frame: &Frame, inline: &[u8]) {
        let mut slot = Slot::from(*frame);
        slot.inline[..inline.len()].copy_from_slice(inline);
        let tail = inline.len() > wire::SIZE_INLINE_HEAD;
        let end = if tail { wire::SIZE_SLOT } else { wire::SIZE_LINE };
        let bytes = &bytemuck::bytes_of(&slot)[wire::SLOT_KIND..end];
        self.producer.write(self.slot(index) + wire::SLOT_KIND, bytes);
    }
    fn get_frame(&self, index: u32) -> Frame {
        let mut frame = Frame::new(0);
        let bytes = &mut bytemuck::bytes_of_mut(&mut frame)[wire::SLOT_KIND..];
        self.producer.read(self.slot(index) + wire::SLOT_KIND, bytes);
        frame.seq = self.seq(index).load(nylon_shm::sync::Ordering::Relaxed);
        frame
    }
    fn get_inline(&self, index: u32, len: u32, out: &mut BytesMut) {
        let start = out.len();
        out.resize(start + len as usize, 0);
        self.producer.read(self.slot(index) + wire::SLOT_INLINE, &mut out[start..]);
    }
    fn put_bytes(&self, at: u64, bytes: &[u8]) {
        assert!(at + bytes.len() as u64 <= self.arena);
        self.producer.write(self.arena_at(at), bytes);
    }
    fn get_bytes(&self, at: u64, len: u32, out: &mut BytesMut) {
        assert!(at + u64::from(len) <= self.arena);
        let start = out.len();
        out.resize(start + len as usize, 0);
        self.producer.read(self.arena_at(at), &mut out[start..]);
    }
}

/// A frame a worker may send at any time, told from others by `sid`.
pub(crate) fn data(sid: u32) -> Frame {
    let token = Token { idx: 0, generation: 1 };
    Frame::of(wire::KIND_DATA, token, sid, 1).method(wire::METHOD_SET_RESPONSE_STREAM_DATA)
}

/// splitmix64: small, seeded, the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `0 .. n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}
