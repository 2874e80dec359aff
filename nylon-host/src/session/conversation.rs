//! Conversation: an open WebSocket in its plugin. This file drives the state machine in `websocket` over a lane.
//!
//! In: what the client says, and that it left.  Out: what the worker has [`Said`].
//! Never: sockets, rooms, or how long anything may take.
//!
//! All of it belongs to one task: whatever the conversation waits for, the task that polled it last is woken.

use std::task::{Context, Poll, Waker, ready};

use nylon_protocol::record::{self, StepWriter, WebSocketSection, write_fault};
use nylon_protocol::{Frame, Token, wire};
use tokio::task::coop;

use super::Session;
use super::http::HostCall;
use super::websocket::{Heard, Machine, Said};
use crate::error::Failure;
use crate::lane::{Fault, Lane};
use crate::websocket::{Closing, Kind, Message};

/// A socket's open conversation with the worker of its session. Dropped before its end, it is given up and its session
/// closed.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// Given back by [`Self::into_session`] alone.
    session: Option<Session>,
    token: Token,
    machine: Machine,
    /// What is still to go down, in this order. The message under way, as far as it is left; it may be empty.
    message: Option<Message>,
    error: Option<String>,
    last: Option<Last>,
    /// The client says nothing any more.
    closed: bool,
    /// What the host says last was decided.
    ending: bool,
    /// The caller was told that the worker takes nothing new.
    withdrawn: bool,
    /// How it ended, once it has.
    over: Option<Result<(), Failure>>,
}

/// What the host says last.
#[derive(Debug)]
enum Last {
    Closed(Closing),
    HandOver,
}

impl Conversation {
    /// Opens the conversation of the socket `id` in `session`, whose request was upgraded; it gives its place in the
    /// plugin back. `resumed`: another worker had the socket before. `protocol`: the subprotocol of the 101, or empty.
    ///
    /// # Errors
    /// [`Failure::Busy`] when the lane has as many as it may, or why its worker is not to be used.
    pub(crate) fn open(
        mut session: Session,
        id: &str,
        resumed: bool,
        protocol: &str,
    ) -> Result<Self, Failure> {
        session.permit = None;
        let mut record = Vec::new();
        let flags = if resumed { wire::SOCKET_RESUMED } else { 0 };
        let mut writer = StepWriter::new(&mut record);
        writer.websocket(&WebSocketSection { flags, id, protocol });
        let written = writer.finish();
        written.map_err(|_| Failure::Refused("the socket's id or protocol is too long".into()))?;
        let token = session.lane.converse(session.sid)?;
        let conversation = Self {
            session: Some(session),
            token,
            machine: Machine::new(),
            message: None,
            error: None,
            last: None,
            closed: false,
            ending: false,
            withdrawn: false,
            over: None,
        };
        conversation.say(wire::KIND_CALL, wire::METHOD_WEBSOCKET_ON_OPEN, 0, &record);
        Ok(conversation)
    }

    /// Holds what the worker says to messages of at most `bytes`; a larger one closes the socket.
    pub(crate) fn limit_message(&mut self, bytes: usize) {
        self.machine.limit_message(bytes);
    }

    /// What the worker says next. What waits to be sent goes on its way with it.
    ///
    /// # Errors
    /// The [`Failure`] that ended the conversation: the worker is gone or broke the protocol, or a callback could not run.
    pub(crate) fn poll_said(&mut self, cx: &mut Context<'_>) -> Poll<Result<Said, Failure>> {
        self.pump(Some(cx.waker()));
        loop {
            if let Some(over) = &self.over {
                return Poll::Ready(over.clone().map(|()| Said::Ended));
            }
            if self.sees_withdrawal() {
                return Poll::Ready(Ok(Said::Withdrawn));
            }
            // A worker may have one more piece for ever.
            let turn = ready!(coop::poll_proceed(cx));
            let inbound = match self.lane().poll_next(self.token, cx) {
                Poll::Ready(Ok(inbound)) => inbound,
                Poll::Ready(Err(failure)) => {
                    self.fail(failure);
                    continue;
                }
                // It may have been withdrawn before there was anybody to wake.
                Poll::Pending if self.sees_withdrawal() => {
                    return Poll::Ready(Ok(Said::Withdrawn));
                }
                Poll::Pending => return Poll::Pending,
            };
            turn.made_progress();
            match self.machine.on_frame(inbound) {
                Heard::Said(said, cost) => {
                    self.give_back(cost);
                    return Poll::Ready(Ok(said));
                }
                Heard::Nothing(cost) => self.give_back(cost),
                Heard::Ended(wants) => {
                    let session = self.end(Ok(()));
                    session.wants = wants;
                    if wants.is_empty() {
                        session.close(false);
                    }
                }
                Heard::Failed(failure) => self.end(Err(failure)).close(false),
                Heard::Unknown(call) => {
                    let mut payload = Vec::new();
                    write_fault(&mut payload, wire::ERROR_UNKNOWN_METHOD, "unknown method");
                    self.answer(&call, wire::KIND_ERROR, &payload);
                    self.fail(Failure::UnknownMethod(call.method));
                }
                Heard::Violation(violation) => {
                    self.lane().peer.report(Fault::Violation(violation));
                    self.fail(Failure::Crashed(format!("protocol violation: {violation}")));
                }
            }
        }
    }

