//! One socket that lives: what its client and its worker say to each other, and how either end comes to its close.
//!
//! All of it is one task that polls: no message waits for a task of its own, and an idle socket costs its buffers.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::config::{OnWorkerLoss, WebSockets};
use crate::dispatch::Chain;
use crate::error::Failure;
use crate::metrics::{PluginMetrics, SocketEnd, Way};
use crate::rooms::{Hub, Member, Out, Pushed, RoomName};
use crate::session::{Conversation, HostCall, Said, Session};
use crate::supervisor::Binding;
use crate::websocket::{Broken, Closing, Incoming, Kind, Message, Socket, frame};

type Signal = Pin<Box<WaitForCancellationFutureOwned>>;

/// Where a turn of a socket leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is closed, and its worker has heard of it.
    Over,
    /// Its client is there and its worker is not.
    Vacant,
}

/// A close on its way to the client.
#[derive(Debug)]
struct Farewell {
    closing: Option<Closing>,
    /// The worker may have its last word first, until then: what it answers to messages from before the close is not lost.
    waits_until: Option<Instant>,
    /// The close frame went out: its answer is waited for until then.
    sent: Option<Instant>,
}

/// What is said of a socket's end, the first time.
#[derive(Debug)]
struct Ending {
    end: SocketEnd,
    error: Option<String>,
}

pub(super) struct Live {
    socket: Socket,
    /// The client can be written to.
    connected: bool,
    /// Messages of the client are taken.
    reading: bool,
    conversation: Option<Conversation>,
    /// The worker was told of the close: it has until then to run `OnClose`.
    told: Option<Instant>,
    /// The worker was told that another takes over: it has until then to let go.
    handing_over: Option<Instant>,
    session: Option<Session>,
    farewell: Option<Farewell>,
    ending: Option<Ending>,
    member: Member,
    hub: Arc<Hub>,
    /// Of the worker's window what its broadcasts are to wait for, and until when.
    held: u32,
    held_until: Option<Instant>,
    /// Answers to `RoomSize` on their way.
    sizes: VecDeque<(HostCall, BoxFuture<'static, u64>)>,
    options: Arc<WebSockets>,
    metrics: Arc<PluginMetrics>,
    protocol: String,
    leaving: Option<Signal>,
    /// The workers it has are no longer those that serve.
    superseded: Option<Signal>,
    clock: Pin<Box<Sleep>>,
    /// The next ping, and by when an answer to the last is due.
    ping_at: Instant,
    pong_due: Option<Instant>,
    /// Bytes that had come when it was last seen to be there.
    heard_bytes: u64,
    sent: u64,
}

/// What is done for one socket before others get their turn.
const BATCH: usize = 64;
/// A client that has said nothing by then is pinged for the first time.
const FIRST_PING: Duration = Duration::from_secs(1);
/// How long a close waits for what the worker has still to say.
const LAST_WORD: Duration = Duration::from_millis(500);
/// Bytes of the largest message a plugin may send.
const MESSAGE_MAX: usize = 16 << 20;
/// How long a worker has to let go of a socket that another takes over.
const HAND_OVER: Duration = Duration::from_secs(5);

impl Live {
    pub(super) fn new(
        chain: &Chain,
        metrics: Arc<PluginMetrics>,
        socket: Socket,
        member: Member,
        protocol: String,
    ) -> Self {
        let now = Instant::now();
        let options = chain.websockets.clone();
        let ping_at = now + FIRST_PING.min(options.ping_interval);
        Self {
            socket,
            connected: true,
            reading: true,
            conversation: None,
            told: None,
            handing_over: None,
            session: None,
            farewell: None,
            ending: None,
            member,
            hub: chain.sockets.hub.clone(),
            held: 0,
            held_until: None,
            sizes: VecDeque::new(),
            options,
            metrics,
            protocol,
            leaving: signal(&chain.sockets.leaving),
            superseded: None,
            clock: Box::pin(sleep_until(ping_at)),
            ping_at,
            pong_due: None,
            heard_bytes: 0,
            sent: 0,
        }
    }

