//! One phase of one step: begins it, answers what the handler asks meanwhile, and hands back what it decided.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nylon_protocol::record::Names;
use nylon_protocol::wire;

use super::chain::{Payload, PluginStep};
use super::exchange::{Exchange, Seat};
use super::header_names::HeaderNames;
use super::mutation;
use super::tape;
use super::trace::PhaseSpan;
use crate::error::Failure;
use crate::metrics;
use crate::rope::Rope;
use crate::session::{Event, Held, HostCall, Invocation, Permit, Phase, Session, Verdict};

/// What a phase gets besides the request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extra<'a> {
    /// A body piece, and whether it is the last.
    pub(super) piece: Option<(&'a [u8], bool)>,
    /// Whether the figures of Logging go along.
    pub(super) stats: bool,
}

/// How a handler ended, or what it became.
#[derive(Debug)]
pub(super) enum Outcome {
    /// NEXT; what to change is in [`Exchange::changes`].
    Next,
    /// END; likewise.
    End,
    /// The handler streams the response from now on: answer the call once the head is out. Likewise.
    Stream(Box<Handler>, HostCall),
}

/// A handler that runs, and what it asked for and did not get yet.
#[derive(Debug)]
pub(super) struct Handler {
    pub(super) invocation: Invocation,
    phase: Phase,
    pub(super) slot: usize,
    /// Of a handler that streams.
    pub(super) span: Option<PhaseSpan>,
    payload: Bytes,
    feeds: Feeds,
    /// The request body goes to it before it asked, and it did not ask yet.
    ahead: bool,
}

/// Bytes of headers a plugin sees of a response head: a larger one would leave a step no room for anything else.
const HEAD_SHOWN: usize = 32 * 1024;
/// The same beside a body piece, unless the session has more of it already.
const HEAD_SHOWN_WITH_PIECE: usize = 8 * 1024;
/// Bytes of payload that go along with a body piece; a longer one is fetched.
pub(super) const INLINE_WITH_PIECE: usize = 4 * 1024;

impl Exchange {
    /// Runs `phase` of `step`; `None` when its session does not want it.
    ///
    /// # Errors
    /// The [`Failure`], before any policy.
    pub(super) async fn run(
        &mut self,
        step: &PluginStep,
        phase: Phase,
        extra: Extra<'_>,
    ) -> Result<Option<Outcome>, Failure> {
        let span = match (&self.trace, self.slots[step.slot].span.take()) {
            (Some(_), Some(span)) if phase == Phase::ResponseBodyFilter => Some(span),
            (Some(trace), _) => Some(trace.phase(step, phase)),
            (None, _) => None,
        };
        let timeout = step.policy(phase).timeout;
        let mut outcome = if step.is_repeatable(phase) {
            let end = Instant::now() + timeout;
            match self.attempt(step, phase, extra, timeout).await {
                Err(failure) => self.repeat(step, phase, extra, end, failure).await,
                done => done,
            }
        } else {
            self.attempt(step, phase, extra, timeout).await
        };
        if let Some(span) = span {
            self.slots[step.slot].span = leave(span, &mut outcome, extra);
        }
        outcome
    }

    async fn attempt(
        &mut self,
        step: &PluginStep,
        phase: Phase,
        extra: Extra<'_>,
        budget: Duration,
    ) -> Result<Option<Outcome>, Failure> {
        match self.begin(step, phase, extra, budget).await? {
            Some(handler) => handler.outcome(self, &step.names).await.map(Some),
            None => Ok(None),
        }
    }

    /// Runs a phase whose worker died once more, in another worker and until the same `end`; nothing of the first run was
    /// applied. Not what cannot be told again: a request body that is not kept, a session that others have as well.
    async fn repeat(
        &mut self,
        step: &PluginStep,
        phase: Phase,
        extra: Extra<'_>,
        end: Instant,
        failure: Failure,
    ) -> Result<Option<Outcome>, Failure> {
        let left = end.saturating_duration_since(Instant::now());
        let slot = &mut self.slots[step.slot];
        let again = matches!(failure, Failure::Crashed(_))
            && matches!(slot.seat, Seat::Empty)
            && !self.tape.lost(0)
            && !left.is_zero();
        let died = slot.lane.take().filter(|_| again);
        let Some(died) = died else { return Err(failure) };
        slot.head = None;
        self.account().retried(step, phase, &failure, &died);
        match self.attempt(step, phase, extra, left).await {
            // It did not come to a second run.
            Err(Failure::NotReady | Failure::Busy) => Err(failure),
            done => done,
        }
    }

