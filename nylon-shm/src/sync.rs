//! The atomics of the ring: the machine's, or loom's when a model runs.
//!
//! Everything else in this crate takes its atomics from here (clippy.toml keeps it so), so that loom compiles the
//! shipped ring and doorbell and not a copy of them. Public for implementations of [`crate::Memory`].

#[cfg(not(loom))]
pub use core::sync::atomic::{Ordering, fence};
#[cfg(loom)]
pub use loom::sync::atomic::{Ordering, fence};

/// A word of the ring.
#[cfg(not(loom))]
#[allow(clippy::disallowed_types, reason = "the one place that names it")]
pub type AtomicU32 = core::sync::atomic::AtomicU32;
/// A double word of the ring.
#[cfg(not(loom))]
#[allow(clippy::disallowed_types, reason = "the one place that names it")]
pub type AtomicU64 = core::sync::atomic::AtomicU64;

/// A word of the ring.
#[cfg(loom)]
pub type AtomicU32 = loom::sync::atomic::AtomicU32;
/// A double word of the ring.
#[cfg(loom)]
pub type AtomicU64 = loom::sync::atomic::AtomicU64;
