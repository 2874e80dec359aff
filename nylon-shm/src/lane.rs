//! A lane: a ring down to the worker, a ring up to the host, and how each end wakes the other.
//!
//! In: frames.  Out: frames, checked for shape.  Never: the meaning of a method or the life of a session.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use nylon_protocol::check::Side;
use nylon_protocol::{Frame, Violation, wire};

use crate::doorbell::{Bell, Doorbell, ring_worker};
use crate::futex;
use crate::ring::{Armed, Consumer, Memory, Producer, PushError};
use crate::segment::{MappedRing, Segments};
use crate::sync::Ordering;

/// The host's end of one lane: two halves that may be locked apart.
///
/// The bell it is rung with is not in here, since all lanes of a worker share one. Keep its descriptor open while frames
/// may come: when the last descriptor goes, here or there, a poller forgets an edge it has not reported yet.
#[derive(Debug)]
pub struct HostEnd {
    /// Frames down to the worker.
    pub down: Producer<MappedRing>,
    /// Frames up from the worker.
    pub up: Consumer<MappedRing>,
    /// How the worker is woken.
    pub waker: WorkerWaker,
}

/// Wakes a worker: for frames, for space, and to have its lane taken over.
#[derive(Debug)]
pub struct WorkerWaker {
    segments: Arc<Segments>,
    ring: MappedRing,
    up: MappedRing,
    kind: Doorbell,
    bell: Bell,
    rescue: Bell,
}

impl HostEnd {
    /// Lane `lane` of `segments`, before the first frame.
    ///
    /// # Panics
    /// If `segments` are a worker's, whose H is read-only.
    pub fn new(segments: &Arc<Segments>, lane: u32, host_calls: bool, bells: WorkerBells) -> Self {
        segments.assert_host();
        let (down, up) = (segments.down(lane), segments.up(lane));
        let WorkerBells { kind, bell, rescue } = bells;
        let (segments, ring) = (segments.clone(), down.clone());
        Self {
            down: Producer::new(down).keeping(segments.header().geometry.slots / 8),
            waker: WorkerWaker { segments, ring, up: up.clone(), kind, bell, rescue },
            up: Consumer::new(up, Side::Worker, host_calls),
        }
    }

    /// The same, where the feature `handler_time` is on or off.
    #[must_use]
    pub fn handler_time(self, on: bool) -> Self {
        Self { up: self.up.handler_time(on), ..self }
    }

    /// The same, where the feature `websocket` is on or off.
    #[must_use]
    pub fn websocket(self, on: bool) -> Self {
        Self { up: self.up.websocket(on), ..self }
    }
}

/// The eventfds of a worker and the doorbell it chose.
#[derive(Debug)]
pub struct WorkerBells {
    /// What it sleeps on.
    pub kind: Doorbell,
    /// Rung for frames when `kind` is `Eventfd`.
    pub bell: Bell,
    /// Rung to have a lane taken over.
    pub rescue: Bell,
}

impl WorkerWaker {
    /// Rings for frames, after [`Producer::must_ring`] said so.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn ring(&self) -> io::Result<()> {
        ring_worker(self.kind, self.ring.bell(), &self.bell)
    }

    /// Rings for space, after [`Consumer::must_ring_space`] said so. Always a futex.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn ring_space(&self) -> io::Result<()> {
        futex::wake(self.up.space_bell())
    }

    /// Asks another thread of the worker to take the lane over (SPEC.md 9.3).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn rescue(&self) -> io::Result<()> {
        let word = self.ring.rescue();
        word.store(word.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        futex::wake(word)?;
        self.rescue.ring()
    }

    /// Lets the worker spin for `ns` before it sleeps; zero: not at all.
    pub fn set_spin(&self, ns: u32) {
        self.segments.set_spin(ns);
    }

    /// Frames the worker says it took: a hint for progress, never trusted.
    pub fn taken(&self) -> u64 {
        self.ring.consumer_stat(wire::STAT_TAKEN).load(Ordering::Relaxed)
    }

    /// One of the worker's statistics (`wire::STAT_*`), never trusted.
    pub fn stat(&self, index: usize) -> u64 {
        self.ring.consumer_stat(index).load(Ordering::Relaxed)
    }

    /// Whether the worker says it sleeps.
    pub fn sleeps(&self) -> bool {
        self.ring.wait().load(Ordering::Relaxed) & 1 == 1
    }
}

/// The worker's end of one lane, for one thread.
#[derive(Debug)]
pub struct WorkerEnd {
    /// Frames down from the host.
    pub down: Consumer<MappedRing>,
    /// Frames up to the host.
    pub up: Producer<MappedRing>,
    segments: Arc<Segments>,
    host_bell: Bell,
    taken: u64,
}

