//! A peer that writes what it likes into its own segment: the other end never panics, never leaves its bounds (the heap
//! memory asserts each access), and yields frames that keep the rules or a `Violation`.
//!
//! Seeded: the seed of a failing case is in the panic's message. `NYLON_SEED=n` runs that case alone.
#![cfg(not(loom))]
#![allow(
    clippy::cast_possible_truncation,
    reason = "small numbers, and words cut to size on purpose"
)]

mod heap;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use heap::{Heap, Random, data};
use nylon_protocol::check::Side;
use nylon_protocol::segment::Header;
use nylon_protocol::{Frame, Geometry, Violation, wire};
use nylon_shm::sync::Ordering::Relaxed;
use nylon_shm::{
    Armed, Bell, Consumer, Doorbell, HostEnd, Memory, Producer, PushError, Segments, WorkerBells,
    WorkerEnd,
};

const N: u32 = 16;
const A: u64 = 4096;

/// Runs `case` for many seeds, or for the one asked for.
fn seeds(count: u64, case: impl Fn(&mut Random)) {
    let run = |seed| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| case(&mut Random(seed)))) {
            eprintln!("failed with NYLON_SEED={seed}");
            resume_unwind(panic);
        }
    };
    match std::env::var("NYLON_SEED") {
        Ok(seed) => run(seed.parse().expect("NYLON_SEED is a number")),
        Err(_) => (0..count).for_each(run),
    }
}

fn scaled(count: u64) -> u64 {
    if cfg!(miri) { count / 6000 + 5 } else { count }
}

/// A ring some frames old, so that laps, skips and lazy releases are in play; positions near a wrap now and then.
fn used(random: &mut Random) -> (Heap, Producer<Heap>, Consumer<Heap>) {
    let pos = [0, 5, 16, u64::from(u32::MAX) - random.below(20), u64::from(u32::MAX) + 7];
    let pos = pos[random.below(5) as usize];
    let apos = random.below(2 * A / 64) * 64;
    let ring = Heap::at(N, A, pos, apos);
    let (mut producer, mut consumer) = ring.ends(Side::Worker, pos, apos);
    let mut payload = BytesMut::new();
    for _ in 0..random.below(40) {
        if producer.push(&data(1), &vec![1; random.below(400) as usize]).is_err()
            || random.below(2) == 0
        {
            consumer.pop(&mut payload).expect("honest so far");
        }
    }
    (ring, producer, consumer)
}

/// A value that is likely to be just wrong.
fn interesting(random: &mut Random, near: u64) -> u64 {
    let powers = 1 << random.below(64);
    match random.below(8) {
        0 => 0,
        1 => u64::MAX,
        2 => near.wrapping_add(1),
        3 => near.wrapping_sub(1),
        4 => near.wrapping_add(u64::from(N)),
        5 => near.wrapping_add(A),
        6 => powers,
        _ => random.next(),
    }
}

/// Spoils a few bytes or words of the producer's lane.
fn scribble(random: &mut Random, ring: &Heap, pos: u64) {
    for _ in 0..=random.below(3) {
        let slot = wire::LANE_RING + (pos % u64::from(N)) as usize * wire::SIZE_SLOT;
        match random.below(4) {
            0 => {
                let mut junk = vec![0; 1 + random.below(300) as usize];
                random.fill(&mut junk);
                let at = random.below((ring.len() - junk.len()) as u64) as usize;
                ring.write_producer(at, &junk);
            }
            1 => {
                let word = interesting(random, pos) as u32;
                ring.write_producer(slot + random.below(32) as usize * 4, &word.to_le_bytes());
            }
            2 => {
                let at = slot + wire::SLOT_KIND + random.below(4) as usize;
                ring.write_producer(at, &[random.next() as u8]);
            }
            _ => {
                let words = [wire::LANE_BELL, wire::LANE_SPACE_WAIT];
                let at = words[random.below(2) as usize];
                ring.write_producer(at, &(random.next() as u32).to_le_bytes());
            }
        }
    }
}

