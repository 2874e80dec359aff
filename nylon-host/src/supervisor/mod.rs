//! Supervisor: stands beside the data path. It spawns workers, shakes hands, hands their lanes to
//! `lane::Registry`, watches them die and starts them anew.
//!
//! In: a [`PluginSpec`].  Out: ready lanes in a plugin's registry, and out of it when their worker is gone.
//! Never: a request, a frame, or the meaning of either.

mod cage;
mod cgroup;
mod cpus;
mod crashes;
mod dump;
mod handshake;
pub(crate) mod limits;
mod memory;
mod output;
mod program;
mod render;
mod report;
mod restart;
mod said;
mod sandbox;
mod seccomp;
mod shown;
mod spawn;
mod status;
mod tail;
mod usage;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nylon_protocol::handshake::{Hello, VersionRange};
use nylon_protocol::segment::Header;
use nylon_protocol::{Geometry, wire};
use nylon_shm::{Bell, Doorbell, HostEnd, Segments, WorkerBells};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};

use crate::error::StartError;
use crate::lane::{Fault, Gate, Lane, Peer, Registry, Shape, WaitPolicy};
use crate::metrics::End;
use crate::readiness;
use handshake::{ControlSocket, Refusal};
use output::Output;
use restart::Backoff;
use shown::Shown;
use spawn::{Child, Process, Spawner};

pub use dump::WorkerDump;
pub use limits::{CgroupMemory, LimitStatus, Limits};
pub use program::{NotSha256, Sha256};
pub use report::{Cause, CrashReport, ExitReport};
pub use sandbox::{Confinement, Sandbox, SandboxLevel, SandboxPart, harden};
pub(crate) use spawn::Exit;
pub use status::{PluginState, PluginStatus};
pub use tail::LogLine;

pub(crate) use crashes::Crashes;
pub(crate) use dump::workers;
pub(crate) use limits::Bounds;
pub(crate) use status::Board;

/// A configured program: what to run, and how.
#[derive(Clone, Debug)]
pub struct PluginSpec {
    /// Its name, unique in a host.
    pub name: String,
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables added to its environment.
    pub env: Vec<(String, String)>,
    /// Worker processes to keep, >= 1.
    pub workers: u32,
    /// Lanes of each worker, 1 ..= 8: ring pairs that several threads of it serve. 0: one, on more than two CPUs as many
    /// as there are threads of the runtime or CPUs. With more than one nobody polls, whatever [`Self::wait`] says.
    pub lanes: u32,
    /// What its initialisers get: JSON text, or empty.
    pub config: Vec<u8>,
    /// Constant payloads, sent once per worker and named by index.
    pub payloads: Vec<Vec<u8>>,
    /// How to wait.
    pub wait: WaitPolicy,
    /// Time from exec to the end of the handshake.
    pub start_timeout: Duration,
    /// What its workers may do outside their own processes.
    pub sandbox: Sandbox,
    /// What the program must be, to be run at all.
    pub sha256: Option<Sha256>,
    /// What it may take.
    pub limits: Limits,
    /// Directory where reports of its crashes are written as well; made if it is not there.
    pub crash_reports: Option<PathBuf>,
}

impl PluginSpec {
    /// `program` as plugin `name`: one worker, no config, five seconds to start.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            workers: 1,
            config: Vec::new(),
            payloads: Vec::new(),
            lanes: 0,
            wait: WaitPolicy::Balanced,
            start_timeout: Duration::from_secs(5),
            sandbox: Sandbox::default(),
            sha256: None,
            limits: Limits::default(),
            crash_reports: None,
        }
    }

    /// How many lanes each worker gets.
    fn lanes_or_default(&self) -> u32 {
        if self.lanes != 0 {
            return self.lanes;
        }
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = tokio::runtime::Handle::current().metrics().num_workers();
        match cpus {
            0..=2 => 1,
            _ => u32::try_from(cpus.min(threads)).unwrap_or(LANES_MAX).clamp(1, LANES_MAX),
        }
    }

    /// What no host can run: a name that is given twice, a plugin without workers.
    pub(crate) fn problems(specs: &[Self]) -> impl Iterator<Item = StartError> {
        specs.iter().enumerate().filter_map(|(index, spec)| {
            let why = if specs[..index].iter().any(|earlier| earlier.name == spec.name) {
                "another plugin has this name"
            } else if spec.workers == 0 {
                "it needs at least one worker"
            } else if spec.lanes > LANES_MAX {
                "a worker has at most 8 lanes"
            } else {
                spec.limits.problem()?
            };
            Some(StartError::Spec { plugin: spec.name.clone(), why })
        })
    }
}

