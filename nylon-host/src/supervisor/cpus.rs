//! How many CPUs a worker and its host may be running on at the same time, and whether their cgroup is held back.
//!
//! Read from the kernel's files when a worker starts, then every ten seconds while its gate wants to know.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity};

use crate::lane::Cpus;

/// What the host's cgroup, and so that of its workers, may use, and was refused so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Whole CPUs; `u32::MAX` without a limit.
    quota: u32,
    throttled: u64,
}

impl Limits {
    /// Reads some ten small files.
    pub(super) fn read() -> Self {
        let cgroup = read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut limits = Self { quota: u32::MAX, throttled: 0 };
        for folder in folders(&cgroup, &mounts) {
            let read = |name| read_to_string(folder.join(name)).ok();
            let quota = match read("cpu.max") {
                Some(max) => quota_v2(&max),
                None => read("cpu.cfs_quota_us")
                    .zip(read("cpu.cfs_period_us"))
                    .and_then(|(quota, period)| quota_v1(&quota, &period)),
            };
            limits.quota = limits.quota.min(quota.unwrap_or(u32::MAX));
            let stat = read("cpu.stat").and_then(|stat| nr_throttled(&stat));
            limits.throttled = limits.throttled.saturating_add(stat.unwrap_or(0));
        }
        limits
    }

    /// The CPUs for worker `pid`, which runs `threads` threads at a time (HelloOk `cpus`), and the calling thread.
    pub(super) fn count(self, pid: u32, threads: u32) -> Cpus {
        let usable = affinity(pid).min(threads).min(self.quota);
        Cpus { usable, throttled: self.throttled }
    }
}

/// CPUs that this thread or the worker may run on: bound to the same one they would poll in each other's way.
fn affinity(pid: u32) -> u32 {
    let worker = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let sets = [sched_getaffinity(None).ok(), worker.and_then(|p| sched_getaffinity(Some(p)).ok())];
    let either = |cpu: &usize| sets.iter().flatten().any(|set| set.is_set(*cpu));
    (0..CpuSet::MAX_CPU).filter(either).count().try_into().unwrap_or(u32::MAX)
}

/// The folders that hold the CPU limits of a process, its own cgroup first, then those around it as far as they can be
/// seen; from its `/proc/PID/cgroup` and `/proc/PID/mountinfo`.
fn folders(cgroup: &str, mounts: &str) -> Vec<PathBuf> {
    cgroup
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let v2 = controllers.is_empty();
            if !v2 && !controllers.split(',').any(|c| c == "cpu") {
                return None;
            }
            let (root, mounted) = mounts.lines().find_map(|mount| cpu_mount(mount, v2))?;
            // Where the path is not below what is mounted, the mount is all there is to see.
            let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
            Some((PathBuf::from(mounted), below.to_owned()))
        })
        .flat_map(|(mounted, below)| {
            below.ancestors().map(|part| mounted.join(part)).collect::<Vec<_>>()
        })
        .collect()
}

/// Root and place of a cgroup mount that has the CPU controller, from a line of `mountinfo`.
fn cpu_mount(line: &str, v2: bool) -> Option<(&str, &str)> {
    let (mount, system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, place) = (mount.next()?, mount.next()?);
    let mut system = system.split(' ');
    let (kind, _source, options) = (system.next()?, system.next()?, system.next()?);
    let cpu = match kind {
        "cgroup2" => v2,
        "cgroup" => !v2 && options.split(',').any(|option| option == "cpu"),
        _ => false,
    };
    cpu.then_some((root, place))
}

/// Whole CPUs of a `cpu.max`, as in `150000 100000`; none without a limit.
fn quota_v2(max: &str) -> Option<u32> {
    let (quota, period) = max.trim().split_once(' ')?;
    whole(quota.parse().ok()?, period.parse().ok()?)
}

/// Whole CPUs of `cpu.cfs_quota_us` and `cpu.cfs_period_us`; none without a limit.
fn quota_v1(quota: &str, period: &str) -> Option<u32> {
    // -1 is no limit, and no number of this type.
    whole(quota.trim().parse().ok()?, period.trim().parse().ok()?)
}

fn whole(quota: u64, period: u64) -> Option<u32> {
    Some(quota.checked_div(period)?.try_into().unwrap_or(u32::MAX))
}

/// `nr_throttled` of a `cpu.stat`.
fn nr_throttled(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(cgroup: &str, mounts: &str) -> Vec<String> {
        folders(cgroup, mounts).iter().map(|path| path.display().to_string()).collect()
    }

    const V1: &str = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn a_process_is_limited_by_its_cgroup_and_those_around_it() {
        let own = ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup/"];
        assert_eq!(paths("0::/a/b\n", V2), own);
        assert_eq!(paths("0::/\n", V2), ["/sys/fs/cgroup/"]);
    }

    #[test]
    fn version_1_has_a_mount_of_its_own_for_cpu() {
        let both = "4:memory:/m\n2:cpuacct:/x\n1:cpu:/a\n0::/\n";
        let limits = ["/sys/fs/cgroup/cpu/a", "/sys/fs/cgroup/cpu/", "/sys/fs/cgroup/unified/"];
        assert_eq!(paths(both, V1), limits);
        let joined = "9 1 0:1 / /c rw - cgroup cgroup rw,cpu,cpuacct\n";
        assert_eq!(paths("3:cpu,cpuacct:/\n", joined), ["/c/"]);
        assert_eq!(paths("3:cpuset:/\n", joined), [""; 0]);
    }

    #[test]
    fn in_a_container_the_path_may_lie_outside_of_what_is_mounted() {
        let mounts = "9 1 0:1 /docker/4f /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(paths("0::/docker/4f/x\n", mounts), ["/sys/fs/cgroup/x", "/sys/fs/cgroup/"]);
        assert_eq!(paths("0::/elsewhere\n", mounts), ["/sys/fs/cgroup/"]);
    }

    #[test]
    fn a_quota_counts_whole_cpus() {
        assert_eq!(quota_v2("max 100000\n"), None);
        assert_eq!(quota_v2("150000 100000\n"), Some(1));
        assert_eq!(quota_v2("50000 100000"), Some(0));
        assert_eq!(quota_v1("-1\n", "100000\n"), None);
        assert_eq!(quota_v1("400000\n", "100000\n"), Some(4));
        assert_eq!(quota_v1("400000\n", "0\n"), None);
        assert_eq!((quota_v2(""), quota_v2("nonsense 1"), quota_v1("", "")), (None, None, None));
    }

    #[test]
    fn throttling_is_counted_in_both_versions_of_the_file() {
        let v1 = "nr_periods 10\nnr_throttled 3\nthrottled_time 500\n";
        assert_eq!(nr_throttled(v1), Some(3));
        assert_eq!(nr_throttled(&format!("usage_usec 1\n{v1}")), Some(3));
        assert_eq!(nr_throttled("usage_usec 1\n"), None, "a cgroup without a limit");
    }

    #[test]
    fn this_process_has_a_cpu() {
        let limits = Limits::read();
        let cpus = limits.count(std::process::id(), 1000);
        assert!(cpus.usable <= 1000);
        assert!(affinity(std::process::id()) >= 1);
        assert_eq!(limits.count(std::process::id(), 1).usable.min(1), cpus.usable.min(1));
    }
}
