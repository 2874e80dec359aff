//! The named telemetry segment: one per host process, read-only for others, never the data path.
//!
//! `/dev/shm/nylon-<pid>`, mode 0600. Layout: `u64` magic, `u32` pid, `u32` row count, `u64` start (Unix ms), then rows
//! of 256 bytes: 16 little-endian `u64` counters (see [`Row`]) and 128 bytes of zero-padded plugin name. Every word is
//! stored whole; a reader may see rows of different moments.

use std::io;

use shared_memory::{Shmem, ShmemConf, ShmemError};

use crate::sync::{AtomicU64, Ordering};

/// First eight bytes of the segment.
pub const MAGIC: u64 = u64::from_le_bytes(*b"NYLNTEL1");
const HEADER: usize = 32;
const ROW: usize = 256;
const NAME: usize = 128;

/// Counters of one plugin, in this order in its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// 0 starting, 1 ready, 2 backing off, 3 failed, 4 stopped.
    pub state: u64,
    /// Process id of its (first) worker, 0 when none.
    pub pid: u64,
    /// Starts so far.
    pub generation: u64,
    /// Frames sent down.
    pub frames_down: u64,
    /// Frames taken up.
    pub frames_up: u64,
    /// Invocations begun.
    pub calls: u64,
    /// Invocations that ran out of time.
    pub deadlines: u64,
    /// Workers that died without being asked to.
    pub crashes: u64,
    /// Late or double answers dropped.
    pub late: u64,
    /// Protocol violations.
    pub violations: u64,
    /// How long host and worker poll before they sleep, ns; 0: not at all.
    pub spin_ns: u64,
    /// Why: the host's `SpinReason`.
    pub spin_reason: u64,
}

/// The segment of this process. Removed on drop.
pub struct Telemetry {
    shm: Shmem,
    rows: usize,
}

// SAFETY: `Shmem` is not `Send` because it holds a raw pointer to its mapping; the mapping is process-wide and all
// access to it through `Telemetry` is by atomics, so a thread other than the maker's may use and drop it.
unsafe impl Send for Telemetry {}
// SAFETY: as for `Send`; shared access only loads and stores atomics.
unsafe impl Sync for Telemetry {}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry")
            .field("name", &self.shm.get_os_id())
            .field("rows", &self.rows)
            .finish()
    }
}

impl Telemetry {
    /// Makes the segment for the plugins `names`, after removing those of hosts that are gone.
    ///
    /// # Errors
    /// What the kernel says; a host may well run without telemetry.
    pub fn create<S: AsRef<str>>(names: &[S], started_ms: u64) -> io::Result<Self> {
        remove_stale();
        let pid = std::process::id();
        let size = HEADER + ROW * names.len().max(1);
        let shm = ShmemConf::new().os_id(os_id(pid)).size(size).create().map_err(from_shmem)?;
        let this = Self { shm, rows: names.len() };
        let count = u64::try_from(names.len()).unwrap_or(u64::MAX);
        this.word(8).store(u64::from(pid) | count << 32, Ordering::Relaxed);
        this.word(16).store(started_ms, Ordering::Relaxed);
        for (i, name) in names.iter().enumerate() {
            let mut padded = [0u8; NAME];
            let bytes = name.as_ref().as_bytes();
            let len = bytes.len().min(NAME - 1);
            padded[..len].copy_from_slice(&bytes[..len]);
            for (j, chunk) in padded.chunks_exact(8).enumerate() {
                let word = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
                this.word(HEADER + i * ROW + NAME + j * 8).store(word, Ordering::Relaxed);
            }
        }
        this.word(0).store(MAGIC, Ordering::Release);
        Ok(this)
    }

    /// Stores the counters of plugin `index`; one out of range is ignored.
    pub fn store(&self, index: usize, row: &Row) {
        if index >= self.rows {
            return;
        }
        let values = [
            row.state,
            row.pid,
            row.generation,
            row.frames_down,
            row.frames_up,
            row.calls,
            row.deadlines,
            row.crashes,
            row.late,
            row.violations,
            row.spin_ns,
            row.spin_reason,
        ];
        for (j, value) in values.into_iter().enumerate() {
            self.word(HEADER + index * ROW + j * 8).store(value, Ordering::Relaxed);
        }
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.shm.len());
        // SAFETY: inside the mapping and 8-aligned (asserted, and a mapping starts on a page); it lives as long as
        // `self`; every access of this process is atomic.
        unsafe { AtomicU64::from_ptr(self.shm.as_ptr().add(offset).cast()) }
    }
}

/// Name of the segment of process `pid`.
fn os_id(pid: u32) -> String {
    format!("/nylon-{pid}")
}

/// Removes the segments of hosts that no longer run.
fn remove_stale() {
    let Ok(entries) = std::fs::read_dir("/dev/shm") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|n| n.strip_prefix("nylon-"))
            .and_then(|n| n.parse::<u32>().ok());
        if let Some(pid) = pid {
            let alive = std::path::Path::new("/proc").join(pid.to_string()).exists();
            if !alive || pid == std::process::id() {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

fn from_shmem(e: ShmemError) -> io::Error {
    io::Error::other(e.to_string())
}
