//! Lost-wake torture: a million calls through real memory, futexes and eventfds, with random delays between the steps of
//! both ends. `NYLON_LONG=1` makes it a hundred million; `NYLON_SEED=n` repeats a run's delays.
//!
//! No wait here has a timeout, so a lost wake stays lost, and the monitor fails the run at the first call over 100 ms.
//! Time in which the kernel kept the threads waiting for a CPU is not counted: the machine may be shared.
#![cfg(not(loom))]
#![allow(clippy::cast_possible_truncation, reason = "random numbers cut to size")]

mod heap;
mod host;

use std::cell::RefCell;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use heap::Random;
use host::{call, header, reply};
use nylon_protocol::check::Side;
use nylon_protocol::{Frame, Geometry, wire};
use nylon_shm::doorbell::ring_worker;
use nylon_shm::sync::{AtomicU32, AtomicU64, Ordering::Relaxed};
use nylon_shm::{
    Armed, Bell, Consumer, Doorbell, MappedRing, Memory, Producer, PushError, Segments, futex,
};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_setaffinity};

const LIMIT: Duration = Duration::from_millis(100);
const GEOMETRY: Geometry = Geometry { lanes: 1, slots: 64, arena: 256 << 10 };

/// A ring whose every word is slow to reach now and then: the delays fall between the steps inside the ring too.
struct Slow {
    ring: MappedRing,
    random: RefCell<Random>,
    /// On one CPU a delay only matters if the other side runs in it.
    yields: bool,
}

impl Slow {
    fn new(ring: MappedRing, seed: u64, yields: bool) -> Self {
        Self { ring, random: RefCell::new(Random(seed)), yields }
    }

    fn delay(&self) -> &MappedRing {
        let roll = self.random.borrow_mut().next();
        if roll.is_multiple_of(256) {
            if self.yields && roll & 256 == 0 {
                thread::yield_now();
            } else {
                let end = Instant::now() + Duration::from_nanos((roll >> 32) % 30_000);
                while Instant::now() < end {
                    core::hint::spin_loop();
                }
            }
        }
        &self.ring
    }
}

impl Memory for Slow {
    fn slots(&self) -> u32 {
        self.ring.slots()
    }
    fn arena(&self) -> u64 {
        self.ring.arena()
    }
    fn seq(&self, index: u32) -> &AtomicU32 {
        self.delay().seq(index)
    }
    fn head(&self) -> &AtomicU32 {
        self.delay().head()
    }
    fn arena_head(&self) -> &AtomicU64 {
        self.delay().arena_head()
    }
    fn bell(&self) -> &AtomicU32 {
        self.delay().bell()
    }
    fn wait(&self) -> &AtomicU32 {
        self.delay().wait()
    }
    fn space_wait(&self) -> &AtomicU32 {
        self.delay().space_wait()
    }
    fn space_bell(&self) -> &AtomicU32 {
        self.delay().space_bell()
    }
    fn put_frame(&self, index: u32, frame: &Frame, inline: &[u8]) {
        self.delay().put_frame(index, frame, inline);
    }
    fn get_frame(&self, index: u32) -> Frame {
        self.delay().get_frame(index)
    }
    fn get_inline(&self, index: u32, len: u32, out: &mut BytesMut) {
        self.delay().get_inline(index, len, out);
    }
    fn put_bytes(&self, at: u64, bytes: &[u8]) {
        self.delay().put_bytes(at, bytes);
    }
    fn get_bytes(&self, at: u64, len: u32, out: &mut BytesMut) {
        self.delay().get_bytes(at, len, out);
    }
}

/// Sleeps on an eventfd as a runtime's poller does: edge-triggered, and the counter is never read.
///
/// The bell is kept open: with its last descriptor a poller forgets an edge it has not reported yet.
struct Edges {
    poller: OwnedFd,
    _bell: Bell,
}

impl Edges {
    fn of(bell: &Bell) -> Self {
        let poller = epoll::create(CreateFlags::CLOEXEC).unwrap();
        let edge = EventFlags::IN | EventFlags::ET;
        epoll::add(&poller, bell, EventData::new_u64(0), edge).unwrap();
        Self { poller, _bell: bell.try_clone().unwrap() }
    }

    fn clear(&self) {
        self.poll(Some(Duration::ZERO));
    }

    fn wait(&self) {
        self.poll(None);
    }

    fn poll(&self, timeout: Option<Duration>) {
        let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }];
        let timeout = timeout.map(|t| t.try_into().unwrap());
        match epoll::wait(&self.poller, &mut events, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => panic!("{e}"),
        }
    }
}

struct Worker {
    down: Consumer<Slow>,
    up: Producer<Slow>,
    kind: Doorbell,
    edges: Edges,
    host_bell: Bell,
}

