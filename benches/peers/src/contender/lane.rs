//! `lane`: Nylon's own, as policy `balanced` has it (both sides sleep), and as `latency` has it (both spin).
//!
//! A payload over 64 KiB goes as frames of 64 KiB, as bodies do, each with a number of its own.

use std::collections::VecDeque;
use std::hint::spin_loop;
use std::os::fd::OwnedFd;
use std::process::Command;

use bytes::BytesMut;
use command_fds::{CommandFdExt as _, FdMapping};
use nylon_protocol::segment::Header;
use nylon_protocol::{Frame, Geometry, Token, wire};
use nylon_shm::{Armed, Bell, Doorbell, HostEnd, PushError, Segments, WorkerBells};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::cell::Round;
use crate::client::{Client, wrong};
use crate::cpus::Cpus;
use crate::process::{Child, beside};
use crate::taker::{Taker, Ticket};
use crate::{Result, payload};

/// How long the worker of a spinning lane polls before it sleeps, ns: the most it accepts.
const SPIN_NS: u32 = 100_000;
/// The longest piece of a body.
const PIECE: usize = 64 << 10;

pub(crate) struct Lane {
    end: HostEnd,
    poller: OwnedFd,
    worker: Child,
    busy: bool,
    /// Frames sent and taken since the lane was made; each carries its count.
    sent: u64,
    taken: u64,
    frame: Vec<u8>,
    answer: BytesMut,
}

impl Lane {
    /// A lane whose sides spin (`busy`) or sleep between frames.
    pub(crate) fn start(cpus: &Cpus, busy: bool) -> Result<Self> {
        let text = |e: std::io::Error| e.to_string();
        let geometry = Geometry::default();
        let header = Header { geometry, epoch: 0xbe7c4, abi_minor: wire::ABI_MINOR, features: 0 };
        let (segments, fds) = Segments::create(header).map_err(|e| e.to_string())?;
        segments.set_spin(if busy { SPIN_NS } else { 0 });
        let (host_bell, bell) = (Bell::new().map_err(text)?, Bell::new().map_err(text)?);
        let poller = epoll::create(CreateFlags::CLOEXEC).map_err(|e| e.to_string())?;
        let edge = EventFlags::IN | EventFlags::ET;
        epoll::add(&poller, &host_bell, EventData::new_u64(0), edge).map_err(|e| e.to_string())?;
        let theirs = bell.try_clone().map_err(text)?;
        let mut command = Command::new(beside("echoworker")?);
        command.args(["lane", if busy { "futex" } else { "eventfd" }, "checked"]);
        let fds = [fds.host, fds.worker, host_bell.into(), theirs.into()];
        let fds = (3..).zip(fds).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd });
        command.fd_mappings(fds.collect()).map_err(|e| e.to_string())?;
        let worker = cpus.on_server(|| Child::start(&mut command))??;
        segments.check_worker_header().map_err(|e| e.to_string())?;
        let kind = if busy { Doorbell::Futex } else { Doorbell::Eventfd };
        let bells = WorkerBells { kind, bell, rescue: Bell::new().map_err(text)? };
        let end = HostEnd::new(&segments, 0, true, bells);
        let (frame, answer) = (Vec::new(), BytesMut::new());
        Ok(Self { end, poller, worker, busy, sent: 0, taken: 0, frame, answer })
    }

    /// Publishes one frame; whether there was room.
    fn push(&mut self) -> Result<bool> {
        payload::stamp(&mut self.frame, self.sent);
        let token = Token { idx: 0, generation: 1 };
        let frame = Frame::of(wire::KIND_CALL, token, 1, 1);
        match self.end.down.push(&frame, &self.frame) {
            Ok(()) => {
                self.sent += 1;
                Ok(true)
            }
            Err(PushError::Full) => Ok(false),
            Err(e) => Err(e.to_string()),
        }
    }

    /// Rings for what was published.
    fn ring(&mut self) -> Result<()> {
        if self.end.down.must_ring() {
            self.end.waker.ring().map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// Takes one answer, the one to the next frame of its row; whether there was one.
    fn pop(&mut self) -> Result<bool> {
        let Some(frame) = self.end.up.pop(&mut self.answer).map_err(|e| e.to_string())? else {
            return Ok(false);
        };
        let found = payload::check(&self.answer, self.frame.len());
        if frame.kind != wire::KIND_REPLY || found != Some(self.taken) {
            return Err(format!("frame {} came back as {found:?}", self.taken));
        }
        self.taken += 1;
        if self.end.up.must_ring_space() {
            self.end.waker.ring_space().map_err(|e| e.to_string())?;
        }
        Ok(true)
    }

    /// Waits for an answer, or for room if frames wait for it.
    fn wait(&mut self, blocked: bool) -> Result<()> {
        if self.busy {
            spin_loop();
            return Ok(());
        }
        let room = blocked
            && match self.end.down.arm_space(self.frame.len()) {
                Ok(armed) => armed.is_none(),
                Err(e) => return Err(e.to_string()),
            };
        if !room && let Armed::Sleep(_) = self.end.up.arm().map_err(|e| e.to_string())? {
            if self.end.up.must_ring_space() {
                self.end.waker.ring_space().map_err(|e| e.to_string())?;
            }
            let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }];
            match epoll::wait(&self.poller, &mut events, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.to_string()),
            }
            self.end.up.disarm();
        }
        self.end.down.disarm_space();
        Ok(())
    }
}

impl Client for Lane {
    fn server(&self) -> Option<u32> {
        Some(self.worker.pid())
    }

    fn round(&mut self, round: &Round, taker: &mut Taker) -> Result<()> {
        let pieces = round.cell.size.div_ceil(PIECE);
        self.frame = payload::fresh(round.cell.size / pieces);
        let mut open: VecDeque<Ticket> = VecDeque::with_capacity(round.cell.in_flight);
        // Pieces of the open calls that are not sent, and of the first one that are not back.
        let (mut unsent, mut unread) = (0, pieces);
        while !taker.is_over() {
            if open.is_empty()
                && let Some(pause) = taker.pause()
            {
                std::thread::sleep(pause);
            }
            let begun = open.len();
            open.extend(std::iter::from_fn(|| taker.begin()));
            unsent += pieces * (open.len() - begun);
            let mut blocked = false;
            while unsent > 0 && !blocked {
                blocked = !self.push()?;
                unsent -= usize::from(!blocked);
            }
            self.ring()?;
            let mut moved = false;
            while self.pop()? {
                moved = true;
                unread -= 1;
                if unread == 0 {
                    unread = pieces;
                    let ticket = open.pop_front().ok_or("an answer to nothing")?;
                    taker.end(ticket);
                }
            }
            if !moved && !open.is_empty() {
                self.wait(blocked)?;
            }
        }
        match open.front() {
            None => Ok(()),
            Some(ticket) => Err(wrong(*ticket, None)),
        }
    }
}
