//! Free loopback ports for programs that are told their port.
//!
//! Below the ephemeral range, so that no connection going out takes the port between this check and the program's bind.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// A loopback address nobody listens on; a test process never gets the same one twice in a row.
pub fn free() -> SocketAddr {
    // Relaxed: only uniqueness matters.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
    let seed = (std::process::id().wrapping_mul(7919)).wrapping_add(nanos / 1000);
    for _ in 0..1000 {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + seed.wrapping_add(n.wrapping_mul(101)) % COUNT;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).expect("< 32768")));
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}
