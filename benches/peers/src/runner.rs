//! Runs every cell: all contenders in turns, round by round, so that whatever else the machine does meets all alike.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::cell::{Cell, Kind, Round};
use crate::contender::{self, Contender};
use crate::cpus::Cpus;
use crate::process::{Child, cpu_time};
use crate::report::{self, Row};
use crate::{Result, build, gateway};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also write the rows to FILE, as a JSON array.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Far fewer samples, and only 64 B and 64 KiB at 1 and 16.
    #[arg(long)]
    quick: bool,
    /// Only cases that contain CASE, and what they are held against.
    #[arg(long, value_name = "CASE")]
    only: Option<String>,
}

/// How much of everything.
struct Plan {
    sizes: &'static [usize],
    in_flight: &'static [usize],
    rounds: usize,
    time: Duration,
    sparse: Duration,
    gateway: Duration,
}

const FULL: Plan = Plan {
    sizes: &[64, 4 << 10, 64 << 10, 1 << 20],
    in_flight: &[1, 16, 256],
    rounds: 4,
    time: Duration::from_millis(450),
    sparse: Duration::from_millis(500),
    gateway: Duration::from_millis(1000),
};

const QUICK: Plan = Plan {
    sizes: &[64, 64 << 10],
    in_flight: &[1, 16],
    rounds: 2,
    time: Duration::from_millis(40),
    sparse: Duration::from_millis(60),
    gateway: Duration::from_millis(150),
};

/// Timed calls of one round at most.
const CALLS: usize = 50_000;
/// A contender that has taken so long in a cell takes no more rounds in it.
const CELL: Duration = Duration::from_secs(2);
/// Of a sparse cell.
const GAP: Duration = Duration::from_millis(1);

impl Plan {
    fn cells(&self) -> Vec<Cell> {
        let pairs = self.sizes.iter().flat_map(|s| self.in_flight.iter().map(|n| (*s, *n)));
        let mut cells: Vec<Cell> = pairs.map(|(size, n)| Cell::echo(size, n)).collect();
        cells.push(Cell::echo(64, 1).every(GAP));
        for kind in [Kind::Next, Kind::Getters] {
            let session = Cell { kind, ..Cell::echo(8, 1) };
            cells.extend([session, session.every(GAP)]);
        }
        cells
    }
}

/// Runs what `args` ask for; prints the rows, and writes them.
pub(crate) fn run(args: &Args) -> Result<()> {
    let cpus = Cpus::allowed()?;
    build::all()?;
    let plan = if args.quick { QUICK } else { FULL };
    report::facts(&cpus);
    report::head();
    let mut field = Field { cpus, running: HashMap::new() };
    let mut rows: Vec<Row> = Vec::new();
    for cell in plan.cells() {
        let wanted = |c: &&Contender| {
            let name = format!("{}/{cell}", c.name);
            c.has(&cell) && args.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
        };
        let mut here: Vec<&Contender> = contender::ALL.iter().filter(wanted).collect();
        if here.is_empty() {
            continue;
        }
        // The one the others are held against takes part whatever was asked for.
        if !here.iter().any(|c| c.is_limit()) {
            here.extend(contender::ALL.iter().filter(|c| c.is_limit() && c.has(&cell)));
            here.rotate_right(1);
        }
        let done = field.run(cell, &here, &plan)?;
        report::table(&done);
        rows.extend(done);
    }
    drop(field);
    let wanted = |name: &str| args.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let gateways = gateway::run(&cpus, plan.rounds, plan.gateway, wanted)?;
    report::rates(&gateways);
    rows.extend(gateways);
    if rows.is_empty() {
        return Err(format!("no case contains {:?}", args.only.as_deref().unwrap_or_default()));
    }
    args.json.as_ref().map_or(Ok(()), |path| report::json(&rows, path))
}

/// The clients that run; each is started when it is first needed.
struct Field {
    cpus: Cpus,
    running: HashMap<&'static str, Child>,
}

