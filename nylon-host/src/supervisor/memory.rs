//! How much memory a worker takes: sampled where it has a limit, and whether the kernel killed it for want of it.

use std::fs::File;
use std::future::pending;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::cgroup::Cgroup;
use super::limits::{Bounds, Limits};
use super::spawn::Exit;
use crate::bytesize::Size;
use crate::lane::Fault;

/// How often a worker with a limit is looked at: one read of some 40 bytes.
const EVERY: Duration = Duration::from_millis(100);
/// Signal of the kernel's OOM killer.
const SIGKILL: i32 = 9;

/// Looks after the memory of one worker.
#[derive(Debug)]
pub(super) struct Watch {
    bounds: Arc<Bounds>,
    /// `None` without a limit: nobody looks.
    sampler: Option<Sampler>,
    cgroup: Option<Arc<Cgroup>>,
    /// What the OOM killer had killed in its cgroup when the worker started.
    oom_kills: u64,
}

#[derive(Debug)]
struct Sampler {
    limit: u64,
    /// `/proc/PID/statm`, open: it stays that process's, whoever gets its number later.
    statm: File,
    ticks: Interval,
    /// Bytes resident, when that was looked at last.
    last: Option<u64>,
}

/// What a worker took, and might have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Over {
    resident: u64,
    limit: u64,
}

impl std::fmt::Display for Over {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "over its memory limit: {} of {}", Size(self.resident), Size(self.limit))
    }
}

impl Watch {
    /// Of worker `pid`, from now on.
    pub(super) fn of(pid: u32, limits: &Limits, bounds: &Arc<Bounds>) -> Self {
        let cgroup = Cgroup::of(pid).map(Arc::new);
        bounds.in_cgroup(cgroup.clone());
        let sampler = limits.memory.and_then(|limit| Sampler::of(pid, limit).ok());
        Self::new(sampler, cgroup, bounds.clone())
    }

    fn new(sampler: Option<Sampler>, cgroup: Option<Arc<Cgroup>>, bounds: Arc<Bounds>) -> Self {
        let oom_kills = oom_kills(cgroup.as_deref());
        Self { bounds, sampler, cgroup, oom_kills }
    }

    /// Waits until the worker is over its limit: for ever without one. May be dropped and begun again.
    pub(super) async fn over(&mut self) -> Over {
        let Some(sampler) = &mut self.sampler else { return pending().await };
        loop {
            sampler.ticks.tick().await;
            // A process that has ended has no memory; its keeper hears of it.
            let Ok(resident) = sampler.resident() else { return pending().await };
            sampler.last = Some(resident);
            self.bounds.memory.store(resident, Ordering::Relaxed);
            if resident > sampler.limit {
                self.bounds.memory_kills.fetch_add(1, Ordering::Relaxed);
                return Over { resident, limit: sampler.limit };
            }
        }
    }

    /// Bytes it had resident when that was looked at last, if anybody looks.
    pub(super) fn last(&self) -> Option<u64> {
        self.sampler.as_ref()?.last
    }

    /// How the worker ended and, where memory was the reason, whose limit it was.
    pub(super) fn explain(&self, exit: Exit, fault: Option<&Fault>) -> String {
        match fault {
            Some(Fault::Memory(over)) => format!("{exit}: {over}"),
            Some(_) => exit.to_string(),
            None => self.oom(exit).unwrap_or_else(|| exit.to_string()),
        }
    }

    /// Whether the OOM killer did it. Of several workers in one cgroup that end at the same time it may have been the
    /// other one.
    fn oom(&self, exit: Exit) -> Option<String> {
        let cgroup = self.cgroup.as_deref()?;
        if exit != Exit::Signal(SIGKILL) || oom_kills(Some(cgroup)) <= self.oom_kills {
            return None;
        }
        self.bounds.oom_kills.fetch_add(1, Ordering::Relaxed);
        let max = cgroup.memory().and_then(|memory| memory.max);
        let limit = max.map_or("no memory.max of its own".into(), |max| {
            format!("memory.max is {}", Size(max))
        });
        let path = cgroup.path().display();
        Some(format!("{exit} of the kernel's OOM killer ({path}: {limit})"))
    }
}

