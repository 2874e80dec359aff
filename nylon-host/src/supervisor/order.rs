//! What is asked of the keeper of a plugin, by operators and by reloads.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;

use super::EventKind;
use super::built::Built;
use super::machine::Build;
use crate::error::ControlError;

/// An order.
#[derive(Debug)]
pub(crate) enum Order {
    /// Bring workers up for chains to come, beside those that serve.
    Prepare(Built, Answer),
    /// Serve this build from now on, whether it starts or not.
    Serve(Built),
    /// The build that is held serves from now on.
    Commit,
    /// It does not.
    Abandon,
    /// No chain is bound so any more.
    Released(u64),
    /// Start the workers anew: the build that serves, with its program as it was.
    Restart(Answer),
    /// Take another program, or the same file anew; what serves now can be had back.
    Upgrade(Option<PathBuf>, Answer),
    /// Take the build back that served before the last upgrade.
    Rollback(Answer),
    /// No new requests from now on.
    Pause(Answer),
    /// Requests again.
    Resume(Answer),
    /// No new requests; the workers stop when theirs are done.
    Drain(Answer),
    /// The plugin ends: with so long for its hooks, or when nobody is bound to it any more.
    Stop(Option<Duration>),
}

/// Where the outcome of an order goes.
pub(crate) type Answer = oneshot::Sender<Result<Build, ControlError>>;

/// What a build is brought up for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Restart,
    Upgrade,
    Rollback,
    /// A configuration that changed, or the first one.
    Reload,
}

impl What {
    pub(super) fn begins(self) -> EventKind {
        match self {
            Self::Restart => EventKind::Restarting,
            Self::Upgrade => EventKind::Upgrading,
            Self::Rollback => EventKind::RollingBack,
            Self::Reload => EventKind::Reloading,
        }
    }

    /// A reload is once all its plugins are ready.
    pub(super) fn is_done(self) -> Option<EventKind> {
        match self {
            Self::Restart => Some(EventKind::Restarted),
            Self::Upgrade => Some(EventKind::Upgraded),
            Self::Rollback => Some(EventKind::RolledBack),
            Self::Reload => None,
        }
    }

    pub(super) fn is_refused(self) -> (EventKind, &'static str) {
        match self {
            Self::Restart => (EventKind::Refused, "restart: "),
            Self::Upgrade => (EventKind::Refused, "upgrade: "),
            Self::Rollback => (EventKind::Refused, "rollback: "),
            Self::Reload => (EventKind::ReloadRefused, ""),
        }
    }
}
