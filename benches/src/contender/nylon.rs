//! The program `nylon` as a process of its own, with a folder of its own.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::env::Env;
use crate::{Result, cpu};

/// A gateway that is starting or serves. Nothing of it is pinned.
pub(crate) struct Nylon {
    child: Child,
    pub(crate) addr: SocketAddr,
    dir: PathBuf,
}

impl Nylon {
    /// Starts one with what `site` makes of its folder: plugins, services and routes.
    pub(crate) fn start(env: &Env, site: impl FnOnce(&Path) -> Result<Value>) -> Result<Self> {
        env.cpus.unpin();
        let addr = free_addr()?;
        let name = format!("nylon-bench-{}-{}", std::process::id(), addr.port());
        let dir = std::env::temp_dir().join(name);
        let sites = dir.join("conf.d");
        fs::create_dir_all(&sites).map_err(|e| format!("{}: {e}", sites.display()))?;
        let runtime = json!({"http": [addr.to_string()], "config_dir": sites});
        write(&dir.join("nylon.yaml"), &format!("{runtime:#}\n"))?;
        write(&sites.join("site.yaml"), &format!("{:#}\n", site(&dir)?))?;
        let log = File::create(dir.join("log")).map_err(|e| e.to_string())?;
        let child = Command::new(program()?)
            .args(["run", "-c"])
            .arg(dir.join("nylon.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|e| format!("cannot start the gateway: {e}"))?;
        Ok(Self { child, addr, dir })
    }

    /// What it said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its workers.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).into_iter().flatten();
        let children = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).ok();
        let all: Vec<_> = tasks.flatten().filter_map(children).collect();
        all.join(" ").split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// CPU time of the gateway and its workers.
    pub(crate) fn cpu(&self) -> Duration {
        cpu::of(self.pid()) + self.workers().into_iter().map(cpu::of).sum::<Duration>()
    }
}

impl Drop for Nylon {
    fn drop(&mut self) {
        // Its workers end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Writes one file.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

/// A port of this machine that nobody has.
pub(crate) fn free_addr() -> Result<SocketAddr> {
    let addr = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr());
    addr.map_err(|e| e.to_string())
}

/// The program `nylon`: named by whoever built it, or beside this one.
fn program() -> Result<PathBuf> {
    let beside = std::env::current_exe().map(|itself| itself.with_file_name("nylon"));
    let program = std::env::var_os("NYLON_BIN").map(PathBuf::from).or(beside.ok());
    let program = program.filter(|p| p.exists());
    program.ok_or_else(|| "the program `nylon` is not built: use `cargo xtask bench`".into())
}