impl Worker {
    /// Answers calls until GOAWAY; the order of steps is that of `WorkerEnd`.
    fn run(mut self) {
        let mut payload = BytesMut::new();
        loop {
            let frame = loop {
                if let Some(frame) = self.down.pop(&mut payload).unwrap() {
                    self.ring_space();
                    break frame;
                }
                self.sleep();
            };
            if frame.kind == wire::KIND_GOAWAY {
                return;
            }
            while let Err(e) = self.up.push(&reply(&frame), &payload) {
                assert_eq!(e, PushError::Full);
                self.ring_host();
                if let Some(bell) = self.up.arm_space(payload.len()).unwrap() {
                    futex::wait(self.up.memory().space_bell(), bell, None).unwrap();
                }
                self.up.disarm_space();
            }
            self.ring_host();
        }
    }

    fn sleep(&mut self) {
        if self.kind == Doorbell::Eventfd {
            self.edges.clear();
        }
        if let Armed::Sleep(bell) = self.down.arm().unwrap() {
            self.ring_space();
            match self.kind {
                Doorbell::Futex => futex::wait(self.down.memory().bell(), bell, None).unwrap(),
                Doorbell::Eventfd => self.edges.wait(),
            }
            self.down.disarm();
        }
    }

    fn ring_host(&mut self) {
        if self.up.must_ring() {
            self.host_bell.ring().unwrap();
        }
    }

    fn ring_space(&mut self) {
        if self.down.must_ring_space() {
            self.host_bell.ring().unwrap();
        }
    }
}

struct Host {
    down: Producer<Slow>,
    up: Consumer<Slow>,
    kind: Doorbell,
    bell: Bell,
    edges: Edges,
}

impl Host {
    /// Makes `calls` calls, mostly one at a time, now and then more at once than the rings hold.
    fn run(mut self, calls: u64, random: &mut Random, progress: &AtomicU64) {
        let (mut payload, bytes) = (BytesMut::new(), vec![0x5a; 9000]);
        let (mut sent, mut back) = (0, 0);
        while back < calls {
            let burst = match random.below(32) {
                0 => 150,
                1..6 => 1 + random.below(8),
                _ => 1,
            };
            let upto = (sent + burst).min(calls);
            while back < upto {
                let mut moved = false;
                while sent < upto {
                    let len = length(sent);
                    match self.down.push(&call(sent as u32), &bytes[..len]) {
                        Ok(()) => sent += 1,
                        Err(e) => {
                            assert_eq!(e, PushError::Full);
                            break;
                        }
                    }
                    moved = true;
                }
                self.ring();
                while let Some(frame) = self.up.pop(&mut payload).unwrap() {
                    assert_eq!((frame.sid, payload.len()), (back as u32, length(back)));
                    back += 1;
                    progress.store(back, Relaxed);
                    moved = true;
                }
                self.ring_space();
                if !moved {
                    self.sleep((sent < upto).then(|| length(sent)));
                }
            }
        }
        self.down.push(&Frame::new(wire::KIND_GOAWAY), b"").unwrap();
        self.ring();
    }

    fn sleep(&mut self, room: Option<usize>) {
        self.edges.clear();
        let room = room.is_some_and(|len| self.down.arm_space(len).unwrap().is_none());
        let ready = self.up.arm().unwrap() == Armed::Ready;
        self.ring_space();
        if !room && !ready {
            self.edges.wait();
        }
        self.up.disarm();
        self.down.disarm_space();
    }

    fn ring(&mut self) {
        if self.down.must_ring() {
            ring_worker(self.kind, self.down.memory().bell(), &self.bell).unwrap();
        }
    }

    fn ring_space(&mut self) {
        if self.up.must_ring_space() {
            futex::wake(self.up.memory().space_bell()).unwrap();
        }
    }
}

/// Payload of call `n`: in the slot, in the arena, and some that fill the arena before the slots.
fn length(n: u64) -> usize {
    match n % 16 {
        0 => 5000 + (n % 4000) as usize,
        1..4 => 200,
        _ => (n % 89) as usize,
    }
}

/// Fails when there is no progress for 100 ms that the scheduler does not account for, until both threads are done.
fn monitor(
    progress: &AtomicU64,
    threads: [Pid; 2],
    words: &[MappedRing; 2],
    done: &mpsc::Receiver<()>,
) {
    const TICK: Duration = Duration::from_millis(10);
    let (mut last, mut since, mut base) = (0, Instant::now(), starved(threads));
    let (mut late, mut before) = (Duration::ZERO, Instant::now());
    while done.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
        let now = Instant::now();
        late += (now - before).saturating_sub(TICK);
        before = now;
        let found = progress.load(Relaxed);
        if found != last {
            (last, since, base, late) = (found, now, starved(threads), Duration::ZERO);
            continue;
        }
        // A thread that waits for a CPU is not counted as starved until it got one; asleep, both of them, is.
        let asleep =
            threads.iter().all(|&pid| sleeps(pid)) || now - since > Duration::from_secs(20);
        let lost = (now - since).saturating_sub(late + starved(threads).saturating_sub(base));
        if asleep && lost > LIMIT && progress.load(Relaxed) == last {
            for (name, ring) in ["down", "up"].into_iter().zip(words) {
                let words =
                    [ring.bell(), ring.wait(), ring.head(), ring.space_wait(), ring.space_bell()];
                let [bell, wait, head, space_wait, space_bell] = words.map(|w| w.load(Relaxed));
                eprintln!(
                    "{name}: bell {bell} wait {wait} head {head} space {space_wait}/{space_bell}"
                );
            }
            eprintln!("call {last} took over {LIMIT:?}: a lost wake");
            std::process::abort();
        }
    }
}

