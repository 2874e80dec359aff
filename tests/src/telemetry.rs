//! The telemetry segment of a gateway, as `nylon top` reads it.

use std::time::Duration;

use nylon_shm::telemetry::{PluginRow, Reader};

/// The row of `plugin` of the gateway `pid`; `None` if there is none.
pub fn row(pid: u32, plugin: &str) -> Option<PluginRow> {
    let plugins = Reader::open(pid).ok()?.snapshot().ok()?.plugins;
    plugins.into_iter().find(|row| row.name.to_string() == plugin)
}

/// The row once its counters are those of now: they are stored once a second.
pub async fn settled(pid: u32, plugin: &str) -> PluginRow {
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    row(pid, plugin).unwrap_or_default()
}
