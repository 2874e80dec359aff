//! From nothing to a process that serves: an empty Go program, and a Go plugin under a host.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nylon_host::{Host, Item, PluginSpec};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;

use super::session::{Entry, Target};
use super::sessions;
use crate::case::{Case, Round, Taken, ns};
use crate::env::Env;
use crate::worker::{self, Child};
use crate::{Result, cpu};

/// A Go program whose main does nothing but write.
pub(crate) struct EmptyGo {
    cpus: crate::cpus::Cpus,
    program: PathBuf,
}

impl EmptyGo {
    pub(crate) fn new(env: &Env) -> Result<Self> {
        Ok(Self { cpus: env.cpus, program: worker::build("emptyworker")? })
    }
}

impl Case for EmptyGo {
    fn round(&mut self, round: &Round) -> Result<Taken> {
        take(round, || {
            let mut command = Command::new(&self.program);
            command.stdin(Stdio::null()).stdout(Stdio::piped());
            let start = Instant::now();
            let child = self.cpus.on_worker(|| Child::start(command))?;
            let took = start.elapsed();
            drop(child);
            Ok(took)
        })
    }

    fn cpu(&self) -> Duration {
        cpu::own() + cpu::ended_children()
    }
}

/// Which part of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// From the call of the host to its return: a request may be sent.
    Whole,
    /// From the call to the first line of the plugin's main: segments, bells, fork, exec, Go's own start.
    ToMain,
    /// From there to the return: the handshake, mapping, the lane.
    FromMain,
    /// From the call to the first answer of the plugin.
    Answered,
}

/// The Go worker of these benches as a plugin, policy `balanced`. Stopping it is not in the time.
pub(crate) struct ColdPlugin {
    cpus: crate::cpus::Cpus,
    runtime: Runtime,
    program: PathBuf,
    part: Part,
    /// Where the plugin writes when its main began; for the parts only.
    note: PathBuf,
}

impl ColdPlugin {
    pub(crate) fn new(env: &Env, part: Part) -> Result<Self> {
        let note = format!("nylon-bench-{}-{part:?}", std::process::id());
        Ok(Self {
            cpus: env.cpus,
            runtime: sessions::runtime(env)?,
            program: env.echoworker()?,
            part,
            note: std::env::temp_dir().join(note),
        })
    }

    fn start(&self) -> Result<Duration> {
        let mut spec = PluginSpec::new("cold", &self.program);
        if matches!(self.part, Part::ToMain | Part::FromMain) {
            let note = self.note.display().to_string();
            spec.env.push(("NYLON_BENCH_MAIN_BEGAN".into(), note));
        }
        let start = monotonic();
        let host = self.cpus.on_worker(|| self.runtime.block_on(Host::start(vec![spec])));
        let mut ready = monotonic();
        let host = host.map_err(|e| e.to_string())?;
        if self.part == Part::Answered {
            let chain = host.chain().item(Item::new("cold", "getters"));
            let target = Target::new(chain.map_err(|e| e.to_string())?.build(), Entry::Getters);
            let call = self.runtime.spawn(async move { target.call(1).await });
            self.runtime.block_on(call).map_err(|e| e.to_string())??;
            ready = monotonic();
        }
        self.runtime.block_on(host.stop(Duration::from_secs(2)));
        if matches!(self.part, Part::Whole | Part::Answered) {
            return Ok(ready.saturating_sub(start));
        }
        let note = fs::read_to_string(&self.note).map_err(|e| format!("no note of main: {e}"))?;
        let began = note.parse().map(Duration::from_nanos).map_err(|e| format!("{note:?}: {e}"))?;
        if !(start..=ready).contains(&began) {
            return Err(format!("main began at {began:?}, between {start:?} and {ready:?}?"));
        }
        Ok(if self.part == Part::ToMain { began - start } else { ready - began })
    }
}

impl Case for ColdPlugin {
    fn round(&mut self, round: &Round) -> Result<Taken> {
        take(round, || self.start())
    }

    fn cpu(&self) -> Duration {
        cpu::own() + cpu::ended_children()
    }
}

impl Drop for ColdPlugin {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.note);
    }
}

/// One start before the first that counts, so that the program is in the page cache.
fn take(round: &Round, mut start: impl FnMut() -> Result<Duration>) -> Result<Taken> {
    start()?;
    let mut taken = Taken { calls: 1, ..Taken::default() };
    let began = Instant::now();
    while round.goes_on(&taken, began) {
        taken.samples.push(ns(start()?));
        taken.calls += 1;
    }
    Ok(taken)
}

/// The clock that every process of the machine reads alike.
fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), nanos)
}
