//! One phase of one step: begins it, answers what the handler asks meanwhile, and hands back what it decided.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use nylon_protocol::record::Names;
use nylon_protocol::wire;
use tokio::sync::Mutex;

use super::chain::{Payload, PluginStep};
use super::exchange::Exchange;
use super::mutation::{self, Changes};
use super::tape;
use crate::error::Failure;
use crate::session::{
    Event, Head, HostCall, Invocation, PayloadPart, Phase, Record, Session, Step, Verdict,
};

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
    /// NEXT, with what to change.
    Next(Changes),
    /// END, with what to change.
    End(Changes),
    /// The handler streams the response from now on: answer the call once the head is out.
    Stream(Box<Handler>, HostCall, Changes),
}

/// A handler that runs, and what it asked for and did not get yet.
#[derive(Debug)]
pub(super) struct Handler {
    pub(super) invocation: Invocation,
    phase: Phase,
    payload: Bytes,
    minor: u16,
    feeds: Feeds,
}

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
        let Some(handler) = self.begin(step, phase, extra).await? else { return Ok(None) };
        handler.outcome(self).await.map(Some)
    }

    async fn begin(
        &mut self,
        step: &PluginStep,
        phase: Phase,
        extra: Extra<'_>,
    ) -> Result<Option<Handler>, Failure> {
        let session = self.session(step)?;
        let guard = session.lock_owned().await;
        if !guard.wants(phase) {
            return Ok(None);
        }
        let features = guard.lane().identity.features;
        let names = Names::agreed(features);
        let fresh = !guard.holds_record();
        let holder = if fresh { self.record_holder(step.slot, guard.lane()) } else { None };
        if fresh && holder.is_none() {
            self.encode(names)?;
        }
        let payload = self.payload(step);
        let head = self.head(phase, names);
        let keeps = features & wire::FEATURE_RESPONSE_KEPT != 0;
        let kept = keeps && !fresh && head.is_some() && head == self.slots[step.slot].head;
        let error = self.error.clone().unwrap_or_default();
        let parts = Step {
            record: holder.map_or(Record::Bytes(self.record()), Record::Of),
            payload: match step.item.payload {
                Payload::None => PayloadPart::None,
                Payload::Id(id) => PayloadPart::Id(id),
                _ => PayloadPart::Json(&payload),
            },
            head: match &head {
                None => Head::None,
                Some(_) if kept => Head::Kept,
                Some(head) => Head::Bytes(head),
            },
            piece: extra.piece,
            stats: extra.stats.then(|| (self.sent, self.duration_ms(), error.as_str())),
            keep: step.shared,
        };
        let budget = step.policy(phase).timeout;
        let minor = guard.lane().identity.minor;
        let invocation = Invocation::begin(guard, phase, budget, &parts).await?;
        self.recorded(step.slot);
        if keeps && (fresh || head.is_some()) {
            self.slots[step.slot].head = head;
        }
        Ok(Some(Handler { invocation, phase, payload, minor, feeds: Feeds::default() }))
    }

    fn session(&mut self, step: &PluginStep) -> Result<Arc<Mutex<Session>>, Failure> {
        let slot = &self.slots[step.slot];
        let usable = |s: &&Arc<Mutex<Session>>| !s.try_lock().is_ok_and(|s| s.voided());
        if let Some(session) = slot.session.as_ref().filter(usable) {
            return Ok(session.clone());
        }
        let lane = self.lane(step).ok_or(Failure::NotReady)?;
        let session = Arc::new(Mutex::new(Session::new(lane, &step.item.entry)?));
        self.slots[step.slot].session = Some(session.clone());
        Ok(session)
    }
}

impl Handler {
    /// Follows the handler to its end, or to the head of a stream.
    async fn outcome(mut self, exchange: &mut Exchange) -> Result<Outcome, Failure> {
        loop {
            match self.next(exchange).await? {
                Event::Done(Verdict::Next, commit) => {
                    return Ok(Outcome::Next(mutation::check(&commit, self.minor)?));
                }
                Event::Done(Verdict::End | Verdict::StreamEnd, commit) => {
                    return Ok(Outcome::End(mutation::check(&commit, self.minor)?));
                }
                Event::StreamHead(call, commit) => match mutation::check(&commit, self.minor) {
                    Ok(changes) => return Ok(Outcome::Stream(Box::new(self), call, changes)),
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
        match call.method {
            wire::METHOD_GET_PAYLOAD => feeds.bytes(invocation, call, self.payload.clone()),
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
    Bytes(Bytes),
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
    fn bytes(&mut self, invocation: &mut Invocation, call: HostCall, bytes: Bytes) {
        if bytes.len() <= wire::LIMIT_RECORD {
            invocation.reply(&call, &bytes);
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
                Source::Bytes(bytes) => bytes.slice(*at..end.min(*at + room)),
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
