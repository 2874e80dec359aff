//! One worker from its start to its end: spawned, greeted, looked after, told to stop, reaped.
//!
//! In: [`WorkerOrder`]s of the keeper.  Out: [`Report`]s to it. What is to happen is the machine's to say.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use nylon_protocol::handshake::{Hello, VersionRange};
use nylon_protocol::segment::Header;
use nylon_protocol::{Geometry, wire};
use nylon_shm::{Bell, Doorbell, HostEnd, Segments, WorkerBells};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::handshake::{ControlSocket, Refusal};
use super::machine::{Build, Generation};
use super::output::{self, Output};
use super::policy::DrainStreams;
use super::program::Held;
use super::report::{Cause, Ended};
use super::shown::Shown;
use super::spawn::{Child, Exit, Process, Spawner};
use super::{
    Bounds, EventKind, LOG, Of, Plugin, PluginSpec, SHOW_EVERY, WorkerState, cpus, memory,
};
use crate::error::StartError;
use crate::lane::{Fault, Gate, Lane, Peer, Registry, Shape, WaitPolicy};
use crate::metrics::End;
use crate::readiness;

/// What Hello says of the time a worker may spin under policy `latency`, ns. It only makes the worker sleep on a futex:
/// whether and how long it spins is the gate's to say, in H.
const SPIN_NS: u32 = 20_000;
/// What a worker may take.
const OFFERED: u64 = wire::FEATURE_KNOWN;
/// How often sessions are looked for that outlive their request, in a worker that is drained.
const LEFT_EVERY: Duration = Duration::from_millis(20);

/// What is wanted of a worker.
#[derive(Debug)]
pub(super) enum WorkerOrder {
    /// It is `late`, or not wanted any more: it does not become one.
    GiveUp { late: bool },
    /// Report when no request needs it any more.
    WatchIdle,
    /// Run the shutdown hooks within so long.
    Shutdown(Duration),
    /// Dump its stacks; why it hangs, for those who read how it ended.
    Quit,
    /// End.
    Kill,
}

/// What became of a worker.
#[derive(Debug)]
pub(super) enum Report {
    /// It is ready.
    Ready(Live),
    /// It never was.
    NotStarted(StartError),
    /// It has ended, `well` with status 0.
    Ended { well: bool },
    /// A call has begun, the first since it was looked after.
    Busy,
    /// No request needs it.
    Idle,
}

/// What others need of a worker that is ready.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) pid: u32,
    pub(super) peer: Arc<Peer>,
    /// At least one.
    pub(super) lanes: Vec<Arc<Lane>>,
}

/// What a worker is started with.
pub(super) struct Job {
    pub(super) plugin: Arc<Plugin>,
    pub(super) spec: Arc<PluginSpec>,
    pub(super) program: Arc<Held>,
    /// Entries without which it is of no use.
    pub(super) needs: Arc<[String]>,
    pub(super) registry: Arc<Registry>,
    pub(super) bounds: Arc<Bounds>,
    /// What others see of it.
    pub(super) shown: Shown,
    pub(super) generation: Generation,
    pub(super) build: Build,
    pub(super) spawner: Spawner,
    pub(super) orders: UnboundedReceiver<WorkerOrder>,
    pub(super) reports: UnboundedSender<(Generation, Report)>,
}

/// A worker that is ready.
struct Worker {
    child: Child,
    /// Readable once the process has ended.
    ended: AsyncFd<OwnedFd>,
    control: ControlSocket,
    segments: Arc<Segments>,
    peer: Arc<Peer>,
    lanes: Vec<Arc<Lane>>,
    /// How many threads it runs at a time, as it says.
    threads: u32,
    /// Forwards what it prints.
    output: Output,
}

impl Job {
    /// Starts the worker and looks after it until it is gone.
    pub(super) async fn run(mut self) {
        self.shown.starting(self.generation);
        match self.start().await {
            Ok(worker) => {
                let Worker { child, peer, lanes, .. } = &worker;
                self.plugin.board.metrics.worker_ready(child.pid, lanes);
                self.shown.ready(child.pid);
                let live = Live { pid: child.pid, peer: peer.clone(), lanes: lanes.clone() };
                self.report(Report::Ready(live));
                let well = self.attend(worker).await;
                // Its row first: the next worker takes its place there, too.
                let (reports, generation) = (self.reports.clone(), self.generation);
                drop(self);
                let _ = reports.send((generation, Report::Ended { well }));
            }
            Err(e) => self.report(Report::NotStarted(e)),
        }
    }

    fn report(&self, report: Report) {
        let _ = self.reports.send((self.generation, report));
    }

