//! The host of the session rows: the Go worker as an ordinary plugin, once for each policy, on the gateway's own kind of
//! runtime. Deadlines, validation and counters are on: there is no way to turn them off.

use std::sync::Arc;
use std::time::Duration;

use nylon_host::{Chain, Host, Item, PluginSpec, PluginStatus, WaitPolicy};
use tokio::runtime::Runtime;

use crate::env::Env;
use crate::{Result, asleep, cpu};

/// Plugin of policy `latency`.
pub(crate) const BUSY: &str = "busy";
/// Plugin of policy `balanced`.
pub(crate) const BALANCED: &str = "balanced";

/// One host with a plugin for each policy.
pub(crate) struct Sessions {
    pub(crate) runtime: Runtime,
    host: Host,
}

impl Sessions {
    pub(crate) fn start(env: &Env) -> Result<Self> {
        Self::with(env, &[(BUSY, WaitPolicy::Latency), (BALANCED, WaitPolicy::Balanced)])
    }

    /// With these plugins alone.
    pub(crate) fn with(env: &Env, plugins: &[(&str, WaitPolicy)]) -> Result<Self> {
        let program = env.echoworker()?;
        let runtime = runtime(env)?;
        let spec = |(name, wait): &(&str, WaitPolicy)| {
            let wait = *wait;
            PluginSpec { wait, ..PluginSpec::new(*name, &program) }
        };
        let specs = plugins.iter().map(spec).collect();
        // The host starts its workers from a thread of its own, which starts here.
        let host = env.cpus.on_worker(|| runtime.block_on(Host::start(specs)));
        let host = host.map_err(|e| e.to_string())?;
        Ok(Self { runtime, host })
    }

    /// A chain with `item` as its one middleware.
    pub(crate) fn middleware(&self, item: Item) -> Result<Arc<Chain>> {
        let chain = self.host.chain().item(item).map_err(|e| e.to_string())?;
        Ok(chain.build())
    }

    /// A chain that `entry` of `plugin` answers.
    pub(crate) fn service(&self, plugin: &str, entry: &str) -> Result<Arc<Chain>> {
        let chain = self.host.chain().service(Item::new(plugin, entry));
        Ok(chain.map_err(|e| e.to_string())?.build())
    }

    pub(crate) fn status(&self, plugin: &str) -> PluginStatus {
        self.host.status(plugin).unwrap_or_default()
    }

    /// CPU time of this process and the worker of `plugin`.
    pub(crate) fn cpu(&self, plugin: &str) -> Duration {
        cpu::own() + cpu::of(self.status(plugin).pid)
    }

    /// Waits so far of this process and the worker of `plugin`.
    pub(crate) fn waits(&self, plugin: &str) -> (u64, u64) {
        (asleep::waits(std::process::id()), asleep::waits(self.status(plugin).pid))
    }

    /// Holds what the host counted since `before` to what it was asked, and to one worker throughout.
    pub(crate) fn audit(&self, plugin: &str, before: &PluginStatus, asked: u64) -> Result<()> {
        let after = self.status(plugin);
        let calls = after.calls - before.calls;
        if calls == asked && after.pid == before.pid && after.deadlines == before.deadlines {
            return Ok(());
        }
        Err(format!("{asked} requests were {calls} calls: {after:?}"))
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.runtime.block_on(self.host.stop(Duration::from_secs(2)));
    }
}

/// The gateway's kind of runtime: threads = CPUs - 1, kept off the worker's CPU.
pub(crate) fn runtime(env: &Env) -> Result<Runtime> {
    let pinned = env.cpus;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads((pinned.count - 1).max(1))
        .on_thread_start(move || pinned.pin_to_host())
        .enable_all()
        .build()
        .map_err(|e| e.to_string())
}
