//! Session: one request in one plugin entry. This file drives the state machine in `http` over a lane.
//!
//! In: a phase and its step from dispatch.  Out: [`Event`]s, the last of them the handler's verdict.
//! Never: sockets, ring memory, or what a mutation does to a request.

mod admission;
mod conversation;
mod http;
mod phase;
#[cfg(test)]
mod tests;
mod websocket;

use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nylon_protocol::check::handler_time;
use nylon_protocol::record::{StepWriter, write_fault};
use nylon_protocol::{Frame, Token, wire};
use tokio::sync::OwnedMutexGuard;

pub(crate) use admission::{Admission, Permit};
pub(crate) use conversation::Conversation;
pub(crate) use http::{Commit, Event, HostCall, Verdict};
pub(crate) use phase::{Phase, PhaseSet};
pub(crate) use websocket::Said;

use crate::error::Failure;
use crate::lane::{Ask, Begun, Fault, Lane, Origin};
use crate::request_id::RequestId;
use http::{Action, Machine};

/// One request in one entry of one worker. Closed on both sides when dropped.
#[derive(Debug)]
pub(crate) struct Session {
    lane: Arc<Lane>,
    origin: Origin,
    sid: u32,
    opened: bool,
    closed: bool,
    wants: PhaseSet,
    staged_max: usize,
    /// Its request's place in the plugin, until it closes.
    permit: Option<Arc<Permit>>,
}

impl Session {
    /// A session of the request `request_id` in `entry` of the worker behind `lane`; the worker hears of it with its first
    /// phase. It holds `permit` until it closes.
    ///
    /// # Errors
    /// [`Failure::UnknownEntry`].
    pub(crate) fn new(
        lane: Arc<Lane>,
        entry: &str,
        request_id: RequestId,
        permit: Option<Arc<Permit>>,
    ) -> Result<Self, Failure> {
        let index = lane.peer.entries.get(entry).copied();
        let entry = index.ok_or_else(|| Failure::UnknownEntry(entry.to_owned()))?;
        let origin = Origin { request_id, entry };
        let (wants, staged_max) = (PhaseSet::ALL, wire::LIMIT_STAGED);
        let (sid, opened, closed) = (0, false, false);
        Ok(Self { lane, origin, sid, opened, closed, wants, staged_max, permit })
    }

    /// The session's id, 1 ..= `i32::MAX`; 0 before its first phase.
    pub(crate) fn sid(&self) -> u32 {
        self.sid
    }

    /// Whether the worker has to be told of `phase`.
    pub(crate) fn wants(&self, phase: Phase) -> bool {
        !self.closed && self.wants.has(phase)
    }

    /// Whether it has ended in order: nothing more is to be run in it or instead of it.
    pub(crate) fn is_over(&self) -> bool {
        self.closed && self.wants.is_empty()
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
            self.permit = None;
            if self.sid == 0 {
                return;
            }
            self.lane.close_session(self.sid, tell && self.opened);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close(true);
    }
}

/// A session, by whoever runs a phase in it.
#[derive(Debug)]
pub(crate) enum Held {
    /// Nobody else has it.
    Own(Session),
    /// Another task runs phases in it as well, in turns.
    Shared(OwnedMutexGuard<Session>),
}

impl Deref for Held {
    type Target = Session;

    fn deref(&self) -> &Session {
        match self {
            Self::Own(session) => session,
            Self::Shared(session) => session,
        }
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Session {
        match self {
            Self::Own(session) => session,
            Self::Shared(session) => session,
        }
    }
}

/// How far an invocation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has a credit; its worker knows nothing of it.
    Begun,
    /// The worker has its step.
    Running,
    /// Its final frame came, or it was cancelled.
    Ended,
}

/// One run of a handler. Dropped before its end, it is cancelled and its session closed.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// Given back by [`Self::into_session`] alone.
    session: Option<Held>,
    token: Token,
    phase: Phase,
    machine: Machine,
    /// When the step was sent, until there is an answer.
    sent: Option<Instant>,
    /// When it had a credit: its step goes out at once.
    begun: Instant,
    /// How long it waited for that.
    queued: Duration,
    /// When anything last came of it.
    last: Instant,
    /// Bytes it has staged, which count against its worker while it lives.
    staged: u64,
    stage: Stage,
}

