//! The request's body on its way to the service, through RequestBodyFilter where a session wants it.

use std::sync::Arc;

use bytes::Bytes;
use http::header;
use http_body::Frame;
use nylon_protocol::wire;
use tokio::sync::Mutex;

use super::chain::Chain;
use super::exchange::Exchange;
use super::mutation;
use super::too_long;
use crate::body::{Body, BodyError, Pump};
use crate::error::Failure;
use crate::session::{
    Event, Head, Invocation, PayloadPart, Phase, Record, Session, Step as Parts, Verdict,
};

/// A session that filters the request body, with the payload of its step.
struct Filter {
    /// Which plugin item of the chain.
    index: usize,
    session: Arc<Mutex<Session>>,
    payload: Bytes,
}

/// Takes the body out of the exchange's tape.
pub(super) fn filtered(exchange: &mut Exchange, chain: &Arc<Chain>) -> Body {
    let mut filters = Vec::new();
    for (index, step) in chain.plugins().enumerate() {
        let Some(session) = &exchange.slots[step.slot].session else { continue };
        if session.try_lock().map_or(true, |s| s.wants(Phase::RequestBodyFilter)) {
            let payload = exchange.payload(step);
            filters.push(Filter { index, session: session.clone(), payload });
        }
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
        match self.filter(step.policy(phase).timeout, &piece, last).await {
            Ok(Some(body)) => Ok(body),
            Ok(None) => Ok(piece),
            Err(failure) => match step.judge(phase, failure) {
                None => Ok(piece),
                Some(failure) => Err(failure),
            },
        }
    }

    async fn filter(
        &self,
        budget: std::time::Duration,
        piece: &[u8],
        last: bool,
    ) -> Result<Option<Bytes>, Failure> {
        let guard = self.session.clone().lock_owned().await;
        if !guard.wants(Phase::RequestBodyFilter) {
            return Ok(None);
        }
        let minor = guard.lane().identity.minor;
        let parts = Parts {
            record: Record::Bytes(&[]),
            payload: if self.payload.is_empty() {
                PayloadPart::None
            } else {
                PayloadPart::Json(&self.payload)
            },
            head: Head::None,
            piece: Some((piece, last)),
            stats: None,
            keep: false,
        };
        let mut invocation =
            Invocation::begin(guard, Phase::RequestBodyFilter, budget, &parts).await?;
        loop {
            match invocation.next().await? {
                Event::Done(Verdict::Next | Verdict::End, commit) => {
                    return Ok(mutation::check(&commit, minor)?.request_body());
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
                Event::Done(Verdict::StreamEnd, _) | Event::StreamHead(..) => {
                    return Err(Failure::Refused("Stream() is for request filters".into()));
                }
            }
        }
    }
}
