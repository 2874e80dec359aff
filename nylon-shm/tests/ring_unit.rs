//! The ring over heap memory, one rule at a time. Small enough for Miri.
#![cfg(not(loom))]
#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

mod heap;

use std::thread;

use bytes::BytesMut;
use heap::{Heap, Random, data};
use nylon_protocol::check::Side;
use nylon_protocol::{Frame, Violation, wire};
use nylon_shm::sync::Ordering::Relaxed;
use nylon_shm::{Armed, Consumer, Memory, Producer, PushError};

const N: u32 = 16;
const A: u64 = 4096;

fn fresh() -> (Heap, Producer<Heap>, Consumer<Heap>) {
    let ring = Heap::new(N, A);
    let (producer, consumer) = ring.ends(Side::Worker, 0, 0);
    (ring, producer, consumer)
}

fn pop(consumer: &mut Consumer<Heap>) -> Option<(Frame, Vec<u8>)> {
    let mut payload = BytesMut::new();
    let frame = consumer.pop(&mut payload).expect("no violation")?;
    Some((frame, payload.to_vec()))
}

#[test]
fn every_length_arrives_whole() {
    let (_, mut producer, mut consumer) = fresh();
    let lengths = [0, 1, 23, 24, 25, 63, 64, 87, 88, 89, 127, 128, 129, 1000, 1023, 1024];
    for (i, len) in (0..).zip(lengths) {
        let mut payload = vec![0; len];
        Random(i).fill(&mut payload);
        producer.push(&data(i as u32), &payload).unwrap();
        let (frame, found) = pop(&mut consumer).unwrap();
        assert_eq!((frame.sid, frame.len as usize, found), (i as u32, len, payload));
        assert_eq!(frame.has(wire::FLAG_INLINE), len <= 88, "length {len}");
    }
    assert!(pop(&mut consumer).is_none());
}

#[test]
fn a_payload_over_a_quarter_never_fits() {
    let (ring, mut producer, _) = fresh();
    let before = ring.producer_bytes();
    assert_eq!(producer.push(&data(1), &[0; 1025]), Err(PushError::TooLarge(1025)));
    assert_eq!(producer.has_room(1025), Err(PushError::TooLarge(1025)));
    assert_eq!(producer.arm_space(1025), Err(PushError::TooLarge(1025)));
    // A producer that gives up does not wait: its word is even again.
    assert_eq!(ring.space_wait().load(Relaxed) & 1, 0);
    let lane = ring.producer_bytes();
    assert_eq!(lane[wire::LANE_RING..], before[wire::LANE_RING..]);
}

#[test]
fn a_full_ring_stays_as_it_was() {
    let (ring, mut producer, mut consumer) = fresh();
    for i in 0..N {
        producer.push(&data(i), b"x").unwrap();
    }
    let before = ring.producer_bytes();
    assert_eq!(producer.push(&data(99), b"y"), Err(PushError::Full));
    assert_eq!(producer.push(&data(99), &[7; 200]), Err(PushError::Full));
    assert_eq!(ring.producer_bytes(), before);
    for i in 0..N {
        assert_eq!(pop(&mut consumer).unwrap().0.sid, i);
    }
    producer.push(&data(99), b"y").unwrap();
    assert_eq!(pop(&mut consumer).unwrap().1, b"y");
}

/// SPEC.md 3.10: when bodies have filled the ring, a cancel still goes through.
#[test]
fn the_last_slots_are_kept_for_frames_without_arena_payload() {
    let (_, producer, mut consumer) = fresh();
    let mut producer = producer.keeping(N / 8);
    for i in 0..N - N / 8 {
        producer.push(&data(i), &[1; 89]).unwrap();
    }
    assert_eq!(producer.push(&data(50), &[1; 89]), Err(PushError::Full));
    assert!(producer.arm_space(89).unwrap().is_some());
    for i in 0..N / 8 {
        producer.push(&data(60 + i), b"inline").unwrap();
    }
    assert_eq!(producer.push(&data(70), b"inline"), Err(PushError::Full));
    // One turn of the consumer releases for the producer that waits, and rings once.
    assert_eq!(pop(&mut consumer).unwrap().0.sid, 0);
    assert!(consumer.must_ring_space());
    assert!(!consumer.must_ring_space());
    producer.disarm_space();
    // One free slot is a kept one.
    assert_eq!(producer.push(&data(50), &[1; 89]), Err(PushError::Full));
    producer.push(&data(51), b"inline").unwrap();
}

#[test]
fn a_popped_frame_may_be_pushed_again() {
    let (_, mut producer, mut consumer) = fresh();
    producer.push(&data(1), &[0xff; 88]).unwrap();
    let (inline, _) = pop(&mut consumer).unwrap();
    // Long after inline: INLINE must be gone.
    producer.push(&inline, &[2; 300]).unwrap();
    let (arena, found) = pop(&mut consumer).unwrap();
    assert_eq!((found, arena.has(wire::FLAG_INLINE)), (vec![2; 300], false));
    // Short after long, and shorter after longer.
    producer.push(&arena, b"s").unwrap();
    let (short, found) = pop(&mut consumer).unwrap();
    assert_eq!((found.as_slice(), short.arena_pos), (&b"s"[..], 0));
    producer.push(&inline, b"s").unwrap();
    assert_eq!(pop(&mut consumer).unwrap().1, b"s");
}

