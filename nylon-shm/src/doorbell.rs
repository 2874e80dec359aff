//! Waking the other process: a futex word or an eventfd, after the arming protocol of [`crate::ring`] said it sleeps.
//!
//! In: "it sleeps" from `Producer::must_ring`.  Out: one system call.  Never: a decision of its own.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::futex;
use crate::sync::AtomicU32;

/// How a worker asked to be woken (SPEC.md 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doorbell {
    /// `FUTEX_WAKE` on the lane's `bell`.
    Futex,
    /// A write to the worker's eventfd.
    Eventfd,
}

/// An eventfd one side sleeps on and the other rings.
#[derive(Debug)]
pub struct Bell {
    fd: OwnedFd,
}

impl Bell {
    /// A fresh, non-blocking, close-on-exec eventfd.
    ///
    /// # Errors
    /// `EMFILE` and its like.
    pub fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { fd })
    }

    /// Takes over an eventfd that came from the other process.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// A second handle on the same eventfd.
    ///
    /// # Errors
    /// `EMFILE` and its like.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()? })
    }

    /// Wakes the sleeper. A saturated counter makes no edge, so it is read first and written again.
    ///
    /// # Errors
    /// What the kernel says; never `EAGAIN`.
    pub fn ring(&self) -> io::Result<()> {
        let mut drained = false;
        loop {
            match rustix::io::write(&self.fd, &1u64.to_ne_bytes()) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                // Full again since we emptied it: whoever filled it has made the edge, and may not keep us here.
                Err(Errno::AGAIN) if drained => return Ok(()),
                Err(Errno::AGAIN) => {
                    drain(&self.fd)?;
                    drained = true;
                }
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Resets an eventfd's counter, and says what it was: how often it was rung, if its peer is honest.
///
/// # Errors
/// What the kernel says; never `EAGAIN`.
pub fn drain(fd: impl AsFd) -> io::Result<u64> {
    let mut counter = [0; 8];
    match rustix::io::read(fd, &mut counter) {
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(u64::from_ne_bytes(counter)),
        Err(e) => Err(e.into()),
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Bell> for OwnedFd {
    fn from(bell: Bell) -> Self {
        bell.fd
    }
}

/// Rings a worker that `must_ring` said sleeps.
///
/// # Errors
/// What the kernel says.
pub fn ring_worker(kind: Doorbell, word: &AtomicU32, bell: &Bell) -> io::Result<()> {
    match kind {
        Doorbell::Futex => futex::wake(word),
        Doorbell::Eventfd => bell.ring(),
    }
}
