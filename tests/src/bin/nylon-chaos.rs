//! `cargo xtask chaos ROW`: one row of HARDENING's reliability table, injected and measured.
//!
//! A row is a function that returns its figures; one that a figure misses says so. The last line is the summary, the exit
//! is 0 only if the fault happened and every figure held.

use std::collections::HashSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use nix::sys::signal::Signal;
use nylon_tests::load::{self, Class, Kill, Outcome, Plan, Report};
use nylon_tests::{Gateway, Site, Upstream, proc, step};
use serde_json::json;

#[derive(Parser)]
struct Cli {
    /// R1, …
    row: String,
    /// The long form
    #[arg(long)]
    long: bool,
    /// Same seed, same victims
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What a row found: figures for the summary, and those that were missed.
#[derive(Default)]
struct Found {
    figures: Vec<String>,
    missed: Vec<String>,
}

impl Found {
    fn hold(&mut self, figure: String, holds: bool) {
        println!("{} {figure}", if holds { "held  " } else { "MISSED" });
        if !holds {
            self.missed.push(figure.clone());
        }
        self.figures.push(figure);
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let found = match cli.row.to_uppercase().as_str() {
        "R1" => crash_loop(&cli).await,
        row => {
            eprintln!("error: no row `{row}`; there is R1");
            return ExitCode::from(2);
        }
    };
    let row = cli.row.to_uppercase();
    if found.missed.is_empty() {
        println!("{row} held (seed {}): {}", cli.seed, found.figures.join("; "));
        return ExitCode::SUCCESS;
    }
    println!("{row} FAILED (seed {}): {}", cli.seed, found.missed.join("; "));
    ExitCode::FAILURE
}

/// R1: kill -9 of a random worker each 500 ms, two plugins of two workers under load.
async fn crash_loop(cli: &Cli) -> Found {
    const EVERY: Duration = Duration::from_millis(500);
    let duration = Duration::from_secs(if cli.long { 600 } else { 20 });
    let deadline = Duration::from_secs(2);
    let up = Upstream::start().await;
    let plugin = json!({"workers": 2, "timeout": "2s"});
    let mut site = Site::new().upstream("up", up.addr);
    for name in ["a", "b"] {
        site = site.plugin_with(name, "probe", plugin.clone());
        site = site.path(&format!("/load/{name}"), "up", &[step(name, "nonce")]);
    }
    let mut gateway = Gateway::start(&site).await;

    let addr = gateway.addr;
    let start = Instant::now();
    let loads = ["/load/a", "/load/b"].map(|path| {
        let stamp = load::in_headers;
        let plan = Plan { addr, path: path.into(), rate: 1000, duration, deadline, stamp };
        tokio::spawn(async move { load::run(&plan).await })
    });
    let mut random = cli.seed.max(1);
    let mut kills: Vec<Kill> = Vec::new();
    let mut due = EVERY;
    while due + EVERY < duration {
        tokio::time::sleep_until((start + due).into()).await;
        due += EVERY;
        let workers = gateway.workers();
        if workers.is_empty() {
            continue;
        }
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let index = usize::try_from(random % workers.len() as u64).expect("small");
        let pid = workers[index].pid;
        if kills.iter().all(|k| k.pid != pid) {
            kills.push(Kill { at: start.elapsed(), pid });
            proc::kill(pid, Signal::SIGKILL);
        }
    }
    let [a, b] = loads.map(|load| async { load.await.expect("the load ran") });
    let (a, b) = tokio::join!(a, b);
    crash_loop_figures(&mut gateway, &kills, &[a, b])
}

fn crash_loop_figures(gateway: &mut Gateway, kills: &[Kill], reports: &[Report]) -> Found {
    let mut found = Found::default();
    let sum = |of: &dyn Fn(&Report) -> usize| reports.iter().map(of).sum::<usize>();
    for report in reports {
        println!("{}", report.json());
    }
    let sent = sum(&|r| r.outcomes.len());
    found.hold(format!("{} workers killed", kills.len()), kills.len() >= 20);
    found.hold("the gateway runs".into(), gateway.running());
    let wrong = sum(&|r| r.unexplained().len());
    found.hold(format!("{wrong} of {sent} wrong"), wrong == 0);
    let right = sum(&|r| r.right());
    found.hold(format!("{right} right, 99 % wanted"), right * 100 >= sent * 99);
    let overdue = sum(&|r| r.overdue().len());
    found.hold(format!("{overdue} after the deadline + 100 ms"), overdue == 0);
    let lost = sum(&|r| r.refused());
    let stray = sum(&|r| r.outcomes.iter().filter(|o| stray(o, kills)).count());
    found.hold(format!("{lost} refused, {stray} of them not in flight at a kill"), stray == 0);
    let back = recoveries(kills, reports);
    let p99 = (back.len() * 99).div_ceil(100).saturating_sub(1);
    let p99 = back.get(p99).copied().unwrap_or(Duration::MAX);
    found.hold(format!("ready again p99 {p99:.0?}"), p99 <= Duration::from_millis(250));
    let again = back.len();
    // The last ones may come back after the load has ended.
    found.hold(format!("{again} of them came back"), again + 2 >= kills.len());
    found
}

/// Refused, and not in flight at any kill; what was sent until the death was noticed counts as in flight.
fn stray(outcome: &Outcome, kills: &[Kill]) -> bool {
    const NOTICED: Duration = Duration::from_millis(20);
    let refused = matches!(outcome.class, Class::Crashed | Class::Busy | Class::Late);
    let in_flight = |k: &Kill| outcome.intended <= k.at + NOTICED && outcome.end() >= k.at;
    refused && !kills.iter().any(in_flight)
}

/// From each kill to the first answer of a process not seen before it, sorted.
fn recoveries(kills: &[Kill], reports: &[Report]) -> Vec<Duration> {
    let mut firsts: Vec<(Duration, u32)> = Vec::new();
    let mut seen = HashSet::new();
    let mut all: Vec<&Outcome> = reports.iter().flat_map(|r| &r.outcomes).collect();
    all.sort_by_key(|o| o.end());
    for outcome in all {
        if let Some(pid) = outcome.worker
            && seen.insert(pid)
        {
            firsts.push((outcome.end(), pid));
        }
    }
    // Kills and new processes pair off in order: a new one comes only after a kill.
    let mut new =
        firsts.into_iter().filter(|(at, _)| *at > kills.first().map_or(Duration::MAX, |k| k.at));
    let mut back: Vec<Duration> =
        kills.iter().map_while(|k| new.next().map(|(at, _)| at.saturating_sub(k.at))).collect();
    back.sort();
    back
}
