//! Something frames go into and come out of in order: one at a time, or many in flight.
//!
//! Each payload carries its number at both ends. Who answers compares the two, so it has seen the payload; who asked
//! compares the answer with the number that is due.

use std::time::{Duration, Instant};

use crate::case::{Case, Round, Taken, WARM_UP, ns};
use crate::{Result, asleep, cpu};

/// A way there and back.
pub(crate) trait Pipe {
    /// Sends the next payload.
    fn send(&mut self) -> Result<()>;
    /// Makes sure that the other side hears of what was sent. Once per batch.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
    /// Takes the next answer, if it is there, and checks it.
    fn receive(&mut self) -> Result<bool>;
    /// Waits until there may be an answer.
    fn wait(&mut self) -> Result<()> {
        std::hint::spin_loop();
        Ok(())
    }
    /// The other side, if it is a process.
    fn worker(&self) -> Option<u32> {
        None
    }
}

/// The numbers of a pipe.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    sent: u64,
    taken: u64,
}

impl Numbers {
    /// Writes the next number to both ends of `payload`.
    pub(crate) fn stamp(&mut self, payload: &mut [u8]) {
        self.sent += 1;
        stamp(payload, self.sent);
    }

    /// Holds an answer to the number that is due.
    pub(crate) fn check(&mut self, payload: &[u8]) -> Result<()> {
        self.taken += 1;
        match number(payload) {
            Some(n) if n == self.taken => Ok(()),
            found => Err(format!("answer {found:?} where {} was due", self.taken)),
        }
    }
}

/// Writes `n` to both ends of `payload`, at least 8 bytes.
pub(crate) fn stamp(payload: &mut [u8], n: u64) {
    let last = payload.len() - 8;
    payload[..8].copy_from_slice(&n.to_le_bytes());
    payload[last..].copy_from_slice(&n.to_le_bytes());
}

/// The number at both ends of `payload`; none if they differ.
pub(crate) fn number(payload: &[u8]) -> Option<u64> {
    let (first, last) = (payload.first_chunk::<8>()?, payload.last_chunk::<8>()?);
    (first == last).then(|| u64::from_le_bytes(*first))
}

/// One call at a time.
pub(crate) struct Alone<P>(pub(crate) P);

impl<P: Pipe> Case for Alone<P> {
    fn round(&mut self, round: &Round) -> Result<Taken> {
        let pipe = &mut self.0;
        let before = waits(pipe);
        let taken = round.take(|| {
            pipe.send()?;
            pipe.flush()?;
            while !pipe.receive()? {
                pipe.wait()?;
            }
            Ok(())
        })?;
        Ok(held(pipe, round, taken, before))
    }

    fn cpu(&self) -> Duration {
        cpu_of(&self.0)
    }
}

/// Calls always in flight.
const FLIGHT: u32 = 64;

/// [`FLIGHT`] calls in flight all the time. A sample is the time in which as many answers came.
pub(crate) struct Flight<P>(pub(crate) P);

impl<P: Pipe> Case for Flight<P> {
    fn round(&mut self, round: &Round) -> Result<Taken> {
        let pipe = &mut self.0;
        let before = waits(pipe);
        let mut taken = Taken::default();
        let mut open = 0;
        let mut answers = |pipe: &mut P, count: u32| -> Result<()> {
            let mut left = count;
            while left > 0 {
                while open < FLIGHT {
                    pipe.send()?;
                    open += 1;
                }
                pipe.flush()?;
                let before = open;
                while open > 0 && pipe.receive()? {
                    open -= 1;
                }
                match before - open {
                    0 => pipe.wait()?,
                    came => left = left.saturating_sub(came),
                }
            }
            Ok(())
        };
        answers(pipe, WARM_UP * FLIGHT)?;
        let began = Instant::now();
        let mut start = began;
        while round.goes_on(&taken, began) {
            answers(pipe, FLIGHT)?;
            let now = Instant::now();
            taken.samples.push(ns(now - start));
            start = now;
        }
        let seconds = (start - began).as_secs_f64();
        while open > 0 {
            if pipe.receive()? {
                open -= 1;
            }
        }
        let counted = taken.samples.len() as u64 * u64::from(FLIGHT);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 frames")]
        let count = counted as f64;
        taken.rate = count / seconds;
        taken.calls = counted + u64::from(WARM_UP * FLIGHT);
        Ok(held(pipe, round, taken, before))
    }

    fn cpu(&self) -> Duration {
        cpu_of(&self.0)
    }
}

fn waits(pipe: &impl Pipe) -> (u64, u64) {
    (asleep::waits(std::process::id()), pipe.worker().map_or(0, asleep::waits))
}

fn held(pipe: &impl Pipe, round: &Round, taken: Taken, before: (u64, u64)) -> Taken {
    match pipe.worker() {
        Some(pid) => round.hold(taken, before, pid),
        None => taken,
    }
}

fn cpu_of(pipe: &impl Pipe) -> Duration {
    cpu::own() + pipe.worker().map_or(Duration::ZERO, cpu::of)
}
