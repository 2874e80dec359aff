//! One invocation as a state machine: what a handler's frames mean, and how much time it has left.
//!
//! Events in (`on_frame`), actions out; the caller passes `now`. No lane, no clock, no task.

use std::time::{Duration, Instant};

use bytes::Bytes;
use nylon_protocol::record::{Fault, Mutation, Op};
use nylon_protocol::{Violation, wire};

use super::phase::{Phase, PhaseSet};
use crate::error::Failure;
use crate::lane::Inbound;
use crate::printable::printable;
use crate::rope::Rope;

/// How a handler finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on with the next step.
    Next,
    /// Stop here and answer with what was collected.
    End,
    /// A streamed response is complete.
    StreamEnd,
    /// The client is to become a WebSocket; what was collected goes with the 101. The session stays open for it.
    Upgrade,
}

/// What a handler wants changed: one mutation record, applied whole or not at all.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    mutation: Bytes,
    /// A response body that came ahead of the record.
    pub staged_response: Option<Rope>,
    /// A request body that came ahead of the record.
    pub staged_request: Option<Rope>,
}

impl Commit {
    /// The changes, in the order the plugin made them.
    pub(crate) fn ops(&self) -> impl Iterator<Item = Op<'_>> {
        // Checked before in `Machine::commit`; an empty record has no entries.
        Mutation::parse(&self.mutation).ok().into_iter().flatten()
    }

    /// `part` of an entry, without a copy.
    pub(crate) fn share(&self, part: &[u8]) -> Bytes {
        if part.is_empty() { Bytes::new() } else { self.mutation.slice_ref(part) }
    }
}

/// A question of the handler to the host.
#[derive(Debug)]
pub(crate) struct HostCall {
    /// The worker's own number for it, > 0; 0 = the host answers before it is asked.
    pub number: u32,
    /// One of `wire::METHOD_*`.
    pub method: u32,
}

/// What the caller of an invocation has to act on.
#[derive(Debug)]
pub(crate) enum Event {
    /// The handler finished. Nothing follows.
    Done(Verdict, Commit),
    /// The handler asks for something and (maybe) waits.
    Call(HostCall),
    /// The handler commits and wants the response head sent now (method 106).
    StreamHead(HostCall, Commit),
    /// A piece of the streamed response. Give its length back once it was handed on.
    StreamPiece(Bytes),
    /// The worker took body bytes: there is room for more.
    Room,
}

/// The machine's answer to a frame.
#[derive(Debug)]
pub(crate) enum Action {
    /// Tell the caller.
    Event(Event),
    /// The final frame came: give the credit back, then tell the caller. The set is what the session still wants.
    Finish(Result<(Verdict, Commit), Failure>, PhaseSet),
    /// These bytes were staged: give them back to the worker's window. Whether more of that body follow.
    Staged(u32, usize, bool),
    /// The host does not know the method of this call: say so, and fail the session.
    Unknown(HostCall),
    /// The time was up before this came: void the invocation.
    Late,
    /// Void the invocation and fail with this.
    Abort(Failure),
    /// The worker broke the protocol.
    Violation(Violation),
}

/// One run of one phase.
#[derive(Debug)]
pub(crate) struct Machine {
    phase: Phase,
    streaming: bool,
    staged_max: usize,
    staged_response: Option<Rope>,
    staged_request: Option<Rope>,
    clock: Stopwatch,
    /// Since when the handler's time stands still, and how long it did before.
    paused: Option<Instant>,
    stood: Duration,
}

/// How long a stream may stay without a piece.
const STREAM_IDLE: Duration = Duration::from_secs(300);

impl Machine {
    pub(crate) fn new(phase: Phase, budget: Duration, staged_max: usize, now: Instant) -> Self {
        let clock = Stopwatch::start(budget, now);
        Self {
            phase,
            streaming: false,
            staged_max,
            staged_response: None,
            staged_request: None,
            clock,
            paused: None,
            stood: Duration::ZERO,
        }
    }

