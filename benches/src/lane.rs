//! `lane/go/64B`: frames through the rings of one lane to a Go worker and back; no session, no runtime.

use std::hint::spin_loop;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::BytesMut;
use command_fds::{CommandFdExt as _, FdMapping};
use nylon_protocol::{Frame, Token, wire};
use nylon_shm::{Armed, Bell, Doorbell, HostEnd, Segments, WorkerBells};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::cpus::Cpus;
use crate::roundtrip::{Case, Round, Taken};
use crate::worker::{self, Child};
use crate::{Result, asleep};

/// How long the worker of the busy row polls before it sleeps, ns: the most it accepts.
const SPIN_NS: u32 = 100_000;

pub(crate) struct Lane {
    end: HostEnd,
    poller: OwnedFd,
    worker: Child,
    busy: bool,
    count: u64,
    payload: [u8; 64],
    answer: BytesMut,
}

impl Lane {
    /// A lane whose sides spin (`busy`) or sleep between frames, as policies `latency` and `balanced` have them.
    pub(crate) fn start(cpus: &Cpus, program: &Path, busy: bool) -> Result<Self> {
        let text = |e: std::io::Error| e.to_string();
        let (segments, fds) = Segments::create(worker::header()).map_err(|e| e.to_string())?;
        segments.set_spin(if busy { SPIN_NS } else { 0 });
        let (host_bell, bell) = (Bell::new().map_err(text)?, Bell::new().map_err(text)?);
        let poller = epoll::create(CreateFlags::CLOEXEC).map_err(|e| e.to_string())?;
        let edge = EventFlags::IN | EventFlags::ET;
        epoll::add(&poller, &host_bell, EventData::new_u64(0), edge).map_err(|e| e.to_string())?;
        let theirs = bell.try_clone().map_err(text)?;
        let mut command = Command::new(program);
        command.args(["lane", if busy { "busy" } else { "parked" }]);
        let fds = [fds.host, fds.worker, host_bell.into(), theirs.into()];
        let fds = (3..).zip(fds).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd });
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.fd_mappings(fds.collect()).map_err(|e| e.to_string())?;
        let worker = cpus.on_worker(|| Child::start(command))?;
        segments.check_worker_header().map_err(|e| e.to_string())?;
        let kind = if busy { Doorbell::Futex } else { Doorbell::Eventfd };
        let bells = WorkerBells { kind, bell, rescue: Bell::new().map_err(text)? };
        let end = HostEnd::new(&segments, 0, true, bells);
        Ok(Self { end, poller, worker, busy, count: 0, payload: [7; 64], answer: BytesMut::new() })
    }

    fn call(&mut self) -> Result<()> {
        self.count += 1;
        self.payload[..8].copy_from_slice(&self.count.to_le_bytes());
        let token = Token { idx: 0, generation: 1 };
        let frame = Frame::of(wire::KIND_CALL, token, 1, 1);
        self.end.down.push(&frame, &self.payload).map_err(|e| e.to_string())?;
        if self.end.down.must_ring() {
            self.end.waker.ring().map_err(|e| e.to_string())?;
        }
        let reply = loop {
            match self.end.up.pop(&mut self.answer).map_err(|e| e.to_string())? {
                Some(frame) => break frame,
                None if self.busy => spin_loop(),
                None => self.sleep()?,
            }
        };
        if reply.kind != wire::KIND_REPLY || *self.answer != self.payload {
            return Err(format!("call {} came back as something else", self.count));
        }
        Ok(())
    }

    /// Arms the ring and waits for the bell.
    fn sleep(&mut self) -> Result<()> {
        if let Armed::Sleep(_) = self.end.up.arm().map_err(|e| e.to_string())? {
            let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }];
            match epoll::wait(&self.poller, &mut events, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.to_string()),
            }
            self.end.up.disarm();
        }
        Ok(())
    }
}

impl Case for Lane {
    fn round(&mut self, round: &Round) -> Result<Taken> {
        let pid = self.worker.pid();
        let before = (asleep::waits(std::process::id()), asleep::waits(pid));
        let samples = round.take(|| self.call())?;
        Ok(round.hold(samples, before, pid))
    }
}
