//! The host: a set of plugins, kept running, and what is asked of them as a whole.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nylon_shm::telemetry::Telemetry;
use prometheus_client::registry::Registry;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use crate::error::{StartError, StartErrors};
use crate::lane::Registry as Lanes;
use crate::metrics::{HostCollector, Timings};
use crate::supervisor::{
    Board, Bounds, CrashReport, Crashes, Plugin, PluginSpec, PluginStatus, SHOW_EVERY, Supervisor,
    WorkerDump, workers,
};

/// Plugins in processes of their own, started and kept running. See the crate's documentation for an example.
///
/// Dropping a host kills its workers; [`Host::stop`] lets them run their shutdown hooks first.
#[derive(Debug)]
pub struct Host {
    plugins: Vec<Arc<Plugin>>,
    supervisor: Mutex<Supervisor>,
    tasks: TaskTracker,
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
        let refused: Vec<_> = PluginSpec::problems(&specs).collect();
        if !refused.is_empty() {
            return Err(refused.into());
        }
        let mut errors = Vec::new();
        let mut supervisor = Supervisor::new()?;
        let telemetry = telemetry();
        let plugins: Vec<_> = specs
            .into_iter()
            .map(|spec| {
                let board = Board::new(telemetry.as_ref());
                let bounds = Bounds::new(&spec.limits, board.metrics.clone());
                let (registry, crashes) = (Lanes::default(), Crashes::default());
                Arc::new(Plugin { spec, registry, board, bounds, crashes })
            })
            .collect();
        if let Some(telemetry) = &telemetry {
            let plugins = plugins.iter().map(Arc::downgrade).collect();
            tokio::spawn(show(Arc::downgrade(telemetry), plugins));
        }
        for (i, plugin) in plugins.iter().enumerate() {
            if let Err(e) = supervisor.keep(plugin).await {
                errors.push((i, e));
            }
        }
        Ok((
            Self { plugins, supervisor: Mutex::new(supervisor), tasks: TaskTracker::new() },
            errors,
        ))
    }

    /// The plugin of this name.
    pub(crate) fn plugin(&self, name: &str) -> Option<&Arc<Plugin>> {
        self.plugins.iter().find(|p| p.spec.name == name)
    }

    /// All plugins.
    pub(crate) fn all(&self) -> &[Arc<Plugin>] {
        &self.plugins
    }

    /// How the plugin of this name fares.
    pub fn status(&self, name: &str) -> Option<PluginStatus> {
        let plugin = self.plugin(name)?;
        let status = plugin.board.snapshot(&plugin.registry.all());
        Some(PluginStatus { limits: plugin.bounds.status(), ..status })
    }

    /// Reports of the last 16 workers of this plugin that ended without being asked to, oldest first. A report is there
    /// some milliseconds after the end; half a second later at most, when a child of the worker keeps its output open.
    pub fn crash_reports(&self, name: &str) -> Vec<Arc<CrashReport>> {
        self.plugin(name).map(|plugin| plugin.crashes.all()).unwrap_or_default()
    }

    /// The rings and sessions of the workers of this plugin that are in service, as they stand.
    pub fn dump(&self, name: &str) -> Vec<WorkerDump> {
        self.plugin(name).map(|plugin| workers(&plugin.registry.all())).unwrap_or_default()
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
    pub fn plugins(&self) -> impl Iterator<Item = &str> {
        self.plugins.iter().map(|p| p.spec.name.as_str())
    }

    /// What still runs for requests that are over, or whose body flows: body phases and Logging.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Waits for what is still done for requests, then stops every worker: its shutdown hooks run. Both within `grace`,
    /// but for a second that the hooks get in any case; what is still there then is killed.
    pub async fn stop(&self, grace: Duration) {
        let end = Instant::now() + grace;
        self.tasks.close();
        let _ = tokio::time::timeout(grace, self.tasks.wait()).await;
        let left = end.saturating_duration_since(Instant::now()).max(HOOKS_MIN);
        self.supervisor.lock().await.stop(left).await;
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
async fn show(telemetry: Weak<Telemetry>, plugins: Vec<Weak<Plugin>>) {
    let mut every = tokio::time::interval(SHOW_EVERY);
    loop {
        every.tick().await;
        let Some(telemetry) = telemetry.upgrade() else { return };
        for plugin in plugins.iter().filter_map(Weak::upgrade) {
            plugin.board.show(&plugin.spec, &plugin.registry.all());
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
