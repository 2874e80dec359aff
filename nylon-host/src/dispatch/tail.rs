//! Logging happens whatever ends a request: the end of its body, a client that leaves, a future that is dropped.

use bytes::Bytes;
use tokio::runtime::Handle;

use super::exchange::Exchange;
use crate::body::Tail;

/// Holds an exchange until its response goes out; if it is dropped before, the client left.
pub(super) struct Guard {
    exchange: Option<Exchange>,
}

impl Guard {
    pub(super) fn new(exchange: Exchange) -> Self {
        Self { exchange: Some(exchange) }
    }

    pub(super) fn exchange(&mut self) -> &mut Exchange {
        self.exchange.as_mut().expect("taken once, at the end")
    }

    /// The exchange, for a task that goes on with it.
    pub(super) fn take(mut self) -> Exchange {
        self.exchange.take().expect("taken once, at the end")
    }

    /// Nothing more is to be run for this request.
    pub(super) fn done(mut self) {
        self.exchange = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.error = Some("the client left".into());
            let started = exchange.slots.iter().any(|slot| slot.lane.is_some());
            if let (true, Ok(runtime)) = (started, Handle::try_current()) {
                exchange.chain.tasks.clone().spawn_on(exchange.log(), &runtime);
            }
        }
    }
}

/// Logs when the body it follows has ended.
#[derive(Debug)]
pub(super) struct LogTail {
    exchange: Option<Exchange>,
    runtime: Handle,
}

impl LogTail {
    pub(super) fn new(exchange: Exchange) -> Self {
        Self { exchange: Some(exchange), runtime: Handle::current() }
    }
}

impl Tail for LogTail {
    fn piece(&mut self, piece: &Bytes) {
        if let Some(exchange) = &mut self.exchange {
            exchange.sent += piece.len() as u64;
        }
    }

    fn end(&mut self, complete: bool, error: Option<&str>) {
        let Some(mut exchange) = self.exchange.take() else { return };
        if !complete {
            exchange.error = Some(error.unwrap_or("the client left").to_owned());
        }
        exchange.chain.tasks.clone().spawn_on(exchange.log(), &self.runtime);
    }
}
