//! One socket that lives: what its client and its worker say to each other, and how either end comes to its close.
//!
//! All of it is one task that polls: no message waits for a task of its own, and an idle socket costs its buffers.

mod client;
mod clock;
mod worker;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::config::{OnWorkerLoss, WebSockets};
use crate::dispatch::Chain;
use crate::error::Failure;
use crate::metrics::{PluginMetrics, SocketEnd};
use crate::rooms::{Hub, Member};
use crate::session::{Conversation, HostCall, Session};
use crate::supervisor::Binding;
use crate::websocket::{Closing, Socket};

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
    /// A client that does not take by then what is to go before the close frame is given up.
    drains_until: Instant,
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
    /// Nothing waits for the client. While something does, a message the worker sends costs what all its pieces do: it could
    /// have any number of large ones wait for a small part of their cost.
    drained: bool,
    joined: u32,
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
    /// When it was polled last.
    now: Instant,
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
            drained: true,
            joined: 0,
            held: 0,
            held_until: None,
            sizes: VecDeque::new(),
            options,
            metrics,
            protocol,
            leaving: signal(&chain.sockets.leaving),
            superseded: None,
            clock: Box::pin(sleep_until(ping_at)),
            now,
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
        // What the last worker asked and sent is no business of this one.
        self.sizes.clear();
        (self.held, self.held_until, self.joined) = (0, None, 0);
        self.member.outbox().take_costs();
        Ok(())
    }

    /// Whether another worker may take it over.
    pub(super) fn may_resume(&self) -> bool {
        self.options.on_worker_loss == OnWorkerLoss::Resume && self.farewell.is_none()
    }

    /// No worker has it any more, and none will.
    pub(super) fn orphaned(&mut self) {
        self.now = Instant::now();
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
        self.now = Instant::now();
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

    /// Begins the end of a socket: the client gets `wanted`, the worker hears of it. `waits`: the client hears only when
    /// the worker has had its last word.
    fn close(&mut self, end: SocketEnd, wanted: Closing, waits: bool) {
        if self.farewell.is_some() {
            return;
        }
        let now = self.now;
        self.ending.get_or_insert(Ending { end, error: None });
        self.reading = false;
        self.tell(&wanted, None);
        if self.conversation.is_none() {
            self.member.depart();
        }
        let waits = waits && self.conversation.is_some();
        self.farewell = Some(Farewell {
            closing: Some(wanted),
            waits_until: waits.then(|| now + LAST_WORD.min(self.options.close_timeout)),
            drains_until: now + self.options.close_timeout,
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
        self.told = Some(self.now + self.options.close_timeout);
        self.member.leave_all();
        self.handing_over = None;
        self.free_window();
    }

    fn because(&mut self, why: &str) {
        if let Some(ending) = &mut self.ending {
            ending.error.get_or_insert_with(|| why.to_owned());
        }
    }

    /// The connection is of no use any more.
    fn disconnect(&mut self) {
        self.connected = false;
        self.reading = false;
        if let Some(farewell) = &mut self.farewell {
            farewell.waits_until = None;
        }
        self.free_window();
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
