//! What is said to the machine and by it.

use std::time::Duration;

use super::Policy;

/// Number of a worker among all its plugin ever had, from 1.
pub(crate) type Generation = u32;
/// Number of a program with its configuration, from 1.
pub(crate) type Build = u32;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It shook hands.
    Ready(Generation),
    /// It never did; `permanent`: and never will.
    NotStarted { generation: Generation, permanent: bool },
    /// The process has ended and is reaped; `well`: by itself with status 0.
    Ended { generation: Generation, well: bool },
    /// The first call since it was quiet has begun.
    Busy(Generation),
    /// What an [`Action::Look`] saw.
    Seen(Generation, Sight),
    /// No request needs it any more.
    Idle(Generation),
    /// No chain is bound to this build any more.
    Released(Build),
    /// What an [`Action::Measure`] found: calls that wait, and calls in flight.
    Load { waiting: usize, in_flight: usize },
    /// Somebody wants something.
    Command(Command),
}

/// How a worker looks, from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Nothing is in flight.
    Quiet,
    /// Something came of it since it was last asked; so many of its handlers are overdue.
    Alive { stuck: usize },
    /// Nothing came of it.
    Silent,
}

/// What an operator or a reload may want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// `build` is what the plugin runs from now on, whether it starts or not.
    Serve { build: Build, policy: Policy },
    /// Bring `build` up beside the one that serves. Once all its workers are ready, it serves, and the old one is
    /// drained; or it waits for [`Command::Commit`] if it is `held`.
    Replace { build: Build, policy: Policy, held: bool },
    /// The held build serves from now on. The old one goes when no chain is bound to it.
    Commit,
    /// The held build is not wanted after all.
    Abandon,
    /// Start as if nothing had ever failed.
    Rearm,
    /// No new requests.
    Pause,
    /// Requests again.
    Resume,
    /// No new requests; the workers stop when those in flight are done.
    Drain,
    /// The plugin goes: now, with so long for its hooks, or with `None` when its requests are done.
    Stop(Option<Duration>),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start a worker of `build`.
    Start(Generation, Build),
    /// Its time to start is over (`late`), or nobody wants it: kill it. [`Event::NotStarted`] follows.
    GiveUp { generation: Generation, late: bool },
    /// From now on these take requests and those do not, in one step.
    Switch { admit: Vec<Generation>, withdraw: Vec<Generation> },
    /// Tell when no request needs it any more.
    WatchIdle(Generation),
    /// Say what has become of it since the last look, and ask it (PING).
    Look(Generation),
    /// Run its shutdown hooks within so long.
    Shutdown(Generation, Duration),
    /// Have it dump its stacks (SIGQUIT).
    Quit(Generation),
    /// SIGKILL to its group. [`Event::Ended`] follows.
    Kill(Generation),
    /// Say how much there is to do.
    Measure,
    /// The build that was to replace another is ready, or failed, and serves if it was not held.
    Replaced(Build, bool),
    /// The breaker opened, or a start failed for good.
    Failed(Why),
    /// Nothing is left to keep.
    Gone,
}

/// Why nothing is started any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Too many failures in too short a time.
    Breaker,
    /// It would not help.
    Permanent,
}
