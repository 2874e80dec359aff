//! The shared-memory lane of Nylon: what a frame lives in between two processes.
//!
//! A [`segment`] is a sealed memfd; a worker has two, one written by each side. In them lie *rings*
//! ([`ring`]): slots with a publish word, and an arena for payloads over 88 bytes. A [`doorbell`] wakes a side that said
//! it sleeps, and only then. A [`lane`] is two rings and their bells: [`HostEnd`] here, [`WorkerEnd`] there.
//!
//! Everything read from the peer's segment is copied once, the copy is checked, and only the copy is used; a broken rule
//! is a [`nylon_protocol::Violation`] and never a panic. The crate knows frames but not their meaning.
//!
//! ```
//! use nylon_protocol::{Frame, Geometry, segment::Header, wire};
//! use nylon_shm::{Bell, Doorbell, HostEnd, Segments, WorkerBells, WorkerEnd};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let header = Header { geometry: Geometry::default(), epoch: 7, abi_minor: wire::ABI_MINOR, features: 0 };
//! let (host, fds) = Segments::create(header)?;
//! let worker = Segments::attach(&fds, &header)?;      // in real life: in the other process
//! let host_bell = Bell::new()?;
//! let bells = WorkerBells { kind: Doorbell::Futex, bell: Bell::new()?, rescue: Bell::new()? };
//! let mut near = HostEnd::new(&host, 0, true, bells);
//! let mut far = WorkerEnd::new(worker, 0, host_bell.try_clone()?.into());
//!
//! near.down.push(&Frame::new(wire::KIND_PING).status(42), b"")?;
//! let mut payload = bytes::BytesMut::new();
//! let ping = far.recv(&mut payload, None)?.expect("a frame is there");
//! far.send(&Frame::new(wire::KIND_PONG).status(ping.status), b"")?;
//! assert_eq!(near.up.pop(&mut payload)?.expect("the answer").status, 42);
//! # Ok(())
//! # }
//! ```

pub mod ring;
pub mod sync;

#[cfg(not(loom))]
pub mod doorbell;
#[cfg(not(loom))]
pub mod futex;
#[cfg(not(loom))]
pub mod lane;
#[cfg(not(loom))]
pub mod segment;
#[cfg(not(loom))]
mod shared;
#[cfg(not(loom))]
pub mod telemetry;

#[cfg(not(loom))]
pub use doorbell::{Bell, Doorbell};
#[cfg(not(loom))]
pub use lane::{HostEnd, WorkerBells, WorkerEnd, WorkerWaker};
pub use ring::{Armed, Consumer, Gauge, History, Memory, Past, Producer, PushError};
#[cfg(not(loom))]
pub use segment::{MappedRing, SegmentError, SegmentFds, Segments};
