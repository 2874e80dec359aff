//! Where a server listens.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A path nobody uses, short enough for a socket.
pub(crate) fn path() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("nylon-peers-{}-{n}.sock", std::process::id()))
}
