//! The two ends of a mapped lane in one process, and the doorbells by themselves.
#![cfg(not(loom))]

mod host;

use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use host::{Host, WorkerSide, call, header, pair, reply, watchdog};
use nylon_protocol::{Frame, Geometry, wire};
use nylon_shm::{Bell, Doorbell, HostEnd, Memory, Segments, WorkerBells, WorkerEnd, futex};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

const SOON: Duration = Duration::from_secs(10);

fn ends(geometry: Geometry) -> (Host, WorkerEnd) {
    let (host, side) = pair(geometry, Doorbell::Futex);
    let segments = Segments::attach(&side.fds, &header(geometry)).unwrap();
    let WorkerSide { host_bell, .. } = side;
    (host, WorkerEnd::new(segments, 0, host_bell.into()))
}

#[test]
fn recv_gives_up_when_asked_to() {
    let (mut host, mut worker) = ends(Geometry::default());
    let mut payload = BytesMut::new();
    let start = Instant::now();
    let none = worker.recv(&mut payload, Some(Duration::from_millis(20))).unwrap();
    assert!(none.is_none() && start.elapsed() >= Duration::from_millis(20));
    assert!(!host.end.waker.sleeps(), "awake again after the timeout");
    assert_eq!(worker.recv(&mut payload, Some(Duration::ZERO)).unwrap(), None);
    assert!(host.push(&call(1), b"x"));
    assert!(worker.recv(&mut payload, Some(Duration::ZERO)).unwrap().is_some());
    assert_eq!(host.end.waker.taken(), 1);
}

#[test]
fn the_longest_timeout_is_no_overflow() {
    let (mut host, mut worker) = ends(Geometry::default());
    assert!(host.push(&call(1), b"x"));
    assert!(worker.recv(&mut BytesMut::new(), Some(Duration::MAX)).unwrap().is_some());
    let waiting =
        thread::spawn(move || worker.recv(&mut BytesMut::new(), Some(Duration::MAX)).unwrap());
    watchdog(SOON, || {
        while !host.end.waker.sleeps() {
            thread::yield_now();
        }
        assert!(host.push(&call(2), b"x"));
        host.ring();
        assert_eq!(waiting.join().unwrap().unwrap().sid, 2);
    });
}

/// A worker that may spin takes a frame without having slept.
#[test]
fn a_spinning_worker_need_not_be_rung() {
    let (mut host, mut worker) = ends(Geometry::default());
    host.segments.set_spin(100_000);
    let taking = thread::spawn(move || {
        let mut taken = 0;
        while taken < 2000 {
            taken += u32::from(worker.recv(&mut BytesMut::new(), None).unwrap().is_some());
        }
    });
    watchdog(SOON, || {
        for n in 0..2000 {
            while !host.push(&call(n), b"x") {
                host.ring();
                thread::yield_now();
            }
            host.ring();
        }
        taking.join().unwrap();
    });
}

/// Both rings full and both sides writing on: the host never waits, so neither does the worker for long.
#[test]
fn both_rings_full() {
    const FRAMES: u32 = 20_000;
    let (mut host, mut worker) = ends(Geometry { lanes: 1, slots: 64, arena: 256 << 10 });
    let bytes = vec![7; 30_000];
    let echoing = thread::spawn(move || {
        let mut payload = BytesMut::new();
        for _ in 0..FRAMES {
            let frame = worker.recv(&mut payload, None).unwrap().unwrap();
            worker.send(&reply(&frame), &payload).unwrap();
        }
    });
    let len = |n: u32| if n.is_multiple_of(5) { 30_000 } else { 60 };
    watchdog(Duration::from_secs(60), || {
        let (mut sent, mut back, mut payload) = (0, 0, BytesMut::new());
        while back < FRAMES {
            // Until H is full; P fills up meanwhile.
            while sent < FRAMES && host.push(&call(sent), &bytes[..len(sent)]) {
                sent += 1;
            }
            host.ring();
            let before = back;
            while let Some(frame) = host.end.up.pop(&mut payload).unwrap() {
                assert_eq!((frame.sid, payload.len()), (back, len(back)));
                back += 1;
            }
            host.ring_space();
            if back == before {
                let room = (sent < FRAMES).then(|| len(sent));
                assert!(host.sleep(room, SOON), "sent {sent}, back {back}, then silence");
            }
        }
        echoing.join().unwrap();
    });
}

