//! The host: a set of plugins, kept running, and what is asked of them as a whole.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use nylon_shm::telemetry::Telemetry;
use prometheus_client::registry::Registry;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::dispatch::Sockets;
use crate::error::{ControlError, StartError, StartErrors};
use crate::metrics::{HostCollector, Timings};
use crate::rooms::{Hub, Limits};
use crate::supervisor::{
    Answer, Binding, Board, CrashReport, Journal, Order, Plugin, PluginSpec, PluginStatus,
    SHOW_EVERY, Supervisor, WorkerDump, workers,
};

/// Plugins in processes of their own, started and kept running. See the crate's documentation for an example.
///
/// Dropping a host kills its workers; [`Host::stop`] lets them run their shutdown hooks first.
#[derive(Debug)]
pub struct Host {
    plugins: Roster,
    supervisor: Mutex<Supervisor>,
    events: Journal,
    telemetry: Option<Arc<Telemetry>>,
    tasks: TaskTracker,
    sockets: Sockets,
}

/// The plugins of a host, in the order they were given: a reload changes them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster(Arc<RwLock<Vec<Arc<Plugin>>>>);

impl Roster {
    /// Those there are now.
    pub(crate) fn all(&self) -> Vec<Arc<Plugin>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, plugins: Vec<Arc<Plugin>>) -> Vec<Arc<Plugin>> {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *all, plugins)
    }
}

/// Plugins as they are to be: those that changed, and new ones, are ready beside what serves. Dropped, all is as it was.
#[derive(Debug)]
pub(crate) struct Prepared<'h> {
    host: &'h Host,
    planned: Vec<Planned>,
    committed: bool,
}

#[derive(Debug)]
struct Planned {
    plugin: Arc<Plugin>,
    binding: Arc<Binding>,
    part: Part,
}

/// What a plugin of a plan needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Nothing: it is as it was.
    Kept,
    /// Its workers are held until the plan is carried out.
    Changed,
    /// Likewise, and there was no plugin of that name.
    New,
    /// It is kept running from the start, ready or not.
    Optional,
    /// It did not start.
    Failed,
}

impl Host {
    /// Starts every plugin and waits until all are ready. Call it inside a tokio runtime; the host's tasks run there.
    ///
    /// # Errors
    /// All plugins that could not be started. The others are stopped again. Two plugins of one name, or one without
    /// workers, are refused before anything is started.
    pub async fn start(specs: Vec<PluginSpec>) -> Result<Self, StartErrors> {
        let (host, errors) = Self::start_lenient(specs).await?;
        if errors.is_empty() {
            return Ok(host);
        }
        host.stop(Duration::from_secs(5)).await;
        Err(errors.into_iter().map(|(_, e)| e).collect::<Vec<_>>().into())
    }

    /// Starts every plugin and goes on with those that are ready. The others are named, by index and reason, and
    /// answer 503 to everything.
    ///
    /// # Errors
    /// Specifications that [`Host::start`] refuses as well, or the host itself lacks something.
    pub async fn start_lenient(
        specs: Vec<PluginSpec>,
    ) -> Result<(Self, Vec<(usize, StartError)>), StartErrors> {
        let host = Self::with_rooms(Hub::memory(Limits::default()), false)?;
        let (prepared, errors) = host.prepare(specs).await?;
        prepared.commit();
        Ok((host, errors))
    }

    /// A host without a plugin yet, whose rooms are those of `hub`, `per_plugin` or for all.
    ///
    /// # Errors
    /// The host itself lacks something.
    pub(crate) fn with_rooms(hub: Arc<Hub>, per_plugin: bool) -> Result<Self, StartErrors> {
        let telemetry = telemetry();
        let events = Journal::default();
        let supervisor = Mutex::new(Supervisor::new(events.clone())?);
        let (plugins, tasks) = (Roster::default(), TaskTracker::new());
        if let Some(telemetry) = &telemetry {
            tokio::spawn(show(Arc::downgrade(telemetry), Arc::downgrade(&plugins.0)));
        }
        let sockets = Sockets { hub, per_plugin, leaving: CancellationToken::new() };
        Ok(Self { plugins, supervisor, events, telemetry, tasks, sockets })
    }