    /// A worker has the socket from now on, one of `binding`; `resumed`: another had it before.
    pub(super) fn open(
        &mut self,
        session: Session,
        binding: &Binding,
        resumed: bool,
    ) -> Result<(), Failure> {
        let mut conversation =
            Conversation::open(session, self.member.id(), resumed, &self.protocol)?;
        conversation.limit_message(MESSAGE_MAX);
        self.conversation = Some(conversation);
        self.superseded = signal(&binding.superseded);
        self.handing_over = None;
        self.reading = true;
        // What waits for the client was the last worker's to send.
        self.member.outbox().forget_costs();
        Ok(())
    }

    /// Whether another worker may take it over.
    pub(super) fn may_resume(&self) -> bool {
        self.options.on_worker_loss == OnWorkerLoss::Resume && self.farewell.is_none()
    }

    /// No worker has it any more, and none will.
    pub(super) fn orphaned(&mut self) {
        self.close(SocketEnd::Worker, closing(1012, "the plugin is being restarted"), false);
    }

    /// Goes on until it is over, or without a worker.
    pub(super) async fn turn(&mut self) -> Turn {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Bytes of messages that went to the client.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// What went wrong, if anything did.
    pub(super) fn error(&mut self) -> Option<String> {
        self.ending.as_mut().and_then(|ending| ending.error.take())
    }

    /// How it ended, and the session for Logging.
    pub(super) fn end(self) -> (SocketEnd, Option<Session>) {
        let end = self.ending.map_or(SocketEnd::Client, |ending| ending.end);
        (end, self.session)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if came(&mut self.leaving, cx) {
            self.close(SocketEnd::Shutdown, closing(1001, "the gateway is going away"), true);
        }
        if came(&mut self.superseded, cx) {
            self.on_withdrawn();
        }
        self.poll_worker(cx);
        self.poll_sizes(cx);
        self.poll_client(cx);
        self.poll_clock(cx);
        self.poll_out(cx);
        match (&self.conversation, self.connected) {
            (None, true) if self.farewell.is_none() => Poll::Ready(Turn::Vacant),
            (None, false) => Poll::Ready(Turn::Over),
            _ => Poll::Pending,
        }
    }

    /// What the worker says.
    fn poll_worker(&mut self, cx: &mut Context<'_>) {
        for _ in 0..BATCH {
            let Some(conversation) = &mut self.conversation else { return };
            match conversation.poll_said(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(said)) => self.on_said(said),
                Poll::Ready(Err(failure)) => self.on_lost(&failure),
            }
        }
        cx.waker().wake_by_ref();
    }

    fn on_said(&mut self, said: Said) {
        match said {
            Said::Message(message, cost) => self.send(&message, cost),
            Said::Close(wanted) => self.close(SocketEnd::Plugin, wanted, false),
            Said::Ping(payload) if self.farewell.is_none() => self.socket.ping(&payload),
            Said::Ping(_) => {}
            // Said before the worker heard of the close.
            Said::Join(_) if self.told.is_some() => {}
            Said::Join(room) => {
                let joined = RoomName::parse(&room).and_then(|room| self.member.join(&room));
                if let Err(why) = joined {
                    tracing::warn!(connection = self.member.id(), %why, "a connection joins no room");
                }
            }
            Said::Leave(room) => {
                if let Ok(room) = RoomName::parse(&room) {
                    self.member.leave(&room);
                }
            }
            Said::Broadcast(room, message, cost) => self.broadcast(&room, &message, cost),
            Said::SendTo(id, message, cost) => {
                self.hub.send_to(&id, message.kind, &message.bytes);
                self.give_back(cost);
            }
            Said::RoomSize(call, room) => {
                let (hub, namespace) =
                    (self.hub.clone(), self.member.namespace().map(str::to_owned));
                let size = async move {
                    let Ok(room) = RoomName::parse(&room) else { return 0 };
                    hub.size(namespace.as_deref(), &room).await
                };
                self.sizes.push_back((call, Box::pin(size)));
            }
            Said::Withdrawn => self.on_withdrawn(),
            Said::Ended => self.on_ended(),
        }
    }