    async fn begin(
        &mut self,
        step: &PluginStep,
        phase: Phase,
        extra: Extra<'_>,
        budget: Duration,
    ) -> Result<Option<Handler>, Failure> {
        let (begun, queued) = metrics::waited(async {
            let Some(session) = self.session(step, phase).await? else { return Ok(None) };
            Invocation::begin(session, phase, budget).await.map(Some)
        })
        .await;
        let Some(mut invocation) = begun? else { return Ok(None) };
        invocation.queued(queued);
        let opens = invocation.opens();
        let holder = if opens { self.record_holder(step.slot, invocation.lane()) } else { None };
        let features = invocation.lane().peer.features;
        let names = Names::agreed(features);
        let keeps = features & wire::FEATURE_RESPONSE_KEPT != 0;
        let last = self.slots[step.slot].head.take();
        let stands = |head: &Option<Vec<u8>>| keeps && !opens && head.is_some() && *head == last;
        let mut head = self.head(phase, names, HEAD_SHOWN);
        if extra.piece.is_some() && !stands(&head) {
            head = self.head(phase, names, HEAD_SHOWN_WITH_PIECE);
        }
        let kept = stands(&head);
        let payload = self.payload(step);
        let inline =
            if extra.piece.is_some() { INLINE_WITH_PIECE } else { wire::LIMIT_PAYLOAD_INLINE };
        let this = &*self;
        invocation.send(step.shared, |record| {
            match (opens, holder) {
                (false, _) => {}
                (true, Some(sid)) => drop(record.request_of(sid)),
                (true, None) => this.write_request(record, names),
            }
            match (&step.item.payload, step.payload_id) {
                (Payload::None, _) => {}
                (_, Some(id)) => drop(record.payload_id(id)),
                _ if payload.len() > inline => drop(record.payload_call()),
                _ => drop(record.payload(&payload)),
            }
            if let Some(head) = head.as_deref().filter(|_| !kept) {
                record.response_record(head);
            }
            if let Some((bytes, last)) = extra.piece {
                record.piece(bytes, last);
            }
            if extra.stats {
                record.stats(this.sent, this.duration_ms(), this.error.as_deref().unwrap_or(""));
            }
            if kept {
                record.response_kept();
            }
        })?;
        self.recorded(step.slot);
        if keeps {
            self.slots[step.slot].head = if head.is_some() || opens { head } else { last };
        }
        let mut feeds = Feeds::default();
        let ahead = phase == Phase::RequestFilter
            && invocation.asks_body()
            && self.tape.is_here(wire::LIMIT_BODY_AHEAD)?;
        if ahead {
            let call = HostCall { number: 0, method: wire::METHOD_READ_REQUEST_FULL_BODY };
            feeds.add(call, Source::Request(Reader::Whole));
        }
        Ok(Some(Handler { invocation, phase, slot: step.slot, span: None, payload, feeds, ahead }))
    }

    /// The session to run `phase` of `step` in; `None` when it does not want it.
    async fn session(&mut self, step: &PluginStep, phase: Phase) -> Result<Option<Held>, Failure> {
        let seat = &mut self.slots[step.slot].seat;
        if let Seat::Shared(session) = seat {
            let session = session.clone().lock_owned().await;
            if !session.voided() {
                return Ok(session.wants(phase).then_some(Held::Shared(session)));
            }
        }
        match std::mem::take(&mut self.slots[step.slot].seat) {
            Seat::Own(session) if session.wants(phase) => return Ok(Some(Held::Own(session))),
            Seat::Own(session) if !session.voided() => {
                self.slots[step.slot].seat = Seat::Own(session);
                return Ok(None);
            }
            _ => {}
        }
        if self.slots[step.slot].outside && phase == Phase::Logging {
            return Ok(None);
        }
        let permit = self.admit(step, phase).await?;
        let pin = self.lane(step).ok_or(Failure::NotReady)?;
        let lane = Arc::clone(&*pin);
        let slot = &mut self.slots[step.slot];
        slot.lane = Some(pin);
        slot.permit = permit.as_ref().map(Arc::downgrade).unwrap_or_default();
        let session = Session::new(lane, &step.item.entry, self.request_id.clone(), permit)?;
        Ok(Some(Held::Own(session)))
    }

