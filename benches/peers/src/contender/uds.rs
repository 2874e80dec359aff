//! `uds-go`, `uds-rust`: messages over one Unix stream socket, a length of 8 bytes before each payload.
//!
//! One call at once is a write and a read that blocks. Several are pipelined: one write carries as many messages as are
//! ready, and answers are read while writes wait, so that neither side's full buffer stops the other.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use rustix::event::{PollFd, PollFlags, poll};

use crate::cell::Round;
use crate::client::{self, Client, wrong};
use crate::cpus::Cpus;
use crate::process::{Child, beside, itself};
use crate::taker::{Taker, Ticket};
use crate::{Result, payload, socket};

/// Before each payload: its length, little-endian.
const PREFIX: usize = 8;
/// A write carries no more messages than fit into so many bytes, or one.
const BATCH: usize = 64 << 10;

pub(crate) struct Uds {
    stream: UnixStream,
    server: Child,
}

impl Uds {
    pub(crate) fn rust(cpus: &Cpus) -> Result<Self> {
        let mut command = Command::new(itself()?);
        command.args(["serve", "uds"]);
        Self::start(cpus, command)
    }

    pub(crate) fn go(cpus: &Cpus) -> Result<Self> {
        Self::start(cpus, Command::new(beside("peer-uds")?))
    }

    fn start(cpus: &Cpus, mut command: Command) -> Result<Self> {
        let path = socket::path();
        let server = cpus.on_server(|| Child::start(command.arg(&path)))??;
        let stream = UnixStream::connect(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let _ = std::fs::remove_file(path);
        Ok(Self { stream, server })
    }

    fn pipelined(&mut self, round: &Round, taker: &mut Taker) -> Result<()> {
        let size = round.cell.size;
        let batch = (BATCH / (PREFIX + size)).max(1);
        let mut out = Outgoing::new(size, batch);
        let mut back = Incoming::new(size);
        let mut open: VecDeque<Ticket> = VecDeque::with_capacity(round.cell.in_flight);
        let mut sent = 0;
        while !taker.is_over() {
            open.extend(std::iter::from_fn(|| taker.begin()));
            while sent < taker.calls() && out.has_room() {
                sent += 1;
                out.push(sent);
            }
            let wrote = out.write(&mut self.stream)?;
            let read = back.read(&mut self.stream)?;
            while let Some(found) = back.take() {
                let ticket = open.pop_front().ok_or("an answer to nothing")?;
                if found != Some(ticket.number) {
                    return Err(wrong(ticket, found));
                }
                taker.end(ticket);
            }
            if !wrote && !read && !taker.is_over() {
                let mut flags = PollFlags::IN;
                flags.set(PollFlags::OUT, !out.is_empty());
                poll(&mut [PollFd::new(&self.stream, flags)], None).map_err(|e| e.to_string())?;
            }
        }
        Ok(())
    }

    fn one_by_one(&mut self, round: &Round, taker: &mut Taker) -> Result<()> {
        let size = round.cell.size;
        let mut message = message(size);
        let mut answer = vec![0; PREFIX + size];
        client::one_by_one(taker, |number| {
            payload::stamp(&mut message[PREFIX..], number);
            self.stream.write_all(&message).map_err(|e| e.to_string())?;
            self.stream.read_exact(&mut answer).map_err(|e| e.to_string())?;
            match payload::check(&answer[PREFIX..], size) {
                Some(found) if found == number => Ok(()),
                found => Err(format!("call {number} came back as {found:?}")),
            }
        })
    }
}

impl Client for Uds {
    fn server(&self) -> Option<u32> {
        Some(self.server.pid())
    }

