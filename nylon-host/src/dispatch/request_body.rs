//! The request's body on its way to the service, through RequestBodyFilter where a session wants it.

use std::sync::Arc;

use bytes::Bytes;
use http::header;
use http_body::Frame;
use nylon_protocol::wire;
use tokio::sync::Mutex;

use super::account::Account;
use super::chain::{Chain, PluginStep};
use super::exchange::Exchange;
use super::mutation;
use super::phase::INLINE_WITH_PIECE;
use super::too_long;
use super::trace::PhaseSpan;
use crate::body::{Body, BodyError, Pump};
use crate::error::Failure;
use crate::lane::Pin;
use crate::metrics;
use crate::session::{Event, Held, Invocation, Phase, Session, Verdict};

/// A session that filters the request body, with the payload of its step.
struct Filter {
    /// Which plugin item of the chain.
    index: usize,
    session: Arc<Mutex<Session>>,
    payload: Bytes,
    lane: Option<Pin>,
    account: Arc<Account>,
    span: Option<Mutex<PhaseSpan>>,
}

/// Takes the body out of the exchange's tape.
pub(super) fn filtered(exchange: &mut Exchange, chain: &Arc<Chain>) -> Body {
    let mut filters = Vec::new();
    for (index, step) in chain.plugins().enumerate() {
        let seat = &mut exchange.slots[step.slot].seat;
        if seat.ask(|s| s.wants(Phase::RequestBodyFilter)) == Some(false) {
            continue;
        }
        let Some(session) = seat.share() else { continue };
        let span = exchange.trace.as_ref().map(|trace| trace.phase(step, Phase::RequestBodyFilter));
        let span = span.map(|span| Mutex::new(span.idle()));
        let (lane, account) = (exchange.slots[step.slot].lane.clone(), exchange.account());
        let payload = exchange.payload(step);
        filters.push(Filter { index, session, payload, lane, account, span });
    }
    let body = exchange.tape.forward();
    if filters.is_empty() || http_body::Body::is_end_stream(&body) {
        return body;
    }
    // Its length is no longer known.
    exchange.parts.headers.remove(header::CONTENT_LENGTH);
    let (pump, filtered) = Body::pumped();
    chain.tasks.spawn(run(chain.clone(), filters, body, pump));
    filtered
}

async fn run(chain: Arc<Chain>, filters: Vec<Filter>, mut body: Body, pump: Pump) {
    while let Some(frame) = body.next().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(e) => {
                let _ = pump.send(Err(e)).await;
                return;
            }
        };
        let last = http_body::Body::is_end_stream(&body);
        let sent = match frame.into_data() {
            Ok(piece) => send(&chain, &filters, piece, last, &pump).await,
            Err(trailers) => pump.send(Ok(trailers)).await.map_err(|_| Failure::ClientGone),
        };
        if let Err(failure) = sent {
            let _ = pump.send(Err(BodyError::from(failure))).await;
            return;
        }
    }
}

async fn send(
    chain: &Chain,
    filters: &[Filter],
    mut piece: Bytes,
    last: bool,
    pump: &Pump,
) -> Result<(), Failure> {
    loop {
        let mut part = piece.split_to(piece.len().min(wire::LIMIT_PIECE));
        let last = last && piece.is_empty();
        for filter in filters {
            part = filter.apply(chain, part, last).await?;
        }
        if !part.is_empty() {
            pump.send(Ok(Frame::data(part))).await.map_err(|_| Failure::ClientGone)?;
        }
        if piece.is_empty() {
            return Ok(());
        }
    }
}

impl Filter {
    /// One piece; a larger one (a filter before made it so) goes in parts.
    async fn apply(&self, chain: &Chain, mut piece: Bytes, last: bool) -> Result<Bytes, Failure> {
        let mut out = Vec::new();
        loop {
            let part = piece.split_to(piece.len().min(wire::LIMIT_PIECE));
            let filtered = self.run(chain, part, last && piece.is_empty()).await?;
            if piece.is_empty() && out.is_empty() {
                return Ok(filtered);
            }
            if out.len() + filtered.len() > wire::LIMIT_STAGED {
                return Err(too_long());
            }
            out.extend_from_slice(&filtered);
            if piece.is_empty() {
                return Ok(out.into());
            }
        }
    }

    async fn run(&self, chain: &Chain, piece: Bytes, last: bool) -> Result<Bytes, Failure> {
        let Some(step) = chain.plugins().nth(self.index) else { return Ok(piece) };
        let phase = Phase::RequestBodyFilter;
        let filtered = self.filter(step, &piece, last).await;
        if let (Some(span), Ok(Some(_)) | Err(_)) = (&self.span, &filtered) {
            span.lock().await.ran(filtered.as_ref().map_or_else(Failure::reason, |_| "next"));
        }
        match filtered {
            Ok(Some(body)) => Ok(body),
            Ok(None) => Ok(piece),
            Err(failure) => {
                match step.judge(phase, failure, &self.account, self.lane.as_deref().map(|l| &**l))
                {
                    None => Ok(piece),
                    Some(failure) => Err(failure),
                }
            }
        }
    }

    async fn filter(
        &self,
        step: &PluginStep,
        piece: &[u8],
        last: bool,
    ) -> Result<Option<Bytes>, Failure> {
        let phase = Phase::RequestBodyFilter;
        let (begun, queued) = metrics::waited(async {
            let session = self.session.clone().lock_owned().await;
            if !session.wants(phase) {
                return Ok(None);
            }
            let session = Held::Shared(session);
            Invocation::begin(session, phase, step.policy(phase).timeout).await.map(Some)
        })
        .await;
        let Some(mut invocation) = begun? else { return Ok(None) };
        invocation.queued(queued);
        let minor = invocation.lane().peer.minor;
        invocation.send(false, |record| {
            match self.payload.len() {
                0 => {}
                n if n > INLINE_WITH_PIECE => drop(record.payload_call()),
                _ => drop(record.payload(&self.payload)),
            }
            record.piece(piece, last);
        })?;
        loop {
            match invocation.next().await? {
                Event::Done(Verdict::Next | Verdict::End, commit) => {
                    return Ok(mutation::check(&commit, minor, &step.names)?.request_body());
                }
                Event::Call(call) if call.method == wire::METHOD_GET_PAYLOAD => {
                    invocation.reply(&call, &self.payload);
                }
                Event::Call(call) => {
                    invocation.refuse(
                        &call,
                        wire::ERROR_BAD_STATE,
                        "the request body is being forwarded",
                    );
                }
                Event::Room | Event::StreamPiece(_) => {}
                Event::Done(Verdict::StreamEnd | Verdict::Upgrade, _) | Event::StreamHead(..) => {
                    return Err(Failure::Refused("Stream() is for request filters".into()));
                }
            }
        }
    }
}
