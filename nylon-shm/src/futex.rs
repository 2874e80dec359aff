//! The two system calls of a doorbell, on words shared between processes (no PRIVATE flag).

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, Timespec};

use crate::sync::AtomicU32;

/// Sleeps while `word` is `expected`, at most `timeout`. Returns early on a wake, a signal or a changed word.
///
/// # Errors
/// `TimedOut`, or what the kernel says about the address.
pub fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> io::Result<()> {
    let timeout = timeout.map(|t| Timespec {
        tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: t.subsec_nanos().into(),
    });
    match futex::wait(word, Flags::empty(), expected, timeout.as_ref()) {
        Ok(()) | Err(Errno::INTR | Errno::AGAIN) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Wakes at most one sleeper on `word`.
///
/// # Errors
/// What the kernel says about the address.
pub fn wake(word: &AtomicU32) -> io::Result<()> {
    futex::wake(word, Flags::empty(), 1)?;
    Ok(())
}
