//! A client that becomes a WebSocket of a plugin: the upgrade, the hand-over to another worker, and the end.
//!
//! In: a handler that answered by an upgrade.  Out: the 101, and a task that lives as long as the socket.
//! Never: how a message looks on the client's connection or on the lane.

mod live;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::chain::{PluginStep, Step};
use super::exchange::{Exchange, Seat};
use super::phase::{Extra, Outcome};
use super::response::respond_with;
use super::tail::Guard;
use crate::body::Body;
use crate::config::{SlowClient, WebSockets};
use crate::error::Failure;
use crate::rooms::Hub;
use crate::rooms::Overflow;
use crate::session::{Phase, Session};
use crate::websocket::{Offer, Refusal, Socket, SocketLimits};
use live::{Live, Turn};

/// What the sockets of a host share.
#[derive(Clone, Debug)]
pub(crate) struct Sockets {
    /// Who is in which room.
    pub(crate) hub: Arc<Hub>,
    /// Whether each plugin has rooms of its own.
    pub(crate) per_plugin: bool,
    /// The host stops: clients are to go elsewhere.
    pub(crate) leaving: CancellationToken,
}

/// How long another worker is looked for that takes a socket over.
const RESUME: Duration = Duration::from_secs(5);
/// Between two looks.
const RESUME_EVERY: Duration = Duration::from_millis(50);

impl Guard {
    /// The client becomes a WebSocket of the plugin in `slot`, whose handler asked for it, or hears why it does not.
    pub(super) async fn upgrade(mut self, slot: usize) -> Response<Body> {
        let exchange = self.exchange();
        let chain = exchange.chain.clone();
        let Some(step) = chain.plugin_in(slot) else { return Response::new(Body::empty()) };
        let counts = &step.plugin.board.metrics.sockets;
        let extensions = &mut exchange.parts.extensions;
        let (offer, door) = (extensions.remove::<Offer>(), extensions.remove::<OnUpgrade>());
        let judged = match &offer {
            Some(offer) => offer.check(&chain.websockets.origins),
            None => Err(Refusal::of_plain(&exchange.parts.headers)),
        };
        let (offer, door) = match (judged, offer, door) {
            (Ok(()), Some(offer), Some(door)) => (offer, door),
            (judged, ..) => {
                counts.refused();
                return self.refuse(&judged.err().unwrap_or(Refusal::NO_DOOR)).await;
            }
        };
        let places = step.binding.bounds.websockets.clone();
        let Ok(place) = places.try_acquire_owned() else {
            counts.refused();
            let exchange = self.exchange();
            let failure = Failure::Busy;
            let lane = exchange.slots[slot].lane.clone();
            let account = exchange.account();
            account.failed(
                step,
                Phase::RequestFilter,
                &failure,
                false,
                lane.as_deref().map(|l| &**l),
            );
            let response = exchange.fail(&failure.into());
            return self.respond(response).await;
        };
        let exchange = self.exchange();
        exchange.become_websocket();
        let (head, protocol) = offer.accept(std::mem::take(&mut exchange.headers));
        exchange.headers = head.into_parts().0.headers;
        exchange.seal();
        exchange.streams();
        exchange.chain = chain.for_long();
        let response = respond_with((exchange.status, exchange.headers.clone()), Body::empty());
        let tasks = chain.tasks.clone();
        counts.opened();
        tasks.spawn(self.take().websocket(slot, door, protocol.unwrap_or_default(), place));
        response
    }

    async fn refuse(mut self, refusal: &Refusal) -> Response<Body> {
        self.exchange().forget_response(refusal.reason.to_owned());
        self.respond(refusal.response()).await
    }
}

impl Exchange {
    /// The head of the 101, as plugins and built-ins made it. It goes through no ResponseFilter: the response is the
    /// conversation (CONTRACT 3: what follows an answer in the chain is skipped).
    fn become_websocket(&mut self) {
        let chain = self.chain.clone();
        self.apply_draft();
        self.status = StatusCode::SWITCHING_PROTOCOLS;
        self.draft_body = None;
        for step in &chain.steps {
            if let Step::ResponseHeaders(modifier) = step {
                let mut headers = std::mem::take(&mut self.headers);
                modifier.apply(&mut headers, self);
                self.headers = headers;
            }
        }
    }

