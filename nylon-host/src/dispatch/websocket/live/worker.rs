//! What the worker of a socket says, and how it goes.

use std::task::{Context, Poll};
use std::time::Duration;

use super::{BATCH, HAND_OVER, Live, closing};
use crate::error::Failure;
use crate::metrics::SocketEnd;
use crate::rooms::{Out, Pushed, RoomName};
use crate::session::Said;
use crate::websocket::{Message, frame};

impl Live {
    /// What the worker says.
    pub(super) fn poll_worker(&mut self, cx: &mut Context<'_>) {
        for _ in 0..BATCH {
            let Some(conversation) = &mut self.conversation else {
                return;
            };
            match conversation.poll_said(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(said)) => self.on_said(said),
                Poll::Ready(Err(failure)) => self.on_lost(&failure),
            }
        }
        cx.waker().wake_by_ref();
    }

    pub(super) fn on_said(&mut self, said: Said) {
        match said {
            Said::Piece(cost) if self.drained => self.give_back(cost),
            Said::Piece(cost) => self.joined += cost,
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
                let cost = cost + std::mem::take(&mut self.joined);
                self.hub.send_to(&id, message.kind, &message.bytes);
                self.give_back(cost);
            }
            Said::RoomSize(call, room) => {
                let (hub, namespace) =
                    (self.hub.clone(), self.member.namespace().map(str::to_owned));
                let size = async move {
                    let Ok(room) = RoomName::parse(&room) else {
                        return 0;
                    };
                    hub.size(namespace.as_deref(), &room).await
                };
                self.sizes.push_back((call, Box::pin(size)));
            }
            Said::Withdrawn => self.on_withdrawn(),
            Said::Ended => self.on_ended(),
        }
    }

    /// A message of the worker to this client.
    pub(super) fn send(&mut self, message: &Message, cost: u32) {
        let cost = cost + std::mem::take(&mut self.joined);
        let gone = self.farewell.as_ref().is_some_and(|f| f.waits_until.is_none());
        if gone || !self.connected {
            return self.give_back(cost);
        }
        let frame = frame::message(message.kind, &message.bytes);
        self.drained = false;
        match self.member.outbox().push(Out { frame, cost }) {
            Pushed::Queued => {}
            Pushed::Dropped { cost, frames } => {
                self.metrics.sockets.dropped(frames.into());
                self.give_back(cost);
            }
            // Seen where the queue is emptied.
            Pushed::Overflowed => self.give_back(cost),
        }
    }

    /// A message of the worker to a room. Who makes too much of it waits for its window.
    pub(super) fn broadcast(&mut self, room: &str, message: &Message, cost: u32) {
        let cost = cost + std::mem::take(&mut self.joined);
        let wait = match RoomName::parse(room) {
            Ok(room) => self.member.broadcast(&room, message.kind, &message.bytes).1,
            Err(_) => Duration::ZERO,
        };
        if wait.is_zero() {
            return self.give_back(cost);
        }
        self.held += cost;
        self.held_until = Some(self.now + wait);
    }

    pub(super) fn give_back(&mut self, cost: u32) {
        if let Some(conversation) = self.conversation.as_mut().filter(|_| cost > 0) {
            conversation.give_back(cost);
        }
    }

    /// Its worker is taken out of service: drained, restarted or upgraded.
    pub(super) fn on_withdrawn(&mut self) {
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
            self.handing_over = Some(self.now + HAND_OVER);
        }
    }

    /// The worker is done with it.
    pub(super) fn on_ended(&mut self) {
        let Some(conversation) = self.conversation.take() else {
            return;
        };
        let session = conversation.into_session();
        // Also of those whose client takes its time to go.
        if self.told.is_some() {
            self.member.depart();
        }
        if self.handing_over.take().is_some() {
            // Logging is the next one's: this one is to go now.
            return;
        }
        self.session = Some(session);
        if self.farewell.is_none() && self.told.is_none() {
            self.close(SocketEnd::Error, closing(1011, "the plugin failed"), false);
        }
    }

    /// The worker is gone, or broke the protocol.
    pub(super) fn on_lost(&mut self, failure: &Failure) {
        self.conversation = None;
        self.handing_over = None;
        if let Some(farewell) = &mut self.farewell {
            farewell.waits_until = None;
        } else if !self.may_resume() && self.connected {
            self.close(SocketEnd::Worker, closing(1012, "the plugin is being restarted"), false);
            self.because(&failure.to_string());
        }
    }

    pub(super) fn poll_sizes(&mut self, cx: &mut Context<'_>) {
        while let Some((_, size)) = self.sizes.front_mut() {
            let Poll::Ready(size) = size.as_mut().poll(cx) else {
                return;
            };
            if let Some((call, _)) = self.sizes.pop_front()
                && let Some(conversation) = &mut self.conversation
            {
                conversation.answer_size(&call, size);
            }
        }
    }
}
