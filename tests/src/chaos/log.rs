//! R17: nobody takes the host's log.

use std::fs::File;
use std::io::{PipeReader, Read as _, pipe};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::bed::{self, Load, p99, still_runs, untouched};
use super::{Found, Mode};
use crate::{Client, Gateway, Site, Upstream, step, step_with};

/// A small disk of its own; unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    /// So many bytes; only root may.
    fn new(at: &Path, bytes: u32) -> Option<Disk> {
        std::fs::create_dir_all(at).ok()?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "nylon-chaos"]).arg(at);
        mount.stderr(Stdio::null()).status().ok()?.success().then(|| Disk(at.to_owned()))
    }

    /// Whether nothing more fits.
    fn is_full(&self) -> bool {
        let stat = rustix::fs::statvfs(&self.0);
        stat.is_ok_and(|s| s.f_bavail == 0)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// What the host says once it can.
const SAID: &str = "the log was too slow";

/// Where the log goes.
enum Sink {
    /// Into the harness, which reads it.
    Read,
    /// Into a file on a disk that is full soon.
    Full(Disk),
    /// Into a pipe whose reader has stopped.
    Stopped(PipeReader),
}

/// R17: both plugins print for every request, and the log goes nowhere.
pub(super) async fn log(mode: Mode) -> Found {
    let mut found = Found::new(mode);
    let up = Upstream::start().await;
    let site = ["a", "b"].iter().fold(Site::new().upstream("up", up.addr), |site, name| {
        let site = site.plugin_with(name, "probe", bed::plugin(2));
        let prints = step_with(name, "prints", json!({"bytes": 400}));
        site.path(&format!("/load/{name}"), "up", &[prints, step(name, "nonce")])
    });
    let [before_a, before_b] = under(mode, &site, &mut Sink::Read, &mut found, "read").await;
    let disk = Disk::new(&site.dir().join("disk"), 64 << 10);
    let disk = match disk {
        Some(disk) => Sink::Full(disk),
        None => {
            found.count("a small tmpfs for the log: only root may mount one", false);
            return found;
        }
    };
    let (reader, writer) = pipe().expect("a pipe");
    drop(writer);
    for (what, mut sink) in [("disk full", disk), ("reader stopped", Sink::Stopped(reader))] {
        let [a, b] = under(mode, &site, &mut sink, &mut found, what).await;
        untouched(&mut found, &format!("{what}: a"), &a);
        untouched(&mut found, &format!("{what}: b"), &b);
        p99(&mut found, &format!("{what}: a"), 1.2, &before_a, &a);
        p99(&mut found, &format!("{what}: b"), 1.2, &before_b, &b);
    }
    found
}

async fn under(
    mode: Mode,
    site: &Site,
    sink: &mut Sink,
    found: &mut Found,
    what: &str,
) -> [crate::load::Report; 2] {
    let mut gateway = Gateway::start_by(site, |command| {
        match sink {
            Sink::Read => {}
            Sink::Full(disk) => {
                let file = File::create(disk.0.join("log")).expect("a file on the disk");
                command.stderr(file);
            }
            Sink::Stopped(reader) => {
                let (ours, theirs) = pipe().expect("a pipe");
                *reader = ours;
                command.stderr(theirs);
            }
        };
    })
    .await;
    let duration = Duration::from_secs(mode.pick(4, 20, 300));
    let start = Instant::now();
    // The log is full before anything is measured.
    let fill = ["/load/a", "/load/b"]
        .map(|p| Load::from(mode, &gateway, p, start, Duration::from_secs(3)));
    for load in fill {
        let _ = load.end().await;
    }
    let (_, [a, b]) = bed::loads(mode, &gateway, duration);
    let reports = [a.end().await, b.end().await];
    match sink {
        Sink::Read => {
            let lines = gateway.log_lines(|l| l.contains("printed for a request")).len();
            found.count(format!("{lines} lines of the plugins are read"), lines > 100);
        }
        Sink::Full(disk) => found.count("the disk of the log is full", disk.is_full()),
        Sink::Stopped(reader) => {
            let unread = rustix::io::ioctl_fionread(&*reader).unwrap_or(0);
            found.count(format!("{unread} bytes of the log are not read"), unread >= 32_000);
        }
    }
    if let Some(said) = sink.taken(&gateway).await {
        found.count(format!("{what}: the host says {said:?}"), said.contains("dropped="));
    }
    still_runs(found, &mut gateway);
    reports
}

impl Sink {
    /// There is room again: what the host then says of the lines it has dropped, "" if nothing; `None` if there always was.
    async fn taken(&mut self, gateway: &Gateway) -> Option<String> {
        let mut text = String::new();
        let mut more: Box<dyn FnMut() -> String + Send> = match self {
            Sink::Read => return None,
            Sink::Full(disk) => {
                let file = disk.0.join("log");
                std::fs::write(&file, "").expect("less than there was");
                Box::new(move || {
                    String::from_utf8_lossy(&std::fs::read(&file).unwrap_or_default()).into_owned()
                })
            }
            Sink::Stopped(reader) => {
                rustix::io::ioctl_fionbio(&*reader, true).expect("a pipe");
                Box::new(move || {
                    let mut bytes = Vec::new();
                    let _ = reader.read_to_end(&mut bytes);
                    String::from_utf8_lossy(&bytes).into_owned()
                })
            }
        };
        let client = Client::new(gateway.addr);
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            let _ = client.try_get("/load/a").await;
            text += &more();
            if let Some(line) = text.lines().find(|l| l.contains(SAID)) {
                return Some(line.to_owned());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(String::new())
    }
}