/// Most lanes of one worker.
pub(crate) const LANES_MAX: u32 = 8;
/// How often the counters of plugins and workers go into the telemetry segment.
pub(crate) const SHOW_EVERY: Duration = Duration::from_secs(1);
/// What Hello says of the time a worker may spin under policy `latency`, ns. It only makes the worker sleep on a futex:
/// whether and how long it spins is the gate's to say, in H.
const SPIN_NS: u32 = 20_000;

/// One plugin of a host: its ready workers, and how it fares.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) spec: PluginSpec,
    pub(crate) registry: Registry,
    pub(crate) board: Board,
    pub(crate) bounds: Arc<Bounds>,
    pub(crate) crashes: Crashes,
}

/// Keeps the workers of all plugins of one host.
#[derive(Debug)]
pub(crate) struct Supervisor {
    spawner: Spawner,
    stop: watch::Sender<Option<Duration>>,
    keepers: tokio::task::JoinSet<()>,
}

impl Supervisor {
    pub(crate) fn new() -> Result<Self, StartError> {
        let spawner = Spawner::start()
            .map_err(|source| StartError::Host { what: "spawning thread", source })?;
        Ok(Self { spawner, stop: watch::channel(None).0, keepers: tokio::task::JoinSet::new() })
    }

    /// Starts the workers of `plugin` and keeps them; resolves when all are ready, or with the first that was not.
    /// A plugin that did not start is not kept.
    pub(crate) async fn keep(&mut self, plugin: &Arc<Plugin>) -> Result<(), StartError> {
        let mut started = Vec::new();
        for _ in 0..plugin.spec.workers {
            let (ready, outcome) = oneshot::channel();
            let keeper = Keeper {
                plugin: plugin.clone(),
                spawner: self.spawner.clone(),
                stop: self.stop.subscribe(),
                shown: plugin.board.worker(),
            };
            self.keepers.spawn(keeper.run(ready));
            started.push(outcome);
        }
        for outcome in started {
            outcome.await.unwrap_or_else(|_| {
                Err(StartError::Host { what: "keeper", source: io::Error::other("gone") })
            })?;
        }
        Ok(())
    }

    /// Stops every worker: its shutdown hooks run, within `grace`, then it is killed.
    pub(crate) async fn stop(&mut self, grace: Duration) {
        let _ = self.stop.send(Some(grace));
        while self.keepers.join_next().await.is_some() {}
    }
}

/// Keeps one worker of one plugin.
struct Keeper {
    plugin: Arc<Plugin>,
    spawner: Spawner,
    stop: watch::Receiver<Option<Duration>>,
    /// What others see of it.
    shown: Shown,
}

/// A worker that is ready.
struct Worker {
    child: Child,
    /// Readable once the process has ended.
    ended: AsyncFd<OwnedFd>,
    control: ControlSocket,
    segments: Arc<Segments>,
    peer: Arc<Peer>,
    /// At least one.
    lanes: Vec<Arc<Lane>>,
    /// How many threads it runs at a time, as it says.
    threads: u32,
    /// Forwards what it prints.
    output: Output,
}

