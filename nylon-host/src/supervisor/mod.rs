//! Supervisor: stands beside the data path. It spawns workers, shakes hands, hands their lanes to
//! `lane::Registry`, watches them and starts them anew.
//!
//! In: a [`PluginSpec`], orders of an operator.  Out: ready lanes in a build's registry, and out of it when their worker
//! goes.
//! Never: a request, a frame, or the meaning of either.
//!
//! For each plugin there is a `keeper`: it runs the pure state `machine`, which decides, and one `worker` task for each
//! process, which does.

mod built;
mod cage;
mod cgroup;
mod cpus;
mod crashes;
mod dump;
mod handshake;
mod journal;
mod keeper;
pub(crate) mod limits;
mod machine;
mod memory;
mod order;
mod output;
mod policy;
mod program;
mod render;
mod report;
mod said;
mod sandbox;
mod seccomp;
mod shown;
mod spawn;
mod status;
mod tail;
mod usage;
mod worker;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use crate::error::{ControlError, StartError};
use crate::lane::{Lane, Registry, WaitPolicy};
use built::Built;
use keeper::Keeper;
use policy::Policy;
use spawn::Spawner;

pub use dump::WorkerDump;
pub(crate) use journal::Of;
pub use journal::{Event, EventKind, Journal};
pub use limits::{CgroupMemory, LimitStatus, Limits};
pub(crate) use order::{Answer, Order};
pub use policy::{Backoff, Breaker, DrainStreams, Restart, Supervision};
pub use program::{NotSha256, Sha256};
pub use report::{Cause, CrashReport, ExitReport};
pub use sandbox::{Confinement, Sandbox, SandboxLevel, SandboxPart, harden};
pub(crate) use spawn::Exit;
pub use status::{PluginState, PluginStatus, WorkerState, WorkerStatus};
pub use tail::LogLine;

pub(crate) use crashes::Crashes;
pub(crate) use dump::workers;
pub(crate) use limits::Bounds;
pub(crate) use status::Board;
pub(crate) use usage::Sample;

/// A configured program: what to run, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginSpec {
    /// Its name, unique in a host.
    pub name: String,
    /// The executable. A build of the plugin opens it once: all its workers run what was there then.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables added to its environment.
    pub env: Vec<(String, String)>,
    /// Worker processes to keep, >= 1.
    pub workers: u32,
    /// Most of them, where the load decides how many; less than [`Self::workers`]: exactly so many.
    pub workers_max: u32,
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
    /// How they are kept.
    pub supervision: Supervision,
    /// Whether the host waits for it when it starts, and is not ready without it. One that is not required is started
    /// beside the others, and tried again if it fails.
    pub required: bool,
    /// Whether its RequestFilter and ResponseFilter do no harm when they are run twice for one request: then a request
    /// whose worker died in one of them is sent once more, to another worker, as long as nothing of a response has been
    /// taken from the plugin.
    pub retry: bool,
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
            workers_max: 0,
            config: Vec::new(),
            payloads: Vec::new(),
            lanes: 0,
            wait: WaitPolicy::Balanced,
            start_timeout: Duration::from_secs(5),
            sandbox: Sandbox::default(),
            sha256: None,
            limits: Limits::default(),
            crash_reports: None,
            supervision: Supervision::DEFAULT,
            required: true,
            retry: false,
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

    /// What the machine has to know of it.
    fn policy(&self) -> Policy {
        Policy {
            workers_min: self.workers,
            workers_max: self.workers_max.max(self.workers),
            start_timeout: self.start_timeout,
            keep: self.supervision,
        }
    }

    /// Whether a worker of this serves as well as one of `other`: constant payloads aside, which it is sent in full if
    /// it does not know them.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let bare = |spec: &Self| Self { payloads: Vec::new(), ..spec.clone() };
        bare(self) == bare(other)
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

/// What its lines in the log are found under, whichever file they come from.
const LOG: &str = "nylon_host::supervisor";
/// Most lanes of one worker.
pub(crate) const LANES_MAX: u32 = 8;
/// How often the counters of plugins and workers go into the telemetry segment.
pub(crate) const SHOW_EVERY: Duration = Duration::from_secs(1);

/// One plugin of a host.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) name: Arc<str>,
    pub(crate) board: Board,
    pub(crate) crashes: Crashes,
    journal: Journal,
    orders: UnboundedSender<Order>,
    /// What chains are bound to from now on; `None` before it first serves, and once it is removed.
    current: Mutex<Option<Arc<Binding>>>,
    /// Turns to take a socket over whose worker is gone: not all of them at once.
    pub(crate) resumes: Semaphore,
}

/// Sockets that look for another worker of a plugin at a time.
const RESUMES: usize = 64;

/// What a chain is bound to: the workers of one configuration of a plugin. They are drained once another serves and the
/// last chain that is bound to them is gone: a request sees one configuration, from its first phase to its last.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) spec: Arc<PluginSpec>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) bounds: Arc<Bounds>,
    /// Another serves in its place: what goes on for long is to go on there.
    pub(crate) superseded: CancellationToken,
    number: u64,
    orders: UnboundedSender<Order>,
}

