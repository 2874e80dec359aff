//! Looking at a ring without taking part in it, over heap memory.
#![cfg(not(loom))]
#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

mod heap;

use bytes::BytesMut;
use heap::{Heap, data};
use nylon_protocol::check::{self, Side};
use nylon_protocol::wire;
use nylon_shm::ring::history;
use nylon_shm::sync::Ordering::Relaxed;
use nylon_shm::{Consumer, History, Memory, Producer};

const N: u32 = 16;
const A: u64 = 4096;

fn at(pos: u64) -> (Heap, Producer<Heap>, Consumer<Heap>) {
    let ring = Heap::at(N, A, pos, 0);
    let (producer, consumer) = ring.ends(Side::Worker, pos, 0);
    (ring, producer, consumer)
}

/// Publishes frames that are told apart by their `sid`, which is their position.
fn push(producer: &mut Producer<Heap>, n: u64) {
    for _ in 0..n {
        producer.push(&data(producer.pos() as u32), b"inline").expect("room");
    }
}

fn take(consumer: &mut Consumer<Heap>, n: u64) {
    let mut payload = BytesMut::new();
    for _ in 0..n {
        consumer.pop(&mut payload).expect("no violation").expect("a frame");
    }
    consumer.release();
}

/// Positions of a history, each of whose frames is that of its position.
fn positions(history: &History) -> Vec<u64> {
    let own = |p: &nylon_shm::Past| p.slot.frame.sid == p.pos as u32;
    assert!(history.frames.iter().all(own), "{history:?}");
    history.frames.iter().map(|p| p.pos).collect()
}

#[test]
fn a_fresh_ring_has_no_past() {
    let (ring, ..) = at(0);
    assert_eq!(history(&ring, 0, N), History::default());
}

#[test]
fn frames_taken_and_not_taken_are_both_there() {
    let (ring, mut producer, mut consumer) = at(0);
    push(&mut producer, 7);
    take(&mut consumer, 4);
    let seen = history(&ring, consumer.pos(), N);
    assert_eq!((seen.published, positions(&seen)), (7, (0..7).collect()));
    assert_eq!(seen.frames[6].slot.payload(), b"inline");
    assert_eq!(positions(&history(&ring, consumer.pos(), 3)), [4, 5, 6]);
}

#[test]
fn a_payload_in_the_arena_is_not_shown() {
    let (ring, mut producer, _consumer) = at(0);
    producer.push(&data(0), &[7; 200]).expect("room");
    let seen = history(&ring, 0, N);
    assert_eq!(seen.frames[0].slot.frame.len, 200);
    assert_eq!(seen.frames[0].slot.inline, [0; wire::SIZE_INLINE]);
}

/// Also where the low half of the position wraps.
#[test]
fn only_the_last_lap_is_left() {
    for start in [0, (1 << 32) - 20] {
        let (ring, mut producer, mut consumer) = at(start);
        for _ in 0..5 {
            push(&mut producer, 8);
            take(&mut consumer, 8);
        }
        let seen = history(&ring, consumer.pos(), 4 * N);
        assert_eq!(seen.published, start + 40);
        // The oldest of the lap is where the producer writes next.
        assert_eq!(positions(&seen), (start + 25..start + 40).collect::<Vec<_>>());
    }
}

#[test]
fn a_slot_that_is_being_written_is_left_out() {
    let (ring, mut producer, mut consumer) = at(0);
    push(&mut producer, 16);
    take(&mut consumer, 16);
    // What a producer does first, before it died: everything but the publish word.
    ring.put_frame(0, &data(999), b"torn");
    let seen = history(&ring, consumer.pos(), N);
    assert_eq!(positions(&seen), (1..16).collect::<Vec<_>>());
}