impl Keeper {
    async fn run(mut self, ready: oneshot::Sender<Result<(), StartError>>) {
        let mut backoff = Backoff::default();
        let mut ready = Some(ready);
        loop {
            let plugin = self.plugin.clone();
            let board = &plugin.board;
            let generation = board.starting();
            self.shown.starting(generation);
            let started = tokio::select! {
                started = start(&self.plugin, &self.spawner, generation) => started,
                _ = self.stop.changed() => return board.stopped(),
            };
            let lived = match started {
                Ok(worker) => {
                    // In service before anybody is told: who waits for "ready" sends at once.
                    worker.lanes.iter().for_each(|lane| self.plugin.registry.add(lane.clone()));
                    board.metrics.worker_ready(worker.child.pid, &worker.lanes);
                    board.ready(worker.child.pid);
                    self.shown.ready(worker.child.pid);
                    tracing::info!(plugin = %self.plugin.spec.name, worker = worker.child.pid, generation, "ready");
                    if let Some(ready) = ready.take() {
                        let _ = ready.send(Ok(()));
                    }
                    let since = Instant::now();
                    if self.attend(worker).await {
                        return;
                    }
                    Some(since.elapsed())
                }
                Err(e) => {
                    board.metrics.ended(End::Start);
                    let state = board.failed(&e.to_string(), e.is_permanent());
                    self.shown.ended(state, &e.to_string());
                    if let Some(ready) = ready.take() {
                        let _ = ready.send(Err(e));
                        return;
                    }
                    tracing::error!(plugin = %self.plugin.spec.name, generation, error = %e, "cannot start");
                    if e.is_permanent() {
                        return;
                    }
                    None
                }
            };
            let wait = backoff.after(lived);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = self.stop.changed() => return board.stopped(),
            }
        }
    }

    /// Looks after a worker in service until it is gone; true when the host stops.
    async fn attend(&mut self, worker: Worker) -> bool {
        let Worker { mut child, ended, control, segments, peer, lanes, threads, output } = worker;
        let (pid, generation) = (child.pid, peer.generation);
        let mut memory = memory::Watch::of(pid, &self.plugin.spec.limits, &self.plugin.bounds);
        let mut shown = tokio::time::interval(SHOW_EVERY);
        let stopped = loop {
            tokio::select! {
                _ = ended.readable() => break None,
                fault = peer.faulted() => {
                    tracing::error!(plugin = %self.plugin.spec.name, worker = pid, generation, %fault, "retired");
                    break None;
                }
                over = memory.over() => peer.report(Fault::Memory(over.to_string())),
                _ = self.stop.changed() => break *self.stop.borrow(),
                _ = shown.tick() => self.shown.show(&lanes),
                () = lanes[0].recount() => {
                    let cpus = cpus::Limits::read().count(pid, threads);
                    lanes.iter().for_each(|lane| lane.cpus(Instant::now(), cpus));
                }
            }
        };
        lanes.iter().for_each(|lane| self.plugin.registry.remove(lane));
        if let Some(grace) = stopped {
            segments.set_state(wire::STATE_DRAINING);
            let millis = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
            if control.shutdown(millis).await.is_ok() {
                let _ = tokio::time::timeout(grace, ended.readable()).await;
            }
        }
        child.kill();
        let exit = reap(&mut child, &ended).await;
        if stopped.is_none() {
            report::make(&self.plugin, &peer, &exit, &lanes, &output, memory.last());
        }
        segments.set_state(wire::STATE_CLOSED);
        self.plugin.board.add(&lanes);
        if let Some(Fault::Violation(what)) = peer.fault() {
            self.plugin.board.violation(what);
        }
        // What it had published counts, on every lane, before the first call fails.
        lanes.iter().for_each(|lane| lane.take_last());
        let metrics = &self.plugin.board.metrics;
        metrics.worker_gone(pid);
        if stopped.is_some() {
            peer.report(Fault::Stopped);
            self.plugin.board.stopped();
        } else {
            metrics.ended(End::of(peer.fault(), exit.as_ref().ok()));
            let how = exit.map_or_else(|e| e.to_string(), |e| memory.explain(e, peer.fault()));
            tracing::warn!(plugin = %self.plugin.spec.name, worker = pid, generation, %how, "worker ended");
            self.plugin.board.crashed(&how);
            self.shown.ended(PluginState::BackingOff, &how);
            peer.report(Fault::Died(how));
        }
        lanes.iter().for_each(|lane| lane.die());
        stopped.is_some()
    }
}

