//! WebSockets through a Go plugin behind the gateway, and the same with a library alone.

pub(crate) mod client;
mod frame;
pub(crate) mod library;
mod process;

use std::cell::Cell;
use std::fs;
use std::net::TcpStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};

use super::nylon::{Nylon, free_addr};
use crate::case::{Case, Round, Taken};
use crate::env::Env;
use crate::{Result, cpu};
use library::Manner;
use process::Process;

/// The load goes by this name, and so does the library's echo.
pub(crate) const CLIENT: &str = "websocket-client";
pub(crate) const LIBRARY: &str = "websocket-library";

/// How long the gateway may take to serve.
const READY: Duration = Duration::from_secs(20);
/// Sockets the plugin may have.
const SOCKETS: usize = 20_000;

/// Who is at the other end of the connections.
#[derive(Clone)]
pub(crate) struct Server {
    who: Rc<Who>,
    addr: String,
    path: &'static str,
}

enum Who {
    Gateway(Nylon),
    Library(Process),
}

impl Server {
    /// The program `nylon` with a Go plugin: `/echo` sends every text back, `/room` has a room.
    pub(crate) fn gateway(env: &Env) -> Result<Self> {
        let nylon = Nylon::start(env, |_| site(env))?;
        let addr = nylon.addr.to_string();
        let server = Self { who: Rc::new(Who::Gateway(nylon)), addr, path: "/echo" };
        let began = Instant::now();
        while let Err(why) = TcpStream::connect(&server.addr) {
            if began.elapsed() > READY {
                return Err(format!("the gateway does not serve: {why}\n{}", server.log()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        server.connect(1, 1).map_err(|why| format!("{why}\n{}", server.log()))?;
        Ok(server)
    }

    /// The library alone, with as many threads as the gateway has.
    pub(crate) fn library(env: &Env, manner: Manner) -> Result<Self> {
        env.cpus.unpin();
        let addr = free_addr()?.to_string();
        let threads = (env.cpus.count - 1).max(1).to_string();
        let manner = format!("{manner:?}").to_lowercase();
        let process = Process::start(LIBRARY, &[addr.clone(), threads, manner])?;
        Ok(Self { who: Rc::new(Who::Library(process)), addr, path: "/" })
    }

    /// The same server, asked for its room.
    #[must_use]
    pub(crate) fn room(&self) -> Self {
        Self { path: "/room", ..self.clone() }
    }

    /// A client with so many connections, each of which has had a text back.
    fn connect(&self, connections: usize, flight: usize) -> Result<Process> {
        let [connections, flight] = [connections, flight].map(|n| n.to_string());
        Process::start(CLIENT, &[self.addr.clone(), self.path.into(), connections, flight])
    }

    fn log(&self) -> String {
        if let Who::Gateway(nylon) = &*self.who { nylon.log() } else { String::new() }
    }

    /// The process that has the connections.
    fn pid(&self) -> u32 {
        match &*self.who {
            Who::Gateway(nylon) => nylon.pid(),
            Who::Library(process) => process.pid(),
        }
    }

    fn workers(&self) -> Vec<u32> {
        if let Who::Gateway(nylon) = &*self.who { nylon.workers() } else { Vec::new() }
    }

    /// What `sockets` idle ones, each of which has had one text there and back, take in KiB each: in the process that
    /// has the connections, and in the workers. Each time memory is looked at after `rest`. Nothing else may ask the server.
    pub(crate) fn held(&self, sockets: usize, rest: Duration) -> Result<(f64, f64)> {
        let resident = || -> Result<(f64, f64)> {
            std::thread::sleep(rest);
            let workers: Result<Vec<f64>> = self.workers().into_iter().map(kib).collect();
            Ok((kib(self.pid())?, workers?.into_iter().sum()))
        };
        let before = resident()?;
        let client = self.connect(sockets, 1).map_err(|e| format!("{e}\n{}", self.log()))?;
        let after = resident()?;
        drop(client);
        #[expect(clippy::cast_precision_loss, reason = "thousands")]
        let each = |before: f64, after: f64| (after - before) / sockets as f64;
        Ok((each(before.0, after.0), each(before.1, after.1)))
    }
}

/// Resident memory of a process in KiB.
fn kib(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let rss = text.lines().find_map(|line| line.strip_prefix("Rss:")?.strip_suffix("kB"));
    rss.and_then(|kib| kib.trim().parse().ok()).ok_or_else(|| format!("{path} has no Rss"))
}

/// Lets this process, and those it starts, have as many files as they may.
pub(crate) fn raise_files() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|e| e.to_string())?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).map_err(|e| e.to_string())
}

/// A plugin with an entry for each path.
fn site(env: &Env) -> Result<Value> {
    let plugin = json!({"name": "sockets", "type": "process", "file": env.echoworker()?,
        "limits": {"websockets": SOCKETS}});
    let entries = ["echo", "room"];
    let services = entries.map(|entry| {
        json!({"name": entry, "service_type": "plugin",
            "plugin": {"name": "sockets", "entry": entry}})
    });
    let paths =
        entries.map(|entry| json!({"path": format!("/{entry}"), "service": {"name": entry}}));
    let route =
        json!({"route": {"type": "host", "value": "127.0.0.1"}, "name": "bench", "paths": paths});
    Ok(json!({"plugins": [plugin], "services": services, "routes": [route]}))
}

/// What the client is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Talk {
    /// Every text comes back to who sent it. CPU time is that of the server and its workers.
    Echo,
    /// Every text goes to all connections, one after another. CPU time is that of the process that has them.
    Broadcast,
}