/// Why a worker's end cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The host broke the protocol: exit.
    #[error("the host broke the protocol: {0}")]
    Host(#[from] Violation),
    /// The kernel refused to sleep or wake.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The payload can never fit.
    #[error("payload of {0} bytes is too large for this lane")]
    TooLarge(usize),
}

impl WorkerEnd {
    /// Lane `lane` of `segments`; `host_bell` is the eventfd the host sleeps on.
    ///
    /// # Panics
    /// If `segments` are a host's, whose P is read-only.
    pub fn new(segments: Arc<Segments>, lane: u32, host_bell: OwnedFd) -> Self {
        segments.assert_worker();
        Self {
            down: Consumer::new(segments.down(lane), Side::Host, false),
            up: Producer::new(segments.up(lane)),
            segments,
            host_bell: Bell::from_fd(host_bell),
            taken: 0,
        }
    }

    /// Takes the next frame, sleeping on the futex until there is one or `timeout` has passed (`None`).
    ///
    /// Spins first for as long as the host allows (`spin_ns_peer`, at most 100 µs).
    ///
    /// # Errors
    /// [`WorkerError`].
    pub fn recv(
        &mut self,
        payload: &mut BytesMut,
        timeout: Option<Duration>,
    ) -> Result<Option<Frame>, WorkerError> {
        // No clock is read without need: that costs as much as the ring itself.
        let start = timeout.map(|_| Instant::now());
        loop {
            if let Some(frame) = self.down.pop(payload)? {
                self.taken += 1;
                let stat = self.down.memory().consumer_stat(wire::STAT_TAKEN);
                stat.store(self.taken, Ordering::Relaxed);
                self.ring_space()?;
                return Ok(Some(frame));
            }
            if self.spin()? {
                continue;
            }
            let left = match timeout.zip(start) {
                None => None,
                Some((timeout, start)) => match timeout.checked_sub(start.elapsed()) {
                    Some(left) => Some(left),
                    None => return Ok(None),
                },
            };
            if let Armed::Sleep(bell) = self.down.arm()? {
                self.ring_space()?;
                let slept = futex::wait(self.down.memory().bell(), bell, left);
                self.down.disarm();
                match slept {
                    Err(e) if e.kind() == io::ErrorKind::TimedOut => return Ok(None),
                    other => other?,
                }
            }
        }
    }

    /// Publishes a frame and wakes the host if it sleeps; waits while the ring is full.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub fn send(&mut self, frame: &Frame, payload: &[u8]) -> Result<(), WorkerError> {
        loop {
            match self.up.push(frame, payload) {
                Ok(()) => break,
                Err(PushError::Full) => self.wait_for_space(payload.len())?,
                Err(PushError::TooLarge(n)) => return Err(WorkerError::TooLarge(n)),
                Err(PushError::Peer(v)) => return Err(v.into()),
            }
        }
        if self.up.must_ring() {
            self.host_bell.ring()?;
        }
        Ok(())
    }

    /// Wakes the host whether it sleeps or not.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn ring_host(&self) -> io::Result<()> {
        self.host_bell.ring()
    }

    fn wait_for_space(&mut self, len: usize) -> Result<(), WorkerError> {
        if self.up.must_ring() {
            self.host_bell.ring()?;
        }
        match self.up.arm_space(len) {
            Ok(None) => return Ok(()),
            Ok(Some(bell)) => {
                futex::wait(self.up.memory().space_bell(), bell, None)?;
            }
            Err(PushError::Peer(v)) => return Err(v.into()),
            Err(PushError::Full | PushError::TooLarge(_)) => {
                return Err(WorkerError::TooLarge(len));
            }
        }
        self.up.disarm_space();
        Ok(())
    }

    /// Wakes a host that waits for room in H, if our reading made some.
    fn ring_space(&mut self) -> Result<(), WorkerError> {
        if self.down.must_ring_space() {
            self.host_bell.ring()?;
        }
        Ok(())
    }

    /// Polls for as long as the host allows; whether a frame came.
    fn spin(&mut self) -> Result<bool, WorkerError> {
        let budget = Duration::from_nanos(self.segments.spin_ns().min(100_000).into());
        if budget.is_zero() {
            return Ok(false);
        }
        let start = Instant::now();
        loop {
            for _ in 0..64 {
                if self.down.published()? {
                    return Ok(true);
                }
                core::hint::spin_loop();
            }
            if start.elapsed() >= budget {
                return Ok(false);
            }
        }
    }
}
