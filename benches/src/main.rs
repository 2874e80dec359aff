//! Nylon's benches. What each figure means is in README.md.
//!
//! A [bench](mod@bench) is a list of rows; each row is a [`case::Case`] that is asked for rounds of samples, in turns
//! with the others ([`run`]). What is called lies in [`contender`].

mod asleep;
mod bench;
mod case;
mod contender;
mod cpu;
mod cpus;
mod env;
mod report;
mod run;
mod timer;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use contender::websocket;
use env::Env;

/// What went wrong, for people.
type Result<T> = std::result::Result<T, String>;

#[derive(Parser)]
#[command(about = "Latencies as ratios to what the machine can do at all")]
struct Cli {
    /// One of those in src/bench
    name: String,
    /// Also write the rows to FILE, as a JSON array
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    options: env::Options,
}

/// The other process of the raw futex pair goes by this name.
const FUTEX_PEER: &str = "futex-peer";

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let done = match args.first().map(String::as_str) {
        Some(FUTEX_PEER) => contender::futex::peer(),
        Some(websocket::CLIENT) => websocket::client::main(&args),
        Some(websocket::LIBRARY) => websocket::library::main(&args),
        _ => {
            let Cli { name, json, options } = Cli::parse();
            bench(&name, options, json)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("nylon-benches: {why}");
            ExitCode::FAILURE
        }
    }
}

fn bench(name: &str, options: env::Options, json: Option<PathBuf>) -> Result<()> {
    let bench = bench::ALL.iter().find(|b| b.0 == name).ok_or_else(|| {
        let names: Vec<_> = bench::ALL.iter().map(|b| b.0).collect();
        format!("there is no bench `{name}`; there are {}", names.join(", "))
    })?;
    let env = Env::new(options)?;
    report::facts(&env.cpus);
    let rows = (bench.1)(&env)?;
    report::table(&rows);
    json.map_or(Ok(()), |path| report::json(name, &rows, &path))
}
