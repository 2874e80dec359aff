//! `nylon-ring`: a plugin in this process, in Rust: no other thread, no other process, a call through a C table.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use nylon_ring_host::{NrStatus, NylonRingHost, PluginEntry};

use crate::cell::{Cell, Round};
use crate::client::{Client, one_by_one};
use crate::process::beside;
use crate::taker::Taker;
use crate::{Result, payload};

pub(crate) struct Ring {
    entry: PluginEntry,
    _host: NylonRingHost,
}

impl Ring {
    /// Pinned, by entry id, on the synchronous path: the fastest its README knows.
    pub(crate) fn start() -> Result<Self> {
        let path = beside("libnylon_peers_ring.so")?;
        let mut host = NylonRingHost::new();
        host.load_pinned("echo", &path.to_string_lossy()).map_err(|e| e.to_string())?;
        let plugin = host.plugin("echo").ok_or("it was just loaded")?;
        let entry = plugin.entry("echo").map_err(|e| e.to_string())?;
        Ok(Self { entry, _host: host })
    }
}

impl Client for Ring {
    fn server(&self) -> Option<u32> {
        None
    }

    fn refuses(&self, cell: &Cell) -> Option<String> {
        (cell.in_flight > 1).then(|| "synchronous: one call at a time".into())
    }

    fn round(&mut self, round: &Round, taker: &mut Taker) -> Result<()> {
        let size = round.cell.size;
        let mut message = payload::fresh(size);
        one_by_one(taker, |number| {
            payload::stamp(&mut message, number);
            let answer = pin!(self.entry.call_response_fast(&message));
            let Poll::Ready(answer) = answer.poll(&mut Context::from_waker(Waker::noop())) else {
                return Err("the synchronous path waits".into());
            };
            let (status, answer) = answer.map_err(|e| e.to_string())?;
            match payload::check(&answer, size) {
                Some(found) if found == number && status == NrStatus::Ok => Ok(()),
                found => Err(format!("call {number} came back as {found:?}")),
            }
        })
    }
}
