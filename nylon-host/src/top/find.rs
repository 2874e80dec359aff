//! Which host is meant.

use std::fmt;
use std::path::Path;

use nylon_shm::telemetry::{HostState, ReadError, Reader, Snapshot, now_ms};

use super::units;

/// Why there is nothing to show.
pub(super) enum NotFound {
    /// No host has a segment.
    Nobody,
    /// Several have one, and none was chosen.
    Several(Vec<Snapshot>),
    /// There is no such process, and nothing is left of it.
    Gone(u32),
    /// It cannot be read.
    Unreadable(ReadError),
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => write!(f, "no running host has a telemetry segment in /dev/shm"),
            Self::Gone(pid) => write!(f, "host {pid} is gone: there is no such process"),
            Self::Unreadable(e) => e.fmt(f),
            Self::Several(hosts) => {
                write!(f, "several hosts run: choose one with --pid")?;
                for Snapshot { host, plugins, .. } in hosts {
                    let names: Vec<_> = plugins.iter().map(|row| row.name.to_string()).collect();
                    let silent = units::age(now_ms().saturating_sub(host.beat_ms));
                    write!(
                        f,
                        "\n  --pid {:<8} nylon {}, heard of {silent} ago, plugins: {}",
                        host.pid,
                        host.version,
                        names.join(", ")
                    )?;
                }
                Ok(())
            }
        }
    }
}

/// The host of process `pid`, or the only one that runs, or the one of those that are gone that was there last.
pub(super) fn host(pid: Option<u32>) -> Result<Reader, NotFound> {
    if let Some(pid) = pid {
        return match Reader::open(pid) {
            Ok(reader) => Ok(reader),
            Err(ReadError::Missing(_)) if !Path::new(&format!("/proc/{pid}")).exists() => {
                Err(NotFound::Gone(pid))
            }
            Err(e) => Err(NotFound::Unreadable(e)),
        };
    }
    // What is no segment is none of ours, whatever its name.
    let all = Reader::list().unwrap_or_default().into_iter().filter_map(|pid| {
        let reader = Reader::open(pid).ok()?;
        let snapshot = reader.snapshot().ok()?;
        Some((reader, snapshot))
    });
    let (mut gone, mut there): (Vec<_>, Vec<_>) =
        all.partition(|(_, seen)| seen.host_state() == HostState::Gone);
    if there.len() > 1 {
        return Err(NotFound::Several(there.into_iter().map(|(_, seen)| seen).collect()));
    }
    gone.sort_by_key(|(_, seen)| seen.host.beat_ms);
    there.pop().or_else(|| gone.pop()).map(|(reader, _)| reader).ok_or(NotFound::Nobody)
}
