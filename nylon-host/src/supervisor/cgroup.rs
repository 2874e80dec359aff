//! The cgroup (version 2) of a worker, as far as it tells of memory. Elsewhere there is none, and nothing is known.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use super::limits::CgroupMemory;

/// A cgroup's folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cgroup(PathBuf);

impl Cgroup {
    /// That of process `pid`; `None` where it is in none of version 2, or in one that does not count memory.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let cgroup = read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let mounts = read_to_string("/proc/self/mountinfo").ok()?;
        let found = Self(folder(&cgroup, &mounts)?);
        found.memory().map(|_| found)
    }

    /// What it says now. Reads three small files.
    pub(super) fn memory(&self) -> Option<CgroupMemory> {
        let read = |name| read_to_string(self.0.join(name)).ok();
        let events = read("memory.events").unwrap_or_default();
        let oom_kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Some(CgroupMemory {
            current: read("memory.current")?.trim().parse().ok()?,
            // `max` is no limit, and no number.
            max: read("memory.max").and_then(|max| max.trim().parse().ok()),
            oom_kills: oom_kills.and_then(|kills| kills.trim().parse().ok()).unwrap_or(0),
        })
    }

    /// Its folder.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

/// Where the cgroup of a process is, from its `/proc/PID/cgroup` and our `mountinfo`.
fn folder(cgroup: &str, mounts: &str) -> Option<PathBuf> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (root, mounted) = mounts.lines().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        system.starts_with("cgroup2 ").then_some(())?;
        let mut mount = mount.split(' ').skip(3);
        mount.next().zip(mount.next())
    })?;
    // Not below what is mounted: it cannot be seen.
    Some(Path::new(mounted).join(Path::new(path).strip_prefix(root).ok()?))
}

#[cfg(test)]
impl Cgroup {
    /// One made of files.
    pub(super) fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::write;

    use super::*;

    const V2: &str = "\
30 23 0:26 / /proc rw - proc proc rw
31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn the_folder_is_found_below_the_mount_of_version_2() {
        let found = |cgroup, mounts| folder(cgroup, mounts).map(|path| path.display().to_string());
        let own = "0::/system.slice/nylon.service\n";
        let expected = "/sys/fs/cgroup/system.slice/nylon.service";
        assert_eq!(found(own, V2).as_deref(), Some(expected));
        let hybrid = "5:memory:/docker/1\n0::/\n";
        assert_eq!(found(hybrid, V2).as_deref(), Some("/sys/fs/cgroup/"));
        let inside = V2.replace("0:28 / ", "0:28 /pod ");
        assert_eq!(found("0::/pod/a\n", &inside).as_deref(), Some("/sys/fs/cgroup/a"));
        assert_eq!(found("0::/other\n", &inside), None);
        assert_eq!(found("5:memory:/docker/1\n", V2), None);
        let v1 = V2.replace("cgroup2 cgroup2", "cgroup cgroup");
        assert_eq!(found(own, &v1), None);
    }

    #[test]
    fn its_files_are_read_as_far_as_they_are_there() {
        let temp = nylon_tests::Temp::new();
        let cgroup = Cgroup::at(temp.path());
        assert_eq!(cgroup.memory(), None);
        let put = |name: &str, text: &str| write(temp.path().join(name), text).expect("a file");
        put("memory.current", "4096\n");
        let mut memory = CgroupMemory { current: 4096, max: None, oom_kills: 0 };
        assert_eq!(cgroup.memory(), Some(memory));
        put("memory.max", "max\n");
        put("memory.events", "low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 9\n");
        memory.oom_kills = 2;
        assert_eq!(cgroup.memory(), Some(memory));
        put("memory.max", "268435456\n");
        memory.max = Some(256 << 20);
        assert_eq!(cgroup.memory(), Some(memory));
    }
}
