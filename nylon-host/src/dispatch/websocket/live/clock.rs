//! What a socket does by the clock: pings, and the ends of what took too long.

use std::future::Future;
use std::task::Context;

use tokio::time::Instant;

use super::{Ending, Live, closing};
use crate::metrics::SocketEnd;
use crate::websocket::Broken;

impl Live {
    /// Pings, and what took too long.
    pub(super) fn poll_clock(&mut self, cx: &mut Context<'_>) {
        loop {
            self.on_time(self.now);
            let farewell = self.farewell.as_ref();
            let pings = self.farewell.is_none() && self.connected && self.handing_over.is_none();
            let dues = [
                pings.then_some(self.ping_at).filter(|_| self.pong_due.is_none()),
                self.pong_due.filter(|_| pings),
                self.told.filter(|_| self.conversation.is_some()),
                self.handing_over,
                self.held_until,
                farewell.and_then(|f| f.waits_until),
                farewell.map(|f| f.sent.unwrap_or(f.drains_until)).filter(|_| self.connected),
            ];
            let Some(next) = dues.into_iter().flatten().min() else {
                return;
            };
            if self.clock.deadline() != next {
                self.clock.as_mut().reset(next);
            }
            if self.clock.as_mut().poll(cx).is_pending() {
                return;
            }
            self.now = Instant::now();
        }
    }

    pub(super) fn on_time(&mut self, now: Instant) {
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
                let given_up = farewell.sent.unwrap_or(farewell.drains_until) <= now;
                if farewell.waits_until.is_some_and(|by| by <= now) {
                    farewell.waits_until = None;
                    self.free_window();
                }
                if self.connected && given_up {
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
}
