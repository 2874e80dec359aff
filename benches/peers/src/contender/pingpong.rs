//! `ping-pong`: two threads hand a cache line to and fro. Nothing that crosses CPUs and comes back is faster, and what
//! an in-process plugin takes is told in multiples of it.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::Result;
use crate::cell::Round;
use crate::client::Client;
use crate::cpus::Cpus;
use crate::taker::Taker;

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
/// A call is hardly longer than a look at the clock: a sample is the mean of so many.
const CALLS: u32 = 16;

pub(crate) struct PingPong(pub(crate) Cpus);

impl Client for PingPong {
    fn server(&self) -> Option<u32> {
        None
    }

    fn round(&mut self, round: &Round, taker: &mut Taker) -> Result<()> {
        let court = Arc::new(Court::default());
        let theirs = court.clone();
        let peer = self.0.on_server(|| std::thread::spawn(move || answer(&theirs)))?;
        let mut count = 0;
        let mut call = || {
            count += 1;
            court.ping.0.store(count, Ordering::Release);
            while court.pong.0.load(Ordering::Acquire) != count {
                spin_loop();
            }
        };
        let since = Instant::now();
        (0..CALLS).for_each(|_| call());
        while since.elapsed() < round.time && taker.samples.len() < round.calls {
            let start = Instant::now();
            (0..CALLS).for_each(|_| call());
            taker.mean(start.elapsed(), CALLS);
        }
        court.ping.0.store(STOP, Ordering::Release);
        peer.join().map_err(|_| "the other thread panicked".into())
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