    /// A message of the worker to this client.
    fn send(&mut self, message: &Message, cost: u32) {
        let gone = self.farewell.as_ref().is_some_and(|f| f.waits_until.is_none());
        if gone || !self.connected {
            return self.give_back(cost);
        }
        let frame = frame::message(message.kind, &message.bytes);
        match self.member.outbox().push(Out { frame, cost }) {
            Pushed::Queued => {}
            Pushed::Dropped { cost, frames } => {
                self.metrics.sockets.dropped(frames.into());
                self.give_back(cost);
            }
            // Seen where the queue is emptied.
            Pushed::Overflowed => {}
        }
    }

    /// A message of the worker to a room. Who makes too much of it waits for its window.
    fn broadcast(&mut self, room: &str, message: &Message, cost: u32) {
        let wait = match RoomName::parse(room) {
            Ok(room) => self.member.broadcast(&room, message.kind, &message.bytes).1,
            Err(_) => Duration::ZERO,
        };
        if wait.is_zero() {
            return self.give_back(cost);
        }
        self.held += cost;
        self.held_until = Some(Instant::now() + wait);
    }

    fn give_back(&mut self, cost: u32) {
        if let Some(conversation) = self.conversation.as_mut().filter(|_| cost > 0) {
            conversation.give_back(cost);
        }
    }

    /// Its worker is taken out of service: drained, restarted or upgraded.
    fn on_withdrawn(&mut self) {
        if self.farewell.is_some() {
            return;
        }
        if !self.may_resume() {
            let why = closing(1012, "the plugin is being restarted");
            return self.close(SocketEnd::Worker, why, true);
        }
        if let Some(conversation) = &mut self.conversation {
            conversation.hand_over();
            self.reading = false;
            self.handing_over = Some(Instant::now() + HAND_OVER);
        }
    }

    /// The worker is done with it.
    fn on_ended(&mut self) {
        let Some(conversation) = self.conversation.take() else { return };
        self.session = Some(conversation.into_session());
        if self.handing_over.take().is_none() && self.farewell.is_none() && self.told.is_none() {
            self.close(SocketEnd::Error, closing(1011, "the plugin failed"), false);
        }
    }

    /// The worker is gone, or broke the protocol.
    fn on_lost(&mut self, failure: &Failure) {
        self.conversation = None;
        self.handing_over = None;
        if let Some(farewell) = &mut self.farewell {
            farewell.waits_until = None;
        } else if !self.may_resume() && self.connected {
            self.close(SocketEnd::Worker, closing(1012, "the plugin is being restarted"), false);
            self.because(&failure.to_string());
        }
    }

    /// Begins the end of a socket: the client gets `wanted`, the worker hears of it. `waits`: the client hears only when
    /// the worker has had its last word.
    fn close(&mut self, end: SocketEnd, wanted: Closing, waits: bool) {
        if self.farewell.is_some() {
            return;
        }
        let now = Instant::now();
        self.ending.get_or_insert(Ending { end, error: None });
        self.reading = false;
        self.tell(&wanted, None);
        let waits = waits && self.conversation.is_some();
        self.farewell = Some(Farewell {
            closing: Some(wanted),
            waits_until: waits.then(|| now + LAST_WORD.min(self.options.close_timeout)),
            sent: None,
        });
    }

    /// The worker hears once that the socket is closed, which is in no room from then on: `OnClose` counts those who stay.
    fn tell(&mut self, closing: &Closing, error: Option<&str>) {
        if self.told.is_some() {
            return;
        }
        if let Some(conversation) = &mut self.conversation {
            if let Some(error) = error {
                conversation.error(error);
            }
            conversation.closed(closing);
        }
        self.told = Some(Instant::now() + self.options.close_timeout);
        self.member.leave_all();
        self.handing_over = None;
    }