    /// When the time is up, if nothing comes before; `None` while it stands still.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.clock.deadline()
    }

    /// The time it has left, ms: before anything came, its budget.
    pub(crate) fn left_ms(&self) -> u32 {
        u32::try_from(self.clock.left.as_millis()).unwrap_or(u32::MAX)
    }

    /// The host works for the handler from now on: its time stands still.
    pub(crate) fn pause(&mut self, now: Instant) {
        self.clock.pause(now);
        self.paused.get_or_insert(now);
    }

    /// The handler has what it waited for.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.clock.resume(now);
        if let Some(paused) = self.paused.take() {
            self.stood += now.saturating_duration_since(paused);
        }
    }

    /// How long the handler's time stood still until `now`.
    pub(crate) fn stood(&self, now: Instant) -> Duration {
        let now = self.paused.map(|paused| now.saturating_duration_since(paused));
        self.stood + now.unwrap_or_default()
    }

    /// What a frame of the worker, already known to be this invocation's, means.
    ///
    /// `now` is asked only where it matters: a final frame that has come is never late.
    pub(crate) fn on_frame(&mut self, inbound: Inbound, now: impl Fn() -> Instant) -> Action {
        let Inbound { frame, payload } = inbound;
        let last = matches!(frame.kind, wire::KIND_REPLY | wire::KIND_ERROR);
        if !last && self.deadline().is_some_and(|at| at <= now()) {
            // Whoever always has one more frame would never be late.
            return Action::Late;
        }
        match frame.kind {
            wire::KIND_REPLY => self.on_final(frame.method, frame.status, payload),
            wire::KIND_ERROR => match Fault::parse(&payload) {
                Ok(fault) => Action::Finish(Err(failure(&fault)), PhaseSet::default()),
                Err(v) => Action::Violation(v),
            },
            wire::KIND_CALL => self.on_call(frame.status, frame.method, payload, now()),
            wire::KIND_DATA => {
                self.on_data(frame.method, frame.has(wire::FLAG_MORE), payload, now())
            }
            wire::KIND_WINDOW => Action::Event(Event::Room),
            other => Action::Violation(Violation::Kind(other)),
        }
    }

    fn on_final(&mut self, method: u32, wants: u32, payload: Bytes) -> Action {
        let verdict = match method {
            wire::METHOD_NEXT => Verdict::Next,
            wire::METHOD_END => Verdict::End,
            wire::METHOD_SET_RESPONSE_STREAM_END => Verdict::StreamEnd,
            wire::METHOD_WEBSOCKET_UPGRADE => Verdict::Upgrade,
            other => return Action::Violation(Violation::Method(other)),
        };
        let wants = PhaseSet::from_wire(wants);
        match self.commit(payload) {
            Ok(_) if (verdict == Verdict::StreamEnd) != self.streaming => {
                let why = "a stream's end without its begin, or another verdict after Stream()";
                Action::Finish(Err(Failure::Refused(why.to_owned())), wants)
            }
            Ok(_) if verdict == Verdict::Upgrade && self.phase != Phase::RequestFilter => {
                Action::Violation(Violation::Phase(self.phase.id()))
            }
            Ok(commit) => Action::Finish(Ok((verdict, commit)), wants),
            Err(v) => Action::Violation(v),
        }
    }

    fn on_call(&mut self, number: u32, method: u32, payload: Bytes, now: Instant) -> Action {
        let call = HostCall { number, method };
        match method {
            wire::METHOD_SET_RESPONSE_STREAM_HEADER => {
                if self.phase != Phase::RequestFilter || self.streaming {
                    return Action::Abort(Failure::Refused(
                        "Stream() is for request filters, once".into(),
                    ));
                }
                match self.commit(payload) {
                    Ok(commit) => {
                        self.streaming = true;
                        self.clock = Stopwatch::start(STREAM_IDLE, now);
                        Action::Event(Event::StreamHead(call, commit))
                    }
                    Err(v) => Action::Violation(v),
                }
            }
            wire::METHOD_GET_PAYLOAD
            | wire::METHOD_READ_RESPONSE_FULL_BODY
            | wire::METHOD_READ_REQUEST_FULL_BODY
            | wire::METHOD_STREAM_REQUEST_BODY => Action::Event(Event::Call(call)),
            _ => Action::Unknown(call),
        }
    }

    fn on_data(&mut self, method: u32, more: bool, payload: Bytes, now: Instant) -> Action {
        let staged = match method {
            wire::METHOD_SET_RESPONSE_STREAM_DATA if self.streaming => {
                if !payload.is_empty() {
                    self.clock = Stopwatch::start(STREAM_IDLE, now);
                }
                return Action::Event(Event::StreamPiece(payload));
            }
            wire::METHOD_SET_RESPONSE_FULL_BODY => &mut self.staged_response,
            wire::METHOD_SET_REQUEST_BODY => &mut self.staged_request,
            _ => return Action::Abort(Failure::Refused("stream data before Stream()".into())),
        };
        let bytes = payload.len();
        if staged.as_ref().map_or(0, Rope::len) + bytes > self.staged_max {
            let why = format!("a body over {} bytes", self.staged_max);
            return Action::Abort(Failure::Refused(why));
        }
        staged.get_or_insert_default().push(payload);
        Action::Staged(method, bytes, more)
    }

    /// A record that is sound, with the bodies that came ahead of it.
    fn commit(&mut self, mutation: Bytes) -> Result<Commit, Violation> {
        if !mutation.is_empty() {
            Mutation::parse(&mutation)?;
        }
        Ok(Commit {
            mutation,
            staged_response: self.staged_response.take(),
            staged_request: self.staged_request.take(),
        })
    }
}

/// What a worker's ERROR means.
pub(super) fn failure(fault: &Fault<'_>) -> Failure {
    let text = printable(&String::from_utf8_lossy(fault.text), wire::LIMIT_ERROR_TEXT);
    match fault.code {
        wire::ERROR_UNKNOWN_ENTRY => Failure::UnknownEntry(text),
        wire::ERROR_TOO_LARGE => Failure::BodyTooLarge(wire::LIMIT_RAW_BODY),
        _ => Failure::Panicked(text),
    }
}

/// Time that runs while the plugin works and stands still while it waits for the host.
#[derive(Debug)]
struct Stopwatch {
    left: Duration,
    since: Option<Instant>,
}

impl Stopwatch {
    fn start(left: Duration, now: Instant) -> Self {
        Self { left, since: Some(now) }
    }

    fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + self.left)
    }

    fn pause(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.left = self.left.saturating_sub(now.saturating_duration_since(since));
        }
    }

    fn resume(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }
}