    /// A place for a session in this step's plugin: the one the request has there already, or the next that is free;
    /// `None` where there is no limit.
    async fn admit(
        &mut self,
        step: &PluginStep,
        phase: Phase,
    ) -> Result<Option<Arc<Permit>>, Failure> {
        let admission = &step.binding.bounds.admission;
        if !admission.is_limited() {
            return Ok(None);
        }
        let mut held = self.slots.iter().filter_map(|slot| slot.permit.upgrade());
        if let Some(permit) = held.find(|permit| admission.gave(permit)) {
            return Ok(Some(permit));
        }
        // True for good if this fails, or its client leaves meanwhile.
        self.slots[step.slot].outside = true;
        let permit = admission.enter(step.policy(phase).timeout).await?;
        self.slots[step.slot].outside = false;
        Ok(permit)
    }
}

/// Tells the span of a phase what came of it; it is handed back if the phase goes on with the next piece of a body.
fn leave(
    mut span: PhaseSpan,
    outcome: &mut Result<Option<Outcome>, Failure>,
    extra: Extra<'_>,
) -> Option<PhaseSpan> {
    match outcome {
        Ok(None) => span = span.idle(),
        Ok(Some(Outcome::Next)) => span.ran("next"),
        Ok(Some(Outcome::End)) => span.ran("end"),
        Ok(Some(Outcome::Stream(handler, _))) => {
            handler.span = Some(span);
            return None;
        }
        Err(failure) => span.ran(failure.reason()),
    }
    let goes_on = matches!((outcome, extra.piece), (Ok(Some(_)), Some((_, false))));
    goes_on.then_some(span)
}

impl Handler {
    /// Follows the handler to its end, or to the head of a stream. What it wants changed is in the exchange's `changes`.
    async fn outcome(
        mut self,
        exchange: &mut Exchange,
        names: &HeaderNames,
    ) -> Result<Outcome, Failure> {
        let minor = self.invocation.lane().peer.minor;
        loop {
            match self.next(exchange).await? {
                Event::Done(verdict, commit) => {
                    exchange.changes = mutation::check(&commit, minor, names)?;
                    self.give_back(exchange);
                    return Ok(match verdict {
                        Verdict::Next => Outcome::Next,
                        Verdict::End | Verdict::StreamEnd => Outcome::End,
                        Verdict::Upgrade => {
                            return Err(Failure::Refused("no WebSocket can be had here".into()));
                        }
                    });
                }
                Event::StreamHead(call, commit) => match mutation::check(&commit, minor, names) {
                    Ok(changes) => {
                        exchange.changes = changes;
                        return Ok(Outcome::Stream(Box::new(self), call));
                    }
                    Err(failure) => {
                        let why = failure.to_string();
                        self.invocation.refuse(&call, wire::ERROR_BAD_RECORD, &why);
                        return Err(failure);
                    }
                },
                Event::StreamPiece(piece) => self.invocation.give_back(piece.len()),
                Event::Call(_) | Event::Room => {}
            }
        }
    }

    /// A streaming handler is done with, whatever it made of the stream.
    pub(super) fn leave(mut self, exchange: &mut Exchange) {
        self.invocation.cancel(wire::CANCEL_CLIENT_GONE);
        self.give_back(exchange);
    }

    /// Gives the session back, for the phases to come. The handler has ended.
    fn give_back(self, exchange: &mut Exchange) {
        if self.ahead {
            self.invocation.note_body(false);
        }
        if let Some(session) = self.invocation.into_session() {
            exchange.slots[self.slot].seat = Seat::Own(session);
        }
    }

    /// What the handler does next; what it asks is answered on the way.
    ///
    /// # Errors
    /// The [`Failure`] that ended it.
    pub(super) async fn next(&mut self, exchange: &mut Exchange) -> Result<Event, Failure> {
        loop {
            self.feeds.pour(&mut self.invocation, exchange);
            let waits = self.feeds.wait_for_client(exchange);
            if waits {
                self.invocation.pause();
            } else {
                self.invocation.resume();
            }
            let event = tokio::select! {
                event = self.invocation.next() => event?,
                read = exchange.tape.read(), if waits => {
                    read?;
                    continue;
                }
            };
            match event {
                Event::Call(call) => self.answer(exchange, call),
                Event::Room => {}
                other => return Ok(other),
            }
        }
    }

