//! `lane/go`: frames through the rings of one lane to a Go worker and back; no session, no runtime.

use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use bytes::BytesMut;
use command_fds::{CommandFdExt as _, FdMapping};
use nylon_protocol::{Frame, Token, wire};
use nylon_shm::{Armed, Bell, Doorbell, HostEnd, Segments, WorkerBells};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::pipe::{Numbers, Pipe};
use crate::Result;
use crate::env::Env;
use crate::worker::{self, Child};

/// How long the worker of a busy row polls before it sleeps, ns: the most it accepts.
const SPIN_NS: u32 = 100_000;

/// How both sides wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// They spin, as under policy `latency`.
    Spin,
    /// They sleep, the worker in Go's poller: policies `balanced` and `cpu`.
    Eventfd,
    /// They sleep, the worker in a futex.
    Futex,
}

pub(crate) struct Lane {
    end: HostEnd,
    poller: OwnedFd,
    worker: Child,
    wait: Wait,
    numbers: Numbers,
    payload: Vec<u8>,
    answer: BytesMut,
}

impl Lane {
    /// A lane with payloads of 64 bytes.
    pub(crate) fn start(env: &Env, wait: Wait) -> Result<Self> {
        let text = |e: std::io::Error| e.to_string();
        let (segments, fds) = Segments::create(worker::header()).map_err(|e| e.to_string())?;
        segments.set_spin(if wait == Wait::Spin { SPIN_NS } else { 0 });
        let (host_bell, bell) = (Bell::new().map_err(text)?, Bell::new().map_err(text)?);
        let poller = epoll::create(CreateFlags::CLOEXEC).map_err(|e| e.to_string())?;
        let edge = EventFlags::IN | EventFlags::ET;
        epoll::add(&poller, &host_bell, EventData::new_u64(0), edge).map_err(|e| e.to_string())?;
        let theirs = bell.try_clone().map_err(text)?;
        let (kind, parker) = match wait {
            Wait::Eventfd => (Doorbell::Eventfd, "eventfd"),
            Wait::Spin | Wait::Futex => (Doorbell::Futex, "futex"),
        };
        let mut command = Command::new(env.echoworker()?);
        command.args(["lane", parker]);
        let fds = [fds.host, fds.worker, host_bell.into(), theirs.into()];
        let fds = (3..).zip(fds).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd });
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.fd_mappings(fds.collect()).map_err(|e| e.to_string())?;
        let worker = env.cpus.on_worker(|| Child::start(command))?;
        segments.check_worker_header().map_err(|e| e.to_string())?;
        let bells = WorkerBells { kind, bell, rescue: Bell::new().map_err(text)? };
        let end = HostEnd::new(&segments, 0, true, bells);
        let (numbers, payload, answer) = (Numbers::default(), vec![7; 64], BytesMut::new());
        Ok(Self { end, poller, worker, wait, numbers, payload, answer })
    }
}

impl Pipe for Lane {
    fn send(&mut self) -> Result<()> {
        self.numbers.stamp(&mut self.payload);
        let frame = Frame::of(wire::KIND_CALL, Token { idx: 0, generation: 1 }, 1, 1);
        self.end.down.push(&frame, &self.payload).map_err(|e| e.to_string())
    }

    fn flush(&mut self) -> Result<()> {
        if self.end.down.must_ring() {
            self.end.waker.ring().map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<bool> {
        let frame = self.end.up.pop(&mut self.answer).map_err(|e| e.to_string())?;
        let Some(frame) = frame else { return Ok(false) };
        if frame.kind != wire::KIND_REPLY || self.answer.len() != self.payload.len() {
            return Err(format!("a frame of kind {} as an answer", frame.kind));
        }
        self.numbers.check(&self.answer)?;
        Ok(true)
    }

    /// Arms the ring and waits for the bell.
    fn wait(&mut self) -> Result<()> {
        if self.wait == Wait::Spin {
            std::hint::spin_loop();
            return Ok(());
        }
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

    fn worker(&self) -> Option<u32> {
        Some(self.worker.pid())
    }
}
