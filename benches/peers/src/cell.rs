//! One cell of the table: what is called, how large it is, and how often at once.

use std::fmt;
use std::time::Duration;

/// What one call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A payload there and back.
    Echo,
    /// In-process plugin only: a session whose handler says NEXT.
    Next,
    /// In-process plugin only: a session whose handler reads three fields, sets one header and says NEXT.
    Getters,
}

/// One cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) kind: Kind,
    /// Bytes of the payload, 8 ..= 1 MiB.
    pub(crate) size: usize,
    /// Calls open at once, 1 ..= 256.
    pub(crate) in_flight: usize,
    /// Calls begin so far apart. None: the next one begins when one ends.
    pub(crate) gap: Option<Duration>,
}

impl Cell {
    pub(crate) fn echo(size: usize, in_flight: usize) -> Self {
        Self { kind: Kind::Echo, size, in_flight, gap: None }
    }

    pub(crate) fn every(self, gap: Duration) -> Self {
        Self { gap: Some(gap), ..self }
    }
}

/// As in the name of a row: `64B/1`, `1MiB/256`, `64B/sparse`, `next`.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Echo => size(f, self.size)?,
            Kind::Next => f.write_str("next")?,
            Kind::Getters => f.write_str("getters")?,
        }
        match (self.gap, self.kind) {
            (Some(_), _) => f.write_str("/sparse"),
            (None, Kind::Echo) => write!(f, "/{}", self.in_flight),
            (None, _) => f.write_str("/busy"),
        }
    }
}

fn size(f: &mut fmt::Formatter<'_>, bytes: usize) -> fmt::Result {
    match bytes {
        n if n >= 1 << 20 => write!(f, "{}MiB", n >> 20),
        n if n >= 1 << 10 => write!(f, "{}KiB", n >> 10),
        n => write!(f, "{n}B"),
    }
}

/// One round of a cell, as the runner asks a client for it: a line of words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) cell: Cell,
    /// No call begins later than this after the first timed one.
    pub(crate) time: Duration,
    /// Timed calls at most.
    pub(crate) calls: usize,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cell, time, calls } = self;
        let kind = match cell.kind {
            Kind::Echo => "echo",
            Kind::Next => "next",
            Kind::Getters => "getters",
        };
        let (gap, time) = (cell.gap.unwrap_or_default().as_micros(), time.as_micros());
        write!(f, "{kind} {} {} {gap} {time} {calls}", cell.size, cell.in_flight)
    }
}

impl Round {
    /// Reads the line back.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let kind = match words.next()? {
            "echo" => Kind::Echo,
            "next" => Kind::Next,
            "getters" => Kind::Getters,
            _ => return None,
        };
        let mut number = || words.next()?.parse::<u64>().ok();
        let size = usize::try_from(number()?).ok()?;
        let in_flight = usize::try_from(number()?).ok()?;
        let gap = Some(Duration::from_micros(number()?)).filter(|gap| !gap.is_zero());
        let time = Duration::from_micros(number()?);
        let calls = usize::try_from(number()?).ok()?;
        Some(Self { cell: Cell { kind, size, in_flight, gap }, time, calls })
    }
}
