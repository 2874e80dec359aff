//! How the workers of a plugin are kept: how many, when one is started anew, when it is given up.

use std::time::Duration;

/// When a worker that ended without being asked to is started anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// However it ended.
    #[default]
    Always,
    /// Unless it exited with status 0.
    OnFailure,
    /// Never: the plugin does with the workers that are left.
    Never,
}

/// Waits between starts: exponential, with jitter, up to a cap (as Erlang's supervisors and systemd have it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait. A worker that lived for [`Self::stable`] is started anew without one.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
    /// Part of a wait, in percent, by which it is shortened or prolonged at random, 0 ..= 50: workers that died together
    /// do not come back together.
    pub jitter: u32,
    /// A worker that was ready for so long ends a row of failures.
    pub stable: Duration,
}

impl Backoff {
    /// What [`Default`] gives.
    pub const DEFAULT: Self = Self {
        first: Duration::from_millis(50),
        max: Duration::from_secs(5),
        jitter: 20,
        stable: Duration::from_secs(1),
    };
}

impl Default for Backoff {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// More failures than `intensity` within `period` open the breaker: nothing is started until an operator says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Failures that are tolerated; 0: any number.
    pub intensity: u32,
    /// Within so long.
    pub period: Duration,
}

impl Breaker {
    /// What [`Default`] gives.
    pub const DEFAULT: Self = Self { intensity: 10, period: Duration::from_secs(60) };
}

impl Default for Breaker {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a stream that is open, which may go on for hours, means for a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DrainStreams {
    /// It holds the drain up, as any request does, until [`Supervision::drain`] is over.
    #[default]
    Wait,
    /// It is cut off once nothing else is in flight.
    Cut,
}

/// How the workers of one plugin are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supervision {
    /// When a worker is started anew.
    pub restart: Restart,
    /// How long before.
    pub backoff: Backoff,
    /// How often at the most.
    pub breaker: Breaker,
    /// How often a worker with calls in flight is asked whether it is there. It is given up when it said nothing for two
    /// such periods, or when 16 of its handlers are that much past their deadline.
    pub ping: Duration,
    /// How long a worker that dumps its stacks (SIGQUIT) may take before it is killed.
    pub quit: Duration,
    /// How long requests in flight hold up the end of a worker that goes out of service.
    pub drain: Duration,
    /// And what streams do.
    pub drain_streams: DrainStreams,
    /// How long its shutdown hooks may take after that.
    pub stop: Duration,
}

impl Supervision {
    /// What [`Default`] gives.
    pub const DEFAULT: Self = Self {
        restart: Restart::Always,
        backoff: Backoff::DEFAULT,
        breaker: Breaker::DEFAULT,
        ping: Duration::from_secs(1),
        quit: Duration::from_millis(500),
        drain: Duration::from_secs(30),
        drain_streams: DrainStreams::Wait,
        stop: Duration::from_secs(5),
    };
}

impl Default for Supervision {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a build is kept by: its supervision, and what else the machine has to know of its specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Fewest workers, >= 1.
    pub(crate) workers_min: u32,
    /// Most workers, >= `workers_min`: between the two the load decides.
    pub(crate) workers_max: u32,
    /// Time from exec to the end of the handshake.
    pub(crate) start_timeout: Duration,
    pub(crate) keep: Supervision,
}