impl Binding {
    /// The same without a hold on its workers: they are drained as if it were not there.
    pub(crate) fn unbound(&self) -> Arc<Self> {
        Arc::new(Self {
            spec: self.spec.clone(),
            registry: self.registry.clone(),
            bounds: self.bounds.clone(),
            superseded: self.superseded.clone(),
            // Nobody's: numbers begin with 1.
            number: 0,
            orders: self.orders.clone(),
        })
    }

    /// Whether both are to the same workers.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.registry, &other.registry)
    }

    fn built(&self) -> Built {
        let Self { spec, registry, bounds, number, .. } = self;
        let (spec, registry, bounds) = (spec.clone(), registry.clone(), bounds.clone());
        Built::new(spec, registry, bounds, *number)
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Released(self.number));
    }
}

impl Plugin {
    /// What chains are bound to.
    pub(crate) fn binding(&self) -> Option<Arc<Binding>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lanes that serve.
    pub(crate) fn lanes(&self) -> Vec<Arc<Lane>> {
        self.binding().map(|binding| binding.registry.all()).unwrap_or_default()
    }

    /// Notes what happened to it.
    fn note(&self, kind: EventKind, of: Of, detail: &str) {
        self.journal.note(&self.name, kind, of, detail);
    }

    /// Calls that wait: for a place in the plugin, or for a credit of one of its lanes.
    pub(crate) fn waiting(&self) -> u64 {
        let bound = self.binding().map(|binding| binding.bounds.admission.queue().clone());
        let lanes = self.board.metrics.living();
        // Workers of another configuration, which are drained, may have another queue.
        let mut queues: Vec<_> =
            lanes.iter().map(|lane| lane.peer.queue.clone()).chain(bound).collect();
        queues.sort_unstable_by_key(Arc::as_ptr);
        queues.dedup_by_key(|queue| Arc::as_ptr(queue));
        queues.iter().map(|queue| queue.waiting()).sum()
    }

    /// Stores its row in the telemetry segment.
    pub(crate) fn show(&self) {
        self.board.show(&self.name, &self.lanes(), self.waiting());
    }

    /// Chains are bound so from now on.
    pub(crate) fn bind(&self, binding: Option<Arc<Binding>>) {
        let old = {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, binding)
        };
        if let Some(old) = old {
            old.superseded.cancel();
        }
    }

    /// A binding for chains to come, to workers of `spec`.
    pub(crate) fn new_binding(&self, spec: PluginSpec) -> Arc<Binding> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        // Places in the plugin are counted on as long as its limits stay.
        let same = self.binding().filter(|binding| binding.spec.limits == spec.limits);
        let bounds = same.map(|binding| binding.bounds.clone());
        let bounds =
            bounds.unwrap_or_else(|| Bounds::new(&spec.limits, self.board.metrics.clone()));
        Arc::new(Binding {
            spec: Arc::new(spec),
            registry: Arc::default(),
            bounds,
            superseded: CancellationToken::new(),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            orders: self.orders.clone(),
        })
    }

    /// Sends an order that nobody waits for.
    pub(crate) fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    /// Brings workers of `binding` up; they serve once the order to commit comes.
    pub(crate) async fn prepare(&self, binding: &Binding) -> Result<u32, ControlError> {
        let built = binding.built();
        self.ask(|answer| Order::Prepare(built, answer)).await
    }

    /// Serves `binding` from now on, whether its workers start or not.
    pub(crate) fn serve(&self, binding: &Binding) {
        self.order(Order::Serve(binding.built()));
    }

    /// Sends an order and waits for what comes of it: the build that serves.
    pub(crate) async fn ask(
        &self,
        order: impl FnOnce(Answer) -> Order,
    ) -> Result<u32, ControlError> {
        let (answer, outcome) = oneshot::channel();
        self.order(order(answer));
        outcome.await.unwrap_or(Err(ControlError::Gone))
    }
}

/// Keeps the workers of all plugins of one host.
#[derive(Debug)]
pub(crate) struct Supervisor {
    spawner: Spawner,
    journal: Journal,
    keepers: tokio::task::JoinSet<()>,
}

impl Supervisor {
    /// Of no plugins yet; what happens to them is noted in `journal`.
    pub(crate) fn new(journal: Journal) -> Result<Self, StartError> {
        let spawner = Spawner::start()
            .map_err(|source| StartError::Host { what: "spawning thread", source })?;
        Ok(Self { spawner, journal, keepers: tokio::task::JoinSet::new() })
    }

    /// A plugin with a keeper, and no worker yet.
    pub(crate) fn keep(&mut self, name: &str, board: Board) -> Arc<Plugin> {
        let (orders, inbox) = unbounded_channel();
        let current = Mutex::new(None);
        let plugin = Arc::new(Plugin {
            name: name.into(),
            board,
            crashes: Crashes::default(),
            journal: self.journal.clone(),
            orders,
            current,
            resumes: Semaphore::new(RESUMES),
        });
        let keeper = Keeper::new(plugin.clone(), self.spawner.clone());
        // Those that have ended are of no more use.
        while self.keepers.try_join_next().is_some() {}
        self.keepers.spawn(keeper.run(inbox));
        plugin
    }

    /// Waits until every plugin that was told to stop has.
    pub(crate) async fn stopped(&mut self) {
        while self.keepers.join_next().await.is_some() {}
    }
}
