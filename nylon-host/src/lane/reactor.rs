//! The sleep owner of a lane: drains it, arms it, sleeps on the host bell, and sees that the worker makes progress.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nylon_protocol::Violation;
use nylon_shm::Armed;

use super::ear::Ear;
use super::gate::IDLE;
use super::polling::Look;
use super::storm::Storm;
use super::{Fault, Lane, Peer, lock};
use crate::rope::LARGE;

/// Frames taken before other tasks get their turn (HARDENING row 9).
const TURN_FRAMES: usize = 64;
/// Bytes taken before other tasks get their turn.
const TURN_BYTES: usize = 256 * 1024;
/// How long the next piece of a large body is looked for before sleeping: its copy takes less, a wake-up more.
const NEXT_PIECE: Duration = Duration::from_micros(20);
/// How long frames may stay untaken by a worker that is awake before another of its threads is asked to take over.
const STALL: Duration = Duration::from_millis(1);
/// How long between two requests when they bring nothing.
const STALL_MAX: Duration = Duration::from_millis(64);

/// Starts the task. It ends when the lane has a fault.
pub(super) fn start(lane: &Arc<Lane>, host_bell: OwnedFd) -> io::Result<()> {
    tokio::spawn(run(lane.clone(), Ear::new(host_bell, lane.peer.clone())?));
    tokio::spawn(watch(lane.clone()));
    tokio::spawn(ring(lane.clone()));
    Ok(())
}

async fn run(lane: Arc<Lane>, mut ear: Ear) {
    let mut look = Look::default();
    let mut storm = Storm::new();
    let (mut rings, mut seen, mut told) = (0, 0, false);
    while lane.peer.fault().is_none() {
        let turned = turn(&lane, &mut look);
        // By whomever: a bell may ring for what a polling caller takes, or for another lane.
        let worth = lane.peer.worth_a_ring();
        let came = worth.wrapping_sub(std::mem::replace(&mut seen, worth));
        let listen = storm.judge(std::mem::take(&mut rings), came, Instant::now);
        let (turned, listen) = match turned.and_then(|turned| Ok((turned, listen?))) {
            Ok(both) => both,
            Err(v) => return lane.peer.report(Fault::Violation(v)),
        };
        if !listen && !told {
            told = true;
            let Peer { plugin, pid: worker, generation, .. } = &*lane.peer;
            tracing::warn!(%plugin, worker, generation, "wakes the host for nothing: not listened to while it does");
        }
        ear = match ear.set(listen, came > 0) {
            Ok(ear) => ear,
            Err(e) => return lane.peer.report(Fault::Died(format!("host bell: {e}"))),
        };
        match turned {
            Turn::More => tokio::task::yield_now().await,
            rest @ (Turn::Polled | Turn::Asleep) => tokio::select! {
                rung = ear.rung() => match rung {
                    Ok(times) => rings = times,
                    Err(e) => return lane.peer.report(Fault::Died(format!("host bell: {e}"))),
                },
                () = lane.nudge.notified() => {}
                () = rest.over() => {}
            },
        }
    }
}

/// Rings the worker once for all that a turn of the runtime has sent it: after this task was woken, tasks that are
/// ready run first.
async fn ring(lane: Arc<Lane>) {
    while lane.peer.fault().is_none() {
        lane.owed.notified().await;
        tokio::task::yield_now().await;
        lock(&lane.writer).ring(&lane.waker);
    }
}

enum Turn {
    /// The budget is spent and there may be more.
    More,
    /// Callers poll this lane: look again later, or when rung.
    Polled,
    /// Armed: sleep until rung.
    Asleep,
}

impl Turn {
    /// Waits until the lane is to be looked at though nobody rang.
    async fn over(&self) {
        match self {
            Self::Polled => tokio::time::sleep(IDLE).await,
            _ => std::future::pending().await,
        }
    }
}

/// Drains up to the budget, makes room both ways, and arms the lane when it is empty.
fn turn(lane: &Lane, look: &mut Look) -> Result<Turn, Violation> {
    let polled = lane.polled(look);
    let mut up = match lane.consumer() {
        Some(up) => up,
        None if polled => return Ok(Turn::Polled),
        None => lock(&lane.up),
    };
    let mut bytes = 0;
    for _ in 0..TURN_FRAMES {
        let Some(taken) = lane.take_one(&mut up)? else { break };
        bytes += taken;
        if bytes >= TURN_BYTES {
            break;
        }
    }
    ring_space(lane, &mut up.ring);
    let backlog = {
        let mut writer = lock(&lane.writer);
        if writer.waits() {
            writer.flush(&lane.waker)?;
        }
        writer.backlog().1
    };
    let others = lane.let_in(backlog);
    if bytes > 0 {
        look.piece = (bytes >= LARGE && lane.may_linger()).then(Instant::now);
    }
    if others || up.ring.published()? || look.piece.is_some_and(|at| at.elapsed() < NEXT_PIECE) {
        return Ok(Turn::More);
    }
    if polled {
        lane.leave(up, 0);
        return Ok(Turn::Polled);
    }
    match up.ring.arm()? {
        Armed::Ready => Ok(Turn::More),
        Armed::Sleep(_) => {
            lane.armed();
            ring_space(lane, &mut up.ring);
            Ok(Turn::Asleep)
        }
    }
}

pub(super) fn ring_space(lane: &Lane, up: &mut nylon_shm::Consumer<nylon_shm::MappedRing>) {
    if up.must_ring_space()
        && let Err(e) = lane.waker.ring_space()
    {
        lane.peer.not_rung(&e);
    }
}

/// While frames are untaken, looks every millisecond whether the worker takes any; if it is awake and does not, another
/// of its threads is asked to (SPEC.md 9.3). Costs nothing while nothing is in flight.
async fn watch(lane: Arc<Lane>) {
    let mut seen = 0;
    let mut pause = STALL;
    while lane.peer.fault().is_none() {
        let sent = lane.frames_down();
        let taken = lane.waker.taken();
        if taken >= sent {
            lane.watching.store(false, Ordering::Relaxed);
            pause = STALL;
            if lane.frames_down() == sent {
                lane.watch_nudge.notified().await;
            }
            seen = taken;
        } else if taken == seen {
            urge(&lane);
            pause = (pause * 2).min(STALL_MAX);
        } else {
            seen = taken;
            pause = STALL;
        }
        tokio::time::sleep(pause).await;
    }
}

/// The worker takes nothing: rings again if it sleeps (a lost wake is a bug, not an outage), else asks for a rescue.
fn urge(lane: &Lane) {
    let rung = if lane.waker.sleeps() {
        lane.waker.ring()
    } else {
        lane.counters.rescues.fetch_add(1, Ordering::Relaxed);
        lane.waker.rescue()
    };
    if let Err(e) = rung {
        lane.peer.not_rung(&e);
    }
}
