//! The reports of a plugin's crashes: the last of them in memory, and in a directory if one is configured.

use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::report::CrashReport;

/// Reports kept in memory, of each plugin.
const KEPT: usize = 16;
/// Reports kept in a directory, of all plugins together.
const FILES: usize = 64;

/// The last reports of one plugin.
#[derive(Debug, Default)]
pub(crate) struct Crashes {
    reports: Mutex<VecDeque<Arc<CrashReport>>>,
}

impl Crashes {
    /// The reports, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<CrashReport>> {
        self.lock().iter().cloned().collect()
    }

    /// Keeps a report, and writes it to `dir`; a directory that takes none is the log's business only.
    pub(super) async fn keep(&self, report: CrashReport, dir: Option<PathBuf>) {
        let report = Arc::new(report);
        {
            let mut reports = self.lock();
            if reports.len() >= KEPT {
                reports.pop_front();
            }
            reports.push_back(report.clone());
        }
        let (plugin, id) = (report.plugin.clone(), report.id.clone());
        let Some(dir) = dir else {
            tracing::info!(%plugin, %id, "crash report");
            return;
        };
        let shown = dir.display().to_string();
        let written = tokio::task::spawn_blocking(move || write(&report, &dir)).await;
        match written.unwrap_or_else(|e| Err(io::Error::other(e))) {
            Ok(file) => tracing::info!(%plugin, %id, file = %file.display(), "crash report"),
            Err(error) => {
                tracing::warn!(%plugin, %id, dir = shown, %error, "crash report not written");
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<CrashReport>>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a report whole or not at all, readable by the owner alone; the oldest of too many go.
fn write(report: &CrashReport, dir: &Path) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let file = dir.join(name(report));
    let unfinished = file.with_extension("tmp");
    let written = (|| {
        let options = OpenOptions::new().write(true).create_new(true).mode(0o600).clone();
        let mut out = options.open(&unfinished)?;
        serde_json::to_writer_pretty(&mut out, report)?;
        out.write_all(b"\n")?;
        File::sync_data(&out)?;
        std::fs::rename(&unfinished, &file)
    })();
    if let Err(e) = written {
        let _ = std::fs::remove_file(&unfinished);
        return Err(e);
    }
    for old in surplus(dir)? {
        let _ = std::fs::remove_file(old);
    }
    Ok(file)
}

/// `20261123T201750.123Z-authz-7.json`: by name they are in order of time, and those of an earlier start stay.
fn name(report: &CrashReport) -> String {
    let time = report.ended.replace(['-', ':'], "");
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let plugin: String = report.plugin.chars().take(100).map(plain).collect();
    format!("{time}-{plugin}-{}.json", report.generation)
}

/// Reports in `dir` that are too many, oldest first. Other files are not ours to count or remove.
fn surplus(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut ours: Vec<_> = std::fs::read_dir(dir)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| is_report(name))
        .collect();
    ours.sort_unstable();
    let surplus = ours.len().saturating_sub(FILES);
    Ok(ours.into_iter().take(surplus).map(|name| dir.join(name)).collect())
}

/// Whether a file of this name is a report.
fn is_report(name: &str) -> bool {
    let (Some(time), true) = (name.split_once("Z-"), name.ends_with(".json")) else { return false };
    time.0.len() == "20261123T201750.123".len()
        && time.0.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'T' | b'.'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::report::{Cause, ExitReport};
    use super::*;

    /// A report of generation `n`, ended in second `n`.
    fn report(n: u32) -> CrashReport {
        CrashReport {
            id: format!("a/b-{n}"),
            plugin: "a/b".into(),
            program: "/opt/ab".into(),
            generation: n,
            pid: 1,
            started: String::new(),
            ended: format!("2026-11-23T20:{:02}:{:02}.123Z", n / 60, n % 60),
            lived_ms: 1,
            exit: ExitReport::Status(3),
            cause: Cause::NotTheHost,
            rss_bytes: None,
            lanes: Vec::new(),
            log: Vec::new(),
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entry = |e: io::Result<std::fs::DirEntry>| e.expect("an entry").file_name();
        let all = std::fs::read_dir(dir).expect("it was made").map(entry);
        let mut names: Vec<_> = all.map(|name| name.into_string().expect("text")).collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_private_whole_and_bounded() {
        let temp = nylon_tests::Temp::new();
        let dir = temp.path().join("made").join("for it");
        let first = write(&report(0), &dir).expect("a file");
        assert_eq!(first, dir.join("20261123T200000.123Z-a_b-0.json"));
        let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode();
        assert_eq!((mode(&first) & 0o777, mode(&dir) & 0o777), (0o600, 0o700));
        let text = std::fs::read(&first).expect("it can be read");
        let read: CrashReport = serde_json::from_slice(&text).expect("a report");
        assert_eq!(read.id, "a/b-0");

        std::fs::write(dir.join("README.json"), "not ours").expect("a file");
        for n in 1..70 {
            write(&report(n), &dir).expect("a file");
        }
        let names = names(&dir);
        assert_eq!(names.len(), FILES + 1, "{names:?}");
        assert!(names[0].ends_with("-6.json") && names[FILES] == "README.json", "{names:?}");
    }

    #[tokio::test]
    async fn the_last_of_them_are_kept_also_where_no_file_can_be() {
        let crashes = Crashes::default();
        for n in 1..=20 {
            crashes.keep(report(n), Some("/dev/null/no".into())).await;
        }
        let ids: Vec<_> = crashes.all().iter().map(|report| report.generation).collect();
        assert_eq!(ids, (5..=20).collect::<Vec<_>>());
    }
}