fn oom_kills(cgroup: Option<&Cgroup>) -> u64 {
    cgroup.and_then(Cgroup::memory).map_or(0, |memory| memory.oom_kills)
}

impl Sampler {
    fn of(pid: u32, limit: u64) -> io::Result<Self> {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { limit, statm: File::open(format!("/proc/{pid}/statm"))?, ticks, last: None })
    }

    /// Bytes resident.
    fn resident(&self) -> io::Result<u64> {
        let mut text = [0; 128];
        let length = self.statm.read_at(&mut text, 0)?;
        let pages = std::str::from_utf8(&text[..length]).ok().and_then(|text| {
            let (_size, rest) = text.split_once(' ')?;
            rest.split_once(' ')?.0.parse::<u64>().ok()
        });
        let pages = pages.ok_or(io::ErrorKind::InvalidData)?;
        Ok(pages.saturating_mul(rustix::param::page_size() as u64))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::write;

    use super::*;

    fn bounds() -> Arc<Bounds> {
        Bounds::new(&Limits::default(), Arc::default())
    }

    #[tokio::test]
    async fn who_is_over_its_limit_is_told_of_with_both_figures() {
        let limits = Limits { memory: Some(1 << 20), ..Limits::default() };
        let bounds = bounds();
        let over = Watch::of(std::process::id(), &limits, &bounds).over().await;
        assert!(over.resident > 1 << 20);
        assert!(over.to_string().ends_with(" of 1 MiB"), "{over}");
        let status = bounds.status();
        assert_eq!((status.memory, status.memory_kills), (over.resident, 1));
        let told = Over { resident: 312 << 20, limit: 256 << 20 };
        assert_eq!(told.to_string(), "over its memory limit: 312 MiB of 256 MiB");
    }

    #[tokio::test]
    async fn who_is_below_it_has_none_or_has_ended_is_left_alone() {
        let bounds = bounds();
        let watch = async |pid, memory| {
            let limits = Limits { memory, ..Limits::default() };
            let mut watch = Watch::of(pid, &limits, &bounds);
            tokio::time::timeout(2 * EVERY, watch.over()).await.is_ok()
        };
        let own = std::process::id();
        assert!(!watch(own, None).await);
        assert_eq!(bounds.status().memory, 0, "nobody looks");
        assert!(!watch(own, Some(1 << 50)).await);
        assert!(bounds.status().memory > 0);
        let mut child = std::process::Command::new("true").spawn().expect("a process");
        let pid = child.id();
        let sampler = Sampler::of(pid, 1).expect("its file");
        child.wait().expect("it ends");
        assert!(sampler.resident().is_err());
        assert!(!watch(pid, Some(1)).await);
    }

    #[tokio::test]
    async fn the_oom_killer_is_told_from_others_by_its_count() {
        let temp = nylon_tests::Temp::new();
        let put = |name: &str, text: &str| write(temp.path().join(name), text).expect("a file");
        put("memory.current", "1\n");
        put("memory.max", "268435456\n");
        put("memory.events", "oom 1\noom_kill 1\n");
        let cgroup = Some(Arc::new(Cgroup::at(temp.path())));
        let watch = Watch::new(None, cgroup.clone(), bounds());
        let killed = Exit::Signal(SIGKILL);
        assert_eq!(watch.explain(killed, None), "killed by SIGKILL", "that was another");
        put("memory.events", "oom 2\noom_kill 2\n");
        assert_eq!(watch.explain(Exit::Status(1), None), "exited with status 1");
        let ours = Fault::Memory("over its memory limit".into());
        let why = watch.explain(killed, Some(&ours));
        assert_eq!(why, "killed by SIGKILL: over its memory limit");
        let why = watch.explain(killed, None);
        assert!(why.starts_with("killed by SIGKILL of the kernel's OOM killer"), "{why}");
        assert!(why.ends_with("memory.max is 256 MiB)"), "{why}");
        assert_eq!(watch.bounds.status().oom_kills, 1);
        watch.bounds.in_cgroup(cgroup);
        let shown = watch.bounds.status().cgroup.expect("it is in one");
        assert_eq!((shown.current, shown.max, shown.oom_kills), (1, Some(256 << 20), 2));
    }
}
