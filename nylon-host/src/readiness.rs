//! Waiting for a descriptor of our own in the runtime's reactor.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers `fd` with the current runtime.
///
/// # Errors
/// What the kernel says; `ENOSPC` when the reactor takes no more.
#[expect(
    deprecated,
    reason = "the safe constructor is unsound for types that lie about their descriptor; OwnedFd does not, \
    and its successor is an unsafe function for that same reason"
)]
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}
