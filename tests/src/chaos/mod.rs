//! The rows of HARDENING's reliability table: each injects its fault into a real gateway under load, and holds the
//! figures of its row.
//!
//! A row says what it [`Found`]: figures that are counts, and figures that are times. `cargo xtask chaos` holds both; the
//! short variants that `cargo xtask test` runs hold the counts, as they share the machine. Every row has a figure that
//! fails if its fault did not happen, or the host did not count it.

mod bed;
mod crash;
mod flood;
mod found;
mod kernel;
mod log;
mod memory;
mod redis;
mod reload;
mod slow;
mod start;
mod stop;
mod stopped;
mod upgrade;
mod websocket;

use std::future::Future;
use std::pin::Pin;

pub use found::Found;

/// How much of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// For `cargo xtask test`: seconds, and no time is held.
    Test,
    /// The short form.
    Short,
    /// The long form.
    Long,
}

/// How a row is run.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// How much of it.
    pub size: Size,
    /// Same seed, same victims.
    pub seed: u64,
}

impl Mode {
    /// The variant of `cargo xtask test`.
    pub const TEST: Mode = Mode { size: Size::Test, seed: 1 };

    /// What this size takes of the three.
    fn pick<T>(self, test: T, short: T, long: T) -> T {
        match self.size {
            Size::Test => test,
            Size::Short => short,
            Size::Long => long,
        }
    }

    /// Requests per second of a whole load.
    fn rate(self) -> u32 {
        self.pick(500, 500, 2000)
    }
}

type Run = fn(Mode) -> Pin<Box<dyn Future<Output = Found> + Send>>;

/// A row of the table.
#[derive(Clone, Copy)]
pub struct Row {
    /// R1, R2, …
    pub name: &'static str,
    /// The fault, in a line.
    pub what: &'static str,
    run: Run,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name, self.what)
    }
}

macro_rules! rows {
    ($($name:literal, $what:literal, $run:path;)+) => {
        /// All rows there are, in order.
        pub const ROWS: &[Row] = &[$(Row { name: $name, what: $what, run: |mode| Box::pin($run(mode)) }),+];
    };
}

rows! {
    "R1", "a random worker is killed every 500 ms", crash::loop_of_kills;
    "R2", "all workers of a plugin are killed at once", crash::all_at_once;
    "R3", "a plugin exits as soon as it is ready, again and again", crash::intensity;
    "R4", "a plugin becomes slow: 50 ms more, 2 s for one in a hundred", slow::slow_plugin;
    "R5", "handlers never return", slow::hung;
    "R6", "a worker is stopped by SIGSTOP, again and again", stopped::stopped;
    "R7", "a plugin eats memory beyond its limit", memory::eaten;
    "R8", "plugins that never become ready: exit, version, no file, too late", start::never_ready;
    "R10", "a worker floods the ring, and wakes the host without end", flood::flood;
    "R11", "the host gets SIGTERM under load", stop::terminated;
    "R12", "the host is killed", stop::killed;
    "R13", "the configuration is reloaded every second, and a bad one now and then", reload::reloaded;
    "R14", "a plugin's program is swapped under load, and does not start now and then", upgrade::upgraded;
    "R16", "the Redis of the rooms is killed, stands still, and its connections are cut", redis::redis;
    "R17", "the log's disk is full, or nobody reads it", log::log;
    "R19", "thousands of WebSockets, whose worker is killed", websocket::thousands;
    "R24", "the kernel refuses and disturbs: EINTR, wakes, descriptors, processes, clock", kernel::kernel;
}

/// The row of that name, in any case.
pub fn row(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name.eq_ignore_ascii_case(name))
}

impl Row {
    /// Injects the fault and says what was found.
    pub async fn run(&self, mode: Mode) -> Found {
        (self.run)(mode).await
    }
}

/// Random numbers from a seed: the same victims again.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn new(mode: Mode) -> Random {
        Random(mode.seed.max(1))
    }

    /// 0 ..= `below` - 1.
    fn below(&mut self, below: usize) -> usize {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below.max(1) as u64).expect("small")
    }
}
