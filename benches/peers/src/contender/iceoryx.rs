//! `iceoryx2-poll`, `iceoryx2-wait`: samples published down and up, Rust to Rust. Both sides look at their subscriber
//! without end, or wait for an event that the other side sends after a batch.
//!
//! A size has ports of its own, or small samples would lie as far apart as large ones.

use std::collections::VecDeque;
use std::fmt::Display;
use std::hint::spin_loop;
use std::io::Write as _;
use std::process::Command;

use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;

use crate::cell::Round;
use crate::client::{Client, wrong};
use crate::cpus::Cpus;
use crate::process::{Child, itself};
use crate::taker::{Taker, Ticket};
use crate::{Result, payload};

/// Sizes of the bench, bytes.
const SIZES: [usize; 4] = [64, 4 << 10, 64 << 10, 1 << 20];
/// Samples under way in one direction at most: the most calls that are open at once.
const DEPTH: usize = 256;
/// Number of the payload that ends a round on the server.
const STOP: u64 = u64::MAX;

/// One side's ports of one size.
struct Ports {
    out: Publisher<ipc::Service, [u8], ()>,
    back: Subscriber<ipc::Service, [u8], ()>,
}

/// One side.
struct Side {
    ports: Vec<Ports>,
    /// None: this side polls.
    events: Option<(Notifier<ipc::Service>, Listener<ipc::Service>)>,
    _node: Node<ipc::Service>,
}

fn text(e: impl Display) -> String {
    e.to_string()
}

impl Side {
    /// The client's side of what is called `name`, or the server's.
    fn open(name: &str, client: bool, waits: bool) -> Result<Self> {
        set_log_level(LogLevel::Error);
        let node = NodeBuilder::new().create::<ipc::Service>().map_err(text)?;
        let (out, back) = if client { ("down", "up") } else { ("up", "down") };
        let ports = SIZES.map(|size| {
            let stream = |direction: &str| {
                let name = format!("{name}/{direction}/{size}");
                node.service_builder(&ServiceName::new(&name).map_err(text)?)
                    .publish_subscribe::<[u8]>()
                    .enable_safe_overflow(false)
                    .history_size(0)
                    .subscriber_max_buffer_size(DEPTH + 1)
                    .subscriber_max_borrowed_samples(2)
                    .max_publishers(1)
                    .max_subscribers(1)
                    .open_or_create()
                    .map_err(text)
            };
            let out = stream(out)?;
            let out = out.publisher_builder().initial_max_slice_len(size).max_loaned_samples(2);
            let out = out.create().map_err(text)?;
            let back = stream(back)?.subscriber_builder().create().map_err(text)?;
            Ok(Ports { out, back })
        });
        let event = |direction: &str| {
            let name = ServiceName::new(&format!("{name}/{direction}")).map_err(text)?;
            node.service_builder(&name).event().open_or_create().map_err(text)
        };
        let events = if waits {
            let notifier = event(out)?.notifier_builder().create().map_err(text)?;
            Some((notifier, event(back)?.listener_builder().create().map_err(text)?))
        } else {
            None
        };
        let ports = ports.into_iter().collect::<Result<Vec<Ports>>>()?;
        Ok(Self { ports, events, _node: node })
    }

    fn ports(&self, size: usize) -> Result<&Ports> {
        let at = SIZES.iter().position(|known| *known == size);
        Ok(&self.ports[at.ok_or_else(|| format!("no ports for {size} bytes"))?])
    }

    /// Tells the other side that something was sent.
    fn notify(&self) -> Result<()> {
        self.events
            .as_ref()
            .map_or(Ok(()), |(notifier, _)| notifier.notify().map(drop).map_err(text))
    }

    /// Returns when there may be something, or at once if this side polls.
    fn wait(&self) -> Result<()> {
        match &self.events {
            Some((_, listener)) => listener.blocking_wait(|_| {}).map(drop).map_err(text),
            None => {
                spin_loop();
                Ok(())
            }
        }
    }
}

impl Ports {
    /// Publishes a copy of `payload`.
    fn send(&self, payload: &[u8]) -> Result<()> {
        let sample = self.out.loan_slice_uninit(payload.len()).map_err(text)?;
        sample.write_from_slice(payload).send().map(drop).map_err(text)
    }
}

pub(crate) struct Iceoryx {
    side: Side,
    server: Child,
}

impl Iceoryx {
    pub(crate) fn start(cpus: &Cpus, waits: bool) -> Result<Self> {
        let name = format!("nylon-peers/{}", std::process::id());
        // Its ports must be there before the server's, which are there before it says that it is ready.
        let side = Side::open(&name, true, waits)?;
        let mut command = Command::new(itself()?);
        command.args(["serve", if waits { "iceoryx2-wait" } else { "iceoryx2-poll" }, &name]);
        let server = cpus.on_server(|| Child::start(&mut command))??;
        Ok(Self { side, server })
    }
}

impl Client for Iceoryx {
    fn server(&self) -> Option<u32> {
        Some(self.server.pid())
    }

    fn round(&mut self, round: &Round, taker: &mut Taker) -> Result<()> {
        let Self { side, server } = self;
        let size = round.cell.size;
        let ports = side.ports(size)?;
        let input = server.input.as_mut().ok_or("the server's input was closed")?;
        writeln!(input, "{size}").map_err(text)?;
        let mut message = payload::fresh(size);
        let mut open: VecDeque<Ticket> = VecDeque::with_capacity(round.cell.in_flight);
        while !taker.is_over() {
            if open.is_empty()
                && let Some(pause) = taker.pause()
            {
                std::thread::sleep(pause);
            }
            let begun = open.len();
            open.extend(std::iter::from_fn(|| taker.begin()));
            for ticket in open.range(begun..) {
                payload::stamp(&mut message, ticket.number);
                ports.send(&message)?;
            }
            if open.len() > begun {
                side.notify()?;
            }
            let mut moved = false;
            while let Some(sample) = ports.back.receive().map_err(text)? {
                moved = true;
                let ticket = open.pop_front().ok_or("an answer to nothing")?;
                let found = payload::check(sample.payload(), size);
                if found != Some(ticket.number) {
                    return Err(wrong(ticket, found));
                }
                taker.end(ticket);
            }
            if !moved && !open.is_empty() {
                side.wait()?;
            }
        }
        payload::stamp(&mut message, STOP);
        ports.send(&message)?;
        side.notify()
    }
}

/// The server: for each line of standard input, a size, it echoes payloads of that size until one says to stop.
pub(crate) fn serve(name: &str, waits: bool) -> Result<()> {
    let side = Side::open(name, false, waits)?;
    println!("ready");
    for line in std::io::stdin().lines() {
        let size = line.map_err(text)?.parse().map_err(|e| format!("not a size: {e}"))?;
        let ports = side.ports(size)?;
        while echo(&side, ports, size)? {}
    }
    Ok(())
}

/// Answers what is there, or waits; whether there will be more.
fn echo(side: &Side, ports: &Ports, size: usize) -> Result<bool> {
    let mut moved = false;
    while let Some(sample) = ports.back.receive().map_err(text)? {
        match payload::check(sample.payload(), size) {
            Some(STOP) => return Ok(false),
            Some(_) => ports.send(sample.payload())?,
            None => return Err("a sample is not what was sent".into()),
        }
        moved = true;
    }
    if moved {
        side.notify()?
    } else {
        side.wait()?
    }
    Ok(true)
}
