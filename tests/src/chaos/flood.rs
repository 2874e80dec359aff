//! R10: a worker that floods its ring, or wakes the host without end.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bed::{self, Load, p99, still_runs, untouched};
use super::{Found, Mode};
use crate::worker::monotonic_ns;
use crate::{Client, Gateway, Site, Upstream, proc, program, step, telemetry};

/// Legal frames at top speed; wakes at top speed; frames of one call at top speed.
const MODES: [&str; 3] = ["pong-flood", "wake-storm", "busy-forever"];

/// A flooder that is not dead by then is let live.
const PATIENCE: Duration = Duration::from_secs(3);

/// R10: the hostile worker floods, is killed, and floods again; `b` must not notice much.
pub(super) async fn flood(mode: Mode) -> Found {
    let mut found = Found::new(mode);
    for how in MODES {
        one(mode, how, &mut found).await;
    }
    found
}

async fn one(mode: Mode, how: &str, found: &mut Found) {
    let rounds = mode.pick(2, 10, 100);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin_with("b", "probe", bed::plugin(2));
    let site = site.path("/load/b", "up", &[step("b", "nonce")]);
    let log = site.dir().join("hostile.log");
    let hostile = json!({"args": [how], "env": {"NYLON_HOSTILE_LOG": log}, "timeout": "2s", "breaker": {"intensity": 0}});
    let site = site.program("bad", &program::hostile(), hostile);
    let site = site.service("bad", "bad", "serve", Value::Null);
    let site = site.path("/attack", "bad", &[]).path("/honest", "bad", &[]);
    let mut gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);

    let baseline = Duration::from_secs(mode.pick(2, 10, 60));
    let (start, cpu) = (Instant::now(), proc::cpu(gateway.pid()));
    let before = Load::from(mode, &gateway, "/load/b", start, baseline).end().await;
    let idle = share(proc::cpu(gateway.pid()) - cpu, start.elapsed());

    // As long as the attacks last: an attack and a start each.
    let length = Duration::from_millis(700) * rounds;
    let start = Instant::now();
    let load = Load::from(mode, &gateway, "/load/b", start, length);
    let attacks = attack(&gateway, &client, &log, rounds).await;
    let after = load.end().await;
    let row = telemetry::settled(gateway.pid(), "bad").await;

    let Attacks { happened, kills, cpu, time } = attacks;
    found.count(format!("{how}: {happened} attacks"), happened == rounds);
    let killed = kills.len();
    found.count(format!("{how}: {killed} of them ended by a kill"), killed == rounds as usize);
    let counted = row.violations;
    found.count(format!("{how}: the host counted {counted}"), counted == u64::from(rounds));
    still_runs(found, &mut gateway);
    untouched(found, &format!("{how}: b"), &after);
    p99(found, &format!("{how}: b"), 2.0, &before, &after);
    let busy = share(cpu, time) - idle;
    found.time(format!("{how}: host CPU for it {busy:.2} cores, 1 at most"), busy <= 1.0);
    let slowest = kills.iter().max();
    found.time(
        format!("{how}: the slowest kill came after {slowest:.0?}, 1 s at most"),
        slowest.is_some_and(|time| *time <= Duration::from_secs(1)),
    );
}

/// What the floods did.
#[derive(Default)]
struct Attacks {
    happened: u32,
    /// From the first frame or wake of a flood to the flooder's end.
    kills: Vec<Duration>,
    /// The host's, while they lasted, and how long that was.
    cpu: Duration,
    time: Duration,
}

/// Has the hostile worker flood, `rounds` times, each as soon as it serves again.
async fn attack(gateway: &Gateway, client: &Client, log: &Path, rounds: u32) -> Attacks {
    let mut all = Attacks::default();
    for _ in 0..rounds {
        let flooder = honest(client).await;
        let before = marks(log).len();
        let (cpu, asked) = (proc::cpu(gateway.pid()), Instant::now());
        let attacking = client.clone();
        let attack = tokio::spawn(async move { attacking.try_get("/attack").await });
        while proc::alive(flooder) && asked.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let dead = (!proc::alive(flooder)).then(monotonic_ns);
        all.cpu += proc::cpu(gateway.pid()).saturating_sub(cpu);
        all.time += asked.elapsed();
        let _ = attack.await;
        if let Some(at) = marks(log).get(before) {
            all.happened += 1;
            all.kills.extend(dead.map(|dead| Duration::from_nanos(dead.saturating_sub(*at))));
        }
    }
    all
}

/// Cores.
fn share(cpu: Duration, wall: Duration) -> f64 {
    cpu.as_secs_f64() / wall.as_secs_f64().max(1e-3)
}

/// When the hostile worker began to break the rule, each time.
fn marks(log: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().filter_map(|l| l.strip_prefix("attack ")?.parse().ok()).collect()
}

/// Waits until the hostile worker serves; its process.
async fn honest(client: &Client) -> u32 {
    let end = Instant::now() + Duration::from_secs(15);
    loop {
        let answer = client.try_get("/honest").await.ok().filter(|a| a.status == 200);
        if let Some(pid) = answer.and_then(|a| a.header("x-pid").parse().ok()) {
            return pid;
        }
        assert!(Instant::now() < end, "no new worker serves");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
