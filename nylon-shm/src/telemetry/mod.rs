//! The named telemetry segment: one per host process, for others to read, never the data path.
//!
//! `/dev/shm/nylon-<pid>`, mode 0600: the magic, a [`HostRow`], a table of [`PluginRow`] and one of [`WorkerRow`], each of a
//! fixed size. Rows come and go while the host runs: who has a [`Slot`] has a row. docs/operations.md has the layout
//! byte by byte.
//!
//! Nobody maps it. The host writes rows by `pwrite` and readers copy the whole by one `pread`, so that neither a file
//! that another process of the user cut short nor a full `/dev/shm` ends anybody by SIGBUS; and there is nothing unsafe.
//! How a reader still sees whole rows is told in `copies.rs`.

mod copies;
mod process;
mod reader;
mod row;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytemuck::Pod;

pub use process::{HostState, host_state};
pub use reader::{ReadError, Reader, Snapshot};
pub use row::{HostRow, PHASES, PhaseRow, PluginRow, STATES, Text, WorkerRow};

/// First eight bytes of the segment.
pub const MAGIC: u64 = u64::from_le_bytes(*b"NYLNTEL3");
/// Most plugins that have a row.
pub const PLUGINS_MAX: usize = 64;
/// Most workers that have a row.
pub const WORKERS_MAX: usize = 256;

/// Where segments have their names.
const DIR: &str = "/dev/shm";
const HOST: Table = Table { at: 512, row: 512, rows: 1 };
const PLUGINS: Table = Table { at: 4096, row: 2048, rows: PLUGINS_MAX };
const WORKERS: Table = Table { at: PLUGINS.end(), row: 1024, rows: WORKERS_MAX };
/// Bytes of a segment. Rows that nobody claimed are holes in it.
const LEN: usize = WORKERS.end();

const _: () = assert!(size_of::<HostRow>() <= HOST.row / 2 - 16);
const _: () = assert!(size_of::<PluginRow>() <= PLUGINS.row / 2 - 16);
const _: () = assert!(size_of::<WorkerRow>() <= WORKERS.row / 2 - 16);

/// Rows of one kind, one after the other.
struct Table {
    at: usize,
    /// Bytes of a row: two copies.
    row: usize,
    rows: usize,
}

impl Table {
    const fn end(&self) -> usize {
        self.at + self.row * self.rows
    }
}

/// Milliseconds of `CLOCK_MONOTONIC`, as in the rows.
pub fn now_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1000 + now.tv_nsec / 1_000_000).unwrap_or(0)
}

/// A kind of row that comes and goes.
pub trait Row: Pod + sealed::Row {}

impl Row for PluginRow {}
impl Row for WorkerRow {}

mod sealed {
    use super::{PLUGINS, Places, PluginRow, Table, Telemetry, WORKERS, WorkerRow};

    pub trait Row {
        #[expect(private_interfaces, reason = "sealed")]
        const TABLE: Table;
        #[expect(private_interfaces, reason = "sealed")]
        fn places(telemetry: &Telemetry) -> &std::sync::Mutex<Places>;
        fn stamp(&mut self, id: u64, now_ms: u64);
    }

    impl Row for PluginRow {
        #[expect(private_interfaces, reason = "sealed")]
        const TABLE: Table = PLUGINS;
        #[expect(private_interfaces, reason = "sealed")]
        fn places(telemetry: &Telemetry) -> &std::sync::Mutex<Places> {
            &telemetry.plugins
        }
        fn stamp(&mut self, id: u64, now_ms: u64) {
            (self.id, self.updated_ms) = (id, now_ms);
        }
    }

    impl Row for WorkerRow {
        #[expect(private_interfaces, reason = "sealed")]
        const TABLE: Table = WORKERS;
        #[expect(private_interfaces, reason = "sealed")]
        fn places(telemetry: &Telemetry) -> &std::sync::Mutex<Places> {
            &telemetry.workers
        }
        fn stamp(&mut self, id: u64, now_ms: u64) {
            (self.id, self.updated_ms) = (id, now_ms);
        }
    }
}

/// The segment of this process. Its name is removed on drop.
#[derive(Debug)]
pub struct Telemetry {
    file: File,
    path: PathBuf,
    host: Mutex<(u64, HostRow)>,
    plugins: Mutex<Places>,
    workers: Mutex<Places>,
}