#[test]
fn scribbled_publish_words_hide_frames_and_nothing_else() {
    let (ring, mut producer, mut consumer) = at(0);
    push(&mut producer, 12);
    take(&mut consumer, 8);
    ring.seq(5).store(0xdead_beef, Relaxed);
    ring.seq(10).store(0, Relaxed);
    let seen = history(&ring, consumer.pos(), N);
    assert_eq!((seen.published, positions(&seen)), (10, vec![0, 1, 2, 3, 4, 6, 7, 8, 9]));
    // All of them at once: as if everything were published.
    for pos in 12..28 {
        ring.seq((pos % 16) as u32).store(check::seq_of(pos), Relaxed);
    }
    let seen = history(&ring, consumer.pos() + 4, N);
    assert!(seen.published <= 28 && seen.frames.len() <= 16, "{seen:?}");
}

#[test]
fn both_ends_know_how_far_they_are() {
    let (ring, mut producer, mut consumer) = at(0);
    push(&mut producer, 5);
    producer.push(&data(5), &[7; 200]).expect("room");
    let gauge = producer.gauge();
    assert_eq!((gauge.published, gauge.released, gauge.arena_used), (6, 0, 256));
    take(&mut consumer, 6);
    assert!(matches!(consumer.arm(), Ok(nylon_shm::Armed::Sleep(_))));
    let gauge = producer.gauge();
    assert_eq!((gauge.released, gauge.arena_used), (6, 0));
    assert!(gauge.sleeps && !gauge.starved && consumer.gauge().sleeps);
    // A consumer's word that cannot be is not believed.
    ring.head().store(77, Relaxed);
    ring.arena_head().store(1 << 40, Relaxed);
    assert_eq!((producer.gauge().released, producer.gauge().arena_used), (0, 256));
}

/// What a consumer says of a ring it has not read, `payloads` of 200 bytes among `n` frames.
fn unread(n: u64, payloads: u64) -> (u64, u64) {
    let (_ring, mut producer, consumer) = at(0);
    push(&mut producer, n - payloads);
    for _ in 0..payloads {
        producer.push(&data(9), &[7; 200]).expect("room");
    }
    (consumer.gauge().used(), consumer.gauge().arena_used)
}

#[test]
fn frames_not_taken_yet_are_in_use_with_their_payloads() {
    assert_eq!(unread(0, 0), (0, 0));
    assert_eq!(unread(5, 2), (5, 2 * 256));
    assert_eq!(unread(16, 16), (16, A));
    let (_ring, mut producer, mut consumer) = at((1 << 32) - 3);
    push(&mut producer, 9);
    let mut payload = BytesMut::new();
    consumer.pop(&mut payload).expect("no violation").expect("a frame");
    assert_eq!(consumer.gauge().used(), 9, "taken, and not given back");
    take(&mut consumer, 4);
    assert_eq!(consumer.gauge().used(), 4);
    take(&mut consumer, 4);
    assert_eq!(consumer.gauge().used(), 0);
}

/// A producer that writes what it likes is seen up to its first breach, and a full ring is the most there is.
#[test]
fn what_breaks_a_rule_is_not_in_use() {
    let (ring, mut producer, consumer) = at(0);
    push(&mut producer, 6);
    ring.put_frame(4, &nylon_protocol::Frame { kind: 99, ..data(4) }, b"");
    assert_eq!(consumer.gauge().used(), 4);
    ring.seq(2).store(0xdead_beef, Relaxed);
    assert_eq!(consumer.gauge().used(), 2);

    // Every slot, of this lap and the next, over and over the same arena.
    let (ring, _producer, consumer) = at(0);
    for pos in 0..16 {
        let arena_pos = u64::from(pos) * 1024;
        ring.put_frame(pos, &nylon_protocol::Frame { len: 1024, arena_pos, ..data(0) }, b"");
        ring.seq(pos).store(check::seq_of(pos.into()), Relaxed);
    }
    assert_eq!((consumer.gauge().used(), consumer.gauge().arena_used), (16, A));
}
