//! Both sides of the segment, in a folder of the test's own.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{
    HostState, LEN, MAGIC, PLUGINS_MAX, PhaseRow, PluginRow, ReadError, Reader, Telemetry, Text,
    WORKERS_MAX, WorkerRow, file_name,
};

/// A folder that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(test: &str) -> Self {
        let dir =
            std::env::temp_dir().join(format!("nylon-telemetry-{}-{test}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    fn segment(&self) -> PathBuf {
        self.0.join(file_name(std::process::id()))
    }

    fn create(&self) -> Arc<Telemetry> {
        Arc::new(Telemetry::create_in(&self.0, 17, 1000, "0.1.0").unwrap())
    }

    fn reader(&self) -> Reader {
        Reader::open_in(&self.0, std::process::id()).unwrap()
    }

    /// What a reader says of a segment of these bytes.
    fn refused(&self, bytes: &[u8]) -> String {
        std::fs::write(self.segment(), bytes).unwrap();
        self.reader().snapshot().unwrap_err().to_string()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A plugin of which every number is `n`.
fn plugin(n: u64) -> PluginRow {
    PluginRow {
        calls: n,
        frames_up: n,
        phases: [PhaseRow { calls: n, p50_ns: n, p99_ns: n }; 5],
        name: Text::new(&"x".repeat(usize::try_from(n % 128).unwrap())),
        last_exit: Text::new(&n.to_string()),
        ..PluginRow::default()
    }
}

#[test]
fn rows_come_and_go() {
    let dir = Dir::new("rows");
    let telemetry = dir.create();
    let reader = dir.reader();
    let seen = reader.snapshot().unwrap();
    assert_eq!((seen.plugins.len(), seen.workers.len(), seen.torn), (0, 0, 0));
    assert_eq!((seen.host.started_ms, seen.host.period_ms), (17, 1000));
    assert_eq!(seen.host_state(), HostState::Running);

    let a = telemetry.claim::<PluginRow>().unwrap();
    let b = telemetry.claim::<PluginRow>().unwrap();
    assert!(reader.snapshot().unwrap().plugins.is_empty(), "nothing stored yet");
    a.store(&plugin(1));
    b.store(&plugin(2));
    let worker = telemetry.claim::<WorkerRow>().unwrap();
    worker.store(&WorkerRow { plugin: b.id(), pid: 5, ..WorkerRow::default() });
    drop(a);
    let c = telemetry.claim::<PluginRow>().unwrap();
    c.store(&plugin(3));
    let seen = reader.snapshot().unwrap();
    let found: Vec<_> = seen.plugins.iter().map(|row| (row.id, row.calls)).collect();
    assert_eq!(
        found,
        [(b.id(), 2), (c.id(), 3)],
        "in the order they came, the first one's place used again"
    );
    assert_eq!((seen.workers[0].plugin, seen.workers[0].pid), (b.id(), 5));
    let PluginRow { id, updated_ms, .. } = seen.plugins[1];
    assert_eq!(seen.plugins[1], PluginRow { id, updated_ms, ..plugin(3) });

    drop((b, c, worker, telemetry));
    assert!(!dir.segment().exists());
    let seen = reader.snapshot().unwrap();
    assert_eq!((seen.plugins.len(), seen.workers.len()), (0, 0));
}

#[test]
fn more_than_there_is_room_for_have_no_row() {
    let dir = Dir::new("room");
    let telemetry = dir.create();
    let plugins: Vec<_> = std::iter::from_fn(|| telemetry.claim::<PluginRow>()).collect();
    let workers: Vec<_> = std::iter::from_fn(|| telemetry.claim::<WorkerRow>()).collect();
    plugins.iter().for_each(|slot| slot.store(&plugin(slot.id())));
    workers.iter().for_each(|slot| slot.store(&WorkerRow::default()));
    let seen = dir.reader().snapshot().unwrap();
    assert_eq!((seen.plugins.len(), seen.workers.len()), (PLUGINS_MAX, WORKERS_MAX));
    assert!(seen.plugins.iter().all(|row| row.calls == row.id), "no row lies over another");
}

#[test]
fn a_reader_sees_whole_rows_while_they_are_written() {
    let dir = Dir::new("whole");
    let telemetry = dir.create();
    let reader = dir.reader();
    let writer = std::thread::spawn(move || {
        let slot = telemetry.claim::<PluginRow>().unwrap();
        for n in 1..=500 {
            slot.store(&plugin(n));
            // Slower than a reader takes for a copy, as the host is by far.
            std::thread::sleep(std::time::Duration::from_micros(300));
        }
        (slot, telemetry)
    });
    let mut seen = std::collections::BTreeSet::new();
    while !writer.is_finished() {
        for row in reader.snapshot().unwrap().plugins {
            let PluginRow { id, updated_ms, calls, .. } = row;
            assert_eq!(row, PluginRow { id, updated_ms, ..plugin(calls) });
            assert!(seen.last().is_none_or(|last| calls >= *last), "time goes on");
            seen.insert(calls);
        }
    }
    writer.join().unwrap();
    assert!(seen.len() > 1, "nothing was written meanwhile");
}

#[test]
fn what_is_no_segment_is_refused() {
    let dir = Dir::new("foreign");
    let pid = std::process::id();
    assert!(matches!(Reader::open_in(&dir.0, pid), Err(ReadError::Missing(n)) if n == pid));
    let whole = {
        let telemetry = dir.create();
        telemetry.claim::<PluginRow>().unwrap().store(&plugin(1));
        std::fs::read(dir.segment()).unwrap()
    };
    assert_eq!(whole.len(), LEN);
    assert!(dir.refused(&[]).ends_with("it is too short"));
    assert!(dir.refused(&whole[..LEN - 1]).ends_with("it is too short"));
    let mut bytes = whole.clone();
    bytes[7] = b'1';
    assert!(dir.refused(&bytes).ends_with("it does not begin with NYLNTEL3"));
    let mut bytes = vec![0xff; LEN];
    bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
    assert!(dir.refused(&bytes).ends_with("it says nothing of a host"));
    std::fs::write(dir.0.join(file_name(pid + 1)), &whole).unwrap();
    let other = Reader::open_in(&dir.0, pid + 1).unwrap().snapshot().unwrap_err();
    assert!(other.to_string().ends_with("it is of another process"));

    std::fs::remove_file(dir.segment()).unwrap();
    std::fs::create_dir(dir.segment()).unwrap();
    assert!(dir.reader().snapshot().unwrap_err().to_string().ends_with("it is no file"));
    std::fs::remove_dir(dir.segment()).unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.segment()).unwrap();
    assert!(matches!(Reader::open_in(&dir.0, pid), Err(ReadError::Io { .. })));
}

#[test]
fn a_segment_cut_short_ends_neither_side() {
    let dir = Dir::new("cut");
    let telemetry = dir.create();
    let slot = telemetry.claim::<PluginRow>().unwrap();
    let reader = dir.reader();
    std::fs::OpenOptions::new().write(true).open(dir.segment()).unwrap().set_len(0).unwrap();
    assert!(reader.snapshot().is_err());
    slot.store(&plugin(1));
    telemetry.beat();
    assert!(reader.snapshot().is_err());
}

#[test]
fn whatever_a_file_holds_is_read() {
    let dir = Dir::new("noise");
    let telemetry = dir.create();
    let slots: Vec<_> = (0..8).map(|_| telemetry.claim::<PluginRow>().unwrap()).collect();
    slots.iter().for_each(|slot| slot.store(&plugin(slot.id())));
    let reader = dir.reader();
    let file = std::fs::OpenOptions::new().write(true).open(dir.segment()).unwrap();
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..300 {
        noise = noise.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let at = 4096 + (noise >> 33) % (PLUGINS_MAX as u64 * 2048 - 8);
        file.write_all_at(&noise.to_le_bytes(), at).unwrap();
        let seen = reader.snapshot().unwrap();
        seen.plugins.iter().for_each(|row| drop(format!("{} {}", row.name, row.last_exit)));
    }
    assert!(reader.snapshot().unwrap().torn > 0);
}

#[test]
fn a_name_that_is_anothers_by_now_stays() {
    let dir = Dir::new("name");
    let first = dir.create();
    let reader = dir.reader();
    let _second = dir.create();
    drop(first);
    reader.remove().unwrap();
    assert!(Path::exists(&dir.segment()));
}