/// Waits for the end of a process that was killed, or ended by itself, and reaps it.
async fn reap(child: &mut Child, ended: &AsyncFd<OwnedFd>) -> io::Result<Exit> {
    loop {
        if let Some(exit) = child.reap()? {
            return Ok(exit);
        }
        ended.readable().await?.clear_ready();
    }
}

/// Spawns a worker, shakes hands and opens its lane. A process takes a while to get to its main: what the host can do
/// without it is done meanwhile.
async fn start(plugin: &Plugin, spawner: &Spawner, generation: u32) -> Result<Worker, StartError> {
    let spec = &plugin.spec;
    let spawned = spawner.spawn(spec.clone());
    let host = |what| move |source: io::Error| StartError::Host { what, source };
    let epoch =
        u64::from_le_bytes(*uuid::Uuid::new_v4().as_bytes().first_chunk().unwrap_or(&[1; 8])) | 1;
    let features = wire::FEATURE_KNOWN;
    let arena = spec.limits.arena;
    let geometry = Geometry { lanes: spec.lanes_or_default(), arena, ..Geometry::default() };
    let header = Header { geometry, epoch, abi_minor: wire::ABI_MINOR, features };
    let (segments, fds) =
        Segments::create(header).map_err(|e| host("shared memory")(io::Error::other(e)))?;
    let bells = (|| Ok([Bell::new()?, Bell::new()?, Bell::new()?]))();
    let [host_bell, worker_bell, rescue_bell] = bells.map_err(host("eventfd"))?;

    let process = spawned.await.map_err(|e| e.of(spec))?;
    let Process { mut child, control, stdout, stderr, confinement } = process;
    let pid = child.pid;
    if confinement.missing().next().is_some() {
        tracing::warn!(plugin = %spec.name, pid, sandbox = %confinement, "confined less than asked for");
    }
    plugin.board.confined(confinement);
    let name: Arc<str> = spec.name.as_str().into();
    let forwarded = (|| {
        let stdout = tokio::process::ChildStdout::from_std(stdout)?;
        let stderr = tokio::process::ChildStderr::from_std(stderr)?;
        let source = output::Source { plugin: name.clone(), worker: pid, generation };
        let output = Output::of(source, output::Rate::of(&spec.limits, &plugin.board.metrics));
        output.forward("stdout", stdout);
        output.forward("stderr", stderr);
        let ended = readiness::watch(child.ended()?, Interest::READABLE)?;
        Ok((ended, ControlSocket::new(control)?, output))
    })();
    let (ended, control, output) = forwarded.map_err(host("worker descriptors"))?;

    let hello = Hello {
        versions: VersionRange {
            major: wire::ABI_MAJOR,
            min: wire::ABI_MINOR_MIN,
            max: wire::ABI_MINOR,
        },
        layout_hash: wire::LAYOUT_HASH,
        epoch,
        seg_len: geometry.segment_len(),
        geometry,
        features,
        // Half an arena: the other half is for what goes beside the body.
        window: u32::try_from((arena / 2).min(wire::LIMIT_WINDOW as u64)).unwrap_or(u32::MAX),
        staged_max: wire::LIMIT_STAGED as u64,
        spin_ns: if spec.wait == WaitPolicy::Latency { SPIN_NS } else { 0 },
        generation,
        plugin: spec.name.clone(),
        config: spec.config.clone(),
        payloads: spec.payloads.clone(),
    };
    let (host_bell, worker_bell, rescue_bell): (OwnedFd, OwnedFd, OwnedFd) =
        (host_bell.into(), worker_bell.into(), rescue_bell.into());
    let shaken = async {
        let sent = [&fds.host, &fds.worker, &host_bell, &worker_bell, &rescue_bell];
        control.greet(&hello, sent).await?;
        let limits = cpus::Limits::read();
        let (ok, minor) = control.hello_ok(&hello).await?;
        segments.check_worker_header().map_err(|v| Refusal::Mismatch(v.to_string()))?;
        Ok::<_, Refusal>((ok, minor, limits))
    };
    let shaken = tokio::select! {
        biased;
        shaken = tokio::time::timeout(spec.start_timeout, shaken) => shaken,
        // A child it left behind may hold its socket open.
        _ = ended.readable() => Ok(Err(Refusal::Closed)),
    };
    let (ok, minor, limits) = match shaken {
        Ok(Ok(done)) => done,
        failed => {
            // A worker that closed its socket is about to exit; what it exits with is the better message.
            let ended_itself =
                tokio::time::timeout(Duration::from_millis(500), ended.readable()).await.is_ok();
            // Also when it has ended: what it forked is still there.
            child.kill();
            let exit = reap(&mut child, &ended).await.ok();
            let exited = exit.filter(|_| ended_itself);
            let (why, permanent) = match failed {
                Ok(Err(refusal)) => explain(&refusal, exited, spec),
                _ => (no_answer(spec), false),
            };
            return Err(StartError::Handshake { plugin: spec.name.clone(), why, permanent });
        }
    };
    segments.set_state(wire::STATE_READY);
    let kind =
        if ok.doorbell == wire::DOORBELL_EVENTFD { Doorbell::Eventfd } else { Doorbell::Futex };
    plugin.board.introduced(&ok.sdk, &ok.entries);
    let queue = plugin.bounds.admission.queue().clone();
    let times = plugin.board.metrics.calls.clone();
    let who = (name, pid, generation);
    let peer = Arc::new(Peer::new(who, &ok.entries, minor, ok.features, queue, times));
    let calls = ok.features & wire::FEATURE_HOST_CALLS != 0;
    let timed = ok.features & wire::FEATURE_HANDLER_TIME != 0;
    let open = |index| {
        // Each lane has descriptors of its own: an edge of a bell reaches all of them.
        let bells = WorkerBells {
            kind,
            bell: Bell::from_fd(worker_bell.try_clone()?),
            rescue: Bell::from_fd(rescue_bell.try_clone()?),
        };
        let end = HostEnd::new(&segments, index, calls, bells).handler_time(timed);
        let Geometry { slots, lanes, .. } = geometry;
        let shape = Shape { slots, window: hello.window, index, lanes };
        // The worker has one word for how long it spins: several lanes would have it spin on all of them.
        let wait = if lanes == 1 { spec.wait } else { WaitPolicy::Cpu };
        let gate = Gate::new(wait, limits.count(pid, ok.cpus));
        Lane::open(peer.clone(), end, host_bell.try_clone()?, shape, gate)
    };
    let lanes = (0..geometry.lanes).map(open).collect::<io::Result<_>>().map_err(host("lane"))?;
    Ok(Worker { child, ended, control, segments, peer, lanes, threads: ok.cpus, output })
}

fn no_answer(spec: &PluginSpec) -> String {
    format!(
        "{} did not shake hands within {:?}: is it a Nylon worker? A Go plugin's main must call sdk.Serve()",
        spec.program.display(),
        spec.start_timeout,
    )
}

/// What the operator reads when a handshake failed.
fn explain(refusal: &Refusal, exited: Option<Exit>, spec: &PluginSpec) -> (String, bool) {
    match (refusal, exited) {
        (Refusal::Closed, Some(exit)) => (
            format!(
                "{} {exit} before shaking hands: is it a Nylon worker? A Go plugin's main must call sdk.Serve()",
                spec.program.display(),
            ),
            false,
        ),
        (refusal, _) => (refusal.to_string(), refusal.is_permanent()),
    }
}