    /// Whether a message may be sent: the last one went out whole, and there is room for another. Also once there is
    /// nobody to send it to.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.pump(Some(cx.waker()));
        if self.closed || self.over.is_some() {
            return Poll::Ready(());
        }
        if self.message.is_some() {
            return Poll::Pending;
        }
        self.lane().poll_room(self.token, cx)
    }

    /// Sends a message of the client, once [`Self::poll_ready`] said so. What there is no room for goes with the next polls.
    /// Nothing is sent after [`Self::error`], [`Self::closed`] or [`Self::hand_over`].
    pub(crate) fn send(&mut self, message: Message) {
        if self.closed || self.over.is_some() {
            return;
        }
        debug_assert!(self.message.is_none(), "the last message is under way");
        self.message = Some(message);
        self.pump(None);
    }

    /// Tells the worker what went wrong with the socket, behind the message under way. [`Self::closed`] is to follow.
    pub(crate) fn error(&mut self, text: &str) {
        if !std::mem::replace(&mut self.closed, true) {
            let cut = text.floor_char_boundary(wire::LIMIT_ERROR_TEXT);
            self.error = Some(text[..cut].to_owned());
            self.pump(None);
        }
    }

    /// Tells the worker, last of all, how the socket was closed. What it says to the client until it has heard of that is
    /// still said, and its rooms work until [`Said::Ended`].
    pub(crate) fn closed(&mut self, closing: &Closing) {
        self.say_last(Last::Closed(closing.clone()));
    }

    /// Tells the worker, last of all, that another takes the socket over: it handles what it was sent, and lets go.
    pub(crate) fn hand_over(&mut self) {
        self.say_last(Last::HandOver);
    }

    fn say_last(&mut self, last: Last) {
        self.closed = true;
        // Only one is last.
        if !self.ending {
            self.ending = true;
            self.last = Some(last);
            self.pump(None);
        }
    }

    /// What was said at this `cost` was handed on.
    pub(crate) fn give_back(&mut self, cost: u32) {
        if cost > 0 {
            let frame = self.frame(wire::KIND_WINDOW);
            self.lane().give_back_cost(self.token, &frame, cost.into());
        }
    }

    /// Answers [`Said::RoomSize`].
    pub(crate) fn answer_size(&mut self, call: &HostCall, size: u64) {
        self.answer(call, wire::KIND_REPLY, &size.to_le_bytes());
    }

    /// The session, to run Logging in it. It is closed unless the conversation has ended and more is wanted.
    pub(crate) fn into_session(mut self) -> Session {
        self.give_up();
        self.session.take().expect("until here")
    }

    /// Sends what waits, as far as there is room; has `waker` woken when there is more.
    fn pump(&mut self, waker: Option<&Waker>) {
        if self.over.is_some() {
            return;
        }
        while let Some(Message { kind, bytes }) = &mut self.message {
            let lane = &self.session.as_ref().expect("until it is given back").lane;
            let Some(piece) = lane.reserve(self.token, bytes.len(), waker) else { return };
            let (kind, piece) = (*kind, bytes.split_to(piece));
            let flags = if bytes.is_empty() { 0 } else { wire::FLAG_MORE };
            let method = match kind {
                Kind::Text => wire::METHOD_WEBSOCKET_ON_MESSAGE_TEXT,
                Kind::Binary => wire::METHOD_WEBSOCKET_ON_MESSAGE_BINARY,
            };
            self.say(wire::KIND_DATA, method, flags, &piece);
            if flags == 0 {
                self.message = None;
            }
        }
        if let Some(text) = self.error.take() {
            self.say(wire::KIND_DATA, wire::METHOD_WEBSOCKET_ON_ERROR, 0, text.as_bytes());
        }
        match self.last.take() {
            None => {}
            Some(Last::Closed(Closing { code, reason })) => {
                let mut payload = Vec::new();
                record::Closing { code, reason: &reason }.write(&mut payload);
                self.say(wire::KIND_DATA, wire::METHOD_WEBSOCKET_ON_CLOSE, 0, &payload);
            }
            Some(Last::HandOver) => {
                self.say(wire::KIND_DATA, wire::METHOD_WEBSOCKET_HAND_OVER, 0, &[]);
            }
        }
    }

    /// Whether the caller is to be told now that the worker takes nothing new.
    fn sees_withdrawal(&mut self) -> bool {
        // One that is gone is no worker to be withdrawn.
        let sees =
            !self.withdrawn && self.lane().is_withdrawn() && self.lane().peer.fault().is_none();
        self.withdrawn |= sees;
        sees
    }

    fn answer(&self, call: &HostCall, kind: u8, payload: &[u8]) {
        if self.over.is_none() {
            self.lane().answered_call(self.token);
            let frame = self.frame(kind).method(call.method).status(call.number);
            self.lane().say(&frame, payload);
        }
    }

    fn say(&self, kind: u8, method: u32, flags: u16, payload: &[u8]) {
        self.lane().say(&self.frame(kind).method(method).flags(flags), payload);
    }

    /// It is over without its final frame.
    fn fail(&mut self, failure: Failure) {
        let frame = self.frame(wire::KIND_CANCEL).status(wire::CANCEL_CLIENT_GONE);
        self.lane().say(&frame, &[]);
        self.end(Err(failure)).close(true);
    }

    /// Gives the token back.
    fn end(&mut self, how: Result<(), Failure>) -> &mut Session {
        self.lane().hang_up(self.token);
        self.over = Some(how);
        (self.message, self.error, self.last) = (None, None, None);
        self.session.as_mut().expect("until it is given back")
    }

    fn give_up(&mut self) {
        if self.over.is_none() {
            self.fail(Failure::ClientGone);
        }
    }

    fn session(&self) -> &Session {
        self.session.as_ref().expect("until it is given back")
    }

    fn lane(&self) -> &Lane {
        &self.session().lane
    }

    fn frame(&self, kind: u8) -> Frame {
        Frame::of(kind, self.token, self.session().sid, wire::PHASE_NONE)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if self.session.is_some() {
            self.give_up();
        }
    }
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