    /// Brings up what `specs` ask for beside what serves now, and names those that did not start.
    ///
    /// # Errors
    /// Specifications that no host can run.
    pub(crate) async fn prepare(
        &self,
        specs: Vec<PluginSpec>,
    ) -> Result<(Prepared<'_>, Vec<(usize, StartError)>), StartErrors> {
        let refused: Vec<_> = PluginSpec::problems(&specs).collect();
        if !refused.is_empty() {
            return Err(refused.into());
        }
        let mut prepared = Prepared { host: self, planned: Vec::new(), committed: false };
        for spec in specs {
            let planned = self.plan(spec).await;
            prepared.planned.push(planned);
        }
        let outcomes = join_all(prepared.planned.iter().map(Planned::bring_up)).await;
        let mut errors = Vec::new();
        for (index, outcome) in outcomes.into_iter().enumerate() {
            if let Err(error) = outcome {
                prepared.planned[index].part = Part::Failed;
                errors.push((index, error));
            }
        }
        Ok((prepared, errors))
    }

    async fn plan(&self, spec: PluginSpec) -> Planned {
        if let Some(plugin) = self.plugin(&spec.name) {
            return match plugin.binding() {
                Some(binding) if binding.spec.is_same(&spec) => {
                    Planned { plugin, binding, part: Part::Kept }
                }
                _ => {
                    let binding = plugin.new_binding(spec);
                    Planned { plugin, binding, part: Part::Changed }
                }
            };
        }
        let board = Board::new(self.telemetry.as_ref());
        let plugin = self.supervisor.lock().await.keep(&spec.name, board);
        let part = if spec.required { Part::New } else { Part::Optional };
        let binding = plugin.new_binding(spec);
        Planned { plugin, binding, part }
    }

    /// The plugin of this name.
    pub(crate) fn plugin(&self, name: &str) -> Option<Arc<Plugin>> {
        self.plugins.all().into_iter().find(|p| &*p.name == name)
    }

    /// All plugins and what chains are bound to.
    pub(crate) fn bound(&self) -> Vec<(Arc<Plugin>, Arc<Binding>)> {
        let bound = |plugin: Arc<Plugin>| {
            let binding = plugin.binding()?;
            Some((plugin, binding))
        };
        self.plugins.all().into_iter().filter_map(bound).collect()
    }

    /// The plugins, as they come and go.
    pub(crate) fn roster(&self) -> Roster {
        self.plugins.clone()
    }

    /// How the plugin of this name fares.
    pub fn status(&self, name: &str) -> Option<PluginStatus> {
        let plugin = self.plugin(name)?;
        let limits = plugin.binding().map(|binding| binding.bounds.status()).unwrap_or_default();
        Some(PluginStatus { limits, ..plugin.board.snapshot(&plugin.lanes()) })
    }

    /// Reports of the last 16 workers of this plugin that ended without being asked to, oldest first. A report is there
    /// some milliseconds after the end; half a second later at most, when a child of the worker keeps its output open.
    pub fn crash_reports(&self, name: &str) -> Vec<Arc<CrashReport>> {
        self.plugin(name).map(|plugin| plugin.crashes.all()).unwrap_or_default()
    }

    /// What happened to the plugins since the host was started, the last 1 000 events; to be read and to be followed.
    pub fn events(&self) -> &Journal {
        &self.events
    }

    /// The rings and sessions of the workers of this plugin that are in service, as they stand.
    pub fn dump(&self, name: &str) -> Vec<WorkerDump> {
        self.plugin(name).map(|plugin| workers(&plugin.lanes())).unwrap_or_default()
    }

    /// How long the calls of the plugin of this name took so far.
    pub fn timings(&self, name: &str) -> Option<Timings> {
        self.plugin(name).map(|plugin| plugin.board.metrics.calls.timings())
    }