/// Whether the kernel says that thread `pid` of this process sleeps, or is gone.
fn sleeps(pid: Pid) -> bool {
    let path = format!("/proc/self/task/{}/stat", pid.as_raw_nonzero());
    let stat = std::fs::read_to_string(path).unwrap_or_default();
    !matches!(stat.rsplit(") ").next(), Some(rest) if rest.starts_with(['R', 'D']))
}

/// How long these threads have waited for a CPU, and the machine for its own.
fn starved(threads: [Pid; 2]) -> Duration {
    let queued = |pid: Pid| {
        let path = format!("/proc/self/task/{}/schedstat", pid.as_raw_nonzero());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split(' ').nth(1).and_then(|ns| ns.parse().ok()).unwrap_or(0)
    };
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let steal = stat.split_whitespace().nth(8).and_then(|ticks| ticks.parse::<u64>().ok());
    Duration::from_nanos(threads.map(queued).iter().sum())
        + Duration::from_millis(10) * steal.unwrap_or(0) as u32
}

/// The first `n` CPUs this process may use.
fn pin(n: usize, which: usize) {
    let all = sched_getaffinity(None).unwrap();
    let usable: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu)).collect();
    let mut one = CpuSet::new();
    one.set(usable[which % n.min(usable.len())]);
    sched_setaffinity(None, &one).unwrap();
}

fn torture(kind: Doorbell, cpus: usize) {
    let seed = match std::env::var("NYLON_SEED") {
        Ok(seed) => seed.parse().expect("NYLON_SEED is a number"),
        Err(_) => 0x6e79_6c6f_6e00 + cpus as u64,
    };
    let long = std::env::var_os("NYLON_LONG").is_some_and(|v| v != "0");
    let calls = if long { 25_000_000 } else { 250_000 };
    println!("{kind:?}, {cpus} CPU: {calls} calls, NYLON_SEED={seed}");

    let (near, fds) = Segments::create(header(GEOMETRY)).unwrap();
    let far = Segments::attach(&fds, &header(GEOMETRY)).unwrap();
    let (host_bell, bell) = (Bell::new().unwrap(), Bell::new().unwrap());
    let slow = |ring, which| Slow::new(ring, seed.wrapping_mul(4) + which, cpus == 1);
    let worker = Worker {
        down: Consumer::new(slow(far.down(0), 0), Side::Host, false),
        up: Producer::new(slow(far.up(0), 1)),
        kind,
        edges: Edges::of(&bell),
        host_bell: host_bell.try_clone().unwrap(),
    };
    let host = Host {
        down: Producer::new(slow(near.down(0), 2)).keeping(GEOMETRY.slots / 8),
        up: Consumer::new(slow(near.up(0), 3), Side::Worker, false),
        kind,
        bell,
        edges: Edges::of(&host_bell),
    };
    let words = [near.down(0), near.up(0)];
    let progress = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let (tell, told) = mpsc::channel();
    let (done, finished) = mpsc::channel();

    let (tell_worker, worker_done) = (tell.clone(), done.clone());
    let worker = thread::spawn(move || {
        pin(cpus, 0);
        tell_worker.send(gettid()).unwrap();
        worker.run();
        drop(worker_done);
    });
    let counted = progress.clone();
    let host = thread::spawn(move || {
        pin(cpus, 1);
        tell.send(gettid()).unwrap();
        host.run(calls, &mut Random(seed), &counted);
        drop(done);
    });
    let threads = [told.recv().unwrap(), told.recv().unwrap()];
    monitor(&progress, threads, &words, &finished);
    host.join().unwrap();
    worker.join().unwrap();
    println!("{kind:?}, {cpus} CPU: {:.1} s", start.elapsed().as_secs_f32());
}

/// One after the other: they would take each other's CPUs.
#[test]
fn no_call_takes_over_a_tenth_of_a_second() {
    for kind in [Doorbell::Futex, Doorbell::Eventfd] {
        for cpus in [1, 2] {
            torture(kind, cpus);
        }
    }
}
