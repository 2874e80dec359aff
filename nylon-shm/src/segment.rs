//! Segments: sealed memfds, one written by the host (H), one by the worker (P) (SPEC.md 2).

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::BytesMut;
use nylon_protocol::segment::Header;
use nylon_protocol::{Frame, Violation, wire};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};

use crate::ring::Memory;
use crate::shared::{Access, Mapping, file_len};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Why a pair of segments could not be made or attached to.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The kernel refused.
    #[error("{what}: {source}")]
    Io {
        /// The call that failed.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The other side's segment is not as agreed.
    #[error(transparent)]
    Peer(#[from] Violation),
}

fn os<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> SegmentError {
    move |source| SegmentError::Io { what, source: source.into() }
}

/// The two descriptors a worker needs. Dropped once they were sent.
#[derive(Debug)]
pub struct SegmentFds {
    /// Written by the host, sealed against writes by anyone else.
    pub host: OwnedFd,
    /// Written by the worker.
    pub worker: OwnedFd,
}

/// Both segments of one worker as mapped by one side.
#[derive(Debug)]
pub struct Segments {
    header: Header,
    host: Mapping,
    worker: Mapping,
}

impl Segments {
    /// Makes, fills in and seals a pair for one worker, and maps it for the host: H read-write, P read-only.
    ///
    /// # Errors
    /// [`SegmentError::Io`]; memory that cannot be had fails here and not in the middle of a call.
    pub fn create(header: Header) -> Result<(Arc<Self>, SegmentFds), SegmentError> {
        let len = header.geometry.check()?.segment_len();
        let host_fd = memfd(c"nylon-host", len)?;
        let worker_fd = memfd(c"nylon-worker", len)?;
        let bytes = usize::try_from(len).map_err(|_| Violation::Header("seg_len"))?;
        let host = Mapping::new(&host_fd, bytes, Access::ReadWrite).map_err(os("map H"))?;
        let worker = Mapping::new(&worker_fd, bytes, Access::ReadOnly).map_err(os("map P"))?;
        host.write(0, &header.encode());
        let fixed = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        seal(&host_fd, fixed | SealFlags::FUTURE_WRITE)?;
        seal(&worker_fd, fixed)?;
        let fds = SegmentFds { host: host_fd, worker: worker_fd };
        Ok((Arc::new(Self { header, host, worker }), fds))
    }

    /// Maps a pair for the worker, H read-only and P read-write, and writes P's header. `expected` is what Hello said.
    ///
    /// # Errors
    /// [`SegmentError::Peer`] when a length or H's header is not what Hello said.
    pub fn attach(fds: &SegmentFds, expected: &Header) -> Result<Arc<Self>, SegmentError> {
        let len = expected.geometry.check()?.segment_len();
        for fd in [&fds.host, &fds.worker] {
            if file_len(fd).map_err(os("fstat"))? != len {
                return Err(Violation::Header("seg_len").into());
            }
        }
        let bytes = usize::try_from(len).map_err(|_| Violation::Header("seg_len"))?;
        let host = Mapping::new(&fds.host, bytes, Access::ReadOnly).map_err(os("map H"))?;
        let worker = Mapping::new(&fds.worker, bytes, Access::ReadWrite).map_err(os("map P"))?;
        let header = Header::decode(&page_of(&host))?;
        if header.geometry != expected.geometry {
            return Err(Violation::Header("geometry").into());
        }
        if header.epoch != expected.epoch {
            return Err(Violation::Header("epoch").into());
        }
        worker.write(0, &header.encode());
        Ok(Arc::new(Self { header, host, worker }))
    }

    /// Reads P's header once and checks that it says what H's says (SPEC.md 2.3).
    ///
    /// # Errors
    /// The field that differs.
    pub fn check_worker_header(&self) -> Result<(), Violation> {
        let theirs = Header::decode(&page_of(&self.worker))?;
        if theirs.geometry != self.header.geometry {
            return Err(Violation::Header("geometry"));
        }
        if theirs.epoch != self.header.epoch {
            return Err(Violation::Header("epoch"));
        }
        Ok(())
    }

    /// What the header pages say.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// A store through the read-only mapping would fault; better a panic that says whose mistake it is.
    pub(crate) fn assert_host(&self) {
        assert!(self.host.is_writable(), "H is read-only here: this is the worker's end");
    }

    /// As [`Self::assert_host`].
    pub(crate) fn assert_worker(&self) {
        assert!(self.worker.is_writable(), "P is read-only here: this is the host's end");
    }

    /// Stores H's `state`, one of `wire::STATE_*`.
    ///
    /// # Panics
    /// On the worker's end.
    pub fn set_state(&self, state: u32) {
        self.assert_host();
        self.host.u32(wire::HEADER_STATE).store(state, Ordering::Release);
    }

    /// Stores how long the worker may spin, in ns, and bumps `policy_seq`.
    ///
    /// # Panics
    /// On the worker's end.
    pub fn set_spin(&self, ns: u32) {
        self.assert_host();
        self.host.u32(wire::HEADER_SPIN_NS_PEER).store(ns, Ordering::Relaxed);
        self.host.u32(wire::HEADER_POLICY_SEQ).fetch_add(1, Ordering::Release);
    }

    /// How long the host lets the worker spin, in ns.
    pub fn spin_ns(&self) -> u32 {
        self.host.u32(wire::HEADER_SPIN_NS_PEER).load(Ordering::Relaxed)
    }

    /// The ring towards the worker in lane `lane`.
    pub fn down(self: &Arc<Self>, lane: u32) -> MappedRing {
        MappedRing::new(self.clone(), lane, Direction::Down)
    }

    /// The ring towards the host in lane `lane`.
    pub fn up(self: &Arc<Self>, lane: u32) -> MappedRing {
        MappedRing::new(self.clone(), lane, Direction::Up)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// Host to worker: slots in H.
    Down,
    /// Worker to host: slots in P.
    Up,
}

/// One ring of a mapped lane.
#[derive(Clone, Debug)]
pub struct MappedRing {
    segments: Arc<Segments>,
    direction: Direction,
    lane: usize,
    slots: u32,
    arena: u64,
    arena_offset: usize,
}

impl MappedRing {
    fn new(segments: Arc<Segments>, lane: u32, direction: Direction) -> Self {
        let g = segments.header.geometry;
        assert!(lane < g.lanes, "lane {lane} of {}", g.lanes);
        let at = |offset: u64| usize::try_from(offset).expect("a segment fits the address space");
        Self {
            direction,
            lane: at(g.lane_offset(lane)),
            slots: g.slots,
            arena: g.arena,
            arena_offset: at(g.lane_offset(lane) + g.arena_offset()),
            segments,
        }
    }

    fn producer(&self) -> &Mapping {
        match self.direction {
            Direction::Down => &self.segments.host,
            Direction::Up => &self.segments.worker,
        }
    }

    fn consumer(&self) -> &Mapping {
        match self.direction {
            Direction::Down => &self.segments.worker,
            Direction::Up => &self.segments.host,
        }
    }

    fn slot(&self, index: u32) -> usize {
        assert!(index < self.slots);
        self.lane + wire::LANE_RING + index as usize * wire::SIZE_SLOT
    }

    /// Statistic `index` (`wire::STAT_*`) of the ring's consumer; a hint, never trusted.
    pub fn consumer_stat(&self, index: usize) -> &AtomicU64 {
        assert!(index < 16);
        self.consumer().u64(self.lane + wire::LANE_STATS + index * 8)
    }

    /// The `rescue` word of the lane (H). Host bumps, worker reads.
    pub fn rescue(&self) -> &AtomicU32 {
        self.segments.host.u32(self.lane + wire::LANE_RESCUE)
    }
}

impl Memory for MappedRing {
    fn slots(&self) -> u32 {
        self.slots
    }

    fn arena(&self) -> u64 {
        self.arena
    }

    fn seq(&self, index: u32) -> &AtomicU32 {
        self.producer().u32(self.slot(index) + wire::SLOT_SEQ)
    }

    fn head(&self) -> &AtomicU32 {
        self.consumer().u32(self.lane + wire::LANE_HEAD)
    }

    fn arena_head(&self) -> &AtomicU64 {
        self.consumer().u64(self.lane + wire::LANE_ARENA_HEAD)
    }

    fn bell(&self) -> &AtomicU32 {
        self.producer().u32(self.lane + wire::LANE_BELL)
    }

    fn wait(&self) -> &AtomicU32 {
        self.consumer().u32(self.lane + wire::LANE_WAIT)
    }

    fn space_wait(&self) -> &AtomicU32 {
        self.producer().u32(self.lane + wire::LANE_SPACE_WAIT)
    }

    fn space_bell(&self) -> &AtomicU32 {
        self.consumer().u32(self.lane + wire::LANE_SPACE_BELL)
    }

    fn put_frame(&self, index: u32, frame: &Frame, inline: &[u8]) {
        let used = if inline.len() > wire::SIZE_INLINE_HEAD {
            wire::SIZE_INLINE
        } else {
            wire::SIZE_INLINE_HEAD
        };
        let (memory, at) = (self.producer(), self.slot(index));
        let [publish, words @ ..] = frame.to_words();
        memory.u32(at + wire::SLOT_KIND).store((publish >> 32) as u32, Ordering::Relaxed);
        memory.write_words(at + wire::SLOT_SID, &words);
        memory.write_padded(at + wire::SLOT_INLINE, inline, used);
    }

    fn get_frame(&self, index: u32) -> Frame {
        Frame::from_words(self.producer().read_words(self.slot(index)))
    }

    fn get_inline(&self, index: u32, len: u32, out: &mut BytesMut) {
        assert!(len as usize <= wire::SIZE_INLINE);
        self.producer().read(self.slot(index) + wire::SLOT_INLINE, len as usize, out);
    }

    fn put_bytes(&self, at: u64, bytes: &[u8]) {
        assert!(at + bytes.len() as u64 <= self.arena);
        self.producer().write(self.arena_at(at), bytes);
    }

    fn get_bytes(&self, at: u64, len: u32, out: &mut BytesMut) {
        assert!(at + u64::from(len) <= self.arena);
        self.producer().read(self.arena_at(at), len as usize, out);
    }
}

impl MappedRing {
    fn arena_at(&self, at: u64) -> usize {
        self.arena_offset + usize::try_from(at).expect("checked against the arena")
    }
}

/// The header's bytes, each read once.
fn page_of(segment: &Mapping) -> [u8; 128] {
    bytemuck::cast(segment.read_words::<16>(0))
}

fn memfd(name: &CStr, len: u64) -> Result<OwnedFd, SegmentError> {
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map_err(os("memfd_create"))?;
    rustix::fs::fallocate(&fd, FallocateFlags::empty(), 0, len).map_err(os("fallocate"))?;
    Ok(fd)
}

fn seal(fd: &OwnedFd, seals: SealFlags) -> Result<(), SegmentError> {
    rustix::fs::fcntl_add_seals(fd, seals).map_err(os("add seals"))?;
    let found = rustix::fs::fcntl_get_seals(fd).map_err(os("get seals"))?;
    if found.contains(seals) { Ok(()) } else { Err(Violation::Header("seals").into()) }
}

/// A sealed memfd holding `bytes`: how a Hello over 64 KiB travels (SPEC.md 8.2).
///
/// # Errors
/// What the kernel says.
pub fn sealed_bytes(bytes: &[u8]) -> io::Result<OwnedFd> {
    use std::io::Write as _;
    let fd =
        rustix::fs::memfd_create(c"nylon-hello", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(fd.as_fd().try_clone_to_owned()?);
    file.write_all(bytes)?;
    rustix::fs::fcntl_add_seals(
        &fd,
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL,
    )?;
    Ok(fd)
}