/// What the client itself took, over all rounds.
#[derive(Debug, Default)]
pub(crate) struct Share {
    cpu: Cell<f64>,
    seconds: Cell<f64>,
}

impl Share {
    /// CPUs that it kept busy.
    pub(crate) fn value(&self) -> f64 {
        if self.seconds.get() > 0.0 { self.cpu.get() / self.seconds.get() } else { 0.0 }
    }
}

/// Texts on a number of connections, which stay open between rounds.
pub(crate) struct Texts {
    /// Goes before its server, so that it does not miss it.
    client: Process,
    server: Server,
    talk: Talk,
    share: Rc<Share>,
}

impl Texts {
    pub(crate) fn start(
        server: Server,
        talk: Talk,
        connections: usize,
        flight: usize,
        share: Rc<Share>,
    ) -> Result<Self> {
        let client = server.connect(connections, flight)?;
        Ok(Self { client, server, talk, share })
    }
}

impl Case for Texts {
    fn round(&mut self, round: &Round) -> Result<Taken> {
        let command = if self.talk == Talk::Echo { "echo" } else { "broadcast" };
        let line = self.client.ask(&format!("{command} {}", round.limit.as_millis()));
        let line = line.map_err(|e| format!("{e}\n{}", self.server.log()))?;
        let load: Value = serde_json::from_str(&line).map_err(|e| format!("{e}: {line}"))?;
        let number = |key: &str| load[key].as_f64().ok_or_else(|| format!("no {key}"));
        let samples = load["samples"].as_array().ok_or("no samples")?;
        let (answers, seconds) = (number("answers")?, number("seconds")?);
        self.share.cpu.update(|cpu| cpu + load["cpu"].as_f64().unwrap_or(0.0));
        self.share.seconds.update(|all| all + seconds);
        Ok(Taken {
            samples: samples.iter().filter_map(Value::as_u64).collect(),
            calls: load["answers"].as_u64().unwrap_or(0),
            rate: answers / seconds,
            spoilt: None,
        })
    }

    fn cpu(&self) -> Duration {
        let workers = self.server.workers().into_iter().map(cpu::of).sum();
        let workers = if self.talk == Talk::Echo { workers } else { Duration::ZERO };
        cpu::of(self.server.pid()) + workers
    }
}
