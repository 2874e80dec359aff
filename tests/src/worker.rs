//! A worker in Rust: shakes hands on descriptor 3, takes frames, answers. No SDK, so that it can also break every rule.

use std::fs::File;
use std::io::{self, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use nylon_protocol::handshake::{Control, Hello, HelloOk, VersionRange};
use nylon_protocol::record::{MutationWriter, Names, Op, Source, Step, Value};
use nylon_protocol::segment::Header;
use nylon_protocol::{Frame, Token, check, wire};
use nylon_shm::lane::WorkerError;
use nylon_shm::{Bell, SegmentFds, Segments, WorkerEnd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// The control socket, before and after the handshake.
#[derive(Debug)]
pub struct ControlFd(Arc<OwnedFd>);

/// What came with Hello.
#[derive(Debug)]
pub struct Greeting {
    /// The message.
    pub hello: Hello,
    segments: SegmentFds,
    host_bell: OwnedFd,
}

impl ControlFd {
    /// Descriptor 3, as the host left it.
    pub fn inherited() -> io::Result<ControlFd> {
        // SAFETY: the host left it open there, and nothing of this program closes it before it is duplicated.
        let fd = unsafe { BorrowedFd::borrow_raw(wire::FD_CONTROL) };
        Ok(ControlFd(Arc::new(fd.try_clone_to_owned()?)))
    }

    /// Reads Hello and takes its descriptors.
    pub fn hello(&self) -> Result<Greeting> {
        let mut message = vec![0; wire::LIMIT_CONTROL];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(6))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let iov = &mut [IoSliceMut::new(&mut message)];
        let got = recvmsg(&self.0, iov, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let mut fds = Vec::new();
        for part in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = part {
                fds.extend(rights);
            }
        }
        let mut fds = fds.into_iter();
        let (Some(host), Some(worker), Some(host_bell)) = (fds.next(), fds.next(), fds.next())
        else {
            return Err("Hello without its descriptors".into());
        };
        let _bells = (fds.next(), fds.next());
        let hello = match fds.next() {
            None => Control::decode(&message[..got.bytes])?,
            Some(sealed) => {
                let mut text = Vec::new();
                io::Read::read_to_end(&mut File::from(sealed), &mut text)?;
                Control::decode(&text)?
            }
        };
        let Control::Hello(hello) = hello else { return Err("not Hello".into()) };
        Ok(Greeting { hello, segments: SegmentFds { host, worker }, host_bell })
    }

    /// Sends bytes as they are.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        send(&self.0, message, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Ends the process when the host asks for it, or is gone.
    fn watch(&self) {
        let fd = self.0.clone();
        std::thread::spawn(move || {
            let mut message = [0; 4096];
            if let Ok(n) = rustix::io::read(&fd, &mut message)
                && let Ok(Control::Shutdown { .. }) = Control::decode(&message[..n])
            {
                let _ = send(&fd, &Control::Bye.encode(), SendFlags::NOSIGNAL);
            }
            std::process::exit(0);
        });
    }
}

impl Greeting {
    /// The answer an honest worker gives, which speaks all this tree does.
    pub fn ok(&self) -> HelloOk {
        HelloOk {
            versions: VersionRange::OURS,
            layout_hash: wire::LAYOUT_HASH,
            epoch: self.hello.epoch,
            features: wire::FEATURE_HOST_CALLS | wire::FEATURE_STREAMS,
            cpus: 1,
            doorbell: wire::DOORBELL_FUTEX,
            sdk: "nylon-tests".into(),
            entries: vec!["serve".into()],
        }
    }

    /// Maps the segments, keeping P's descriptor, and answers `ok`.
    pub fn join(self, control: &ControlFd, ok: &HelloOk) -> Result<Worker> {
        let Hello { geometry, epoch, features, .. } = self.hello;
        let header = Header { geometry, epoch, abi_minor: wire::ABI_MINOR, features };
        let segments = Segments::attach(&self.segments, &header)?;
        let bell = Bell::from_fd(self.host_bell);
        let end = WorkerEnd::new(segments, 0, bell.try_clone()?.into());
        control.send(&Control::HelloOk(ok.clone()).encode())?;
        control.watch();
        Ok(Worker {
            end,
            names: Names::agreed(ok.features),
            apos: 0,
            taken: BytesMut::new(),
            memory: Scribble { file: Arc::new(self.segments.worker.into()), hello: self.hello },
            bell,
        })
    }

    /// P's memory, before anything is mapped.
    pub fn memory(&self) -> io::Result<File> {
        Ok(self.segments.worker.as_fd().try_clone_to_owned()?.into())
    }
}

/// P as a file: whoever has its descriptor may write anything anywhere.
#[derive(Clone, Debug)]
pub struct Scribble {
    file: Arc<File>,
    hello: Hello,
}

impl Scribble {
    /// Writes `bytes` at `offset` of the segment.
    pub fn write(&self, offset: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, offset).expect("P can be written");
    }

    /// Length of the segment.
    pub fn len(&self) -> u64 {
        self.hello.seg_len
    }

    /// Whether there is nothing to write to.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Offset of a word of lane 0 (`wire::LANE_*`).
    pub fn lane(&self, word: usize) -> u64 {
        self.hello.geometry.lane_offset(0) + word as u64
    }

    /// Offset of the slot of position `pos`.
    pub fn slot(&self, pos: u64) -> u64 {
        let index = pos & u64::from(self.hello.geometry.slots - 1);
        self.lane(wire::LANE_RING) + index * wire::SIZE_SLOT as u64
    }

    /// Offset of a virtual arena position.
    pub fn arena(&self, at: u64) -> u64 {
        let g = self.hello.geometry;
        self.lane(0) + g.arena_offset() + (at & (g.arena - 1))
    }

    /// Bytes of the arena.
    pub fn arena_len(&self) -> u64 {
        self.hello.geometry.arena
    }

    /// Slots of the ring.
    pub fn slots(&self) -> u64 {
        self.hello.geometry.slots.into()
    }

    /// Gives the pages of a range back to the kernel: they read as zeros.
    pub fn punch(&self, offset: u64, len: u64) {
        use rustix::fs::FallocateFlags as F;
        rustix::fs::fallocate(&self.file, F::PUNCH_HOLE | F::KEEP_SIZE, offset, len)
            .expect("a hole");
    }
}