#[test]
fn rescue_wakes_the_standby() {
    let (host, side) = pair(Geometry::default(), Doorbell::Futex);
    let segments = Segments::attach(&side.fds, &header(Geometry::default())).unwrap();
    let standby = segments.down(0);
    let waiting = thread::spawn(move || {
        while standby.rescue().load(nylon_shm::sync::Ordering::Relaxed) == 0 {
            futex::wait(standby.rescue(), 0, None).unwrap();
        }
    });
    watchdog(SOON, || {
        host.end.waker.rescue().unwrap();
        waiting.join().unwrap();
    });
}

#[test]
fn an_end_of_the_wrong_side_is_refused() {
    let refused = |f: Box<dyn FnOnce() + std::panic::UnwindSafe>| {
        assert!(std::panic::catch_unwind(f).is_err());
    };
    let (host, side) = pair(Geometry::default(), Doorbell::Futex);
    let near = host.segments.clone();
    let far = Segments::attach(&side.fds, &header(Geometry::default())).unwrap();
    let bell = || Bell::new().unwrap();
    let near = std::panic::AssertUnwindSafe(near);
    refused(Box::new(move || {
        let near = near;
        drop(WorkerEnd::new(near.0, 0, bell().into()));
    }));
    let far = std::panic::AssertUnwindSafe(far);
    refused(Box::new(move || {
        let far = far;
        let bells = WorkerBells { kind: Doorbell::Futex, bell: bell(), rescue: bell() };
        drop(HostEnd::new(&far.0, 0, false, bells));
    }));
}

fn edges(bell: &Bell) -> impl Fn() -> bool + use<> {
    let poller = epoll::create(CreateFlags::CLOEXEC).unwrap();
    let edge = EventFlags::IN | EventFlags::ET;
    epoll::add(&poller, bell, EventData::new_u64(0), edge).unwrap();
    move || {
        let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }];
        let now = Duration::ZERO.try_into().unwrap();
        epoll::wait(&poller, &mut events, Some(&now)).unwrap() > 0
    }
}

/// Each ring is an edge, though nobody reads the counter.
#[test]
fn every_ring_is_an_edge() {
    let bell = Bell::new().unwrap();
    let edge = edges(&bell);
    assert!(!edge());
    for _ in 0..3 {
        bell.ring().unwrap();
        assert!(edge());
        assert!(!edge());
    }
    nylon_shm::doorbell::drain(&bell).unwrap();
    nylon_shm::doorbell::drain(&bell).unwrap();
    assert!(!edge());
}

/// A peer may fill the counter up; a ring makes an edge all the same.
#[test]
fn a_saturated_bell_still_rings() {
    let bell = Bell::new().unwrap();
    let edge = edges(&bell);
    for _ in 0..3 {
        nylon_shm::doorbell::drain(&bell).unwrap();
        rustix::io::write(&bell, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        assert!(edge());
        bell.ring().unwrap();
        assert!(edge(), "the counter was full");
        bell.ring().unwrap();
        assert!(edge(), "and now it is not");
    }
}

/// Two that fill the counter up as fast as they can do not keep a third from ringing.
#[test]
fn a_bell_is_rung_in_bounded_time() {
    let bell = Bell::new().unwrap();
    let stop = Instant::now() + Duration::from_millis(100);
    watchdog(SOON, || {
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while Instant::now() < stop {
                        let _ = rustix::io::write(&bell, &(u64::MAX - 1).to_ne_bytes());
                    }
                });
            }
            while Instant::now() < stop {
                bell.ring().unwrap();
            }
        });
    });
}

/// What was published before a bell was missed is still there: a bell is a hint.
#[test]
fn a_ring_nobody_asked_for_is_harmless() {
    let (mut host, mut worker) = ends(Geometry::default());
    worker.ring_host().unwrap();
    assert!(host.sleep(None, Duration::from_millis(1)) || host.end.up.pos() == 0);
    assert_eq!(host.end.up.pop(&mut BytesMut::new()).unwrap(), None);
    futex::wake(worker.down.memory().bell()).unwrap();
    assert!(host.push(&Frame::new(wire::KIND_PING), b""));
    assert_eq!(worker.recv(&mut BytesMut::new(), None).unwrap().unwrap().kind, wire::KIND_PING);
}