impl Invocation {
    /// Waits for a credit to run `phase`. `budget` is the time the handler has from [`Self::send`] on.
    ///
    /// # Errors
    /// A [`Failure`] when no credit could be had.
    pub(crate) async fn begin(
        mut session: Held,
        phase: Phase,
        budget: Duration,
    ) -> Result<Self, Failure> {
        let ask = Ask { sid: session.sid, phase: phase.id(), budget, origin: &session.origin };
        let Begun { token, sid, at: now } = session.lane.begin(ask).await?;
        session.sid = sid;
        let machine = Machine::new(phase, budget, session.staged_max, now);
        let (session, sent, stage) = (Some(session), Some(now), Stage::Begun);
        let (queued, begun, last) = (Duration::ZERO, now, now);
        Ok(Self { session, token, phase, machine, sent, begun, queued, last, staged: 0, stage })
    }

    /// Notes how long it waited for its credit and whatever came before.
    pub(crate) fn queued(&mut self, queued: Duration) {
        self.queued = queued;
    }

    /// Whether the session opens with this phase: its step carries the request.
    pub(crate) fn opens(&self) -> bool {
        !self.session().opened
    }

    /// The lane of its session.
    pub(crate) fn lane(&self) -> &Arc<Lane> {
        &self.session().lane
    }

