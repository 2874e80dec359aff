//! Supervisor: stands beside the data path. It spawns workers, shakes hands, hands their lanes to
//! `lane::Registry`, watches them and starts them anew.
//!
//! In: a [`PluginSpec`], orders of an operator.  Out: ready lanes in a build's registry, and out of it when their worker
//! goes.
//! Never: a request, a frame, or the meaning of either.
//!
//! For each plugin there is a `keeper`: it runs the pure state `machine`, which decides, and one `worker` task for each
//! process, which does.

mod cpus;
mod handshake;
mod keeper;
mod machine;
mod output;
mod policy;
mod spawn;
mod status;
mod worker;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::error::{ControlError, StartError};
use crate::lane::{Registry, WaitPolicy};
use keeper::Keeper;
use policy::Policy;
use spawn::Spawner;

pub(crate) use keeper::{Answer, Order};
pub use policy::{Backoff, Breaker, DrainStreams, Restart, Supervision};
pub(crate) use status::Board;
pub use status::{PluginState, PluginStatus, WorkerState, WorkerStatus};

/// A configured program: what to run, and how.
#[derive(Clone, Debug, PartialEq)]
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
    /// How they are kept.
    pub supervision: Supervision,
    /// Whether the host waits for it when it starts, and is not ready without it. One that is not required is started
    /// beside the others, and tried again if it fails.
    pub required: bool,
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
            supervision: Supervision::DEFAULT,
            required: true,
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
                return None;
            };
            Some(StartError::Spec { plugin: spec.name.clone(), why })
        })
    }
}

/// Most lanes of one worker.
pub(crate) const LANES_MAX: u32 = 8;

/// One plugin of a host.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) name: Arc<str>,
    pub(crate) board: Board,
    orders: UnboundedSender<Order>,
    /// What chains are bound to from now on; `None` before it first serves, and once it is removed.
    current: Mutex<Option<Arc<Binding>>>,
}

/// What a chain is bound to: the workers of one configuration of a plugin. They are drained once another serves and the
/// last chain that is bound to them is gone: a request sees one configuration, from its first phase to its last.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) spec: Arc<PluginSpec>,
    pub(crate) registry: Arc<Registry>,
    number: u64,
    orders: UnboundedSender<Order>,
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

    /// Chains are bound so from now on.
    pub(crate) fn bind(&self, binding: Option<Arc<Binding>>) {
        let old = {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, binding)
        };
        drop(old);
    }

    /// A binding for chains to come, to workers of `spec`.
    pub(crate) fn new_binding(&self, spec: PluginSpec) -> Arc<Binding> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        Arc::new(Binding {
            spec: Arc::new(spec),
            registry: Arc::default(),
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
        let (spec, registry) = (binding.spec.clone(), binding.registry.clone());
        let binding = binding.number;
        self.ask(|answer| Order::Prepare { spec, registry, binding, answer }).await
    }

    /// Serves `binding` from now on, whether its workers start or not.
    pub(crate) fn serve(&self, binding: &Binding) {
        let (spec, registry) = (binding.spec.clone(), binding.registry.clone());
        self.order(Order::Serve { spec, registry, binding: binding.number });
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
    keepers: tokio::task::JoinSet<()>,
}

impl Supervisor {
    pub(crate) fn new() -> Result<Self, StartError> {
        let spawner = Spawner::start()
            .map_err(|source| StartError::Host { what: "spawning thread", source })?;
        Ok(Self { spawner, keepers: tokio::task::JoinSet::new() })
    }

    /// A plugin with a keeper, and no worker yet.
    pub(crate) fn keep(&mut self, name: &str, board: Board) -> Arc<Plugin> {
        let (orders, inbox) = unbounded_channel();
        let current = Mutex::new(None);
        let plugin = Arc::new(Plugin { name: name.into(), board, orders, current });
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
