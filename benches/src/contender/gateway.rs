//! The gateway with routes for every row, and the rows' calls on it.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::load::{ANSWER, Load, Target};
use super::nylon::{Nylon, write};
use super::upstream;
use crate::Result;
use crate::case::{Case, Round, Taken};
use crate::env::Env;

/// Plugins of the gateway; a route has the first few of them.
pub(crate) const PLUGINS: usize = 3;
/// How long it may take to serve.
const READY: Duration = Duration::from_secs(20);

/// A running gateway.
pub(crate) struct Gateway {
    nylon: Nylon,
    /// The load's.
    runtime: Runtime,
    /// Requests a second without a plugin, by service, once measured.
    peaks: [Cell<f64>; 2],
}

/// What answers behind the plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// A file of 100 bytes.
    Static,
    /// An upstream that answers 100 bytes.
    Proxy,
}

impl Service {
    pub(crate) fn name(self) -> &'static str {
        if self == Self::Static { "static" } else { "proxy" }
    }
}

impl Gateway {
    /// Starts one and waits until it serves.
    pub(crate) fn start(env: &Env) -> Result<Rc<Self>> {
        let nylon = Nylon::start(env, |dir| site(env, upstream::start()?, dir))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| e.to_string())?;
        let gateway = Self { nylon, runtime, peaks: [Cell::new(0.0), Cell::new(0.0)] };
        gateway.ready()?;
        Ok(Rc::new(gateway))
    }

    fn ready(&self) -> Result<()> {
        let began = Instant::now();
        for service in [Service::Static, Service::Proxy] {
            let target = self.target(service, PLUGINS);
            while let Err(why) = self.runtime.block_on(target.once()) {
                if began.elapsed() > READY {
                    let log = self.nylon.log();
                    return Err(format!("the gateway does not serve: {why}\n{log}"));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(())
    }

    fn target(&self, service: Service, plugins: usize) -> Target {
        let path = match service {
            Service::Static => format!("/static-{plugins}/answer"),
            Service::Proxy => format!("/proxy-{plugins}"),
        };
        Target { addr: self.nylon.addr, path, plugins }
    }
}

/// Both services, each behind none, one and all of the plugins.
fn site(env: &Env, upstream: SocketAddr, dir: &Path) -> Result<Value> {
    let files = dir.join("files");
    fs::create_dir_all(&files).map_err(|e| e.to_string())?;
    write(&files.join("answer"), ANSWER)?;
    let worker = env.echoworker()?;
    let plugins: Vec<_> = (1..=PLUGINS)
        .map(|i| {
            let config = json!({"stamp": format!("x-bench-{i}")});
            json!({"name": format!("p{i}"), "type": "process", "file": worker, "config": config})
        })
        .collect();
    let endpoint = json!({"ip": upstream.ip().to_string(), "port": upstream.port()});
    let services = json!([
        {"name": "static", "service_type": "static", "static": {"root": files}},
        {"name": "proxy", "service_type": "http", "algorithm": "round_robin", "endpoints": [endpoint]},
    ]);
    let mut paths = Vec::new();
    for n in 0..=PLUGINS {
        let filters: Vec<_> =
            (1..=n).map(|i| json!({"plugin": format!("p{i}"), "entry": "filters"})).collect();
        let strip = format!("/static-{n}");
        paths.push(json!({"path": format!("{strip}/{{*rest}}"), "middleware": filters,
            "service": {"name": "static", "rewrite": strip}}));
        paths.push(json!({"path": format!("/proxy-{n}"), "middleware": filters,
            "service": {"name": "proxy"}}));
    }
    let route =
        json!({"route": {"type": "host", "value": "127.0.0.1"}, "name": "bench", "paths": paths});
    Ok(json!({"plugins": plugins, "services": services, "routes": [route]}))
}

/// Requests of one route.
pub(crate) struct Requests {
    gateway: Rc<Gateway>,
    target: Target,
    connections: usize,
    /// Requests a second on a schedule; none: each connection sends its next when the last is answered.
    pace: Option<f64>,
}

impl Requests {
    /// As many as get an answer.
    pub(crate) fn saturating(
        gateway: Rc<Gateway>,
        service: Service,
        plugins: usize,
        connections: usize,
    ) -> Self {
        let target = gateway.target(service, plugins);
        Self { gateway, target, connections, pace: None }
    }

    /// Half of what the gateway answers without a plugin, on a schedule. The maximum is measured once, for `time`.
    pub(crate) fn at_half(
        gateway: Rc<Gateway>,
        service: Service,
        plugins: usize,
        time: Duration,
    ) -> Result<Self> {
        let peak = &gateway.peaks[usize::from(service == Service::Proxy)];
        if peak.get() == 0.0 {
            let bare = gateway.target(service, 0);
            let load = gateway.runtime.block_on(bare.closed(PEAK_CONNECTIONS, time))?;
            peak.set(rate(&load));
        }
        let pace = Some(peak.get() / 2.0);
        let target = gateway.target(service, plugins);
        Ok(Self { gateway, target, connections: PEAK_CONNECTIONS, pace })
    }
}

/// Connections of the maximum the schedule is half of.
const PEAK_CONNECTIONS: usize = 64;

impl Case for Requests {
    fn round(&mut self, round: &Round) -> Result<Taken> {
        let Self { gateway, target, connections, pace } = self;
        let load = match pace {
            Some(pace) => {
                gateway.runtime.block_on(target.open(*connections, *pace, round.limit))?
            }
            None => gateway.runtime.block_on(target.closed(*connections, round.limit))?,
        };
        // Each connection's first request is not in the samples.
        let calls = (load.samples.len() + *connections) as u64;
        let rate = rate(&load);
        Ok(Taken { samples: load.samples, calls, rate, spoilt: None })
    }

    fn cpu(&self) -> Duration {
        self.gateway.nylon.cpu()
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
fn rate(load: &Load) -> f64 {
    load.samples.len() as f64 / load.seconds
}
