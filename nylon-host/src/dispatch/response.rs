//! The response on its way back: ResponseFilter on its head, ResponseBodyFilter on its pieces, Logging at its end.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap};
use http::{Method, Response, StatusCode};
use http_body::Frame;
use nylon_protocol::wire;

use super::chain::{Chain, Step};
use super::exchange::Exchange;
use super::phase::{Extra, Handler, Outcome};
use super::tail::{Guard, LogTail};
use super::{ServiceError, error_response, too_long};
use crate::body::{Body, BodyError, Pump};
use crate::error::Failure;
use crate::rope::Rope;
use crate::session::{Event, HostCall, Phase, Verdict};

impl Guard {
    /// Sends a response back through the chain.
    pub(super) async fn respond(mut self, response: Response<Body>) -> Response<Body> {
        let exchange = self.exchange();
        let (parts, mut body) = response.into_parts();
        (exchange.status, exchange.headers) = (parts.status, parts.headers);
        if let Some(replaced) = exchange.draft_body.clone() {
            body = exchange.replace_body(replaced);
        }
        exchange.apply_draft();
        let filtered = exchange.response_filters(None).await;
        self.send(filtered.body.unwrap_or(body))
    }

    /// Sends the head as it now is, and the body through those who want it.
    fn send(mut self, mut body: Body) -> Response<Body> {
        let exchange = self.exchange();
        exchange.seal();
        let bare = exchange.is_bare();
        if bare && exchange.parts.method != Method::HEAD {
            body = Body::empty();
            exchange.headers.remove(header::CONTENT_LENGTH);
        }
        let ended = bare || http_body::Body::is_end_stream(&body);
        if !ended && exchange.wanted(Phase::ResponseBodyFilter) {
            exchange.headers.remove(header::CONTENT_LENGTH);
            let (pump, filtered) = Body::pumped();
            let head = exchange.head_parts();
            let tasks = exchange.chain.tasks.clone();
            tasks.spawn(self.take().pump(body, pump));
            return respond_with(head, filtered);
        }
        if !exchange.wanted(Phase::Logging) && exchange.trace.is_none() {
            let head = (exchange.status, std::mem::take(&mut exchange.headers));
            self.done();
            return respond_with(head, body);
        }
        let head = exchange.head_parts();
        let exchange = self.take();
        if ended {
            exchange.chain.tasks.clone().spawn(exchange.log());
        } else {
            body = body.tailed(Box::new(LogTail::new(exchange)));
        }
        respond_with(head, body)
    }

    /// Sends the head of a streamed response, then its pieces as the handler writes them.
    pub(super) async fn stream(
        mut self,
        mut handler: Box<Handler>,
        call: HostCall,
    ) -> Response<Body> {
        let exchange = self.exchange();
        exchange.status = StatusCode::OK;
        exchange.apply_draft();
        exchange.headers.remove(header::CONTENT_LENGTH);
        let filtered = exchange.response_filters(Some(handler.slot)).await;
        if let Some(body) = filtered.body.filter(|_| filtered.failed) {
            let why = "a response filter of the chain failed: there is no stream";
            handler.invocation.refuse(&call, wire::ERROR_BAD_STATE, why);
            drop(handler);
            return self.send(body);
        }
        handler.invocation.reply(&call, &[]);
        let exchange = self.exchange();
        exchange.streams();
        exchange.seal();
        let (tasks, head) = (exchange.chain.tasks.clone(), exchange.head_parts());
        let bare = exchange.is_bare();
        let (pump, body) = Body::pumped();
        tasks.spawn(self.take().pump_stream(handler, pump));
        if bare {
            // Nobody reads it: the handler may end it in its own time, but not go on for ever.
            tasks.spawn(tokio::time::timeout(BARE_STREAM, drain(body)));
            return respond_with(head, Body::empty());
        }
        respond_with(head, body)
    }
}

