//! The atomics of the ring: the machine's, or loom's when a model runs.
//!
//! Everything else in this crate takes its atomics from here (clippy.toml keeps it so), so that loom compiles the
//! shipped ring and doorbell and not a copy of them.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