/// What a contender gave in a cell so far.
#[derive(Default)]
struct Line {
    samples: Vec<u64>,
    /// p50 of each round.
    medians: Vec<u64>,
    calls: u64,
    cpu: Duration,
    /// Since its first round began in this cell, its own rounds alone.
    spent: Duration,
    refused: Option<String>,
}

impl Field {
    fn run(&mut self, cell: Cell, here: &[&Contender], plan: &Plan) -> Result<Vec<Row>> {
        let mut lines: Vec<Line> = here.iter().map(|_| Line::default()).collect();
        let time = if cell.gap.is_some() { plan.sparse } else { plan.time };
        let round = Round { cell, time, calls: CALLS };
        for turn in 0..plan.rounds {
            for at in 0..here.len() {
                // Each turn begins with another one: nobody always comes after the same.
                let at = (at + turn) % here.len();
                if lines[at].refused.is_none() && lines[at].spent < CELL {
                    let name = here[at].name;
                    let child = self.client(here[at])?;
                    let start = Instant::now();
                    round_of(child, &round, &mut lines[at])
                        .map_err(|e| format!("{name}/{cell}: {e}"))?;
                    lines[at].spent += start.elapsed();
                }
            }
        }
        let mut rows = Vec::new();
        let mut limit = 0;
        for (contender, mut line) in here.iter().zip(lines) {
            line.warn_of_a_move(contender.name, &cell);
            line.samples.sort_unstable();
            let row = Row::of(contender, &cell, &line.samples, line.refused);
            if contender.is_limit() {
                limit = row.p50();
            }
            rows.push(row.against(limit).costing(line.cpu, line.calls));
        }
        Ok(rows)
    }

    fn client(&mut self, contender: &Contender) -> Result<&mut Child> {
        if !self.running.contains_key(contender.name) {
            let child = contender.start(&self.cpus)?;
            self.running.insert(contender.name, child);
        }
        self.running.get_mut(contender.name).ok_or_else(|| "it was just put there".into())
    }
}

impl Line {
    /// A virtual machine may move its CPUs under a run: one figure would then mix two machines.
    fn warn_of_a_move(&self, name: &str, cell: &Cell) {
        let (Some(low), Some(high)) = (self.medians.iter().min(), self.medians.iter().max()) else {
            return;
        };
        if high > &(low * 2) {
            eprintln!("{name}/{cell}: from {low} to {high} ns between rounds");
        }
    }
}

/// Asks for one round and adds what came of it.
fn round_of(client: &mut Child, round: &Round, line: &mut Line) -> Result<()> {
    let server = client.said.split_whitespace().nth(1).and_then(|pid| pid.parse().ok());
    let pids: Vec<u32> =
        [Some(client.pid()), server.filter(|pid| *pid != 0)].into_iter().flatten().collect();
    let used = || pids.iter().map(|pid| cpu_time(*pid)).sum::<Result<Duration>>();
    let before = used()?;
    let input = client.input.as_mut().ok_or("its input was closed")?;
    writeln!(input, "{round}").and_then(|()| input.flush()).map_err(|e| e.to_string())?;
    let answer = client.line()?;
    let mut words = answer.split_whitespace();
    match words.next() {
        Some("ok") => {}
        Some("unsupported") => {
            line.refused = answer.split_once(' ').map(|(_, why)| why.to_owned());
            return Ok(());
        }
        _ => return Err(format!("the client ended, or said {answer:?}")),
    }
    let mut number = || words.next().and_then(|word| word.parse::<usize>().ok());
    let (calls, count) = number().zip(number()).ok_or_else(|| format!("it said {answer:?}"))?;
    let mut bytes = vec![0; count * 8];
    client.output.read_exact(&mut bytes).map_err(|e| e.to_string())?;
    line.cpu += used()?.saturating_sub(before);
    line.calls += calls as u64;
    let (samples, _) = bytes.as_chunks::<8>();
    let mut samples: Vec<u64> = samples.iter().map(|ns| u64::from_le_bytes(*ns)).collect();
    samples.sort_unstable();
    line.medians.extend(samples.get(samples.len() / 2));
    line.samples.extend(samples);
    Ok(())
}