impl Exchange {
    /// Whether the response has no body, whatever anybody made for it.
    fn is_bare(&self) -> bool {
        self.parts.method == Method::HEAD
            || matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    fn head_parts(&self) -> (StatusCode, HeaderMap) {
        (self.status, self.headers.clone())
    }

    /// A body of a plugin's making: what described the old one goes.
    fn replace_body(&mut self, body: Rope) -> Body {
        for name in [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::ETAG] {
            self.headers.remove(name);
        }
        self.draft_body = Some(body.clone());
        body.into()
    }

    pub(super) fn apply_draft(&mut self) {
        for op in std::mem::take(&mut self.draft) {
            op.apply(&mut self.status, &mut self.headers);
        }
    }

    /// ResponseFilter of the middleware. `streaming` is the pair whose handler runs: it takes no other phase.
    async fn response_filters(&mut self, streaming: Option<usize>) -> Filtered {
        let chain = self.chain.clone();
        let mut filtered = Filtered::default();
        for step in &chain.steps {
            let step = match step {
                Step::ResponseHeaders(modifier) => {
                    let mut headers = self.headers.clone();
                    modifier.apply(&mut headers, self);
                    self.headers = headers;
                    continue;
                }
                Step::Plugin(step)
                    if !self.slots[step.slot].failed && Some(step.slot) != streaming =>
                {
                    step
                }
                _ => continue,
            };
            let outcome = self.run(step, Phase::ResponseFilter, Extra::default()).await;
            let ended = match outcome {
                Ok(None | Some(Outcome::Stream(..) | Outcome::Upgrade)) => continue,
                Ok(Some(Outcome::Next)) => false,
                Ok(Some(Outcome::End)) => true,
                Err(failure) => {
                    if let Some(failure) = self.pass(step, Phase::ResponseFilter, failure) {
                        filtered =
                            Filtered { body: Some(self.become_error(failure)), failed: true };
                    }
                    continue;
                }
            };
            let body = self.changes.body.take();
            if let Some(body) = body.filter(|_| streaming.is_none() || filtered.failed) {
                filtered.body = Some(self.replace_body(body));
            }
            for op in std::mem::take(&mut self.changes.head) {
                op.apply(&mut self.status, &mut self.headers);
            }
            if ended {
                break;
            }
        }
        filtered
    }

    fn become_error(&mut self, failure: Failure) -> Body {
        let error = ServiceError::from(failure);
        self.error = Some(error.message.clone());
        let (parts, body) = error_response(&error).into_parts();
        (self.status, self.headers) = (parts.status, parts.headers);
        body
    }

    /// Whether any pair of the chain may want `phase`: one that was not asked yet, or is busy, may. What failed closed
    /// gets only Logging.
    fn wanted(&self, phase: Phase) -> bool {
        self.chain.plugins().any(|step| {
            let slot = &self.slots[step.slot];
            (!slot.failed || phase == Phase::Logging)
                && slot.seat.ask(|s| s.wants(phase) || s.voided()).unwrap_or(true)
        })
    }

    /// Passes a body through ResponseBodyFilter, piece by piece, then logs.
    async fn pump(mut self, mut body: Body, pump: Pump) {
        let chain = self.chain.clone();
        loop {
            let frame = tokio::select! {
                frame = body.next() => frame,
                () = pump.closed() => Some(Err(Failure::ClientGone.into())),
            };
            let frame = match frame {
                None => break,
                Some(Ok(frame)) => frame,
                Some(Err(e)) => {
                    self.error = Some(e.to_string());
                    let _ = pump.send(Err(e)).await;
                    break;
                }
            };
            let last = http_body::Body::is_end_stream(&body);
            let sent = match frame.into_data() {
                Ok(piece) => tokio::select! {
                    sent = self.pump_piece(&chain, piece, last, &pump) => sent,
                    () = pump.closed() => Err(Failure::ClientGone),
                },
                Err(trailers) => pump.send(Ok(trailers)).await.map_err(|_| Failure::ClientGone),
            };
            if let Err(failure) = sent {
                self.error = Some(failure.to_string());
                // Cut off, never ended cleanly.
                let _ = pump.send(Err(BodyError::from(failure))).await;
                break;
            }
        }
        drop(pump);
        self.log().await;
    }

    async fn pump_piece(
        &mut self,
        chain: &Chain,
        mut piece: Bytes,
        last: bool,
        pump: &Pump,
    ) -> Result<(), Failure> {
        loop {
            let part = piece.split_to(piece.len().min(wire::LIMIT_PIECE));
            let out = self.filter_piece(chain, part, last && piece.is_empty()).await?;
            if !out.is_empty() {
                let bytes = out.len() as u64;
                pump.send(Ok(Frame::data(out))).await.map_err(|_| Failure::ClientGone)?;
                self.sent += bytes;
            }
            if piece.is_empty() {
                return Ok(());
            }
        }
    }

    /// One piece through the ResponseBodyFilter of all middleware: each gets it as the one before left it.
    async fn filter_piece(
        &mut self,
        chain: &Chain,
        mut piece: Bytes,
        last: bool,
    ) -> Result<Bytes, Failure> {
        for step in chain.plugins() {
            if self.slots[step.slot].failed {
                continue;
            }
            let mut whole = std::mem::take(&mut piece);
            let mut out = BytesMut::new();
            let mut ended = false;
            // A middleware may have made the piece larger than one step carries.
            loop {
                let part = whole.split_to(whole.len().min(wire::LIMIT_PIECE));
                let extra = Extra { piece: Some((&part, last && whole.is_empty())), stats: false };
                let changed = match self.run(step, Phase::ResponseBodyFilter, extra).await {
                    Ok(Some(Outcome::Next)) => self.changes.body.take(),
                    Ok(Some(Outcome::End)) => {
                        ended = true;
                        self.changes.body.take()
                    }
                    Ok(_) => None,
                    Err(failure) => match self.pass(step, Phase::ResponseBodyFilter, failure) {
                        None => None,
                        Some(failure) => return Err(failure),
                    },
                };
                let filtered = changed.map_or(part, Rope::into_bytes);
                if whole.is_empty() && out.is_empty() {
                    piece = filtered;
                    break;
                }
                if out.len() + filtered.len() > wire::LIMIT_STAGED {
                    return Err(too_long());
                }
                out.extend_from_slice(&filtered);
                if whole.is_empty() {
                    piece = out.freeze();
                    break;
                }
            }
            if ended {
                break;
            }
        }
        Ok(piece)
    }

    /// Hands the pieces of a streaming handler to the client until it ends the stream, then logs.
    async fn pump_stream(mut self, mut handler: Box<Handler>, pump: Pump) {
        let bare = self.is_bare();
        let outcome = loop {
            let event = tokio::select! {
                event = handler.next(&mut self) => event,
                () = pump.closed() => Err(Failure::ClientGone),
            };
            match event {
                Ok(Event::StreamPiece(piece)) => {
                    let bytes = piece.len();
                    if bytes > 0 {
                        handler.invocation.pause();
                        let sent = pump.send(Ok(Frame::data(piece))).await;
                        handler.invocation.resume();
                        if sent.is_err() {
                            continue;
                        }
                    }
                    self.sent += if bare { 0 } else { bytes as u64 };
                    handler.invocation.give_back(bytes);
                }
                Ok(Event::Done(Verdict::StreamEnd, _)) => break "stream",
                Ok(Event::Call(_) | Event::Room) => {}
                Ok(Event::Done(..) | Event::StreamHead(..)) => {
                    let failure = Failure::Refused("NEXT or END after Stream()".into());
                    break self.cut(&pump, handler.slot, failure).await;
                }
                Err(failure) => break self.cut(&pump, handler.slot, failure).await,
            }
        };
        if let Some(span) = &mut handler.span {
            span.ran(outcome);
        }
        drop(pump);
        handler.leave(&mut self);
        self.log().await;
    }

    /// Ends a response that has begun, so that nobody takes it for a whole one; the reason in a word.
    async fn cut(&mut self, pump: &Pump, slot: usize, failure: Failure) -> &'static str {
        let (chain, account) = (self.chain.clone(), self.account());
        let step = chain.plugins().chain(&chain.service).find(|step| step.slot == slot);
        if let Some(step) = step.filter(|_| failure.is_of_plugin()) {
            let lane = self.slots[slot].lane.as_deref().map(|l| &**l);
            account.failed(step, Phase::RequestFilter, &failure, false, lane);
        }
        let reason = failure.reason();
        self.error = Some(failure.to_string());
        let _ = pump.send(Err(BodyError::from(failure))).await;
        reason
    }

    /// Logging of the middleware, in order; END stops those that follow.
    pub(super) async fn log(mut self) {
        let chain = self.chain.clone();
        if let Some(trace) = &mut self.trace {
            trace.outcome = match (&self.error, trace.status) {
                (None, _) => "ok",
                (Some(_), None) => "client_gone",
                (Some(_), Some(_)) => "error",
            };
        }
        for step in chain.plugins() {
            let extra = Extra { piece: None, stats: true };
            match self.run(step, Phase::Logging, extra).await {
                Ok(Some(Outcome::End)) => break,
                Ok(_) => {}
                Err(failure) => {
                    self.pass(step, Phase::Logging, failure);
                }
            }
        }
    }
}

/// What ResponseFilter made of a body.
#[derive(Debug, Default)]
struct Filtered {
    /// The body, if one of them replaced it or failed.
    body: Option<Body>,
    /// One failed closed: the response is its error.
    failed: bool,
}

/// How long a handler may stream what nobody reads.
const BARE_STREAM: Duration = Duration::from_secs(5);

async fn drain(mut body: Body) {
    while let Some(Ok(_)) = body.next().await {}
}

pub(super) fn respond_with(
    (status, headers): (StatusCode, HeaderMap),
    body: Body,
) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
