//! Whose sessions are open on a lane, and since when: nothing of it is needed to run them.

use std::time::{Duration, Instant};

use nylon_protocol::Token;

use crate::request_id::RequestId;

/// Whose session it is. A clone allocates nothing.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) request_id: RequestId,
    /// Index of its entry in the worker.
    pub(crate) entry: u16,
}

/// What an invocation is begun with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'o> {
    /// Its session; 0 for a new one.
    pub(crate) sid: u32,
    /// One of `wire::PHASE_*`.
    pub(crate) phase: u8,
    /// The time the handler has.
    pub(crate) budget: Duration,
    pub(crate) origin: &'o Origin,
}

/// An invocation that has a credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) token: Token,
    pub(crate) sid: u32,
    /// When it got the credit.
    pub(crate) at: Instant,
}

/// An open session, as it is looked at.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) sid: u32,
    pub(super) origin: Origin,
    pub(super) since: Instant,
    /// The invocation in it, if there is one.
    pub(super) running: Option<Running>,
}

/// An invocation, as it is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) token: Token,
    pub(super) phase: u8,
    pub(super) since: Instant,
    pub(super) budget: Duration,
    /// Its final frame has come.
    pub(super) answered: bool,
    /// Frames that have come and that its task has not looked at.
    pub(super) inbox: usize,
    /// CALLs of the worker that the host has not answered.
    pub(super) calls: usize,
    /// Bytes of DATA that may go down now.
    pub(super) room: u64,
}
