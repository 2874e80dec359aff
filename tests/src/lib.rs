//! The harness of the whole-process tests: real programs, real sockets, and `/proc` to look at them.
//!
//! A test starts an [`Upstream`] in its own process, writes a [`Site`] (a gateway's configuration) and starts a
//! [`Gateway`] with it; plugins are Go programs under tests/plugins/go, built once per run. Of the host only the
//! schedule of `nylon bench` is linked: what a test sees is what a user sees.
//!
//! ```no_run
//! # async fn f() {
//! use nylon_tests::{Client, Gateway, Site, Upstream, step};
//! let up = Upstream::start().await;
//! let site = Site::new().upstream("up", up.addr).plugin("probe").path("/a", "up", &[step("probe", "nonce")]);
//! let gateway = Gateway::start(&site).await;
//! let answer = Client::new(gateway.addr).get("/a").await;
//! assert_eq!(answer.status, 200);
//! # }
//! ```

pub mod admin;
pub mod attack;
pub mod chaos;
mod client;
pub mod escape;
mod exposition;
mod gateway;
pub mod load;
pub mod ports;
pub mod proc;
pub mod program;
pub mod redis;
mod rooms;
mod site;
pub mod telemetry;
mod temp;
mod terminal;
pub mod trace;
mod upstream;
mod watchdog;
pub mod websocket;
pub mod worker;

pub use client::{Answer, Client, raw};
pub use exposition::{Exposition, Sample};
pub use gateway::Gateway;
pub use site::{Site, step, step_with};
pub use temp::Temp;
pub use terminal::Terminal;
pub use upstream::{Seen, Upstream, pattern};
pub use watchdog::{Watchdog, watchdog};
pub use websocket::WebSocket;

/// Whether this is the long run (`cargo xtask test --long`).
pub fn long() -> bool {
    std::env::var_os("NYLON_LONG").is_some()
}

/// Asks until `probe` has an answer, every 10 ms; panics with `what` after `within`.
pub async fn eventually<T>(
    what: &str,
    within: std::time::Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    let end = tokio::time::Instant::now() + within;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "{what}: not within {within:?}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// FNV-1a64, to compare bodies too large to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash(pub u64);

impl Default for Hash {
    fn default() -> Hash {
        Hash(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    /// The hash with `bytes` added.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0 = bytes
            .iter()
            .fold(self.0, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    }

    /// The hash of `bytes` alone.
    pub fn of(bytes: &[u8]) -> Hash {
        let mut hash = Hash::default();
        hash.update(bytes);
        hash
    }
}
