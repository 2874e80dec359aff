//! The reading side: another process, perhaps another user, perhaps after the host was killed.
//!
//! Anybody who may write to `/dev/shm` can put a file under such a name. So it is opened without waiting, must be a file
//! of the right length, and is copied once; whatever the copy holds is numbers and texts, shown and never obeyed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytemuck::Pod;
use rustix::fs::OFlags;

use super::copies::{self, Found};
use super::process::{HostState, host_state};
use super::{
    DIR, HOST, HostRow, LEN, MAGIC, PLUGINS, PluginRow, Table, WORKERS, WorkerRow, file_name,
};

/// Why a segment cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is none of this name.
    #[error("process {0} has no telemetry segment")]
    Missing(u32),
    /// A file is there, but not one this version reads.
    #[error("{} is no telemetry segment that this version reads: {why}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The kernel says no.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

/// The segment of one host, open to be read, also when the host is gone.
#[derive(Debug)]
pub struct Reader {
    pid: u32,
    path: PathBuf,
    file: File,
}

/// Everything in a segment. Each row is whole; rows are of different moments.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The host.
    pub host: HostRow,
    /// Its plugins.
    pub plugins: Vec<PluginRow>,
    /// Their workers.
    pub workers: Vec<WorkerRow>,
    /// Rows of which no whole copy was found. The host writes none such.
    pub torn: usize,
}

impl Reader {
    /// Opens the segment of process `pid`.
    ///
    /// # Errors
    /// There is none, it may not be read, or it is something else.
    pub fn open(pid: u32) -> Result<Self, ReadError> {
        Self::open_in(Path::new(DIR), pid)
    }

    pub(super) fn open_in(dir: &Path, pid: u32) -> Result<Self, ReadError> {
        let path = dir.join(file_name(pid));
        // A pipe or a link of this name is nobody's segment, and is not waited for.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = flags.bits().cast_signed();
        match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
            Ok(file) => Ok(Self { pid, path, file }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(ReadError::Missing(pid)),
            Err(source) => Err(ReadError::Io { path, source }),
        }
    }

    /// Process ids that have a segment, the smallest first. Their hosts may be gone, and the files may be anything.
    ///
    /// # Errors
    /// The kernel does not list `/dev/shm`.
    pub fn list() -> io::Result<Vec<u32>> {
        let names = fs::read_dir(DIR)?.flatten().map(|entry| entry.file_name());
        let mut pids: Vec<u32> = names.filter_map(|name| pid_of(name.to_str()?)).collect();
        pids.sort_unstable();
        Ok(pids)
    }

    /// Reads all rows.
    ///
    /// # Errors
    /// It is no segment of this version, or cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot, ReadError> {
        let mut snapshot = self.read()?;
        // A copy takes far less time than there is between two writes of a row; a reader that was not run for a while
        // may meet one in either copy all the same.
        for _ in 0..3 {
            if snapshot.torn == 0 {
                break;
            }
            snapshot = self.read()?;
        }
        Ok(snapshot)
    }

    fn read(&self) -> Result<Snapshot, ReadError> {
        let io = |source| ReadError::Io { path: self.path.clone(), source };
        if !self.file.metadata().map_err(io)?.is_file() {
            return Err(self.foreign("it is no file"));
        }
        let mut bytes = vec![0; LEN];
        match self.file.read_exact_at(&mut bytes, 0) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.foreign("it is too short"));
            }
            done => done.map_err(io)?,
        }
        if bytes[..8] != MAGIC.to_le_bytes() {
            return Err(self.foreign("it does not begin with NYLNTEL3"));
        }
        let mut torn = 0;
        let host: Option<HostRow> = rows(&bytes, &HOST, &mut torn).pop();
        let host = host.ok_or_else(|| self.foreign("it says nothing of a host"))?;
        if host.pid != u64::from(self.pid) {
            return Err(self.foreign("it is of another process"));
        }
        let mut plugins: Vec<PluginRow> = rows(&bytes, &PLUGINS, &mut torn);
        let mut workers: Vec<WorkerRow> = rows(&bytes, &WORKERS, &mut torn);
        plugins.retain(|row| row.id != 0);
        workers.retain(|row| row.id != 0);
        // In the order they came; places are used again.
        plugins.sort_by_key(|row| row.id);
        workers.sort_by_key(|row| row.id);
        Ok(Snapshot { host, plugins, workers, torn })
    }

    /// Removes the name of this segment, unless it is another's by now. For one whose host is gone.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&self) -> io::Result<()> {
        remove(&self.path, &self.file)
    }

    fn foreign(&self, why: &'static str) -> ReadError {
        ReadError::Foreign { path: self.path.clone(), why }
    }
}

impl Snapshot {
    /// How the host's process is now.
    pub fn host_state(&self) -> HostState {
        let pid = u32::try_from(self.host.pid).unwrap_or(u32::MAX);
        host_state(pid, self.host.start_ticks)
    }
}

/// The rows of a table that were ever stored.
fn rows<R: Pod>(bytes: &[u8], table: &Table, torn: &mut usize) -> Vec<R> {
    let stored =
        bytes[table.at..table.end()].chunks_exact(table.row).filter_map(
            |bytes| match copies::decode(bytes) {
                Found::Row(row) => Some(row),
                Found::Never => None,
                Found::Torn => {
                    *torn += 1;
                    None
                }
            },
        );
    stored.collect()
}

/// Removes the segments of hosts that no longer run, of any version.
pub(super) fn remove_gone() {
    for pid in Reader::list().unwrap_or_default() {
        let Ok(reader) = Reader::open(pid) else { continue };
        let gone = match reader.snapshot() {
            Ok(snapshot) => snapshot.host_state() == HostState::Gone,
            Err(_) => super::process::start_ticks(pid).is_none(),
        };
        if gone {
            let _ = reader.remove();
        }
    }
}

/// Removes the name `path` if it is still that of `file`.
pub(super) fn remove(path: &Path, file: &File) -> io::Result<()> {
    let (there, ours) = (fs::symlink_metadata(path)?, file.metadata()?);
    if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn pid_of(name: &str) -> Option<u32> {
    name.strip_prefix("nylon-")?.parse().ok()
}
