//! A host without a runtime: what the reactor does, on one thread, with an edge-triggered poller on the host bell.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;
use std::time::Duration;

use nylon_protocol::segment::Header;
use nylon_protocol::{Frame, Geometry, Token, wire};
use nylon_shm::{Armed, Bell, Doorbell, HostEnd, PushError, SegmentFds, Segments, WorkerBells};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;

/// Host end of lane 0, and the eventfd it sleeps on.
pub(crate) struct Host {
    pub(crate) end: HostEnd,
    pub(crate) segments: Arc<Segments>,
    poller: OwnedFd,
    /// Kept open: a poller forgets an eventfd, edge and all, with its last descriptor.
    _bell: Bell,
}

/// What the worker of a [`Host`] needs.
pub(crate) struct WorkerSide {
    pub(crate) fds: SegmentFds,
    pub(crate) host_bell: Bell,
    pub(crate) bell: Bell,
}

pub(crate) fn header(geometry: Geometry) -> Header {
    Header { geometry, epoch: 0x1234_5678_9abc, abi_minor: wire::ABI_MINOR, features: 0 }
}

/// A pair of segments, and both sides' ends of it.
pub(crate) fn pair(geometry: Geometry, kind: Doorbell) -> (Host, WorkerSide) {
    let (segments, fds) = Segments::create(header(geometry)).unwrap();
    let (host_bell, bell) = (Bell::new().unwrap(), Bell::new().unwrap());
    let poller = epoll::create(CreateFlags::CLOEXEC).unwrap();
    let edge = EventFlags::IN | EventFlags::ET;
    epoll::add(&poller, &host_bell, EventData::new_u64(0), edge).unwrap();
    let bells = WorkerBells { kind, bell: bell.try_clone().unwrap(), rescue: Bell::new().unwrap() };
    let end = HostEnd::new(&segments, 0, true, bells);
    let theirs = host_bell.try_clone().unwrap();
    let host = Host { end, segments, poller, _bell: host_bell };
    (host, WorkerSide { fds, host_bell: theirs, bell })
}

impl Host {
    /// Publishes without ringing; whether there was room.
    pub(crate) fn push(&mut self, frame: &Frame, payload: &[u8]) -> bool {
        match self.end.down.push(frame, payload) {
            Ok(()) => true,
            Err(PushError::Full) => false,
            Err(e) => panic!("{e}"),
        }
    }

    /// Wakes the worker if it sleeps: for frames, and for room in P.
    pub(crate) fn ring(&mut self) {
        if self.end.down.must_ring() {
            self.end.waker.ring().unwrap();
        }
        self.ring_space();
    }

    pub(crate) fn ring_space(&mut self) {
        if self.end.up.must_ring_space() {
            self.end.waker.ring_space().unwrap();
        }
    }

    /// Sleeps until there is a frame, or room for `room` bytes if that is waited for; false after `timeout`.
    pub(crate) fn sleep(&mut self, room: Option<usize>, timeout: Duration) -> bool {
        // Forget old edges before arming: one seen after it is for us.
        self.poll(Duration::ZERO);
        let has_room = room.is_some_and(|len| self.end.down.arm_space(len).unwrap().is_none());
        let ready = self.end.up.arm().unwrap() == Armed::Ready;
        self.ring_space();
        let woken = has_room || ready || self.poll(timeout);
        self.end.up.disarm();
        self.end.down.disarm_space();
        woken
    }

    fn poll(&self, timeout: Duration) -> bool {
        let mut events: [Event; 1] =
            [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }];
        let timeout = timeout.try_into().unwrap();
        match epoll::wait(&self.poller, &mut events, Some(&timeout)) {
            Ok(n) => n > 0,
            Err(rustix::io::Errno::INTR) => true,
            Err(e) => panic!("{e}"),
        }
    }
}

/// A host's CALL, told from others by `sid`: any payload up to a quarter of the arena.
pub(crate) fn call(sid: u32) -> Frame {
    Frame::of(wire::KIND_CALL, Token { idx: 0, generation: 1 }, sid, 1)
}

/// The worker's answer to it.
pub(crate) fn reply(to: &Frame) -> Frame {
    Frame { kind: wire::KIND_REPLY, status: 0, ..*to }.method(wire::METHOD_NEXT)
}

/// Ends the whole process when `f` takes longer than `limit`: a hang must not wait for the runner's patience.
pub(crate) fn watchdog<T>(limit: Duration, f: impl FnOnce() -> T) -> T {
    let (done, watched) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        if watched.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("watchdog: no end after {limit:?}");
            std::process::abort();
        }
    });
    let found = f();
    drop(done);
    found
}