    /// Looks after a worker in service until it is gone; whether it ended by itself with status 0.
    async fn attend(&mut self, worker: Worker) -> bool {
        let Worker { mut child, ended, control, segments, peer, lanes, threads, output } = worker;
        let (plugin, pid) = (self.plugin.clone(), child.pid);
        let (name, generation) = (&*plugin.name, self.generation);
        let of = Of::worker(pid, generation, self.build);
        let mut memory = memory::Watch::of(pid, &self.spec.limits, &self.bounds);
        let mut shown = tokio::time::interval(SHOW_EVERY);
        let wait_for_streams = self.spec.supervision.drain_streams == DrainStreams::Wait;
        let (mut draining, mut stopping, mut hung) = (false, false, false);
        loop {
            tokio::select! {
                _ = ended.readable() => break,
                fault = peer.faulted() => {
                    tracing::error!(target: LOG, plugin = name, worker = pid, generation, %fault, "retired");
                    plugin.note(EventKind::Killed, of, &fault.to_string());
                    break;
                }
                order = self.orders.recv() => match order {
                    Some(WorkerOrder::WatchIdle) => {
                        draining = true;
                        self.shown.set(WorkerState::Draining);
                    }
                    Some(WorkerOrder::Shutdown(grace)) => {
                        stopping = true;
                        self.shown.set(WorkerState::Stopping);
                        segments.set_state(wire::STATE_DRAINING);
                        let millis = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
                        let _ = control.shutdown(millis).await;
                    }
                    Some(WorkerOrder::Quit) => {
                        hung = true;
                        self.shown.set(WorkerState::Quitting);
                        tracing::error!(target: LOG, plugin = name, worker = pid, generation, "hangs: its stacks follow");
                        plugin.note(EventKind::Hung, of, "its stacks are in the log");
                        child.quit();
                    }
                    // Nobody keeps it any more, either.
                    Some(WorkerOrder::Kill | WorkerOrder::GiveUp { .. }) | None => {
                        plugin.note(EventKind::Killed, of, "its time to stop was over");
                        break;
                    }
                },
                over = memory.over() => peer.report(Fault::Memory(over.to_string())),
                () = peer.busy() => self.report(Report::Busy),
                () = drained(&peer, &lanes, wait_for_streams), if draining => {
                    draining = false;
                    self.report(Report::Idle);
                }
                _ = shown.tick() => self.shown.show(&lanes),
                () = lanes[0].recount() => {
                    let cpus = cpus::Limits::read().count(pid, threads);
                    lanes.iter().for_each(|lane| lane.cpus(Instant::now(), cpus));
                }
            }
        }
        self.registry.forget(&lanes);
        child.kill();
        let exit = reap(&mut child, &ended).await;
        if hung {
            peer.report(Fault::Hung);
        }
        if !stopping {
            let (spec, since, rss) = (&self.spec, peer.since, memory.last());
            let (exit, cause) = (&exit, peer.fault().into());
            let ended = Ended { spec, generation, pid, since, exit, cause, rss };
            ended.report(&plugin, &lanes, &output);
        }
        segments.set_state(wire::STATE_CLOSED);
        let board = &plugin.board;
        if let Some(Fault::Violation(what)) = peer.fault() {
            board.violation(what);
        }
        // What it had published counts, on every lane, before the first call fails.
        lanes.iter().for_each(|lane| lane.take_last());
        board.metrics.worker_gone(pid);
        let well = matches!(exit, Ok(Exit::Status(0)));
        let end = End::of(peer.fault(), exit.as_ref().ok());
        let kind = match exit {
            _ if stopping => EventKind::Stopped,
            Ok(Exit::Status(_)) => EventKind::Exited,
            _ => EventKind::Crashed,
        };
        let how = exit.map_or_else(|e| e.to_string(), |e| memory.explain(e, peer.fault()));
        let how = if hung { format!("hung; {how}") } else { how };
        plugin.note(kind, of, &how);
        if stopping {
            tracing::info!(target: LOG, plugin = name, worker = pid, generation, %how, "stopped");
            peer.report(Fault::Stopped);
        } else {
            tracing::warn!(target: LOG, plugin = name, worker = pid, generation, %how, "worker ended");
            board.metrics.ended(end);
            board.crashed(&how);
            self.shown.ended(&how);
            peer.report(Fault::Died(how));
        }
        lanes.iter().for_each(|lane| lane.die());
        well
    }

