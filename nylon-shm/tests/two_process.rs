//! The lane between two real processes: this test program starts itself again as the worker, which inherits the
//! descriptors.
#![cfg(not(loom))]
#![allow(clippy::cast_possible_truncation, reason = "random numbers cut to size")]

mod heap;
mod host;

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::BytesMut;
use heap::Random;
use host::{Host, WorkerSide, call, header, pair, reply, watchdog};
use nylon_protocol::{Geometry, Violation, wire};
use nylon_shm::{Doorbell, SegmentError, SegmentFds, Segments, WorkerEnd};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mprotect, munmap};
use rustix::process::{Signal, set_parent_process_death_signal};

const SILENCE: Duration = Duration::from_secs(20);
const LARGEST: usize = 200 << 10;

/// Starts this program again as a worker that does `job`.
fn spawn(side: &WorkerSide, job: &str) -> Child {
    let inherit = |fd: &dyn AsFd| {
        let fd = fd.as_fd().try_clone_to_owned().unwrap();
        fcntl_setfd(&fd, FdFlags::empty()).unwrap();
        fd
    };
    let fds: [OwnedFd; 3] =
        [inherit(&side.fds.host), inherit(&side.fds.worker), inherit(&side.host_bell)];
    let numbers = fds.each_ref().map(|fd| fd.as_raw_fd().to_string()).join(",");
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "worker_process", "--nocapture", "--test-threads=1"])
        .env("NYLON_TWO_PROCESS", format!("{job},{numbers}"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// The worker. As a test of its own it has nothing to do.
#[test]
fn worker_process() {
    let Ok(job) = std::env::var("NYLON_TWO_PROCESS") else { return };
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let (job, numbers) = job.split_once(',').unwrap();
    let mut fds = numbers.split(',').map(|n| {
        // SAFETY: the parent left these descriptors open for us, and nothing else here owns them.
        unsafe { OwnedFd::from_raw_fd(n.parse().unwrap()) }
    });
    let fds_of_segments = SegmentFds { host: fds.next().unwrap(), worker: fds.next().unwrap() };
    let segments = Segments::attach(&fds_of_segments, &header(Geometry::default())).unwrap();
    let mut end = WorkerEnd::new(segments, 0, fds.next().unwrap());
    drop(fds_of_segments);
    match job {
        "echo" => echo(&mut end),
        "flood" => flood(&mut end),
        _ => panic!("job {job}"),
    }
}

fn echo(end: &mut WorkerEnd) {
    let mut payload = BytesMut::new();
    loop {
        let frame = end.recv(&mut payload, None).unwrap().unwrap();
        if frame.kind == wire::KIND_GOAWAY {
            return;
        }
        end.send(&reply(&frame), &payload).unwrap();
    }
}

/// Sends for ever, as fast as the host takes it.
fn flood(end: &mut WorkerEnd) {
    let bytes = bytes();
    for n in 0.. {
        end.send(&reply(&call(n)), piece(&bytes, n, 5000)).unwrap();
    }
}

/// Random bytes that payloads are cut from.
fn bytes() -> Vec<u8> {
    let mut bytes = vec![0; LARGEST + 4096];
    Random(11).fill(&mut bytes);
    bytes
}

/// The payload of frame `n`: 0 ..= `largest` bytes, most of them short.
fn piece(bytes: &[u8], n: u32, largest: usize) -> &[u8] {
    let mut random = Random(n.into());
    let exponent = random.below(18 * 16) as f64 / 16.0;
    let len = match random.below(400) {
        0 => largest,
        _ => (exponent.exp2() as usize - 1).min(largest) * usize::from(random.below(10) > 0),
    };
    let at = random.below(4096) as usize;
    &bytes[at..at + len]
}

#[test]
fn a_hundred_thousand_frames_come_back_as_they_went() {
    let frames = 100_000;
    let bytes = bytes();
    let (mut host, side) = pair(Geometry::default(), Doorbell::Futex);
    let mut child = spawn(&side, "echo");
    drop(side);
    watchdog(Duration::from_secs(120), || {
        let (mut sent, mut back, mut payload) = (0, 0, BytesMut::new());
        let mut longest = 0;
        while back < frames {
            let mut moved = false;
            while sent < frames && host.push(&call(sent), piece(&bytes, sent, LARGEST)) {
                sent += 1;
                moved = true;
            }
            host.ring();
            while let Some(frame) = host.end.up.pop(&mut payload).unwrap() {
                assert_eq!((frame.kind, frame.sid), (wire::KIND_REPLY, back));
                assert!(payload == piece(&bytes, back, LARGEST), "frame {back} came back changed");
                longest = longest.max(payload.len());
                back += 1;
                moved = true;
            }
            host.ring_space();
            if !moved {
                let room = (sent < frames).then(|| piece(&bytes, sent, LARGEST).len());
                assert!(host.sleep(room, SILENCE), "sent {sent}, back {back}, then silence");
            }
        }
        assert_eq!(longest, LARGEST);
        host.segments.check_worker_header().unwrap();
        assert!(host.push(&nylon_protocol::Frame::new(wire::KIND_GOAWAY), b""));
        host.ring();
        assert!(child.wait().unwrap().success());
    });
}

/// What was published before the kill is whole, in order, and at most a ring full.
#[test]
fn a_killed_worker_leaves_whole_frames() {
    let bytes = bytes();
    let mut random = Random(3);
    for round in 0..12 {
        let (mut host, side) = pair(Geometry::default(), Doorbell::Futex);
        let mut child = spawn(&side, "flood");
        let mut next = 0;
        watchdog(Duration::from_secs(60), || {
            let before_kill = random.below(20_000);
            while u64::from(next) < before_kill {
                if drain(&mut host, &bytes, &mut next) == 0 {
                    assert!(host.sleep(None, SILENCE), "silence in round {round}");
                }
            }
            if round % 3 == 0 {
                // Let it run into the full ring first.
                std::thread::sleep(Duration::from_millis(5));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let left = drain(&mut host, &bytes, &mut next);
            assert!(left <= 256, "{left} frames after death");
            // Dead is dead: the ring is empty and sound, and there is room to say so.
            assert_eq!(host.end.up.published(), Ok(false));
            assert!(host.push(&call(1), b"into the void"));
        });
    }
}

fn drain(host: &mut Host, bytes: &[u8], next: &mut u32) -> usize {
    let (mut payload, mut taken) = (BytesMut::new(), 0);
    while let Some(frame) = host.end.up.pop(&mut payload).unwrap() {
        assert_eq!(frame.sid, *next);
        assert!(payload == piece(bytes, *next, 5000), "frame {next} is not whole");
        *next += 1;
        taken += 1;
        // One turn is a ring full at most.
        if taken == 256 {
            break;
        }
    }
    host.ring_space();
    taken
}

#[test]
fn sizes_and_h_are_sealed() {
    let (_host, side) = pair(Geometry::default(), Doorbell::Futex);
    let len = Geometry::default().segment_len();
    for fd in [&side.fds.host, &side.fds.worker] {
        for size in [0, 4096, len - 1, len + 1, len + 4096] {
            assert_eq!(rustix::fs::ftruncate(fd, size), Err(Errno::PERM), "size {size}");
        }
        let more = rustix::fs::SealFlags::WRITE;
        assert_eq!(rustix::fs::fcntl_add_seals(fd, more), Err(Errno::PERM), "no seal can be added");
    }
    assert_eq!(rustix::io::pwrite(&side.fds.host, b"x", 0), Err(Errno::PERM));

    let bytes = usize::try_from(len).unwrap();
    let map = |fd: &OwnedFd, prot| {
        // SAFETY: a new mapping wherever the kernel likes; no reference into it is made.
        unsafe { mmap(std::ptr::null_mut(), bytes, prot, MapFlags::SHARED, fd, 0) }
    };
    let both = ProtFlags::READ | ProtFlags::WRITE;
    assert_eq!(map(&side.fds.host, both), Err(Errno::PERM), "a second writable map of H");
    let reading = map(&side.fds.host, ProtFlags::READ).unwrap();
    // SAFETY: the mapping just made; it is refused anyway.
    let upgraded = unsafe { mprotect(reading, bytes, MprotectFlags::READ | MprotectFlags::WRITE) };
    assert_eq!(upgraded, Err(Errno::ACCESS), "a readable map of H made writable");
    // SAFETY: nothing points into it.
    unsafe { munmap(reading, bytes).unwrap() };
}

#[test]
fn a_worker_header_that_differs_is_refused() {
    let fields: [(usize, &'static str); 12] = [
        (wire::HEADER_MAGIC, "magic"),
        (wire::HEADER_ENDIAN, "endian"),
        (wire::HEADER_ABI_MAJOR, "abi_major"),
        (wire::HEADER_LAYOUT_HASH, "layout_hash"),
        (wire::HEADER_HEADER_LEN, "header_len"),
        (wire::HEADER_SLOT_SIZE, "slot_size"),
        (wire::HEADER_LANES, "lanes"),
        (wire::HEADER_SLOTS, "slots"),
        (wire::HEADER_ARENA_LEN, "arena_len"),
        (wire::HEADER_LANE_STRIDE, "lane_stride"),
        (wire::HEADER_SEG_LEN, "seg_len"),
        (wire::HEADER_EPOCH, "epoch"),
    ];
    let (host, side) = pair(Geometry::default(), Doorbell::Futex);
    let written = host.segments.check_worker_header();
    assert_eq!(written, Err(Violation::Header("magic")), "nobody has written it yet");
    Segments::attach(&side.fds, &header(Geometry::default())).unwrap();
    host.segments.check_worker_header().unwrap();
    for (at, field) in fields {
        let mut byte = [0];
        rustix::io::pread(&side.fds.worker, &mut byte, at as u64).unwrap();
        rustix::io::pwrite(&side.fds.worker, &[byte[0] ^ 0x55], at as u64).unwrap();
        assert_eq!(host.segments.check_worker_header(), Err(Violation::Header(field)));
        rustix::io::pwrite(&side.fds.worker, &byte, at as u64).unwrap();
    }
    // Valid in itself, but not what H says.
    let other = header(Geometry { slots: 128, ..Geometry::default() });
    rustix::io::pwrite(&side.fds.worker, &other.encode(), 0).unwrap();
    assert_eq!(host.segments.check_worker_header(), Err(Violation::Header("geometry")));
}

#[test]
fn a_worker_refuses_what_hello_did_not_say() {
    let (_host, side) = pair(Geometry::default(), Doorbell::Futex);
    let refused = |expected| match Segments::attach(&side.fds, &expected) {
        Err(SegmentError::Peer(Violation::Header(field))) => field,
        other => panic!("{other:?}"),
    };
    let agreed = header(Geometry::default());
    assert_eq!(refused(header(Geometry { slots: 128, ..agreed.geometry })), "seg_len");
    assert_eq!(refused(header(Geometry { slots: 100, ..agreed.geometry })), "slots");
    assert_eq!(refused(nylon_protocol::segment::Header { epoch: 1, ..agreed }), "epoch");
}
