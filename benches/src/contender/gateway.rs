//! The gateway as a program, with routes for every row, and the rows' calls on it.

use std::cell::Cell;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::runtime::Runtime;

use super::load::{ANSWER, Load, Target};
use super::upstream;
use crate::case::{Case, Round, Taken};
use crate::env::Env;
use crate::{Result, cpu};

/// Plugins of the gateway; a route has the first few of them.
pub(crate) const PLUGINS: usize = 3;
/// How long it may take to serve.
const READY: Duration = Duration::from_secs(20);

/// A running gateway. Nothing of it is pinned.
pub(crate) struct Gateway {
    child: Child,
    addr: SocketAddr,
    dir: PathBuf,
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
        env.cpus.unpin();
        let addr = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr());
        let addr = addr.map_err(|e| e.to_string())?;
        let dir = std::env::temp_dir().join(format!("nylon-bench-{}", std::process::id()));
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&dir)).map_err(|e| e.to_string())?;
            fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
        };
        write("files/answer", ANSWER)?;
        let sites = dir.join("conf.d");
        let runtime = json!({"http": [addr.to_string()], "config_dir": sites});
        write("nylon.yaml", &format!("{runtime:#}\n"))?;
        write("conf.d/site.yaml", &format!("{:#}\n", site(env, upstream::start()?, &dir)?))?;
        let log = File::create(dir.join("log")).map_err(|e| e.to_string())?;
        let child = Command::new(program()?)
            .args(["run", "-c"])
            .arg(dir.join("nylon.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|e| format!("cannot start the gateway: {e}"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| e.to_string())?;
        let gateway = Self { child, addr, dir, runtime, peaks: [Cell::new(0.0), Cell::new(0.0)] };
        gateway.ready()?;
        Ok(Rc::new(gateway))
    }

    fn ready(&self) -> Result<()> {
        let began = Instant::now();
        for service in [Service::Static, Service::Proxy] {
            let target = self.target(service, PLUGINS);
            while let Err(why) = self.runtime.block_on(target.once()) {
                if began.elapsed() > READY {
                    let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
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
        Target { addr: self.addr, path, plugins }
    }

    /// CPU time of the gateway and its workers.
    fn cpu(&self) -> Duration {
        let pid = self.child.id();
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let children = tasks.filter_map(|t| fs::read_to_string(t.path().join("children")).ok());
        let all: String = children.collect::<Vec<_>>().join(" ");
        let workers = all.split_whitespace().filter_map(|pid| pid.parse().ok());
        cpu::of(pid) + workers.map(cpu::of).sum::<Duration>()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Its workers end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The program `nylon`: named by whoever built it, or beside this one.
fn program() -> Result<PathBuf> {
    let beside = std::env::current_exe().map(|itself| itself.with_file_name("nylon"));
    let program = std::env::var_os("NYLON_BIN").map(PathBuf::from).or(beside.ok());
    let program = program.filter(|p| p.exists());
    program.ok_or_else(|| "the program `nylon` is not built: use `cargo xtask bench`".into())
}

/// Both services, each behind none, one and all of the plugins.
fn site(env: &Env, upstream: SocketAddr, dir: &std::path::Path) -> Result<serde_json::Value> {
    let worker = env.echoworker()?;
    let plugins: Vec<_> = (1..=PLUGINS)
        .map(|i| {
            let config = json!({"stamp": format!("x-bench-{i}")});
            json!({"name": format!("p{i}"), "type": "process", "file": worker, "config": config})
        })
        .collect();
    let endpoint = json!({"ip": upstream.ip().to_string(), "port": upstream.port()});
    let services = json!([
        {"name": "static", "service_type": "static", "static": {"root": dir.join("files")}},
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
        self.gateway.cpu()
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
fn rate(load: &Load) -> f64 {
    load.samples.len() as f64 / load.seconds
}