    /// Spawns a worker, shakes hands and opens its lanes, until an order says that it is late. A process takes a while to
    /// get to its main: what the host can do without it is done meanwhile.
    async fn start(&mut self) -> Result<Worker, StartError> {
        let Self {
            plugin, spec, program, needs, bounds, generation, build, spawner, orders, ..
        } = self;
        let (spec, generation) = (&**spec, *generation);
        let spawned = spawner.spawn(spec.clone(), program.clone());
        let host = |what| move |source: io::Error| StartError::Host { what, source };
        let epoch =
            u64::from_le_bytes(*uuid::Uuid::new_v4().as_bytes().first_chunk().unwrap_or(&[1; 8]))
                | 1;
        let features = OFFERED;
        let arena = spec.limits.arena;
        let geometry = Geometry { lanes: spec.lanes_or_default(), arena, ..Geometry::default() };
        let header = Header { geometry, epoch, abi_minor: wire::ABI_MINOR, features };
        let (segments, fds) =
            Segments::create(header).map_err(|e| host("shared memory")(io::Error::other(e)))?;
        let bells = (|| Ok([Bell::new()?, Bell::new()?, Bell::new()?]))();
        let [host_bell, worker_bell, rescue_bell] = bells.map_err(host("eventfd"))?;

        let process = spawned.await.map_err(|e| e.of(spec))?;
        let Process { mut child, control, stdout, stderr, confinement } = process;
        let (pid, since) = (child.pid, (Instant::now(), SystemTime::now()));
        if confinement.missing().next().is_some() {
            tracing::warn!(target: LOG, plugin = %spec.name, pid, sandbox = %confinement, "confined less than asked for");
        }
        plugin.board.confined(confinement);
        plugin.note(EventKind::Started, Of::worker(pid, generation, *build), "");
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
            if let Some(lacks) = needs.iter().find(|need| !ok.entries.contains(need)) {
                return Err(Refusal::Lacks(lacks.clone()));
            }
            Ok::<_, Refusal>((ok, minor, limits))
        };
        let mut late = false;
        let shaken = tokio::select! {
            biased;
            shaken = shaken => Some(shaken),
            // A child it left behind may hold its socket open.
            _ = ended.readable() => Some(Err(Refusal::Closed)),
            order = orders.recv() => {
                late = matches!(order, Some(WorkerOrder::GiveUp { late: true }));
                None
            }
        };
        let (ok, minor, limits) = match shaken {
            Some(Ok(done)) => done,
            failed => {
                // A worker that closed its socket is about to exit; what it exits with is the better message.
                let ended_itself =
                    tokio::time::timeout(Duration::from_millis(500), ended.readable())
                        .await
                        .is_ok();
                // Also when it has ended: what it forked is still there.
                child.kill();
                let exit = reap(&mut child, &ended).await;
                let exited = exit.as_ref().ok().copied().filter(|_| ended_itself);
                let itself = exited.is_some() && matches!(failed, Some(Err(Refusal::Closed)));
                let unwanted = failed.is_none() && !late;
                let (why, permanent) = match failed {
                    Some(Err(refusal)) => explain(&refusal, exited, spec),
                    _ if late => (no_answer(spec), false),
                    _ => ("it was not wanted any more before it was ready".into(), false),
                };
                if !unwanted {
                    let cause =
                        if itself { Cause::NotTheHost } else { Cause::NotReady(why.clone()) };
                    let (exit, rss) = (&exit, None);
                    let ended = Ended { spec, generation, pid, since, exit, cause, rss };
                    ended.report(plugin, &[], &output);
                }
                return Err(StartError::Handshake { plugin: spec.name.clone(), why, permanent });
            }
        };
        segments.set_state(wire::STATE_READY);
        let kind =
            if ok.doorbell == wire::DOORBELL_EVENTFD { Doorbell::Eventfd } else { Doorbell::Futex };
        plugin.board.introduced(&ok.sdk, &ok.entries);
        let queue = bounds.admission.queue().clone();
        let times = plugin.board.metrics.calls.recorder();
        let who = (name, pid, generation);
        let peer = Arc::new(Peer::new(who, &ok.entries, minor, ok.features, queue, times));
        let calls = ok.features & wire::FEATURE_HOST_CALLS != 0;
        let timed = ok.features & wire::FEATURE_HANDLER_TIME != 0;
        let converses = ok.features & wire::FEATURE_WEBSOCKET != 0;
        let open = |index| {
            // Each lane has descriptors of its own: an edge of a bell reaches all of them.
            let bells = WorkerBells {
                kind,
                bell: Bell::from_fd(worker_bell.try_clone()?),
                rescue: Bell::from_fd(rescue_bell.try_clone()?),
            };
            let end = HostEnd::new(&segments, index, calls, bells)
                .handler_time(timed)
                .websocket(converses);
            let Geometry { slots, lanes, .. } = geometry;
            let shape = Shape { slots, window: hello.window, index, lanes };
            // The worker has one word for how long it spins: several lanes would have it spin on all of them.
            let wait = if lanes == 1 { spec.wait } else { WaitPolicy::Cpu };
            let gate = Gate::new(wait, limits.count(pid, ok.cpus));
            Lane::open(peer.clone(), end, host_bell.try_clone()?, shape, gate)
        };
        let lanes =
            (0..geometry.lanes).map(open).collect::<io::Result<_>>().map_err(host("lane"))?;
        Ok(Worker { child, ended, control, segments, peer, lanes, threads: ok.cpus, output })
    }
}

/// Waits until no request needs the worker behind `lanes`, which are out of service.
async fn drained(peer: &Peer, lanes: &[Arc<Lane>], wait_for_streams: bool) {
    peer.pins.drained(wait_for_streams).await;
    // A session may outlive its request by a moment: the task of a request's body has it as well.
    while wait_for_streams && lanes.iter().any(|lane| lane.sessions() > 0) {
        tokio::time::sleep(LEFT_EVERY).await;
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
