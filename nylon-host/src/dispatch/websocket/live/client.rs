//! What the client of a socket says, and what goes to it.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::{BATCH, Ending, Live, closing};
use crate::config::SlowClient;
use crate::metrics::{SocketEnd, Way};
use crate::websocket::{Broken, Incoming, Kind, Message, frame};

impl Live {
    /// What the client says, as long as its worker takes it.
    pub(super) fn poll_client(&mut self, cx: &mut Context<'_>) {
        for _ in 0..BATCH {
            let Some(conversation) = self.conversation.as_mut().filter(|_| self.reading) else {
                return;
            };
            if conversation.poll_ready(cx).is_pending() {
                // Its pongs cannot be seen meanwhile.
                self.pong_due = None;
                return;
            }
            let Poll::Ready(incoming) = self.socket.poll_read(cx) else {
                return;
            };
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

    pub(super) fn received(&mut self, kind: Kind, bytes: Bytes) {
        self.metrics.sockets.message(Way::In, bytes.len());
        if let Some(conversation) = &mut self.conversation {
            conversation.send(Message { kind, bytes });
        }
    }

    /// The client broke the rules, or is gone.
    pub(super) fn on_broken(&mut self, Broken { closing, error }: Broken) {
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
    pub(super) fn heard(&mut self) {
        self.heard_bytes = self.socket.received();
        self.pong_due = None;
        self.ping_at = self.now + self.options.ping_interval;
    }

    /// What goes to the client.
    pub(super) fn poll_out(&mut self, cx: &mut Context<'_>) {
        if !self.connected {
            return;
        }
        let mut budget = BATCH;
        let drained = loop {
            if !self.socket.wants_more() {
                match self.socket.poll_flush(cx) {
                    Poll::Ready(Ok(())) => continue,
                    Poll::Ready(Err(e)) => return self.on_unwritten(&e),
                    Poll::Pending => {
                        self.on_slow();
                        break false;
                    }
                }
            }
            if budget == 0 {
                cx.waker().wake_by_ref();
                break false;
            }
            budget -= 1;
            let Poll::Ready(out) = self.member.outbox().poll_pop(cx) else {
                break true;
            };
            let payload = frame::payload_len(&out.frame);
            self.metrics.sockets.message(Way::Out, payload);
            self.sent += payload as u64;
            self.give_back(out.cost);
            self.socket.push(out.frame);
        };
        self.drained = drained;
        if drained {
            let joined = std::mem::take(&mut self.joined);
            self.give_back(joined);
        }
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
            farewell.sent = Some(self.now + self.options.close_timeout);
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

    /// The client takes nothing now. Where nobody is to wait for it, what waits fills its queue, and not the worker's window.
    pub(super) fn on_slow(&mut self) {
        if self.options.slow_client != SlowClient::Block {
            self.free_window();
        }
    }

    /// What waits for the client holds the worker up no more: `OnClose` may have something to say to a room.
    pub(super) fn free_window(&mut self) {
        let costs = self.member.outbox().take_costs() + std::mem::take(&mut self.joined);
        self.give_back(costs);
    }

    pub(super) fn on_unwritten(&mut self, error: &std::io::Error) {
        let error = Some(error.to_string());
        self.on_broken(Broken { closing: closing(1006, ""), error });
    }
}