    fn because(&mut self, why: &str) {
        if let Some(ending) = &mut self.ending {
            ending.error.get_or_insert_with(|| why.to_owned());
        }
    }

    fn poll_sizes(&mut self, cx: &mut Context<'_>) {
        while let Some((_, size)) = self.sizes.front_mut() {
            let Poll::Ready(size) = size.as_mut().poll(cx) else { return };
            if let Some((call, _)) = self.sizes.pop_front()
                && let Some(conversation) = &mut self.conversation
            {
                conversation.answer_size(&call, size);
            }
        }
    }

    /// What the client says, as long as its worker takes it.
    fn poll_client(&mut self, cx: &mut Context<'_>) {
        for _ in 0..BATCH {
            let Some(conversation) = self.conversation.as_mut().filter(|_| self.reading) else {
                return;
            };
            if conversation.poll_ready(cx).is_pending() {
                // Its pongs cannot be seen meanwhile.
                self.pong_due = None;
                return;
            }
            let Poll::Ready(incoming) = self.socket.poll_read(cx) else { return };
            self.heard();
            match incoming {
                Ok(Incoming::Text(bytes)) => self.received(Kind::Text, bytes),
                Ok(Incoming::Binary(bytes)) => self.received(Kind::Binary, bytes),
                Ok(Incoming::Ping | Incoming::Pong) => {}
                Ok(Incoming::Close(closing)) => self.close(SocketEnd::Client, closing, true),
                Err(broken) => self.on_broken(broken),
            }
        }
        cx.waker().wake_by_ref();
    }

    fn received(&mut self, kind: Kind, bytes: Bytes) {
        self.metrics.sockets.message(Way::In, bytes.len());
        if let Some(conversation) = &mut self.conversation {
            conversation.send(Message { kind, bytes });
        }
    }

    /// The client broke the rules, or is gone.
    fn on_broken(&mut self, Broken { closing, error }: Broken) {
        let gone = closing.code == Some(1006);
        let end = if gone { SocketEnd::Client } else { SocketEnd::Protocol };
        self.ending.get_or_insert(Ending { end, error: error.clone() });
        self.reading = false;
        self.tell(&closing, error.as_deref());
        if gone {
            self.disconnect();
        } else {
            self.close(end, closing, true);
        }
    }

    /// The client is there.
    fn heard(&mut self) {
        self.heard_bytes = self.socket.received();
        self.pong_due = None;
        self.ping_at = Instant::now() + self.options.ping_interval;
    }

    /// The connection is of no use any more.
    fn disconnect(&mut self) {
        self.connected = false;
        self.reading = false;
        if let Some(farewell) = &mut self.farewell {
            farewell.waits_until = None;
        }
    }

    /// Pings, and what took too long.
    fn poll_clock(&mut self, cx: &mut Context<'_>) {
        loop {
            self.on_time(Instant::now());
            let farewell = self.farewell.as_ref();
            let pings = self.farewell.is_none() && self.connected && self.handing_over.is_none();
            let dues = [
                pings.then_some(self.ping_at).filter(|_| self.pong_due.is_none()),
                self.pong_due.filter(|_| pings),
                self.told.filter(|_| self.conversation.is_some()),
                self.handing_over,
                self.held_until,
                farewell.and_then(|f| f.waits_until),
                farewell.and_then(|f| f.sent).filter(|_| self.connected),
            ];
            let Some(next) = dues.into_iter().flatten().min() else { return };
            if self.clock.deadline() != next {
                self.clock.as_mut().reset(next);
            }
            if self.clock.as_mut().poll(cx).is_pending() {
                return;
            }
        }
    }