    fn answer(&mut self, exchange: &mut Exchange, call: HostCall) {
        let Self { invocation, feeds, .. } = self;
        let whole = call.method == wire::METHOD_READ_REQUEST_FULL_BODY;
        if whole {
            invocation.note_body(true);
        }
        match call.method {
            _ if whole && std::mem::take(&mut self.ahead) => invocation.answered(),
            wire::METHOD_GET_PAYLOAD => feeds.bytes(invocation, call, self.payload.clone().into()),
            wire::METHOD_READ_RESPONSE_FULL_BODY => {
                let body = exchange.draft_body.clone().unwrap_or_default();
                feeds.bytes(invocation, call, body);
            }
            _ if exchange.tape.gone() => {
                let why = format!(
                    "the request body was forwarded before {}: of one that nobody read, {} bytes are kept",
                    self.phase.name(),
                    tape::REMEMBERED_MAX
                );
                invocation.refuse(&call, wire::ERROR_BAD_STATE, &why);
            }
            wire::METHOD_READ_REQUEST_FULL_BODY if exchange.tape.lost(0) => {
                invocation.refuse(&call, wire::ERROR_BAD_STATE, NOT_KEPT);
            }
            wire::METHOD_READ_REQUEST_FULL_BODY => {
                exchange.tape.keep_all();
                feeds.add(call, Source::Request(Reader::Whole));
            }
            _ => feeds.add(call, Source::Request(Reader::Live)),
        }
    }
}

/// Why a body cannot be read from its begin.
const NOT_KEPT: &str = "what was read of the request body by Body() is not kept";

/// How a handler reads the request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// All of it at once, bounded.
    Whole,
    /// As it comes.
    Live,
}

#[derive(Debug)]
enum Source {
    Request(Reader),
    Bytes(Rope),
}

/// Bodies on their way to a handler, in the order it asked.
#[derive(Debug, Default)]
struct Feeds {
    open: VecDeque<(HostCall, Source, usize)>,
}

impl Feeds {
    fn add(&mut self, call: HostCall, source: Source) {
        self.open.push_back((call, source, 0));
    }

    /// Answers with `bytes`: in one frame where they fit.
    fn bytes(&mut self, invocation: &mut Invocation, call: HostCall, bytes: Rope) {
        if bytes.len() <= wire::LIMIT_RECORD {
            invocation.reply(&call, &bytes.into_bytes());
        } else {
            self.add(call, Source::Bytes(bytes));
        }
    }

    /// Sends what is there and fits into the worker's window.
    fn pour(&mut self, invocation: &mut Invocation, exchange: &mut Exchange) {
        while let Some((call, source, at)) = self.open.front_mut() {
            let tape = &mut exchange.tape;
            if matches!(source, Source::Request(_)) && tape.lost(*at) {
                invocation.refuse(call, wire::ERROR_BAD_STATE, NOT_KEPT);
                self.open.pop_front();
                continue;
            }
            let (end, complete) = match source {
                Source::Bytes(bytes) => (bytes.len(), true),
                Source::Request(Reader::Whole) if !tape.complete() => return,
                Source::Request(_) => (tape.end(), tape.complete()),
            };
            let room = invocation.room();
            if (*at == end && !complete) || (*at < end && room == 0) {
                return;
            }
            let piece = match source {
                Source::Bytes(bytes) => bytes.slice(*at, room),
                Source::Request(_) => tape.slice(*at, room),
            };
            *at += piece.len();
            let last = complete && *at == end;
            invocation.send_piece(call, &piece, last);
            if last {
                self.open.pop_front();
            } else if piece.is_empty() {
                return;
            }
        }
    }

    /// Whether the first of them needs more of the client's body.
    fn wait_for_client(&self, exchange: &Exchange) -> bool {
        let tape = &exchange.tape;
        match self.open.front() {
            Some((_, Source::Request(Reader::Whole), _)) => !tape.complete(),
            Some((_, Source::Request(Reader::Live), at)) => !tape.complete() && *at == tape.end(),
            _ => false,
        }
    }
}
