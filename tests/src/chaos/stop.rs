//! R11, R12: the host itself ends, asked or not.

use std::collections::{BTreeSet, HashSet};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::bed::{self, Load};
use super::{Found, Mode};
use crate::load::Class;
use crate::{Client, Gateway, Upstream, proc};

/// What a drain may take.
const DRAIN: Duration = Duration::from_secs(30);
/// Requests that are in flight when the signal comes, and how long their upstream takes.
const HELD: usize = 20;
const HELD_PATH: &str = "/slow/700";

/// What the rounds of R11 found, together.
#[derive(Default)]
struct Stops {
    rounds: u32,
    accepted: usize,
    failed: Vec<String>,
    exits: Vec<Duration>,
    unclean: Vec<String>,
    deaf: Duration,
    left: usize,
    logged: u32,
    away: usize,
    sockets: usize,
}

/// R11: SIGTERM while requests come and are in flight.
pub(super) async fn terminated(mode: Mode) -> Found {
    let rounds = mode.pick(1, 5, 50);
    let mut all = Stops::default();
    for _ in 0..rounds {
        terminate(mode, &mut all).await;
    }
    let mut found = Found::new(mode);
    found.count(format!("{} of {} stops in the log", all.logged, all.rounds), all.logged == rounds);
    let first = all.failed.first().map(|w| format!(", first {w}")).unwrap_or_default();
    let failed = all.failed.len();
    found.count(
        format!("{failed} of {} accepted requests failed{first}", all.accepted),
        failed == 0 && all.accepted > HELD,
    );
    found.count(format!("exit 0 each time{}", all.unclean.join("; ")), all.unclean.is_empty());
    let slowest = all.exits.iter().max().copied().unwrap_or(Duration::MAX);
    found.time(format!("gone after {slowest:.1?}, {DRAIN:?} at most"), slowest <= DRAIN);
    let deaf = all.deaf;
    found.time(
        format!("no connection from {deaf:.0?} after the signal on"),
        deaf <= Duration::from_millis(100),
    );
    found.count(format!("{} processes left", all.left), all.left == 0);
    let (away, sockets) = (all.away, all.sockets);
    found.count(format!("{away} of {sockets} WebSockets closed with 1001"), away == sockets);
    found
}

async fn terminate(mode: Mode, all: &mut Stops) {
    let up = Upstream::start().await;
    let site = bed::two(&up).path("/slow/{ms}", "up", &[crate::step("b", "nonce")]);
    let site = bed::sockets(site);
    let mut gateway = Gateway::start(&site).await;
    let workers = gateway.workers();
    let mut sockets = bed::open(&gateway).await;
    let (start, loads) = bed::loads(mode, &gateway, Duration::from_secs(2));
    tokio::time::sleep_until((start + Duration::from_millis(700)).into()).await;
    let held: Vec<_> = (0..HELD)
        .map(|n| {
            let client = Client::new(gateway.addr);
            tokio::spawn(async move {
                let nonce = format!("held-{n}");
                client
                    .exchange(client.request("GET", HELD_PATH).header("x-nonce", nonce), "".into())
                    .await
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;

    let since = Instant::now();
    gateway.signal(Signal::SIGTERM);
    let deaf = loop {
        match TcpStream::connect(gateway.addr) {
            Err(_) => break since.elapsed(),
            Ok(_) if since.elapsed() > DRAIN => break DRAIN,
            Ok(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    };
    all.sockets += sockets.len();
    for socket in &mut sockets {
        all.away += usize::from(socket.closed().await.0 == 1001);
    }
    let status = gateway.exit(DRAIN + Duration::from_secs(10)).await;
    all.exits.push(since.elapsed());
    all.deaf = all.deaf.max(deaf);
    all.rounds += 1;
    all.logged += u32::from(!gateway.log_lines(|l| l.contains("draining")).is_empty());
    if status.code() != Some(0) {
        all.unclean.push(format!(" {status}"));
    }
    all.left += workers.iter().filter(|w| proc::alive(w.pid)).count();

    for one in held {
        all.accepted += 1;
        match one.await.expect("no panic") {
            Ok(answer) if answer.status == 200 => {}
            other => all.failed.push(format!("held: {other:?}")),
        }
    }
    // Accepted is what the gateway read: the upstream behind it has seen it.
    let seen: HashSet<String> =
        up.seen().iter().map(|seen| seen.header("x-nonce").to_owned()).collect();
    for load in loads {
        let report = load.end().await;
        for outcome in report.outcomes {
            let accepted = outcome.class == Class::Right || seen.contains(&outcome.nonce);
            let answered = !matches!(outcome.class, Class::Unsent | Class::Other(_));
            all.accepted += usize::from(accepted || answered);
            if (accepted || answered) && outcome.class != Class::Right {
                all.failed.push(format!("{:?} at {:?}", outcome.class, outcome.intended));
            }
        }
    }
}

/// R12: kill -9 of the host under load; nothing is left, and the next one starts.
pub(super) async fn killed(mode: Mode) -> Found {
    const GONE: Duration = Duration::from_millis(500);
    let rounds: usize = mode.pick(5, 50, 1000);
    let up = Upstream::start().await;
    let site = bed::two(&up);
    let mut gateway = Gateway::start(&site).await;
    let before = files(site.dir());
    let (mut killed, mut alive, mut stale, mut starts) = (0, Vec::new(), Vec::new(), Vec::new());
    let mut litter = BTreeSet::new();
    for round in 0..rounds {
        let (pid, workers) = (gateway.pid(), gateway.workers());
        killed += workers.len();
        let load =
            Load::from(mode, &gateway, "/load/a", Instant::now(), Duration::from_millis(150));
        tokio::time::sleep(Duration::from_millis(75)).await;
        gateway.signal(Signal::SIGKILL);
        let status = gateway.exit(Duration::from_secs(5)).await;
        assert!(status.code().is_none(), "it was killed: {status}");
        tokio::time::sleep(GONE).await;
        let left = workers.iter().filter(|w| proc::alive(w.pid)).map(|w| w.pid);
        alive.extend(left.map(|worker| format!("round {round}: {worker}")));
        drop(load);
        let own = format!("nylon-{pid}");
        let named = |name: &String| name.contains(&pid.to_string()) && **name != *own;
        litter.extend(proc::shm_names().into_iter().filter(named));
        litter.extend(files(site.dir()).difference(&before).cloned());
        let start = Instant::now();
        gateway = Gateway::start(&site).await;
        starts.push(start.elapsed());
        if proc::shm_names().contains(&own) {
            stale.push(own);
        }
    }
    let mut found = Found::new(mode);
    found.count(format!("{rounds} hosts with {killed} workers killed"), killed == 4 * rounds);
    // Half a second is a time too; what is left after it, a busy machine may only have not got round to.
    found
        .time(format!("{} processes left after {GONE:?} {alive:?}", alive.len()), alive.is_empty());
    found.count(
        format!("{} files or shared memory left {litter:?}", litter.len()),
        litter.is_empty(),
    );
    found.count(
        format!("{} telemetry names left by the next start {stale:?}", stale.len()),
        stale.is_empty(),
    );
    starts.sort();
    let slowest = starts.last().copied().unwrap_or(Duration::MAX);
    found.time(
        format!("the next start took {slowest:.0?}, 1 s at most"),
        slowest <= Duration::from_secs(1),
    );
    found
}

/// Every file below `dir`, but what the harness writes for each start.
fn files(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.display().to_string());
        }
    }
    found
}
