//! How a reactor notices its worker: by the bell, or by a look now and then while nobody listens to it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use nylon_shm::doorbell;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::Peer;
use crate::readiness;

/// Between two looks: so long at first, and twice as long each time that nothing came.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(64);
/// The bell's counter is read once in so many rings, so that it cannot saturate.
const READ_EVERY: u32 = 1 << 20;

/// The host bell of a lane.
#[derive(Debug)]
pub(super) struct Ear {
    bell: Listening,
    /// Whose bell it is: the lanes of a worker share its counter.
    peer: Arc<Peer>,
}

#[derive(Debug)]
enum Listening {
    /// In the runtime's poll: any ring wakes the reactor.
    Yes { bell: AsyncFd<OwnedFd>, heard: u32 },
    /// Out of it: rings wake nobody. They are counted by the bell itself.
    No { bell: OwnedFd, pause: Duration, due: Instant },
}

impl Ear {
    /// Listens to `bell`, which `peer` rings.
    pub(super) fn new(bell: OwnedFd, peer: Arc<Peer>) -> io::Result<Self> {
        Ok(Self { bell: listen(bell)?, peer })
    }

    /// Waits until it is rung, or due to look; how often it rang, as far as is known.
    pub(super) async fn rung(&mut self) -> io::Result<u64> {
        match &mut self.bell {
            Listening::Yes { bell, heard } => {
                bell.readable().await?.clear_ready();
                *heard = heard.wrapping_add(1);
                if heard.is_multiple_of(READ_EVERY) {
                    read(bell.get_ref(), &self.peer)?;
                }
                Ok(1)
            }
            Listening::No { bell, due, .. } => {
                tokio::time::sleep_until(*due).await;
                read(bell, &self.peer)
            }
        }
    }

    /// Listens, or does not, from now on; `came`: something was of use since the last look.
    pub(super) fn set(self, listens: bool, came: bool) -> io::Result<Self> {
        let Self { bell, peer } = self;
        let bell = match bell {
            yes @ Listening::Yes { .. } if listens => yes,
            Listening::Yes { bell, .. } => {
                let bell = bell.into_inner();
                read(&bell, &peer)?;
                Listening::No { bell, pause: PAUSE, due: Instant::now() + PAUSE }
            }
            Listening::No { bell, .. } if listens => listen(bell)?,
            Listening::No { bell, pause, due } => {
                let (pause, due) = next_look(pause, due, came, Instant::now());
                Listening::No { bell, pause, due }
            }
        };
        Ok(Self { bell, peer })
    }
}

fn listen(bell: OwnedFd) -> io::Result<Listening> {
    Ok(Listening::Yes { bell: readiness::watch(bell, Interest::READABLE)?, heard: 0 })
}

/// How often the bell rang since it was last read.
fn read(bell: &OwnedFd, peer: &Peer) -> io::Result<u64> {
    let rings = doorbell::drain(bell)?;
    peer.look_around();
    Ok(rings)
}

/// The pause from now on and when the next look is due, where one was due at `due`; `now` may be before that, as others
/// than the bell wake the reactor, too.
fn next_look(pause: Duration, due: Instant, came: bool, now: Instant) -> (Duration, Instant) {
    let looked = due <= now;
    let pause = match (came, looked) {
        (true, _) => PAUSE,
        (false, true) => (pause * 2).min(PAUSE_MAX),
        (false, false) => pause,
    };
    (pause, if looked { now + pause } else { due.min(now + pause) })
}

#[cfg(test)]
mod tests {
    use nylon_shm::Bell;

    use super::super::Queue;
    use super::*;

    fn peer() -> Arc<Peer> {
        let queue = Arc::new(Queue::new(1, Duration::ZERO));
        Arc::new(Peer::new(("p".into(), 1, 1), &[], 1, 0, queue, Arc::default()))
    }

    #[tokio::test]
    async fn a_shut_ear_counts_rings_and_an_open_one_hears_them() {
        let far = Bell::new().expect("an eventfd");
        let ring = |times| (0..times).for_each(|_| far.ring().expect("it is there"));
        let bell = far.try_clone().expect("a descriptor");
        let mut ear = Ear::new(bell.into(), peer()).expect("a reactor");
        ring(1);
        assert_eq!(ear.rung().await.expect("an eventfd"), 1);
        ear = ear.set(false, false).expect("an eventfd");
        ring(5);
        assert_eq!(ear.rung().await.expect("an eventfd"), 5, "not those before");
        ear = ear.set(true, false).expect("a reactor");
        ring(1);
        assert_eq!(ear.rung().await.expect("an eventfd"), 1);
    }

    #[tokio::test]
    async fn who_reads_the_bell_has_the_other_lanes_look() {
        let far = Bell::new().expect("an eventfd");
        let peer = peer();
        let (_own, other) = (peer.nudge(), peer.nudge());
        let bell = far.try_clone().expect("a descriptor");
        let ear = Ear::new(bell.into(), peer).expect("a reactor");
        let mut ear = ear.set(false, false).expect("an eventfd");
        for _ in 0..2 {
            let woken = tokio::time::timeout(Duration::from_secs(5), other.notified()).await;
            woken.expect("a ring may have been for it");
            ear.rung().await.expect("an eventfd");
        }
    }

    #[test]
    fn looks_become_seldom_until_something_comes() {
        let (mut pause, mut now) = (PAUSE, Instant::now());
        let mut pauses = Vec::new();
        for came in [0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0].map(|came| came == 1) {
            let due;
            (pause, due) = next_look(pause, now, came, now);
            pauses.push((due - now).as_millis());
            now = due;
        }
        assert_eq!(pauses, [2, 4, 8, 1, 1, 2, 4, 8, 16, 32, 64, 64]);
        let half = PAUSE / 2;
        assert_eq!(next_look(PAUSE, now + half, false, now), (PAUSE, now + half), "not due yet");
        assert_eq!(next_look(PAUSE_MAX, now + PAUSE_MAX, true, now), (PAUSE, now + PAUSE));
    }
}
