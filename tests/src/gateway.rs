//! The gateway as a process: started with a [`Site`], watched, killed at the end.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::proc::{self, Worker};
use crate::{Client, Site, eventually, ports, program, watchdog};

/// How long a gateway and its plugins may take to serve on a loaded machine.
const READY: Duration = Duration::from_secs(15);

type Lines = Arc<Mutex<Vec<String>>>;

/// A running gateway; dropped, it is killed.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    lines: Lines,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Gateway {
    /// Starts one on a free port and waits until every plugin of `site` answers.
    pub async fn start(site: &Site) -> Gateway {
        Gateway::start_by(site, |_| {}).await
    }

    /// As [`Gateway::start`], after `change` had its way with the command. Outputs it takes are not in the log.
    pub async fn start_by(site: &Site, change: impl FnOnce(&mut Command)) -> Gateway {
        let addr = ports::free();
        let config = site.write(addr);
        let mut gateway = Gateway::spawn_by(&config, site.dir(), addr, change);
        gateway.ready(site.ready()).await;
        gateway
    }

    /// Starts one with a runtime file as it stands, which listens on `addr`; does not wait.
    pub fn spawn(config: &Path, cwd: &Path, addr: SocketAddr) -> Gateway {
        Gateway::spawn_by(config, cwd, addr, |_| {})
    }

    /// The same with variables in its environment.
    pub fn spawn_with(
        config: &Path,
        cwd: &Path,
        addr: SocketAddr,
        env: &[(&str, &OsStr)],
    ) -> Gateway {
        Gateway::spawn_by(config, cwd, addr, |command| {
            command.envs(env.iter().copied());
        })
    }

    fn spawn_by(
        config: &Path,
        cwd: &Path,
        addr: SocketAddr,
        change: impl FnOnce(&mut Command),
    ) -> Gateway {
        let mut command = Command::new(program::nylon());
        command.args(["run", "-c"]).arg(config).current_dir(cwd).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        change(&mut command);
        let spawned = command.spawn();
        let mut child = spawned.unwrap_or_else(|e| panic!("{}: {e}", program::nylon().display()));
        watchdog::started(child.id());
        let lines = Lines::default();
        follow(child.stdout.take(), &lines);
        follow(child.stderr.take(), &lines);
        Gateway { child, lines, addr }
    }

    /// Waits until each of `paths` answers 200; panics with the log if the gateway ends.
    pub async fn ready(&mut self, paths: &[String]) {
        let client = Client::new(self.addr);
        let end = tokio::time::Instant::now() + READY;
        if paths.is_empty() {
            let up = || std::net::TcpStream::connect(self.addr).ok();
            eventually("the gateway listens", READY, up).await;
        }
        for path in paths {
            loop {
                let answer = client.try_get(path).await;
                if answer.as_ref().is_ok_and(|a| a.status == 200) {
                    break;
                }
                let ended = self.child.try_wait().expect("wait");
                let late = tokio::time::Instant::now() > end;
                if ended.is_some() {
                    // Its last words are still in the pipes.
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                assert!(
                    ended.is_none() && !late,
                    "{path} does not answer 200: {answer:?}; exit: {ended:?}; log:\n{}",
                    self.log()
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The plugin processes.
    pub fn workers(&self) -> Vec<Worker> {
        proc::workers(self.pid())
    }

    /// The one plugin process, once it is there.
    pub async fn worker(&self) -> u32 {
        let one = || self.workers().first().map(|w| w.pid);
        eventually("a worker runs", READY, one).await
    }

    /// A worker that is not `old`.
    pub async fn worker_after(&self, old: u32) -> u32 {
        let new = || self.workers().iter().map(|w| w.pid).find(|pid| *pid != old);
        eventually("a new worker runs", READY, new).await
    }

    /// Runs a verb of `nylon` against it, as an operator would in the folder of its configuration: what it printed, or
    /// what it said of why not.
    pub async fn operate(&self, site: &Site, verb: &[&str]) -> Result<String, String> {
        let mut command = tokio::process::Command::new(program::nylon());
        command.args(verb).arg("-c").arg(site.runtime_file()).current_dir(site.dir());
        let out = command.stdin(Stdio::null()).output().await.map_err(|e| e.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if out.status.success() { Ok(text(&out.stdout)) } else { Err(text(&out.stderr)) }
    }

    /// Sends a signal to the gateway.
    pub fn signal(&self, signal: Signal) {
        proc::kill(self.pid(), signal);
    }

    /// Waits for its end; panics if it does not come.
    pub async fn exit(&mut self, within: Duration) -> ExitStatus {
        let status =
            eventually("the gateway ends", within, || self.child.try_wait().expect("wait")).await;
        watchdog::ended(self.child.id());
        status
    }

    /// Whether it is still running.
    pub fn running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// Everything it wrote to stdout and stderr.
    pub fn log(&self) -> String {
        self.lines.lock().unwrap_or_else(|e| e.into_inner()).join("\n")
    }

    /// Lines of its log for which `which` holds.
    pub fn log_lines(&self, which: impl Fn(&str) -> bool) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(|e| e.into_inner());
        lines.iter().filter(|l| which(l)).cloned().collect()
    }

    /// Waits for a line of its log with `part` in it.
    pub async fn logged(&self, part: &str, within: Duration) -> String {
        let found = || self.log_lines(|l| l.contains(part)).into_iter().next();
        eventually(&format!("`{part}` in the log"), within, found).await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the gateway\n{}\n---", self.log());
        }
        let workers = if self.running() { self.workers() } else { Vec::new() };
        let _ = self.child.kill();
        let _ = self.child.wait();
        watchdog::ended(self.child.id());
        // They end by themselves with their host; a test that ends must not wait for it.
        for worker in workers {
            proc::kill(worker.pid, Signal::SIGKILL);
        }
    }
}

fn follow(pipe: Option<impl Read + Send + 'static>, lines: &Lines) {
    let Some(pipe) = pipe else { return };
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = plain(&String::from_utf8_lossy(&line));
            lines.lock().unwrap_or_else(|e| e.into_inner()).push(line);
        }
    });
}

/// Without colour codes.
fn plain(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + part.split_once('m').map_or("", |(_, rest)| rest))
}