/// What every yielded frame keeps, written down apart from `check`.
fn assert_sound(frame: &Frame, payload: &[u8]) {
    assert_eq!(frame.len as usize, payload.len());
    assert!(payload.len() as u64 <= A / 4);
    assert!(matches!(
        frame.kind,
        wire::KIND_CALL
            | wire::KIND_REPLY
            | wire::KIND_ERROR
            | wire::KIND_PONG
            | wire::KIND_GOAWAY
            | wire::KIND_DATA
            | wire::KIND_WINDOW
    ));
    assert_eq!(frame.flags & !wire::FLAG_KNOWN, 0);
    assert_eq!(frame.flags & wire::FLAG_OPEN, 0);
    assert!(frame.phase <= 5 && frame.method <= 0xffff);
    if frame.has(wire::FLAG_INLINE) {
        assert!(payload.len() <= 88 && frame.arena_pos == 0);
    } else {
        assert!(!payload.is_empty());
        let room = A - (frame.arena_pos & (A - 1));
        assert!(frame.arena_pos.is_multiple_of(64) && payload.len() as u64 <= room);
    }
}

#[test]
fn a_consumer_over_scribbled_memory() {
    let (mut frames, mut violations) = (0u64, 0u64);
    let counts = std::cell::RefCell::new((&mut frames, &mut violations));
    seeds(scaled(60_000), |random| {
        let (ring, mut producer, mut consumer) = used(random);
        let mut payload = BytesMut::new();
        for _ in 0..40 {
            let _ = producer.push(&data(2), &vec![3; random.below(500) as usize]);
            if random.below(3) == 0 {
                scribble(random, &ring, consumer.pos());
            }
            let armed = if random.below(4) == 0 { consumer.arm().map(drop) } else { Ok(()) };
            consumer.disarm();
            consumer.must_ring_space();
            match armed.and_then(|()| consumer.pop(&mut payload)) {
                Ok(Some(frame)) => {
                    assert_sound(&frame, &payload);
                    *counts.borrow_mut().0 += 1;
                }
                Ok(None) => {}
                Err(_) => {
                    *counts.borrow_mut().1 += 1;
                    return;
                }
            }
        }
    });
    if std::env::var_os("NYLON_SEED").is_none() && !cfg!(miri) {
        assert!(
            frames > 100_000 && violations > 10_000,
            "{frames} frames, {violations} violations"
        );
    }
}

#[test]
fn a_producer_under_lying_heads() {
    seeds(scaled(60_000), |random| {
        let (ring, mut producer, mut consumer) = used(random);
        let mut payload = BytesMut::new();
        for _ in 0..60 {
            let near = if random.below(2) == 0 { producer.pos() } else { consumer.pos() };
            let lie = interesting(random, near);
            let (at, width) = [
                (wire::LANE_HEAD, 4),
                (wire::LANE_ARENA_HEAD, 8),
                (wire::LANE_WAIT, 4),
                (wire::LANE_SPACE_BELL, 4),
                (random.below(ring.len() as u64 - 8) as usize, 8),
            ][random.below(5) as usize];
            if random.below(4) == 0 {
                ring.write_consumer(at, &lie.to_le_bytes()[..width]);
            }
            producer.must_ring();
            let len = random.below(1100) as usize;
            let pushed = match random.below(3) {
                0 => producer.arm_space(len).map(drop),
                _ => producer.push(&data(1), &vec![9; len]),
            };
            match pushed {
                Ok(()) | Err(PushError::Full) => {}
                Err(PushError::TooLarge(n)) => assert_eq!((n, n as u64 > A / 4), (len, true)),
                Err(PushError::Peer(Violation::Head { .. } | Violation::ArenaHead { .. })) => {
                    return;
                }
                Err(PushError::Peer(other)) => panic!("{other}"),
            }
            if random.below(2) == 0 {
                // A lie within bounds lets the producer write over what was not taken: the liar's own loss.
                let _ = consumer.pop(&mut payload);
            }
        }
    });
}

/// A ring in its second lap with one frame published, to spoil one field of.
fn one_frame(payload: &[u8]) -> (Heap, Consumer<Heap>, usize) {
    let ring = Heap::at(N, A, 20, A);
    let (mut producer, _) = ring.ends(Side::Worker, 20, A);
    producer.push(&data(1), payload).unwrap();
    let consumer = Consumer::starting_at(ring.clone(), Side::Worker, false, 20, A);
    (ring, consumer, wire::LANE_RING + 4 * wire::SIZE_SLOT)
}