    /// Sends the step to the worker, once. `write` writes its sections from the request on; `keep`: this phase will run
    /// in this session again (SPEC.md 5.4).
    ///
    /// # Errors
    /// [`Failure::Refused`] when the step is larger than a record may be.
    pub(crate) fn send(
        &mut self,
        keep: bool,
        write: impl FnOnce(&mut StepWriter<'_>),
    ) -> Result<(), Failure> {
        let (opens, entry) = (self.opens(), self.session().origin.entry);
        let mut frame = self.frame(wire::KIND_CALL).status(self.machine.left_ms());
        if opens {
            frame = frame.flags(wire::FLAG_OPEN);
        }
        if keep {
            frame = frame.flags(wire::FLAG_KEEP);
        }
        let lane = self.lane();
        lane.hush();
        let sent = lane.send_record(&frame, |record| {
            let mut writer = StepWriter::new(record);
            if opens {
                writer.entry(entry);
            }
            write(&mut writer);
            writer.finish()
        });
        sent.map_err(|_| Failure::Refused("the request is too large for a plugin".into()))?;
        self.stage = Stage::Running;
        self.session_mut().opened = true;
        Ok(())
    }

    /// The session of an invocation that has ended, to run other phases in; `None` when others have it as well.
    pub(crate) fn into_session(mut self) -> Option<Session> {
        debug_assert_eq!(self.stage, Stage::Ended, "its session is in use");
        self.lane().unstage(self.staged);
        match self.session.take() {
            Some(Held::Own(session)) => Some(session),
            _ => None,
        }
    }

    fn session(&self) -> &Session {
        self.session.as_ref().expect("until it is given back")
    }

    fn session_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("until it is given back")
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
                self.lane().answered(sent, now, polled);
            }
            let status = inbound.frame.status;
            match self.machine.on_frame(inbound, || now) {
                Action::Event(event) => return Ok(event),
                Action::Finish(result, wants) => {
                    let upgrades = matches!(result, Ok((Verdict::Upgrade, _)));
                    self.finish(wants, result.is_ok(), upgrades);
                    self.record(now, Some(status));
                    return result.map(|(verdict, commit)| Event::Done(verdict, commit));
                }
                Action::Unknown(call) => {
                    self.refuse(&call, wire::ERROR_UNKNOWN_METHOD, "unknown method");
                    self.cancel(wire::CANCEL_SHUTDOWN);
                    return Err(Failure::UnknownMethod(call.method));
                }
                Action::Staged(method, bytes, more) => {
                    self.staged += bytes as u64;
                    if !self.lane().stage(bytes as u64) {
                        self.cancel(wire::CANCEL_SHUTDOWN);
                        return Err(Failure::Busy);
                    }
                    self.give_back_as(method, bytes, more);
                    tokio::task::coop::consume_budget().await;
                }
                Action::Late => return Err(self.late()),
                Action::Abort(failure) => {
                    self.cancel(wire::CANCEL_SHUTDOWN);
                    return Err(failure);
                }
                Action::Violation(violation) => {
                    self.lane().peer.report(Fault::Violation(violation));
                    self.cancel(wire::CANCEL_SHUTDOWN);
                    return Err(Failure::Crashed(format!("protocol violation: {violation}")));
                }
            }
        }
    }

    /// The next frame, and whether polling found it.
    async fn inbound(&mut self) -> Result<(crate::lane::Inbound, bool), Failure> {
        let (lane, token) = (self.lane().clone(), self.token);
        let polled = lane.spin(token, self.last);
        let frame = poll_fn(|cx| lane.poll_next(token, cx));
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
        self.lane().counters.deadlines.fetch_add(1, Ordering::Relaxed);
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
        self.lane().answered_call(self.token);
        self.lane().send(&frame, bytes);
    }

    /// Answers a call by an error, `code` one of `wire::ERROR_*`.
    pub(crate) fn refuse(&mut self, call: &HostCall, code: u32, text: &str) {
        let frame = self.frame(wire::KIND_ERROR).method(call.method).status(call.number);
        let mut payload = Vec::new();
        write_fault(&mut payload, code, text);
        self.lane().answered_call(self.token);
        self.lane().send(&frame, &payload);
    }

    /// Whether the handler is likely to ask for the whole request body, and takes it before.
    pub(crate) fn asks_body(&self) -> bool {
        let takes = self.lane().peer.features & wire::FEATURE_BODY_AHEAD != 0;
        takes && self.asked().load(Ordering::Relaxed)
    }

    /// Notes whether the handler asked for the whole request body.
    pub(crate) fn note_body(&self, asked: bool) {
        self.asked().store(asked, Ordering::Relaxed);
    }

    fn asked(&self) -> &AtomicBool {
        &self.lane().peer.asks_body[usize::from(self.session().origin.entry)]
    }

    /// The call is answered by what was sent ahead of it.
    pub(crate) fn answered(&self) {
        self.lane().answered_call(self.token);
    }

    /// Bytes of body the worker takes now.
    pub(crate) fn room(&self) -> usize {
        self.lane().window_left(self.token).min(wire::LIMIT_DATA)
    }

    /// Sends a piece of the body a call asked for, or will ask for, at most [`Self::room`] bytes.
    pub(crate) fn send_piece(&mut self, call: &HostCall, piece: &[u8], last: bool) {
        let mut frame = self.frame(wire::KIND_DATA).method(call.method).status(call.number);
        if !last {
            frame = frame.flags(wire::FLAG_MORE);
        } else if call.number != 0 {
            self.answered();
        }
        self.lane().send_data(self.token, &frame, piece);
    }

    /// A piece of the streamed response was handed on.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        self.give_back_as(wire::METHOD_SET_RESPONSE_STREAM_DATA, bytes, true);
    }

    fn give_back_as(&mut self, method: u32, bytes: usize, more: bool) {
        let frame = self.frame(wire::KIND_WINDOW).method(method);
        self.lane().give_back(self.token, &frame, bytes, more);
    }

    /// Voids the run and closes the session; `reason` is one of `wire::CANCEL_*`.
    pub(crate) fn cancel(&mut self, reason: u32) {
        let stage = std::mem::replace(&mut self.stage, Stage::Ended);
        if stage == Stage::Ended {
            return;
        }
        let sent = stage == Stage::Running;
        let now = if sent { Instant::now() } else { self.begun };
        self.record(now, None);
        if sent {
            let frame = self.frame(wire::KIND_CANCEL).status(reason);
            self.lane().send(&frame, &[]);
        }
        // One that waits for the host, or streams, has no deadline.
        let due = sent.then(|| self.machine.deadline().unwrap_or_else(Instant::now));
        self.lane().end(self.token, due);
        self.session_mut().close(true);
    }

    /// It is over: how long it took. `status` is that of its final frame, whose word for the handler's time is taken as far
    /// as it can be true.
    fn record(&self, now: Instant, status: Option<u32>) {
        let whole =
            now.saturating_duration_since(self.begun).saturating_sub(self.machine.stood(now));
        let peer = &self.lane().peer;
        let timed = peer.features & wire::FEATURE_HANDLER_TIME != 0;
        let handler = match status.filter(|_| timed).map(handler_time) {
            Some(us) if us < wire::FINAL_TIME_MAX => whole.min(Duration::from_micros(us.into())),
            _ => whole,
        };
        peer.times.record(self.phase, self.queued, handler, whole - handler);
    }

    /// The final frame came. A session whose handler failed is over, whatever its worker thinks of it; one that `upgrades`
    /// is not, even if it wants nothing more.
    fn finish(&mut self, wants: PhaseSet, well: bool, upgrades: bool) {
        self.stage = Stage::Ended;
        self.lane().end(self.token, None);
        let session = self.session_mut();
        if well {
            session.wants = wants;
        }
        if !well || wants.is_empty() && !upgrades {
            session.close(!wants.is_empty());
        }
    }

    fn frame(&self, kind: u8) -> Frame {
        Frame::of(kind, self.token, self.session().sid, self.phase.id())
    }
}

impl Drop for Invocation {
    fn drop(&mut self) {
        if self.session.is_some() {
            self.cancel(wire::CANCEL_CLIENT_GONE);
            self.lane().unstage(self.staged);
        }
    }
}