    fn on_time(&mut self, now: Instant) {
        if self.told.is_some_and(|by| by <= now) && self.conversation.take().is_some() {
            tracing::debug!("OnClose did not end in time");
        }
        if self.handing_over.is_some_and(|by| by <= now) {
            self.handing_over = None;
            self.conversation = None;
        }
        if self.held_until.is_some_and(|by| by <= now) {
            self.held_until = None;
            let held = std::mem::take(&mut self.held);
            self.give_back(held);
        }
        match &mut self.farewell {
            Some(farewell) => {
                if farewell.waits_until.is_some_and(|by| by <= now) {
                    farewell.waits_until = None;
                }
                if farewell.sent.is_some_and(|by| by <= now) {
                    self.disconnect();
                }
            }
            None if self.connected && self.handing_over.is_none() => {
                if self.heard_bytes != self.socket.received() {
                    // Perhaps the middle of a long message.
                    self.heard();
                }
                if self.pong_due.is_some_and(|by| by <= now) {
                    let error = Some("the client answers no ping".to_owned());
                    self.ending = Some(Ending { end: SocketEnd::Timeout, error: error.clone() });
                    self.on_broken(Broken { closing: closing(1006, ""), error });
                } else if self.ping_at <= now && self.pong_due.is_none() {
                    self.socket.ping(&[]);
                    self.ping_at = now + self.options.ping_interval;
                    self.pong_due = Some(now + self.options.ping_timeout);
                }
            }
            None => {}
        }
    }

    /// What goes to the client.
    fn poll_out(&mut self, cx: &mut Context<'_>) {
        if !self.connected {
            return;
        }
        let mut budget = BATCH;
        let drained = loop {
            if !self.socket.wants_more() {
                match self.socket.poll_flush(cx) {
                    Poll::Ready(Ok(())) => continue,
                    Poll::Ready(Err(e)) => return self.on_unwritten(&e),
                    Poll::Pending => break false,
                }
            }
            if budget == 0 {
                cx.waker().wake_by_ref();
                break false;
            }
            budget -= 1;
            let Poll::Ready(out) = self.member.outbox().poll_pop(cx) else { break true };
            let payload = frame::payload_len(&out.frame);
            self.metrics.sockets.message(Way::Out, payload);
            self.sent += payload as u64;
            self.give_back(out.cost);
            self.socket.push(out.frame);
        };
        if self.member.outbox().overflowed() {
            self.close(SocketEnd::Slow, closing(1008, "too slow"), false);
        }
        let ended = self.conversation.is_none();
        if let Some(farewell) = &mut self.farewell
            && farewell.sent.is_none()
            && drained
            && (ended || farewell.waits_until.is_none())
        {
            self.socket.close(farewell.closing.as_ref());
            farewell.waits_until = None;
            farewell.sent = Some(Instant::now() + self.options.close_timeout);
            // Its deadline has to be waited for.
            cx.waker().wake_by_ref();
        }
        if self.farewell.as_ref().is_some_and(|f| f.sent.is_some()) {
            if self.socket.poll_finish(cx).is_ready() {
                self.disconnect();
            }
        } else if let Poll::Ready(Err(e)) = self.socket.poll_flush(cx) {
            self.on_unwritten(&e);
        }
    }

    fn on_unwritten(&mut self, error: &std::io::Error) {
        let error = Some(error.to_string());
        self.on_broken(Broken { closing: closing(1006, ""), error });
    }
}

fn signal(token: &CancellationToken) -> Option<Signal> {
    Some(Box::pin(token.clone().cancelled_owned()))
}

/// Whether the signal came, the first time that is seen.
fn came(signal: &mut Option<Signal>, cx: &mut Context<'_>) -> bool {
    let came = signal.as_mut().is_some_and(|signal| signal.as_mut().poll(cx).is_ready());
    if came {
        *signal = None;
    }
    came
}

fn closing(code: u16, reason: &str) -> Closing {
    Closing { code: Some(code), reason: reason.to_owned() }
}
