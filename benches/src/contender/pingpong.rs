//! The busy limit: two threads hand a cache line to and fro. Nothing that crosses CPUs and comes back is faster.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Result;
use crate::case::{Case, Round, Taken};
use crate::cpus::Cpus;

/// A word with its line, and the one the prefetcher pairs with it, to itself.
#[repr(align(128))]
#[derive(Default)]
struct Line(AtomicU64);

#[derive(Default)]
struct Court {
    ping: Line,
    pong: Line,
}

const STOP: u64 = u64::MAX;

pub(crate) struct PingPong(pub(crate) Cpus);

impl Case for PingPong {
    fn round(&mut self, round: &Round) -> Result<Taken> {
        let court = Arc::new(Court::default());
        let theirs = court.clone();
        let peer = self.0.on_worker(|| std::thread::spawn(move || answer(&theirs)));
        let mut count = 0;
        let taken = round.take(|| {
            count += 1;
            court.ping.0.store(count, Ordering::Release);
            loop {
                match court.pong.0.load(Ordering::Acquire) {
                    now if now == count => return Ok(()),
                    now if now == count - 1 => spin_loop(),
                    now => return Err(format!("pong {now} for ping {count}")),
                }
            }
        });
        court.ping.0.store(STOP, Ordering::Release);
        peer.join().map_err(|_| "the other thread panicked")?;
        taken
    }
}

fn answer(court: &Court) {
    let mut last = 0;
    loop {
        // Acquire, Release: each side's writes before its store are visible to the other, as in a ring.
        match court.ping.0.load(Ordering::Acquire) {
            STOP => return,
            now if now == last => spin_loop(),
            now => {
                court.pong.0.store(now, Ordering::Release);
                last = now;
            }
        }
    }
}