    fn round(&mut self, round: &Round, taker: &mut Taker) -> Result<()> {
        let several = round.cell.in_flight > 1;
        self.stream.set_nonblocking(several).map_err(|e| e.to_string())?;
        if several { self.pipelined(round, taker) } else { self.one_by_one(round, taker) }
    }
}

/// A length and a payload without a number.
fn message(size: usize) -> Vec<u8> {
    let mut message = (size as u64).to_le_bytes().to_vec();
    message.extend(payload::fresh(size));
    message
}

/// Messages on their way out: a batch is written to its end before the next one is filled.
struct Outgoing {
    bytes: Vec<u8>,
    each: usize,
    /// Bytes written, 0 ..= `filled`.
    written: usize,
    filled: usize,
}

impl Outgoing {
    fn new(size: usize, batch: usize) -> Self {
        Self { bytes: message(size).repeat(batch), each: PREFIX + size, written: 0, filled: 0 }
    }

    fn is_empty(&self) -> bool {
        self.filled == self.written
    }

    fn has_room(&self) -> bool {
        self.written == 0 && self.filled < self.bytes.len()
    }

    fn push(&mut self, number: u64) {
        payload::stamp(&mut self.bytes[self.filled + PREFIX..self.filled + self.each], number);
        self.filled += self.each;
    }

    /// Whether anything was written.
    fn write(&mut self, to: &mut UnixStream) -> Result<bool> {
        if self.is_empty() {
            return Ok(false);
        }
        match to.write(&self.bytes[self.written..self.filled]) {
            Ok(n) => self.written += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(e) => return Err(e.to_string()),
        }
        if self.is_empty() {
            (self.written, self.filled) = (0, 0);
        }
        Ok(true)
    }
}

/// Messages on their way in.
struct Incoming {
    bytes: Vec<u8>,
    size: usize,
    from: usize,
    to: usize,
}

impl Incoming {
    fn new(size: usize) -> Self {
        Self { bytes: vec![0; 2 * (PREFIX + size).max(BATCH)], size, from: 0, to: 0 }
    }

    /// Whether anything was read.
    fn read(&mut self, from: &mut UnixStream) -> Result<bool> {
        if self.bytes.len() - self.from < PREFIX + self.size || self.from == self.to {
            self.bytes.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        match from.read(&mut self.bytes[self.to..]) {
            Ok(0) => Err("the other side is gone".into()),
            Ok(n) => {
                self.to += n;
                Ok(true)
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(e.to_string()),
        }
    }

    /// The next whole message, if there is one: its number, or none if it is not what it should be.
    fn take(&mut self) -> Option<Option<u64>> {
        let end = self.from + PREFIX + self.size;
        if self.to < end {
            return None;
        }
        let number = payload::check(&self.bytes[self.from + PREFIX..end], self.size);
        self.from = end;
        Some(number)
    }
}

/// The server: looks at every message, and sends all whole ones of a read back in one write.
pub(crate) fn serve(path: &Path) -> Result<()> {
    let listener = UnixListener::bind(path).map_err(|e| format!("{}: {e}", path.display()))?;
    println!("ready");
    let (mut stream, _) = listener.accept().map_err(|e| e.to_string())?;
    let mut bytes = vec![0; 2 * (PREFIX + payload::MAX)];
    let mut filled = 0;
    loop {
        match stream.read(&mut bytes[filled..]) {
            Ok(0) => return Ok(()),
            Ok(n) => filled += n,
            Err(e) => return Err(e.to_string()),
        }
        let whole = whole(&bytes[..filled])?;
        if whole > 0 {
            stream.write_all(&bytes[..whole]).map_err(|e| e.to_string())?;
            bytes.copy_within(whole..filled, 0);
            filled -= whole;
        }
    }
}

/// How many bytes of `bytes` are whole messages, all of them as they should be.
fn whole(bytes: &[u8]) -> Result<usize> {
    let mut at = 0;
    while let Some((prefix, rest)) = bytes[at..].split_first_chunk::<PREFIX>() {
        let size = usize::try_from(u64::from_le_bytes(*prefix)).map_err(|e| e.to_string())?;
        if size > payload::MAX {
            return Err(format!("a message of {size} bytes"));
        }
        let Some(found) = rest.get(..size) else { break };
        payload::check(found, size).ok_or("a message is not what was sent")?;
        at += PREFIX + size;
    }
    Ok(at)
}
