//! The ring's memory in loom's cells, and the two system calls as loom sees them.
//!
//! Slot bodies and arena lines are `UnsafeCell`s: a body read without the writer's release, or written over without the
//! reader's, is reported as a race.
#![allow(dead_code, reason = "each model file uses its part")]

use std::sync::Arc;

use bytes::BytesMut;
use loom::cell::UnsafeCell;
use loom::sync::{Condvar, Mutex};
use nylon_protocol::check::Side;
use nylon_protocol::{Frame, Slot, Token, wire};
use nylon_shm::sync::{AtomicU32, AtomicU64, Ordering};
use nylon_shm::{Consumer, Memory, Producer, PushError};

const LINE: usize = wire::SIZE_LINE;

/// One ring, shared by the threads of a model.
#[derive(Clone)]
pub(crate) struct Ring(Arc<Words>);

struct Words {
    seq: Vec<AtomicU32>,
    slots: Vec<UnsafeCell<Slot>>,
    arena: Vec<UnsafeCell<[u8; LINE]>>,
    head: AtomicU32,
    arena_head: AtomicU64,
    bell: AtomicU32,
    wait: AtomicU32,
    space_wait: AtomicU32,
    space_bell: AtomicU32,
}

// SAFETY: the cells are what loom is asked to check; it reports every unsynchronised access.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Ring {
    /// A ring whose next position is `pos` and next arena byte `apos`, everything before being released.
    pub(crate) fn new(slots: u32, arena: usize, pos: u64, apos: u64) -> Self {
        let seq = |index: u64| {
            let behind = (index + u64::from(slots) - pos % u64::from(slots)) % u64::from(slots);
            let next = pos + behind;
            let not_yet = if next < u64::from(slots) { 0 } else { next + 1 - u64::from(slots) };
            AtomicU32::new(low_word(not_yet))
        };
        Self(Arc::new(Words {
            seq: (0..slots.into()).map(seq).collect(),
            slots: (0..slots).map(|_| UnsafeCell::new(Frame::new(0).into())).collect(),
            arena: (0..arena / LINE).map(|_| UnsafeCell::new([0; LINE])).collect(),
            head: AtomicU32::new(low_word(pos)),
            arena_head: AtomicU64::new(apos),
            bell: AtomicU32::new(0),
            wait: AtomicU32::new(0),
            space_wait: AtomicU32::new(0),
            space_bell: AtomicU32::new(0),
        }))
    }

    /// Both ends of a ring at `pos`, `apos`.
    pub(crate) fn ends(
        slots: u32,
        arena: usize,
        pos: u64,
        apos: u64,
    ) -> (Producer<Self>, Consumer<Self>) {
        let ring = Self::new(slots, arena, pos, apos);
        let consumer = Consumer::starting_at(ring.clone(), Side::Host, false, pos, apos);
        (Producer::starting_at(ring, pos, apos), consumer)
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the words are the low halves")]
fn low_word(value: u64) -> u32 {
    value as u32
}

impl Memory for Ring {
    fn slots(&self) -> u32 {
        u32::try_from(self.0.seq.len()).unwrap()
    }
    fn arena(&self) -> u64 {
        (self.0.arena.len() * LINE) as u64
    }
    fn seq(&self, index: u32) -> &AtomicU32 {
        &self.0.seq[index as usize]
    }
    fn head(&self) -> &AtomicU32 {
        &self.0.head
    }
    fn arena_head(&self) -> &AtomicU64 {
        &self.0.arena_head
    }
    fn bell(&self) -> &AtomicU32 {
        &self.0.bell
    }
    fn wait(&self) -> &AtomicU32 {
        &self.0.wait
    }
    fn space_wait(&self) -> &AtomicU32 {
        &self.0.space_wait
    }
    fn space_bell(&self) -> &AtomicU32 {
        &self.0.space_bell
    }
    fn put_frame(&self, index: u32, frame: &Frame, inline: &[u8]) {
        let mut slot = Slot::from(*frame);
        slot.inline[..inline.len()].copy_from_slice(inline);
        // SAFETY: loom hands out the pointer only if no other thread holds one, and fails the model otherwise.
        self.0.slots[index as usize].with_mut(|at| unsafe { *at = slot });
    }
    fn get_frame(&self, index: u32) -> Frame {
        // SAFETY: as for `put_frame`.
        self.0.slots[index as usize].with(|at| unsafe { (*at).frame })
    }
    fn get_inline(&self, index: u32, len: u32, out: &mut BytesMut) {
        // SAFETY: as for `put_frame`.
        let inline = self.0.slots[index as usize].with(|at| unsafe { (*at).inline });
        out.extend_from_slice(&inline[..len as usize]);
    }
    fn put_bytes(&self, at: u64, bytes: &[u8]) {
        let first = usize::try_from(at).unwrap() / LINE;
        for (line, part) in self.0.arena[first..].iter().zip(bytes.chunks(LINE)) {
            // SAFETY: as for `put_frame`.
            line.with_mut(|at| unsafe { (&mut *at)[..part.len()].copy_from_slice(part) });
        }
        assert!(usize::try_from(at).unwrap() + bytes.len() <= self.0.arena.len() * LINE);
    }
    fn get_bytes(&self, at: u64, len: u32, out: &mut BytesMut) {
        let (first, end) = (usize::try_from(at).unwrap(), out.len() + len as usize);
        assert!(first + len as usize <= self.0.arena.len() * LINE);
        for line in &self.0.arena[first / LINE..] {
            let part = LINE.min(end - out.len());
            // SAFETY: as for `put_frame`.
            line.with(|at| unsafe { out.extend_from_slice(&(&*at)[..part]) });
            if out.len() == end {
                break;
            }
        }
    }
}

/// A valid frame of a host, told from others by `n`.
pub(crate) fn frame(n: u32) -> Frame {
    let token = Token { idx: 0, generation: 1 };
    Frame::of(wire::KIND_DATA, token, 1, 1).method(wire::METHOD_READ_REQUEST_FULL_BODY).status(n)
}

/// `len` bytes that name frame `n`.
pub(crate) fn payload(n: u32, len: usize) -> Vec<u8> {
    vec![u8::try_from(n).unwrap() ^ 0x5a; len]
}

/// Pushes frame `n`; whether there was room.
pub(crate) fn push(producer: &mut Producer<Ring>, n: u32, len: usize) -> bool {
    match producer.push(&frame(n), &payload(n, len)) {
        Ok(()) => true,
        Err(PushError::Full) => false,
        Err(e) => panic!("{e}"),
    }
}

/// Pops a frame, which has to be frame `n`; whether there was one.
pub(crate) fn pop(consumer: &mut Consumer<Ring>, n: u32, len: usize) -> bool {
    let mut bytes = BytesMut::new();
    let Some(found) = consumer.pop(&mut bytes).expect("no violation") else { return false };
    assert_eq!(found.status, n, "frames in order");
    assert_eq!(bytes, payload(n, len), "its own payload");
    true
}

/// `FUTEX_WAIT` and `FUTEX_WAKE` on one word: compare and queue under the kernel's lock.
#[derive(Default)]
pub(crate) struct Futex {
    queued: Mutex<bool>,
    woken: Condvar,
}

impl Futex {
    /// Sleeps if `word` is `expected`.
    pub(crate) fn wait(&self, word: &AtomicU32, expected: u32) {
        let mut queued = self.queued.lock().unwrap();
        if word.load(Ordering::Relaxed) != expected {
            return;
        }
        *queued = true;
        while *queued {
            queued = self.woken.wait(queued).unwrap();
        }
    }

    /// Wakes the sleeper, if one is queued.
    pub(crate) fn wake(&self) {
        let mut queued = self.queued.lock().unwrap();
        if *queued {
            *queued = false;
            self.woken.notify_one();
        }
    }
}

/// An eventfd under an edge-triggered poller: a write makes an edge, and who clears it late has eaten it.
#[derive(Default)]
pub(crate) struct Edge {
    seen: Mutex<bool>,
    written: Condvar,
}

impl Edge {
    /// Forgets the edges so far.
    pub(crate) fn clear(&self) {
        *self.seen.lock().unwrap() = false;
    }

    /// Sleeps until there is an edge.
    pub(crate) fn wait(&self) {
        let mut seen = self.seen.lock().unwrap();
        while !*seen {
            seen = self.written.wait(seen).unwrap();
        }
    }

    /// Makes an edge.
    pub(crate) fn write(&self) {
        *self.seen.lock().unwrap() = true;
        self.written.notify_one();
    }
}

/// Runs a model, switching away from a running thread at most `preemptions` times.
pub(crate) fn check(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(model);
}
