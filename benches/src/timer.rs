//! Waiting inside tokio for less than its own timer's millisecond.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::Result;

/// A timer of the kernel, in the runtime's reactor.
pub(crate) struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    /// In the current runtime.
    #[expect(deprecated, reason = "its successor is unsafe; an OwnedFd does not lie about its fd")]
    pub(crate) fn new() -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(|e| e.to_string())?;
        let watched = AsyncFd::with_interest(fd, Interest::READABLE).map_err(|e| e.to_string())?;
        Ok(Self(watched))
    }

    /// Sleeps until `due`; not at all if that is past.
    pub(crate) async fn until(&self, due: Instant) -> Result<()> {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let once = Itimerspec { it_interval: spec(Duration::ZERO), it_value: spec(left) };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)
            .map_err(|e| e.to_string())?;
        let mut expired = [0; 8];
        let read = self.0.async_io(Interest::READABLE, |fd| {
            rustix::io::read(fd, &mut expired).map_err(std::io::Error::from)
        });
        read.await.map(drop).map_err(|e| e.to_string())
    }
}

fn spec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}