#[test]
fn the_arena_skips_to_its_start() {
    let (ring, mut producer, mut consumer) = fresh();
    let sizes = [1000, 1000, 1000, 900, 900, 1024, 89, 1000, 640, 1024];
    let (mut offsets, mut payload) = (Vec::new(), BytesMut::new());
    for (i, len) in (0..).zip(sizes) {
        producer.push(&data(i), &vec![i as u8; len]).unwrap();
        let frame = consumer.pop(&mut payload).unwrap().unwrap();
        assert_eq!(payload, vec![i as u8; len]);
        offsets.push(frame.arena_pos);
    }
    // 3*1024 + 960 = 4032: 900 no longer fit there and start the next lap.
    assert_eq!(offsets, [0, 1024, 2048, 3072, 4096, 5056, 6080, 6208, 8192 - 960, 8192]);
    consumer.release();
    assert_eq!(ring.arena_head().load(Relaxed), 8192 + 1024);
}

#[test]
fn release_is_lazy_and_complete_before_sleep() {
    let (ring, mut producer, mut consumer) = fresh();
    for i in 0..7 {
        producer.push(&data(i), &[0; 100]).unwrap();
    }
    let released = || (ring.head().load(Relaxed), ring.arena_head().load(Relaxed));
    for expected in [(0, 0), (0, 0), (0, 0), (4, 512), (4, 512)] {
        pop(&mut consumer).unwrap();
        assert_eq!(released(), expected);
    }
    assert_eq!(consumer.arm(), Ok(Armed::Ready));
    assert_eq!(released(), (5, 640), "before it would have slept");
    producer.push(&data(9), &[0; 1024]).unwrap();
    for _ in 0..3 {
        pop(&mut consumer).unwrap();
    }
    assert_eq!(released(), (8, 1920), "a quarter of the arena");
}

#[test]
fn one_sleep_is_one_ring() {
    let (ring, mut producer, mut consumer) = fresh();
    assert!(!producer.must_ring(), "awake");
    for sleep in 0..3u32 {
        let Armed::Sleep(bell) = consumer.arm().unwrap() else { panic!("empty") };
        assert_eq!(bell, sleep);
        assert_eq!(ring.wait().load(Relaxed), 2 * sleep + 1);
        producer.push(&data(1), b"").unwrap();
        assert!(producer.must_ring());
        assert_eq!(ring.bell().load(Relaxed), bell + 1, "the futex value no longer compares equal");
        producer.push(&data(2), b"").unwrap();
        assert!(!producer.must_ring(), "rung for already");
        consumer.disarm();
        assert_eq!(ring.wait().load(Relaxed), 2 * sleep + 2);
        pop(&mut consumer).unwrap();
        pop(&mut consumer).unwrap();
    }
    // Armed again without a disarm in between: a new epoch all the same.
    consumer.arm().unwrap();
    consumer.arm().unwrap();
    assert_eq!(ring.wait().load(Relaxed), 9);
    assert!(producer.must_ring());
}

#[test]
fn arming_with_a_frame_there_cancels() {
    let (ring, mut producer, mut consumer) = fresh();
    producer.push(&data(1), b"").unwrap();
    assert_eq!(consumer.arm(), Ok(Armed::Ready));
    assert_eq!(ring.wait().load(Relaxed), 2, "even: awake");
    consumer.disarm();
    assert_eq!(ring.wait().load(Relaxed), 2, "and disarm is not an epoch of its own");
    assert!(!producer.must_ring());
}

#[test]
fn publish_words_and_head_wrap() {
    let start = u64::from(u32::MAX) - 20;
    let ring = Heap::at(N, A, start, 0);
    let (mut producer, mut consumer) = ring.ends(Side::Worker, start, 0);
    for i in 0..100u32 {
        producer.push(&data(i), &i.to_le_bytes()).unwrap();
        if i % 3 == 2 {
            for back in (0..3).rev() {
                assert_eq!(pop(&mut consumer).unwrap().0.sid, i - back);
            }
        }
    }
    assert_eq!(producer.pos(), start + 100);
    assert_eq!(pop(&mut consumer).unwrap().0.sid, 99);
    consumer.release();
    assert_eq!(ring.head().load(Relaxed), (start + 100) as u32);
}

/// A hole punched into the segment reads as zeros; on a later lap that is not "not yet".
#[test]
fn a_hole_is_a_violation() {
    let (ring, mut producer, mut consumer) = fresh();
    for i in 0..N {
        producer.push(&data(i), b"").unwrap();
        pop(&mut consumer).unwrap();
    }
    ring.write_producer(wire::LANE_RING, &[0; wire::SIZE_SLOT]);
    assert_eq!(consumer.published(), Err(Violation::Seq { found: 0, pos: 16 }));
}

/// Two threads, no sleeping: what Miri's race detector is for.
#[test]
fn two_threads() {
    let frames = if cfg!(miri) { 60 } else { 200_000 };
    let ring = Heap::new(N, A);
    let (mut producer, mut consumer) = ring.ends(Side::Worker, 0, 0);
    let pushing = thread::spawn(move || {
        for i in 0..frames {
            let payload = vec![i as u8; i as usize * 7 % 300];
            while producer.push(&data(i), &payload) == Err(PushError::Full) {
                thread::yield_now();
            }
        }
    });
    for i in 0..frames {
        let (frame, payload) = loop {
            match pop(&mut consumer) {
                Some(found) => break found,
                None => thread::yield_now(),
            }
        };
        assert_eq!((frame.sid, payload), (i, vec![i as u8; i as usize * 7 % 300]));
        consumer.must_ring_space();
    }
    pushing.join().unwrap();
}