/// An invocation, as far as this worker wants to know.
#[derive(Clone, Debug)]
pub struct Call {
    /// The CALL.
    pub frame: Frame,
    /// Path of the request.
    pub path: String,
    /// Header `x-nonce`.
    pub nonce: String,
    /// Whether header names stood there as ids.
    pub ids: bool,
}

/// A worker that has shaken hands.
#[derive(Debug)]
pub struct Worker {
    /// The lane.
    pub end: WorkerEnd,
    /// The whole of P.
    pub memory: Scribble,
    bell: Bell,
    names: Names,
    /// Where the host expects the next arena payload.
    apos: u64,
    taken: BytesMut,
}

impl Worker {
    /// The next invocation; everything else is passed over.
    pub fn next_call(&mut self) -> Result<Call> {
        loop {
            let Some(frame) = self.take(None)? else { continue };
            if frame.kind == wire::KIND_PING {
                self.send(&Frame::new(wire::KIND_PONG).status(frame.status), &[])?;
            }
            if frame.kind != wire::KIND_CALL {
                continue;
            }
            let open = frame.has(wire::FLAG_OPEN);
            let step = Step::parse(&self.taken, open, self.names)?;
            let Some(Source::Record(request)) = step.request else { continue };
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let nonce = request.headers().find(|(name, _)| *name == b"x-nonce");
            return Ok(Call {
                frame,
                path: text(request.path()),
                nonce: nonce.map(|(_, value)| text(value)).unwrap_or_default(),
                ids: Step::parse(&self.taken, open, Names::Spelled).is_err(),
            });
        }
    }

    /// The next frame, `None` after `timeout`.
    pub fn take(&mut self, timeout: Option<Duration>) -> Result<Option<Frame>, WorkerError> {
        self.end.recv(&mut self.taken, timeout)
    }

    /// Publishes a frame as the protocol wants it.
    pub fn send(&mut self, frame: &Frame, payload: &[u8]) -> Result<(), WorkerError> {
        self.end.send(frame, payload)?;
        if payload.len() > wire::SIZE_INLINE {
            let len = u32::try_from(payload.len()).expect("fitted the lane");
            self.apos = check::bump(self.apos, len, self.memory.arena_len()).1;
        }
        Ok(())
    }

    /// Position of the next frame up.
    pub fn pos(&self) -> u64 {
        self.end.up.pos()
    }

    /// Where the next arena payload of `len` bytes belongs.
    pub fn arena_pos(&self, len: u32) -> u64 {
        check::bump(self.apos, len, self.memory.arena_len()).0
    }

    /// Wakes the host, asleep or not.
    pub fn ring(&self) {
        self.bell.ring().expect("the host bell");
    }

    /// The host's bell, for another thread.
    pub fn bell(&self) -> io::Result<Bell> {
        self.bell.try_clone()
    }

    /// Answers 200 with `body`.
    pub fn say(&mut self, call: &Call, body: &str) -> Result<(), WorkerError> {
        let record = record_of(&[Op::Status(200), Op::Body(Value::Inline(body.as_bytes()))]);
        self.send(&Self::frame(call, wire::KIND_REPLY).method(wire::METHOD_END), &record)
    }

    /// A frame of this invocation.
    pub fn frame(call: &Call, kind: u8) -> Frame {
        let Frame { call_idx: idx, call_gen: generation, sid, phase, .. } = call.frame;
        Frame::of(kind, Token { idx, generation }, sid, phase)
    }

    /// The honest answer: the request's nonce and who answers.
    pub fn answer(&mut self, call: &Call) -> Result<(), WorkerError> {
        let record = record(&call.nonce);
        self.send(&Self::frame(call, wire::KIND_REPLY).method(wire::METHOD_END), &record)
    }
}

/// A mutation record that answers 200 with `nonce` as header and body.
pub fn record(nonce: &str) -> Vec<u8> {
    let pid = std::process::id().to_string();
    record_of(&[
        Op::Status(200),
        Op::SetHeader { name: b"x-nonce", value: nonce.as_bytes() },
        Op::SetHeader { name: b"x-pid", value: pid.as_bytes() },
        Op::Body(Value::Inline(nonce.as_bytes())),
    ])
}

/// A mutation record of `ops`.
pub fn record_of(ops: &[Op<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = MutationWriter::new(&mut out);
    for op in ops {
        writer.op(*op);
    }
    writer.finish().expect("a small record");
    out
}

/// CLOCK_MONOTONIC in ns: the same clock in every process.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (sec, ns) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    sec.unwrap_or(0) * 1_000_000_000 + ns.unwrap_or(0)
}

/// Appends `WORD VALUE` to the file named by NYLON_HOSTILE_LOG, where a test looks for it.
pub fn log(word: &str, value: impl std::fmt::Display) {
    let Some(path) = std::env::var_os("NYLON_HOSTILE_LOG") else { return };
    let line = format!("{word} {value}\n");
    let file = File::options().append(true).create(true).open(path);
    file.and_then(|mut f| f.write_all(line.as_bytes())).expect("the log");
}
