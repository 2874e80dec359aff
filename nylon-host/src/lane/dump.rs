//! A lane as people are shown it: how far its rings are, what was said last, whose sessions are open.
//!
//! It takes the lane's locks one after the other and each for a few microseconds, so that the parts of a dump of a live
//! lane are some microseconds apart. That of a lane whose worker is gone is exact.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nylon_protocol::wire;
use nylon_shm::ring::history;
use nylon_shm::{Gauge, Memory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::frames::{FrameDump, in_order};
use super::origin::{Open, Running};
use super::{Lane, lock};

/// Frames of each ring that a dump has: the last so many of both directions are among them.
const FRAMES: u32 = 32;

/// One lane.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LaneDump {
    /// Its number among the lanes of its worker, from 0.
    pub index: u32,
    /// The ring to the worker.
    pub down: RingDump,
    /// The ring from the worker.
    pub up: RingDump,
    /// Handlers that may run at once.
    pub credits: u32,
    /// Handlers that run.
    pub in_flight: usize,
    /// Calls that wait for a credit.
    pub waiting: u64,
    /// Handlers given up whose late answer is still to come.
    pub unanswered: usize,
    /// Frames that wait for room in the ring down, and their bytes.
    pub backlog: (usize, usize),
    /// Bytes of bodies staged for commits to come.
    pub staged_bytes: u64,
    /// How long the host polls before it sleeps, ns.
    pub spin_ns: u64,
    /// Why.
    pub spin_reason: String,
    /// What the host counted.
    pub counters: LaneCounters,
    /// What the worker counted, true or not.
    pub worker: WorkerSays,
    /// Open sessions, by id.
    pub sessions: Vec<SessionDump>,
    /// What was said last, oldest first: at least the last 32 frames, if there were so many. Each direction is in its own
    /// order; across them, an answer stands behind what it answers.
    pub frames: Vec<FrameDump>,
}

/// How full a ring is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RingDump {
    /// Frames published since it was made.
    pub published: u64,
    /// Frames taken of those; by the worker, as it says.
    pub taken: u64,
    /// Slots in use: published and not given back.
    pub used: u64,
    /// Slots there are.
    pub slots: u32,
    /// Arena bytes in use.
    pub arena_used: u64,
    /// Arena bytes there are.
    pub arena: u64,
    /// Whether the reading side says that it sleeps.
    pub reader_sleeps: bool,
    /// Whether the writing side says that it waits for room.
    pub writer_waits: bool,
}

/// What the host counted on a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LaneCounters {
    /// Handlers run.
    pub calls: u64,
    /// Of those, out of time.
    pub deadlines: u64,
    /// Frames of handlers that were over.
    pub late: u64,
    /// Times the worker was asked to take the lane over.
    pub rescues: u64,
}

/// What a worker counted on a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerSays {
    /// Frames taken.
    pub taken: u64,
    /// Times the lane was handed to another of its threads.
    pub handovers: u64,
    /// Times it woke up for the lane.
    pub wakes: u64,
    /// Handlers run.
    pub calls: u64,
}

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionDump {
    /// Its id in the worker.
    pub session: u32,
    /// The request it belongs to.
    pub request_id: String,
    /// Its entry.
    pub entry: String,
    /// How long it is open.
    pub age_ms: u64,
    /// The handler that runs in it; none between two phases.
    pub running: Option<RunDump>,
}

/// A handler that runs, or a conversation with a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunDump {
    /// In which phase; `websocket` for a conversation.
    pub phase: String,
    /// Its invocation: slot and generation.
    pub token: (u32, u32),
    /// How long it runs.
    pub age_ms: u64,
    /// The time it has; what it waits for the host does not count. 0 for a conversation, which has no limit.
    pub budget_ms: u64,
    /// Whether its last word has come.
    pub answered: bool,
    /// Questions of the handler that the host has not answered.
    pub questions: usize,
    /// Frames of it that wait for the host.
    pub inbox: usize,
    /// Bytes of body it takes now.
    pub window_left: u64,
}

impl Lane {
    /// The lane as it stands at `now`.
    pub(crate) fn dump(&self, now: Instant) -> LaneDump {
        let worker = WorkerSays {
            taken: self.worker_stat(wire::STAT_TAKEN),
            handovers: self.worker_stat(wire::STAT_HANDOVERS),
            wakes: self.worker_stat(wire::STAT_WAKES),
            calls: self.worker_stat(wire::STAT_CALLS),
        };
        let (down, said, backlog) = {
            let writer = lock(&self.writer);
            let (ring, gauge) = (writer.down().memory(), writer.down().gauge());
            let said = history(ring, gauge.published, FRAMES);
            let taken = worker.taken.clamp(gauge.released, gauge.published);
            (ring_dump(ring, gauge, taken), said, writer.backlog())
        };
        let (up, heard) = {
            let up = lock(&self.up);
            let (ring, gauge, taken) = (up.ring.memory(), up.ring.gauge(), up.ring.pos());
            let heard = history(ring, taken, FRAMES);
            // Also what breaks a rule, and what the worker published in between.
            let all = Gauge { published: heard.published, ..gauge };
            (ring_dump(ring, all, taken), heard)
        };
        let (open, unanswered) = {
            let table = self.table();
            (table.open(), table.unanswered())
        };
        let spin = self.spin_decision();
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let frames = in_order((said.frames, down.taken), (heard.frames, up.taken));
        LaneDump {
            index: self.index,
            down,
            up,
            credits: self.slots / 2,
            in_flight: self.in_flight(),
            waiting: count(&self.waiting),
            unanswered,
            backlog,
            staged_bytes: count(&self.staged),
            spin_ns: spin.spin.as_nanos().try_into().unwrap_or(u64::MAX),
            spin_reason: spin.reason.to_string(),
            counters: LaneCounters {
                calls: count(&self.counters.calls),
                deadlines: count(&self.counters.deadlines),
                late: count(&self.counters.late),
                rescues: count(&self.counters.rescues),
            },
            worker,
            sessions: open.iter().map(|open| self.session_dump(open, now)).collect(),
            frames,
        }
    }

    fn session_dump(&self, open: &Open, now: Instant) -> SessionDump {
        SessionDump {
            session: open.sid,
            request_id: open.origin.request_id.to_text(),
            entry: self.peer.entry(open.origin.entry).to_owned(),
            age_ms: millis(now.saturating_duration_since(open.since)),
            running: open.running.as_ref().map(|running| run_dump(running, now)),
        }
    }
}

fn ring_dump(ring: &impl Memory, gauge: Gauge, taken: u64) -> RingDump {
    RingDump {
        published: gauge.published,
        taken,
        used: gauge.used(),
        slots: ring.slots(),
        arena_used: gauge.arena_used,
        arena: ring.arena(),
        reader_sleeps: gauge.sleeps,
        writer_waits: gauge.starved,
    }
}

fn run_dump(running: &Running, now: Instant) -> RunDump {
    let phase = match running.phase {
        wire::PHASE_NONE => "websocket",
        phase => wire::phase_name(phase).unwrap_or_default(),
    };
    RunDump {
        phase: phase.to_owned(),
        token: (running.token.idx, running.token.generation),
        age_ms: millis(now.saturating_duration_since(running.since)),
        budget_ms: millis(running.budget),
        answered: running.answered,
        questions: running.calls,
        inbox: running.inbox,
        window_left: running.room,
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
