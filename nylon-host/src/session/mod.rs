//! Session: one request in one plugin entry. This file drives the state machine in `http` over a lane.
//!
//! In: a phase and its step from dispatch.  Out: [`Event`]s, the last of them the handler's verdict.
//! Never: sockets, ring memory, or what a mutation does to a request.

mod http;
mod phase;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nylon_protocol::record::{StepWriter, write_fault};
use nylon_protocol::{Frame, Token, wire};
use tokio::sync::OwnedMutexGuard;

pub(crate) use http::{Commit, Event, HostCall, Verdict};
pub(crate) use phase::{Phase, PhaseSet};

use crate::error::Failure;
use crate::lane::{Fault, Lane};
use http::{Action, Machine};

/// Where a session's request record is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Record<'a> {
    /// These are its bytes.
    Bytes(&'a [u8]),
    /// The open session of this id in the same worker has it.
    Of(u32),
}

/// The item's payload in a step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PayloadPart<'a> {
    /// There is none.
    None,
    /// JSON bytes.
    Json(&'a [u8]),
    /// The constant of this index, which the worker got in Hello.
    Id(u32),
}

/// What belongs to one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'a> {
    pub(crate) record: Record<'a>,
    pub(crate) payload: PayloadPart<'a>,
    /// An encoded response head.
    pub(crate) head: Option<&'a [u8]>,
    /// A body piece, and whether it is the last.
    pub(crate) piece: Option<(&'a [u8], bool)>,
    /// Bytes sent, duration in ms, error text.
    pub(crate) stats: Option<(u64, u64, &'a str)>,
    /// Whether this phase will run in this session again (SPEC.md 5.4).
    pub(crate) keep: bool,
}

/// One request in one entry of one worker. Closed on both sides when dropped.
#[derive(Debug)]
pub(crate) struct Session {
    lane: Arc<Lane>,
    entry: u16,
    sid: u32,
    opened: bool,
    closed: bool,
    wants: PhaseSet,
    staged_max: usize,
}

impl Session {
    /// A session in `entry` of the worker behind `lane`; the worker hears of it with its first phase.
    ///
    /// # Errors
    /// [`Failure::UnknownEntry`].
    pub(crate) fn new(lane: Arc<Lane>, entry: &str) -> Result<Self, Failure> {
        let index = lane.identity.entries.get(entry).copied();
        let entry = index.ok_or_else(|| Failure::UnknownEntry(entry.to_owned()))?;
        let sid = lane.open_session();
        let staged_max = wire::LIMIT_STAGED;
        Ok(Self {
            lane,
            entry,
            sid,
            opened: false,
            closed: false,
            wants: PhaseSet::ALL,
            staged_max,
        })
    }

    /// The session's id, 1 ..= `i32::MAX`.
    pub(crate) fn sid(&self) -> u32 {
        self.sid
    }

    /// Whether the worker has to be told of `phase`.
    pub(crate) fn wants(&self, phase: Phase) -> bool {
        !self.closed && self.wants.has(phase)
    }

    /// Whether it was given up before its end: what is still to be run needs another.
    pub(crate) fn voided(&self) -> bool {
        self.closed && !self.wants.is_empty()
    }

    /// Whether the worker has the request's record from this session.
    pub(crate) fn holds_record(&self) -> bool {
        self.opened && !self.closed
    }

    /// The lane the session is pinned to.
    pub(crate) fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    fn close(&mut self, tell: bool) {
        if !self.closed {
            self.closed = true;
            self.lane.close_session(self.sid, tell && self.opened);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close(true);
    }
}

/// One run of a handler. Dropped before its end, it is cancelled and its session closed.
#[derive(Debug)]
pub(crate) struct Invocation {
    session: OwnedMutexGuard<Session>,
    token: Token,
    phase: Phase,
    machine: Machine,
    /// When the step was sent, until there is an answer.
    sent: Option<Instant>,
    /// When anything last came of it.
    last: Instant,
    /// Bytes it has staged, which count against its worker while it lives.
    staged: u64,
    ended: bool,
}

impl Invocation {
    /// Sends `phase` with its step to the worker. `budget` is the time the handler has.
    ///
    /// # Errors
    /// A [`Failure`] when no credit could be had or the step is too large.
    pub(crate) async fn begin(
        mut session: OwnedMutexGuard<Session>,
        phase: Phase,
        budget: Duration,
        step: &Step<'_>,
    ) -> Result<Self, Failure> {
        let lane = session.lane.clone();
        let token = lane.begin(session.sid, phase.id(), budget).await?;
        let millis = u32::try_from(budget.as_millis()).unwrap_or(u32::MAX);
        let mut frame = Frame::of(wire::KIND_CALL, token, session.sid, phase.id()).status(millis);
        if !session.opened {
            frame = frame.flags(wire::FLAG_OPEN);
        }
        if step.keep {
            frame = frame.flags(wire::FLAG_KEEP);
        }
        let mut record = Vec::with_capacity(1024);
        if write_step(&mut record, (!session.opened).then_some(session.entry), step).is_err() {
            lane.end(token, true);
            return Err(Failure::Refused("the request is too large for a plugin".into()));
        }
        session.opened = true;
        let now = Instant::now();
        let machine = Machine::new(phase, budget, session.staged_max, now);
        let (sent, last) = (Some(now), now);
        let this = Self { session, token, phase, machine, sent, last, staged: 0, ended: false };
        lane.hush();
        lane.send(&frame, &record);
        Ok(this)
    }

    /// What the handler does next. After [`Event::Done`] or an error nothing follows.
    ///
    /// # Errors
    /// The [`Failure`] that ended the invocation; nothing of it is to be applied.
    pub(crate) async fn next(&mut self) -> Result<Event, Failure> {
        loop {
            let (inbound, polled) = self.inbound().await?;
            let now = Instant::now();
            self.last = now;
            if let Some(sent) = self.sent.take() {
                self.session.lane.answered(sent, now, polled);
            }
            match self.machine.on_frame(inbound, now) {
                Action::Event(event) => return Ok(event),
                Action::Finish(result, wants) => {
                    self.finish(wants, result.is_ok());
                    return result.map(|(verdict, commit)| Event::Done(verdict, commit));
                }
                Action::Unknown(call) => {
                    self.refuse(&call, wire::ERROR_UNKNOWN_METHOD, "unknown method");
                    self.cancel(wire::CANCEL_SHUTDOWN);
                    return Err(Failure::UnknownMethod(call.method));
                }
                Action::Staged(method, bytes) => {
                    self.staged += bytes as u64;
                    if !self.session.lane.stage(bytes as u64) {
                        self.cancel(wire::CANCEL_SHUTDOWN);
                        return Err(Failure::Busy);
                    }
                    self.give_back_as(method, bytes);
                    tokio::task::coop::consume_budget().await;
                }
                Action::Late => return Err(self.late()),
                Action::Abort(failure) => {
                    self.cancel(wire::CANCEL_SHUTDOWN);
                    return Err(failure);
                }
                Action::Violation(violation) => {
                    self.session.lane.report(Fault::Violation(violation));
                    self.cancel(wire::CANCEL_SHUTDOWN);
                    return Err(Failure::Crashed(format!("protocol violation: {violation}")));
                }
            }
        }
    }

    /// The next frame, and whether polling found it.
    async fn inbound(&mut self) -> Result<(crate::lane::Inbound, bool), Failure> {
        let lane = self.session.lane.clone();
        let polled = lane.spin(self.token, self.last);
        let frame = poll_fn(|cx| lane.poll_next(self.token, cx));
        let result = match self.machine.deadline() {
            None => frame.await,
            Some(at) => match tokio::time::timeout_at(at.into(), frame).await {
                Ok(result) => result,
                Err(_) => return Err(self.late()),
            },
        };
        let result = result.inspect_err(|_| self.cancel(wire::CANCEL_SHUTDOWN));
        result.map(|inbound| (inbound, polled))
    }

    fn late(&mut self) -> Failure {
        self.session.lane.counters.deadlines.fetch_add(1, Ordering::Relaxed);
        self.cancel(wire::CANCEL_DEADLINE);
        Failure::Late
    }

    /// The host works for the handler: its time stands still until [`Self::resume`].
    pub(crate) fn pause(&mut self) {
        self.machine.pause(Instant::now());
    }

    /// The handler has what it waited for.
    pub(crate) fn resume(&mut self) {
        self.machine.resume(Instant::now());
    }

    /// Answers a call in one frame; `bytes` is at most 64 KiB.
    pub(crate) fn reply(&mut self, call: &HostCall, bytes: &[u8]) {
        let frame = self.frame(wire::KIND_REPLY).method(call.method).status(call.number);
        self.session.lane.answered_call(self.token);
        self.session.lane.send(&frame, bytes);
    }

    /// Answers a call by an error, `code` one of `wire::ERROR_*`.
    pub(crate) fn refuse(&mut self, call: &HostCall, code: u32, text: &str) {
        let frame = self.frame(wire::KIND_ERROR).method(call.method).status(call.number);
        let mut payload = Vec::new();
        write_fault(&mut payload, code, text);
        self.session.lane.answered_call(self.token);
        self.session.lane.send(&frame, &payload);
    }

    /// Bytes of body the worker takes now.
    pub(crate) fn room(&self) -> usize {
        self.session.lane.window_left(self.token).min(wire::LIMIT_DATA)
    }

    /// Sends a piece of the body a call asked for, at most [`Self::room`] bytes.
    pub(crate) fn send_piece(&mut self, call: &HostCall, piece: &[u8], last: bool) {
        let mut frame = self.frame(wire::KIND_DATA).method(call.method).status(call.number);
        if last {
            self.session.lane.answered_call(self.token);
        } else {
            frame = frame.flags(wire::FLAG_MORE);
        }
        self.session.lane.send_data(self.token, &frame, piece);
    }

    /// A piece of the streamed response was handed on.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        self.give_back_as(wire::METHOD_SET_RESPONSE_STREAM_DATA, bytes);
    }

    fn give_back_as(&mut self, method: u32, bytes: usize) {
        let frame = self.frame(wire::KIND_WINDOW).method(method);
        self.session.lane.give_back(self.token, &frame, bytes);
    }

    /// Voids the run and closes the session; `reason` is one of `wire::CANCEL_*`.
    pub(crate) fn cancel(&mut self, reason: u32) {
        if self.ended {
            return;
        }
        self.ended = true;
        let frame = self.frame(wire::KIND_CANCEL).status(reason);
        self.session.lane.send(&frame, &[]);
        self.session.lane.end(self.token, false);
        self.session.close(true);
    }

    /// The final frame came. A session whose handler failed is over, whatever its worker thinks of it.
    fn finish(&mut self, wants: PhaseSet, well: bool) {
        self.ended = true;
        self.session.lane.end(self.token, true);
        if well {
            self.session.wants = wants;
        }
        if !well || wants.is_empty() {
            self.session.close(!wants.is_empty());
        }
    }

    fn frame(&self, kind: u8) -> Frame {
        Frame::of(kind, self.token, self.session.sid, self.phase.id())
    }
}

impl Drop for Invocation {
    fn drop(&mut self) {
        self.cancel(wire::CANCEL_CLIENT_GONE);
        self.session.lane.unstage(self.staged);
    }
}

fn write_step(
    out: &mut Vec<u8>,
    open: Option<u16>,
    step: &Step<'_>,
) -> Result<(), nylon_protocol::record::TooLarge> {
    let mut writer = StepWriter::new(out);
    if let Some(entry) = open {
        writer.entry(entry);
        match step.record {
            Record::Bytes(bytes) => writer.request_record(bytes),
            Record::Of(sid) => writer.request_of(sid),
        };
    }
    match step.payload {
        PayloadPart::None => {}
        PayloadPart::Json(json) if json.len() > wire::LIMIT_PAYLOAD_INLINE => {
            writer.payload_call();
        }
        PayloadPart::Json(json) => {
            writer.payload(json);
        }
        PayloadPart::Id(id) => {
            writer.payload_id(id);
        }
    }
    if let Some(head) = step.head {
        writer.response_record(head);
    }
    if let Some((bytes, last)) = step.piece {
        writer.piece(bytes, last);
    }
    if let Some((bytes, duration, error)) = step.stats {
        writer.stats(bytes, duration, error);
    }
    writer.finish()
}