/// The rows of a table that nobody has, each with the number of its last copy; and how many were claimed so far.
#[derive(Debug)]
struct Places {
    free: Vec<(usize, u64)>,
    claims: u64,
}

impl Places {
    fn of(table: &Table) -> Mutex<Self> {
        Mutex::new(Self {
            free: (0..table.rows).rev().map(|index| (index, 0)).collect(),
            claims: 0,
        })
    }
}

impl Telemetry {
    /// Makes the segment of this process, after removing those of hosts that are gone. `started_ms` is Unix time,
    /// `period_ms` how often rows will be stored, `version` that of the host.
    ///
    /// # Errors
    /// What the kernel says; a host may well run without telemetry.
    pub fn create(started_ms: u64, period_ms: u64, version: &str) -> io::Result<Self> {
        reader::remove_gone();
        Self::create_in(Path::new(DIR), started_ms, period_ms, version)
    }

    fn create_in(dir: &Path, started_ms: u64, period_ms: u64, version: &str) -> io::Result<Self> {
        let pid = std::process::id();
        let path = dir.join(file_name(pid));
        // One of an earlier process of this number, or of an earlier host in this one.
        let _ = fs::remove_file(&path);
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let row = HostRow {
            id: 1,
            pid: pid.into(),
            start_ticks: process::start_ticks(pid).unwrap_or(0),
            started_ms,
            beat_ms: now_ms(),
            period_ms,
            version: Text::new(version),
        };
        let this = Self {
            file,
            path,
            host: Mutex::new((0, row)),
            plugins: Places::of(&PLUGINS),
            workers: Places::of(&WORKERS),
        };
        this.file.set_len(LEN as u64)?;
        this.beat();
        // The last word written: who reads it finds the host's row.
        this.file.write_all_at(&MAGIC.to_le_bytes(), 0)?;
        Ok(this)
    }

    /// Stores that the host is alive.
    pub fn beat(&self) {
        let mut host = lock(&self.host);
        let (number, row) = &mut *host;
        *number += 1;
        row.beat_ms = now_ms();
        self.put(&HOST, 0, *number, row);
    }

    /// A row for a plugin or a worker, for as long as the caller keeps it; none when all are taken.
    pub fn claim<R: Row>(self: &Arc<Self>) -> Option<Slot<R>> {
        let mut places = lock(R::places(self));
        let (index, number) = places.free.pop()?;
        places.claims += 1;
        let (id, number) = (places.claims, Mutex::new(number));
        Some(Slot { telemetry: self.clone(), index, id, number, kind: std::marker::PhantomData })
    }

    /// What the kernel refuses, for want of memory above all, leaves the row as it was: readers see how old it is.
    fn put<R: Pod>(&self, table: &Table, index: usize, number: u64, row: &R) {
        let at = table.at + index * table.row + copies::place(number) * (table.row / 2);
        // As large as the largest copy.
        let mut buffer = [0; PLUGINS.row / 2];
        let copy = copies::encode(number, row, &mut buffer);
        let _ = self.file.write_all_at(copy, at as u64);
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        let _ = reader::remove(&self.path, &self.file);
    }
}

/// A row that is the holder's to write. Dropped, it is free again, and readers no longer see it.
#[derive(Debug)]
pub struct Slot<R: Row> {
    telemetry: Arc<Telemetry>,
    index: usize,
    id: u64,
    /// Of the last copy.
    number: Mutex<u64>,
    kind: std::marker::PhantomData<fn(R)>,
}

impl<R: Row> Slot<R> {
    /// Number of this claim, from 1: no other of its kind had it in this segment.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The segment it is in.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    /// Stores `row` with this claim's number and the time. One write to a file in memory: not for the way of a request.
    pub fn store(&self, row: &R) {
        let mut row = *row;
        row.stamp(self.id, now_ms());
        self.put(&row);
    }

    /// Stores one copy, and returns its number.
    fn put(&self, row: &R) -> u64 {
        let mut number = lock(&self.number);
        *number += 1;
        self.telemetry.put(&R::TABLE, self.index, *number, row);
        *number
    }
}

impl<R: Row> Drop for Slot<R> {
    fn drop(&mut self) {
        let number = self.put(&R::zeroed());
        lock(R::places(&self.telemetry)).free.push((self.index, number));
    }
}

/// Name of the segment of process `pid`.
fn file_name(pid: u32) -> String {
    format!("nylon-{pid}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