    /// Has `registry` tell of the host's plugins at each scrape; docs/operations.md explains every metric.
    ///
    /// ```
    /// # async fn metrics(host: &nylon_host::Host) -> Result<String, std::fmt::Error> {
    /// let mut registry = prometheus_client::registry::Registry::default();
    /// host.register_metrics(&mut registry);
    /// let mut text = String::new();
    /// prometheus_client::encoding::text::encode(&mut text, &registry)?;
    /// # Ok(text)
    /// # }
    /// ```
    pub fn register_metrics(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(HostCollector { plugins: self.plugins.clone() }));
    }

    /// Names of the plugins, in the order they were given.
    pub fn plugins(&self) -> Vec<String> {
        self.plugins.all().iter().map(|p| p.name.to_string()).collect()
    }

    /// Starts the workers of `plugin` anew: beside those that serve, which are drained once the new ones are ready. One
    /// that failed, or is drained, is started as if nothing had happened. They run the very program that serves, whatever
    /// is at its path by now: [`Self::upgrade`] takes that. Only where no worker of it has ever been ready is it looked for
    /// again, and a script is what its interpreter finds.
    ///
    /// # Errors
    /// [`ControlError`]; what served goes on.
    pub async fn restart(&self, plugin: &str) -> Result<u32, ControlError> {
        self.ask(plugin, Order::Restart).await
    }

    /// Brings another `program` into service, or the file at the same path as it is now: its workers are started and shake hands,
    /// then they take over in one step, and the old ones are drained. Returns the number of the build.
    ///
    /// # Errors
    /// [`ControlError`]; what served goes on, and the new program never got a request.
    pub async fn upgrade(
        &self,
        plugin: &str,
        program: Option<PathBuf>,
    ) -> Result<u32, ControlError> {
        self.ask(plugin, |answer| Order::Upgrade(program, answer)).await
    }

    /// Takes the last upgrade back: what served before it serves again, byte for byte, whatever became of its file. Rolled
    /// back twice, all is as before.
    ///
    /// # Errors
    /// [`ControlError`]; what served goes on.
    pub async fn rollback(&self, plugin: &str) -> Result<u32, ControlError> {
        self.ask(plugin, Order::Rollback).await
    }

    /// Takes a plugin out of service: new requests that need it fail by their policy, those in flight go on.
    ///
    /// # Errors
    /// [`ControlError::UnknownPlugin`], [`ControlError::Gone`].
    pub async fn pause(&self, plugin: &str) -> Result<u32, ControlError> {
        self.ask(plugin, Order::Pause).await
    }

    /// Puts a paused or drained plugin back into service.
    ///
    /// # Errors
    /// [`ControlError::UnknownPlugin`], [`ControlError::Gone`].
    pub async fn resume(&self, plugin: &str) -> Result<u32, ControlError> {
        self.ask(plugin, Order::Resume).await
    }

    /// As [`Self::pause`], and the workers stop once the requests in flight are done. Resolves when they have.
    ///
    /// # Errors
    /// [`ControlError::UnknownPlugin`], [`ControlError::Gone`].
    pub async fn drain(&self, plugin: &str) -> Result<u32, ControlError> {
        self.ask(plugin, Order::Drain).await
    }

    async fn ask(
        &self,
        plugin: &str,
        order: impl FnOnce(Answer) -> Order,
    ) -> Result<u32, ControlError> {
        let plugin =
            self.plugin(plugin).ok_or_else(|| ControlError::UnknownPlugin(plugin.to_owned()))?;
        plugin.ask(order).await
    }

    /// What the WebSockets of its plugins share.
    pub(crate) fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// What still runs for requests that are over, or whose body flows: body phases and Logging.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Has every WebSocket closed: clients are to go elsewhere.
    pub(crate) fn leave(&self) {
        self.sockets.leaving.cancel();
    }

    /// Closes the WebSockets (1001), waits for what is still done for requests, then stops every worker: its shutdown hooks run. Both within `grace`,
    /// but for a second that the hooks get in any case; what is still there then is killed.
    pub async fn stop(&self, grace: Duration) {
        let end = Instant::now() + grace;
        self.leave();
        self.tasks.close();
        let _ = tokio::time::timeout(grace, self.tasks.wait()).await;
        let left = end.saturating_duration_since(Instant::now()).max(HOOKS_MIN);
        self.plugins.all().iter().for_each(|plugin| plugin.order(Order::Stop(Some(left))));
        self.supervisor.lock().await.stopped().await;
    }
}

