//! Something frames go into and come out of in order: one at a time, or many in flight.
//!
//! Each payload carries its number at both ends. Who answers compares the two, so it has seen the payload; who asked
//! compares the answer with the number that is due.

use std::time::{Duration, Instant};

use crate::case::{Case, Round, Taken, WARM_UP, ns};
use crate::{Result, asleep, cpu};

/// A way there and back.
pub(crate) trait Pipe {
    /// Before the calls of a round: starts what must not spin beside other rows.
    fn begin(&mut self) -> Result<()> {
        Ok(())
    }
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
    /// After the calls of a round.
    fn end(&mut self) -> Result<()> {
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
        pipe.begin()?;
        let before = waits(pipe);
        let taken = round.take(|| {
            pipe.send()?;
            pipe.flush()?;
            while !pipe.receive()? {
                pipe.wait()?;
            }
            Ok(())
        });
        pipe.end()?;
        Ok(held(pipe, round, taken?, before))
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
        pipe.begin()?;
        let before = waits(pipe);
        let taken = fly(pipe, round);
        pipe.end()?;
        Ok(held(pipe, round, taken?, before))
    }

    fn cpu(&self) -> Duration {
        cpu_of(&self.0)
    }
}

fn fly(pipe: &mut impl Pipe, round: &Round) -> Result<Taken> {
    let mut taken = Taken::default();
    let mut open = 0;
    (0..WARM_UP).try_for_each(|_| answers(pipe, &mut open))?;
    let began = Instant::now();
    let mut start = began;
    while round.goes_on(&taken, began) {
        answers(pipe, &mut open)?;
        let now = Instant::now();
        taken.samples.push(ns(now - start));
        start = now;
    }
    while open > 0 {
        if pipe.receive()? {
            open -= 1;
        }
    }
    let counted = u32::try_from(taken.samples.len()).unwrap_or(u32::MAX) * FLIGHT;
    taken.rate = f64::from(counted) / (start - began).as_secs_f64();
    taken.calls = u64::from(counted + WARM_UP * FLIGHT);
    Ok(taken)
}

/// Takes [`FLIGHT`] answers and keeps as many calls in flight, `open` being how many there are.
fn answers(pipe: &mut impl Pipe, open: &mut u32) -> Result<()> {
    let mut left = FLIGHT;
    while left > 0 {
        while *open < FLIGHT {
            pipe.send()?;
            *open += 1;
        }
        pipe.flush()?;
        let before = *open;
        while *open > 0 && left > 0 && pipe.receive()? {
            *open -= 1;
            left -= 1;
        }
        if *open == before {
            pipe.wait()?;
        }
    }
    Ok(())
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
