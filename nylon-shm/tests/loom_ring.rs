//! Push and pop of the shipped ring under every interleaving and every value a weak memory may show.
//!
//! No model here sleeps or rings: the fences of the doorbell would order what the publish word and the heads must order
//! by themselves.
#![cfg(loom)]

mod loom_memory;

use loom::thread;
use loom_memory::{Ring, check, pop, push};
use nylon_shm::{Consumer, Producer};

fn push_all(producer: &mut Producer<Ring>, frames: &[(u32, usize)]) {
    for &(n, len) in frames {
        while !push(producer, n, len) {
            thread::yield_now();
        }
    }
}

fn pop_all(consumer: &mut Consumer<Ring>, frames: &[(u32, usize)]) {
    for &(n, len) in frames {
        while !pop(consumer, n, len) {
            thread::yield_now();
        }
    }
}

/// A ring at `pos`, `apos` that holds `before`, while another thread pushes `frames`; this one pops all of them.
fn run(shape: (u32, usize, u64, u64), before: &[(u32, usize)], frames: &'static [(u32, usize)]) {
    let (slots, arena, pos, apos) = shape;
    let (mut producer, mut consumer) = Ring::ends(slots, arena, pos, apos);
    for &(n, len) in before {
        assert!(push(&mut producer, n, len));
    }
    let pushing = thread::spawn(move || push_all(&mut producer, frames));
    pop_all(&mut consumer, before);
    pop_all(&mut consumer, frames);
    assert!(!pop(&mut consumer, 99, 0), "nothing is left");
    pushing.join().unwrap();
}

/// The frame line, the tail line and the arena bytes are all there once the publish word is.
#[test]
fn a_published_frame_is_whole() {
    check(None, || run((2, 1024, 0, 0), &[], &[(1, 8), (2, 100)]));
}

/// The third frame takes the first one's slot.
#[test]
fn a_slot_is_written_again_only_after_it_was_released() {
    check(None, || run((2, 1024, 0, 0), &[(1, 8), (2, 8)], &[(3, 88)]));
}

/// Eight slots and room for four payloads: only `arena_head` holds the producer back.
#[test]
fn arena_bytes_are_written_again_only_after_they_were_released() {
    let full = [(1, 100), (2, 100), (3, 100), (4, 100)];
    check(None, move || run((8, 512, 0, 0), &full, &[(5, 128)]));
}

/// 192 bytes do not fit before the arena's end: both sides skip to its start, and release what was skipped.
#[test]
fn a_payload_skips_to_the_start_of_the_arena() {
    check(None, || run((4, 1024, 4, 896), &[], &[(1, 190), (2, 100)]));
}

/// Publish words 0xffff_ffff, 0, 1; `head` wraps as well.
#[test]
fn positions_cross_the_u32_wrap() {
    let below = u64::from(u32::MAX) - 1;
    check(None, move || run((2, 1024, below, 0), &[], &[(1, 8), (2, 8), (3, 8)]));
}

/// Positions wrap while the ring is full, so that `head` is taken across the wrap.
#[test]
fn a_full_ring_crosses_the_u32_wrap() {
    let below = u64::from(u32::MAX);
    check(None, move || run((2, 1024, below, 256), &[(1, 100), (2, 8)], &[(3, 100), (4, 8)]));
}