impl Planned {
    async fn bring_up(&self) -> Result<(), StartError> {
        match self.part {
            Part::Kept | Part::Failed => Ok(()),
            Part::Optional => {
                self.plugin.serve(&self.binding);
                Ok(())
            }
            Part::Changed | Part::New => match self.plugin.prepare(&self.binding).await {
                Ok(_) => Ok(()),
                Err(ControlError::NotStarted(error)) => Err(error),
                Err(why) => Err(StartError::Refused {
                    plugin: self.plugin.name.to_string(),
                    why: why.to_string(),
                }),
            },
        }
    }
}

impl Prepared<'_> {
    /// What chains are to be bound to.
    pub(crate) fn bound(&self) -> Vec<(Arc<Plugin>, Arc<Binding>)> {
        self.planned.iter().map(|p| (p.plugin.clone(), p.binding.clone())).collect()
    }

    /// How a plugin of the plan fares, and what it registered if it has ever been ready.
    pub(crate) fn status(&self, name: &str) -> Option<PluginStatus> {
        let planned = self.planned.iter().find(|p| &*p.plugin.name == name)?;
        Some(planned.plugin.board.snapshot(&planned.binding.registry.all()))
    }

    /// Chains to come are bound so; what is not in the plan goes when its requests are done.
    pub(crate) fn commit(mut self) {
        self.committed = true;
        for Planned { plugin, binding, part } in &self.planned {
            if matches!(part, Part::Changed | Part::New) {
                plugin.order(Order::Commit);
            }
            if *part != Part::Kept {
                plugin.bind(Some(binding.clone()));
            }
        }
        let all: Vec<_> = self.planned.iter().map(|p| p.plugin.clone()).collect();
        let old = self.host.plugins.replace(all.clone());
        // Who reads the segment finds every plugin from its begin.
        all.iter().for_each(|plugin| plugin.show());
        for plugin in old.iter().filter(|old| !all.iter().any(|p| Arc::ptr_eq(p, old))) {
            plugin.order(Order::Stop(None));
            plugin.bind(None);
        }
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        for Planned { plugin, part, .. } in &self.planned {
            match part {
                Part::Changed => plugin.order(Order::Abandon),
                _ if self.host.plugin(&plugin.name).is_some() => {}
                _ => plugin.order(Order::Stop(Some(HOOKS_MIN))),
            }
        }
    }
}

/// What shutdown hooks get when the requests in flight took all the time.
const HOOKS_MIN: Duration = Duration::from_secs(1);

/// The telemetry segment; a host runs without one where none can be made.
fn telemetry() -> Option<Arc<Telemetry>> {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    match Telemetry::create(millis(now), millis(SHOW_EVERY), env!("CARGO_PKG_VERSION")) {
        Ok(telemetry) => Some(Arc::new(telemetry)),
        Err(e) => {
            tracing::warn!(error = %e, "no telemetry segment");
            None
        }
    }
}

/// Stores the plugins' rows and that the host is alive, until it is dropped.
async fn show(telemetry: Weak<Telemetry>, plugins: Weak<RwLock<Vec<Arc<Plugin>>>>) {
    let mut every = tokio::time::interval(SHOW_EVERY);
    loop {
        every.tick().await;
        let (Some(telemetry), Some(plugins)) = (telemetry.upgrade(), plugins.upgrade()) else {
            return;
        };
        for plugin in Roster(plugins).all() {
            plugin.show();
        }
        telemetry.beat();
    }
}

#[cfg(test)]
mod tests {
    use super::{Host, PluginSpec, StartErrors};

    async fn start(specs: Vec<PluginSpec>) -> Result<Host, Box<dyn std::error::Error>> {
        Ok(Host::start(specs).await?)
    }

    #[tokio::test]
    async fn a_name_given_twice_and_no_workers_are_refused() {
        let spec = |name| PluginSpec::new(name, "/not/there");
        let idle = PluginSpec { workers: 0, ..spec("idle") };
        let error = start(vec![spec("a"), spec("b"), spec("a"), idle]).await.unwrap_err();
        let lines =
            "plugin `a`: another plugin has this name\nplugin `idle`: it needs at least one worker";
        assert_eq!(error.to_string(), lines);
        let errors = error.downcast::<StartErrors>().unwrap();
        assert!(errors.as_slice().iter().all(|error| error.is_permanent()));
        assert_eq!(errors.into_iter().count(), 2);
    }
}