    /// The life of a socket.
    async fn websocket(
        mut self,
        slot: usize,
        door: OnUpgrade,
        protocol: String,
        place: OwnedSemaphorePermit,
    ) {
        let chain = self.chain.clone();
        let Some(step) = chain.plugin_in(slot) else { return };
        let metrics = step.plugin.board.metrics.clone();
        let session = self.take_session(slot);
        let upgraded = match (door.await, session) {
            (Ok(upgraded), Some(session)) => Ok((upgraded, session)),
            (_, session) => Err(session),
        };
        match upgraded {
            Ok((upgraded, session)) => {
                let options = &chain.websockets;
                let WebSockets { max_message, max_frame, .. } = **options;
                let socket = Socket::over(upgraded, &SocketLimits { max_message, max_frame });
                let Sockets { hub, per_plugin, .. } = &chain.sockets;
                let namespace = per_plugin.then_some(&*step.plugin.name);
                let overflow = match options.slow_client {
                    SlowClient::Block => Overflow::Block,
                    SlowClient::DropOldest => Overflow::DropOldest,
                    SlowClient::Close => Overflow::Close,
                };
                let member = hub.attach(hub.next_id(), namespace, overflow, options.send_queue);
                let mut live = Live::new(&chain, metrics.clone(), socket, member, protocol);
                let mut vacant = live.open(session, &step.binding, false).is_err();
                loop {
                    if !vacant && live.turn().await == Turn::Over {
                        break;
                    }
                    vacant = false;
                    if !Box::pin(self.resume(step, &mut live)).await {
                        live.orphaned();
                    }
                }
                self.sent = live.sent();
                self.error = live.error();
                let (end, session) = live.end();
                metrics.sockets.ended(end);
                self.put_session(slot, session);
            }
            Err(session) => {
                self.error = Some("the client left".into());
                metrics.sockets.ended(crate::metrics::SocketEnd::Client);
                self.put_session(slot, session);
            }
        }
        drop(place);
        if let Some(access) = self.account().access() {
            access.left(self.sent);
        }
        Box::pin(self.log()).await;
    }

    /// Looks for another worker of the plugin that takes the socket over, for [`RESUME`] at most: its RequestFilter runs with the
    /// same request once more and is to upgrade again.
    async fn resume(&mut self, step: &PluginStep, live: &mut Live) -> bool {
        if !live.may_resume() {
            return false;
        }
        let end = Instant::now() + RESUME;
        let Ok(_turn) = step.plugin.resumes.acquire().await else { return false };
        while Instant::now() < end {
            if step.plugin.binding().is_none() {
                return false; // It is no plugin any more.
            }
            // What a reload brought up has another binding.
            let rebound = step.rebound();
            let step = rebound.as_ref().unwrap_or(step);
            match self.upgrade_again(step).await {
                Ok(Some(session)) => {
                    if live.open(session, &step.binding, true).is_ok() {
                        step.plugin.board.metrics.sockets.resumed();
                        return true;
                    }
                }
                Ok(None) => return false,
                Err(failure) => tracing::debug!(%failure, "a socket is not taken over yet"),
            }
            tokio::time::sleep(RESUME_EVERY).await;
        }
        false
    }

    /// `None` when the handler did anything but upgrade.
    async fn upgrade_again(&mut self, step: &PluginStep) -> Result<Option<Session>, Failure> {
        for slot in &mut self.slots {
            let same = slot.lane.as_ref().is_some_and(|l| *l.peer.plugin == *step.plugin.name);
            if same {
                (slot.lane, slot.head, slot.seat) = (None, None, Seat::Empty);
            }
        }
        let outcome = self.run(step, Phase::RequestFilter, Extra::default()).await;
        self.changes = super::mutation::Changes::default();
        match outcome? {
            Some(Outcome::Upgrade) => {
                self.streams();
                Ok(self.take_session(step.slot))
            }
            _ => Ok(None),
        }
    }

    fn take_session(&mut self, slot: usize) -> Option<Session> {
        match std::mem::take(&mut self.slots[slot].seat) {
            Seat::Own(session) => Some(session),
            _ => None,
        }
    }

    /// For Logging, if the session still wants it.
    fn put_session(&mut self, slot: usize, session: Option<Session>) {
        if let Some(session) = session {
            self.slots[slot].seat = Seat::Own(session);
        }
    }
}
