//! Nylon's benches. What each figure means is in README.md.

mod asleep;
mod cpus;
mod futex;
mod lane;
mod pingpong;
mod report;
mod roundtrip;
mod session;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What went wrong, for people.
type Result<T> = std::result::Result<T, String>;

#[derive(Parser)]
#[command(about = "Latencies as ratios to what the machine can do at all")]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// One call and its answer: the lane alone, and a whole session of the host.
    Roundtrip {
        /// Also write the rows to FILE, as a JSON array.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// A tenth of the samples.
        #[arg(long)]
        quick: bool,
    },
    /// The other process of the raw futex pair.
    #[command(hide = true)]
    FutexPeer,
}

fn main() -> ExitCode {
    let done = match Cli::parse().bench {
        Bench::Roundtrip { json, quick } => roundtrip::run(quick, json.as_deref()),
        Bench::FutexPeer => futex::peer(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("nylon-benches: {why}");
            ExitCode::FAILURE
        }
    }
}
