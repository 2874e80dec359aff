//! How full a lane is, and how old what is open on it. For people, now and then: whoever sends or takes frames does nothing
//! for it.

use std::iter::Sum;
use std::time::Instant;

use nylon_shm::{Gauge, Memory};

use super::{Lane, lock};

/// One lane, or several: their sums, and the oldest session of them all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Depth {
    /// The rings to the worker.
    pub(crate) down: Fill,
    /// The rings from the worker.
    pub(crate) up: Fill,
    /// When the oldest open session was opened.
    pub(crate) oldest: Option<Instant>,
}

/// What is in use of rings of one direction, and what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fill {
    /// Slots of frames published and not given back, `0 ..= slots`.
    pub(crate) frames: u64,
    /// Slots there are.
    pub(crate) slots: u64,
    /// Arena bytes in use, `0 ..= arena`.
    pub(crate) bytes: u64,
    /// Arena bytes there are.
    pub(crate) arena: u64,
}

impl Lane {
    /// How it stands. Words of the worker that cannot be are not believed.
    pub(crate) fn depth(&self) -> Depth {
        let down = {
            let writer = lock(&self.writer);
            Fill::of(writer.down().memory(), writer.down().gauge())
        };
        let up = {
            let up = lock(&self.up);
            Fill::of(up.ring.memory(), up.ring.gauge())
        };
        Depth { down, up, oldest: self.table().oldest() }
    }
}

impl Fill {
    fn of(ring: &impl Memory, gauge: Gauge) -> Self {
        let (frames, bytes) = (gauge.used(), gauge.arena_used);
        Self { frames, slots: ring.slots().into(), bytes, arena: ring.arena() }
    }

    fn and(self, other: Self) -> Self {
        Self {
            frames: self.frames + other.frames,
            slots: self.slots + other.slots,
            bytes: self.bytes + other.bytes,
            arena: self.arena + other.arena,
        }
    }
}

impl Sum for Depth {
    fn sum<I: Iterator<Item = Self>>(lanes: I) -> Self {
        lanes.fold(Self::default(), |sum, lane| Self {
            down: sum.down.and(lane.down),
            up: sum.up.and(lane.up),
            oldest: sum.oldest.into_iter().chain(lane.oldest).min(),
        })
    }
}