fn spoilt(payload: &[u8], field: usize, value: &[u8]) -> Result<Option<Frame>, Violation> {
    let (ring, mut consumer, slot) = one_frame(payload);
    ring.write_producer(slot + field, value);
    consumer.pop(&mut BytesMut::new())
}

#[test]
fn each_field_is_held_to_its_rule() {
    let arena = &[7; 200][..];
    assert!(spoilt(arena, wire::SLOT_SID, &[1]).unwrap().is_some(), "unspoilt");
    assert_eq!(spoilt(arena, wire::SLOT_SEQ, &5u32.to_le_bytes()), Ok(None), "not yet: 21 - 16");
    for seq in [0, 4, 6, 20, 22, 37, u32::MAX] {
        let expected = Err(Violation::Seq { found: seq, pos: 20 });
        assert_eq!(spoilt(arena, wire::SLOT_SEQ, &seq.to_le_bytes()), expected);
    }
    let foreign = [wire::KIND_CANCEL, wire::KIND_PING, wire::KIND_CLOSE, wire::KIND_CALL];
    for kind in [0, 11, 255].into_iter().chain(foreign) {
        assert_eq!(spoilt(arena, wire::SLOT_KIND, &[kind]), Err(Violation::Kind(kind)));
    }
    for flags in [0x10u16, 0x8000, wire::FLAG_OPEN] {
        let found = spoilt(arena, wire::SLOT_FLAGS, &flags.to_le_bytes());
        assert_eq!(found, Err(Violation::Flags(flags)));
    }
    assert_eq!(spoilt(arena, wire::SLOT_PHASE, &[6]), Err(Violation::Phase(6)));
    let method = 0x1_0000u32;
    assert_eq!(
        spoilt(arena, wire::SLOT_METHOD, &method.to_le_bytes()),
        Err(Violation::Method(method))
    );

    let inline = wire::FLAG_INLINE.to_le_bytes();
    assert_eq!(
        spoilt(arena, wire::SLOT_FLAGS, &inline),
        Err(Violation::Inline { len: 200, arena_pos: A })
    );
    assert_eq!(
        spoilt(b"x", wire::SLOT_LEN, &[89]),
        Err(Violation::Inline { len: 89, arena_pos: 0 })
    );
    assert_eq!(
        spoilt(b"x", wire::SLOT_ARENA_POS, &[64]),
        Err(Violation::Inline { len: 1, arena_pos: 64 })
    );
    assert_eq!(spoilt(b"", wire::SLOT_FLAGS, &[0, 0]), Err(Violation::Len(0)));
    for len in [A as u32 / 4 + 1, u32::MAX, 0] {
        assert_eq!(spoilt(arena, wire::SLOT_LEN, &len.to_le_bytes()), Err(Violation::Len(len)));
    }
    for found in [0, A - 64, A + 1, A + 64, 2 * A, u64::MAX] {
        let expected = Err(Violation::ArenaPos { found, expected: A });
        assert_eq!(spoilt(arena, wire::SLOT_ARENA_POS, &found.to_le_bytes()), expected);
    }
}

#[test]
fn each_head_is_held_to_its_rule() {
    let pushed = |word: usize, value: u64| {
        let ring = Heap::at(N, A, 100, 10 * A);
        let (mut producer, _) = ring.ends(Side::Worker, 100, 10 * A);
        for _ in 0..4 {
            producer.push(&data(1), &[0; 1024]).unwrap();
        }
        for _ in 0..12 {
            producer.push(&data(1), b"").unwrap();
        }
        let width = if word == wire::LANE_HEAD { 4 } else { 8 };
        ring.write_consumer(word, &value.to_le_bytes()[..width]);
        producer.arm_space(1024).map(drop)
    };
    for found in [99u32, 117, 0, u32::MAX] {
        let expected = Violation::Head { found, released: 100, pos: 116 };
        assert_eq!(pushed(wire::LANE_HEAD, found.into()), Err(expected.into()));
    }
    for found in [10 * A - 1, 11 * A + 1, 0, u64::MAX] {
        let expected = Violation::ArenaHead { found, released: 10 * A, pos: 11 * A };
        assert_eq!(pushed(wire::LANE_ARENA_HEAD, found), Err(expected.into()));
    }
    assert_eq!(pushed(wire::LANE_HEAD, 116), Ok(()), "a head may say that all was taken");
}

