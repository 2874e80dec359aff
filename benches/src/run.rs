//! The runner: all rows of a bench in turns, so that whatever else the machine does meets them alike.

use crate::Result;
use crate::case::{Case, Round};
use crate::env::Env;
use crate::report::{Figure, Row, at};

/// Makes what a row calls.
type Start<'e> = Box<dyn FnOnce(&Env) -> Result<Box<dyn Case>> + 'e>;

/// A row to be made.
pub(crate) struct Line<'e> {
    name: String,
    /// Name of the row that is its limit.
    limit: String,
    figure: Figure,
    round: Round,
    start: Start<'e>,
}

impl<'e> Line<'e> {
    /// A row whose value is its p50, held against that of the row `limit`. `start` makes what is called.
    pub(crate) fn new<C: Case + 'static>(
        name: impl Into<String>,
        limit: impl Into<String>,
        round: Round,
        start: impl FnOnce(&Env) -> Result<C> + 'e,
    ) -> Self {
        let start = |env: &Env| Ok(Box::new(start(env)?) as Box<dyn Case>);
        let (name, limit) = (name.into(), limit.into());
        Self { name, limit, figure: Figure::P50, round, start: Box::new(start) }
    }

    /// The same row, with another figure as its value.
    #[must_use]
    pub(crate) fn figure(self, figure: Figure) -> Self {
        Self { figure, ..self }
    }
}

/// A row in the making.
struct Making {
    name: String,
    limit: String,
    figure: Figure,
    round: Round,
    case: Box<dyn Case>,
    counted: Rounds,
    /// Rounds that do not count.
    spoilt: Rounds,
}

/// What several rounds gave.
#[derive(Default)]
struct Rounds {
    samples: Vec<u64>,
    /// The figure of each round.
    figures: Vec<f64>,
    calls: u64,
    cpu_ns: f64,
}

impl Rounds {
    fn add(&mut self, other: Self) {
        self.samples.extend(other.samples);
        self.figures.extend(other.figures);
        self.calls += other.calls;
        self.cpu_ns += other.cpu_ns;
    }
}

impl Making {
    fn start(line: Line<'_>, env: &Env) -> Result<Self> {
        let Line { name, limit, figure, round, start } = line;
        let case = start(env).map_err(|e| format!("{name}: {e}"))?;
        let (counted, spoilt) = (Rounds::default(), Rounds::default());
        Ok(Self { name, limit, figure, round, case, counted, spoilt })
    }

    fn round(&mut self) -> Result<()> {
        let before = self.case.cpu();
        let taken = self.case.round(&self.round).map_err(|e| format!("{}: {e}", self.name))?;
        let cpu = self.case.cpu().saturating_sub(before);
        let mut samples = taken.samples;
        samples.sort_unstable();
        let figure = self.figure.of(&samples, taken.rate);
        let figures = figure.into_iter().collect();
        let cpu_ns = cpu.as_secs_f64() * 1e9;
        let round = Rounds { samples, figures, calls: taken.calls, cpu_ns };
        match taken.spoilt {
            None => self.counted.add(round),
            Some(why) => {
                eprintln!("{}: a round does not count: {why}", self.name);
                self.spoilt.add(round);
            }
        }
        Ok(())
    }

    /// The row, `rows` being those before it. Less than half of what was asked for is an error, as the machine is too
    /// slow or too busy for the row to say anything; in a quick run it is a row that says so.
    fn finish(mut self, rounds: usize, quick: bool, rows: &[Row]) -> Result<Row> {
        let wanted = self.round.samples * rounds / 2;
        let found = self.counted.samples.len();
        let counts = found >= wanted;
        let spoilt = self.spoilt.figures.len();
        if !counts {
            let why = format!("{}: {found} samples in time, {wanted} wanted", self.name);
            if !quick {
                return Err(why);
            }
            eprintln!("{why}: the row does not count");
            self.counted.add(std::mem::take(&mut self.spoilt));
        }
        self.warn_of_a_move();
        let Rounds { mut samples, mut figures, calls, cpu_ns } = self.counted;
        samples.sort_unstable();
        figures.sort_unstable_by(f64::total_cmp);
        let value = match self.figure {
            Figure::Rate => figures.get(figures.len() / 2).copied(),
            figure => figure.of(&samples, 0.0),
        };
        let value = value.ok_or_else(|| format!("{}: no sample at all", self.name))?;
        let limit = rows.iter().find(|r| r.case == self.limit);
        // A part is held against its whole, which is no limit.
        let floor = limit.is_some_and(|l| l.limit == Some(l.value) && value < l.value * 0.9);
        if self.figure != Figure::Rate && floor {
            eprintln!("{}: faster than its limit: the machine changed under the run", self.name);
        }
        let limit = limit.map_or(value, |l| l.value);
        Ok(Row {
            case: self.name,
            unit: self.figure.unit(),
            value,
            limit: Some(limit),
            percentiles: (!samples.is_empty()).then(|| Row::PERCENTILES.map(|p| at(&samples, p))),
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52 calls")]
            cpu_s_per_million: (calls > 0).then(|| cpu_ns / calls as f64 / 1e3),
            samples: samples.len(),
            spoilt,
            counts,
        })
    }

    /// A virtual machine may move its CPUs under a run: one figure would then mix two machines.
    fn warn_of_a_move(&self) {
        let figures = &self.counted.figures;
        let low = figures.iter().copied().fold(f64::INFINITY, f64::min);
        let high = figures.iter().copied().fold(0.0, f64::max);
        if self.name == self.limit && high > low * 2.0 {
            eprintln!("{}: from {low:.0} to {high:.0} between rounds: CPUs moved", self.name);
        }
    }
}

/// Makes the rows, `rounds` rounds each; a limit stands before the rows held against it.
pub(crate) fn run(env: &Env, rounds: usize, lines: Vec<Line<'_>>) -> Result<Vec<Row>> {
    let mut all = Vec::new();
    for line in wanted(env, lines)? {
        all.push(Making::start(line, env)?);
    }
    for _ in 0..rounds * 2 {
        for making in all.iter_mut().filter(|m| m.counted.figures.len() < rounds) {
            making.round()?;
        }
        if env.options.quick {
            let done = |m: &Making| m.counted.figures.len() + m.spoilt.figures.len() >= rounds;
            if all.iter().all(done) {
                break;
            }
        }
    }
    let mut rows = Vec::new();
    for making in all {
        let row = making.finish(rounds, env.options.quick, &rows)?;
        rows.push(row);
    }
    Ok(rows)
}

/// The lines `--only` asks for, and their limits.
fn wanted<'e>(env: &Env, lines: Vec<Line<'e>>) -> Result<Vec<Line<'e>>> {
    let Some(only) = &env.options.only else { return Ok(lines) };
    let named = |line: &&Line<'_>| line.name.contains(only.as_str());
    let limits: Vec<String> = lines.iter().filter(named).map(|l| l.limit.clone()).collect();
    if limits.is_empty() {
        let names: Vec<_> = lines.iter().map(|l| l.name.as_str()).collect();
        return Err(format!("no case has `{only}` in its name; there are {}", names.join(", ")));
    }
    let keep = |l: &Line<'_>| l.name.contains(only.as_str()) || limits.contains(&l.name);
    Ok(lines.into_iter().filter(keep).collect())
}