/// A forged sleep word costs one ring while it stays, and one per publish while it changes.
#[test]
fn sleep_words_only_cost_rings() {
    let ring = Heap::new(N, A);
    let (mut producer, mut consumer) = ring.ends(Side::Worker, 0, 0);
    ring.write_consumer(wire::LANE_WAIT, &[0xff; 4]);
    assert_eq!((0..100).filter(|_| producer.must_ring()).count(), 1);
    for word in 0..100u32 {
        ring.write_consumer(wire::LANE_WAIT, &word.to_le_bytes());
        assert_eq!(producer.must_ring(), word & 1 == 1);
        assert!(!producer.must_ring());
    }
    ring.write_producer(wire::LANE_SPACE_WAIT, &[0xff; 4]);
    assert_eq!((0..100).filter(|_| consumer.must_ring_space()).count(), 1);
    // A bell or space bell that runs on its own only ends a futex wait early.
    ring.write_producer(wire::LANE_BELL, &[0xee; 4]);
    assert_eq!(consumer.arm(), Ok(Armed::Sleep(0xeeee_eeee)));
    ring.write_consumer(wire::LANE_SPACE_BELL, &[0xdd; 4]);
    assert_eq!(producer.arm_space(1), Ok(None));
    assert_eq!(ring.space_wait().load(Relaxed) & 1, 0);
}

/// The mapped ring, with a thread that writes into P while the host reads.
#[test]
#[cfg_attr(miri, ignore = "maps memfds")]
fn a_host_over_a_segment_being_written() {
    let (done, finished) = mpsc::channel();
    std::thread::spawn(move || {
        for seed in 0..40 {
            one_hostile_worker(&mut Random(seed));
        }
        let _ = done.send(());
    });
    finished.recv_timeout(Duration::from_secs(60)).expect("the host neither hangs nor panics");
}

fn one_hostile_worker(random: &mut Random) {
    let geometry = Geometry { lanes: 1, slots: 64, arena: 256 << 10 };
    let header = Header { geometry, epoch: 5, abi_minor: wire::ABI_MINOR, features: 0 };
    let (segments, fds) = Segments::create(header).unwrap();
    let bells = WorkerBells {
        kind: Doorbell::Futex,
        bell: Bell::new().unwrap(),
        rescue: Bell::new().unwrap(),
    };
    let mut host = HostEnd::new(&segments, 0, true, bells);
    let attached = Segments::attach(&fds, &header).unwrap();
    let mut worker = WorkerEnd::new(attached, 0, Bell::new().unwrap().into());
    let map = memmap2::MmapOptions::new().map_raw(&fds.worker).unwrap();
    let seed = random.next();

    let stop = Instant::now() + Duration::from_millis(20);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut random = Random(seed);
            let len = map.len() - wire::SIZE_HEADER;
            // Honest for a while, so that the host is somewhere in the middle.
            for _ in 0..random.below(2000) {
                let _ = worker.up.push(&data(1), &vec![1; random.below(3000) as usize]);
            }
            while Instant::now() < stop {
                let _ = worker.up.push(&data(1), &vec![1; random.below(3000) as usize]);
                for _ in 0..random.below(30) {
                    // Mostly the words and slots, now and then the arena.
                    let range = if random.below(4) > 0 { 0x400 + 64 * 128 } else { len };
                    let at = wire::SIZE_HEADER + random.below(range as u64) as usize;
                    // SAFETY: inside the map; a hostile process writes like this, so the host's reads are of a kind
                    // that expects it.
                    unsafe { map.as_mut_ptr().add(at).write_volatile(random.next() as u8) };
                }
            }
        });
        let mut payload = BytesMut::new();
        while Instant::now() < stop {
            match host.up.pop(&mut payload) {
                Ok(Some(frame)) => assert_eq!(frame.len as usize, payload.len()),
                Ok(None) => {}
                Err(_) => break,
            }
            let _ = host.up.must_ring_space();
        }
        while Instant::now() < stop {
            match host.down.push(&Frame::new(wire::KIND_PING), &[1; 300]) {
                Ok(()) | Err(PushError::Full) => {}
                Err(PushError::Peer(_)) => break,
                Err(e) => panic!("{e}"),
            }
            host.down.must_ring();
        }
    });
}
