//! Nylon's lane beside what a user would pick instead. What each row means is in README.md.

mod build;
mod cell;
mod client;
mod contender;
mod cpus;
mod payload;
mod process;
mod report;
mod runner;
mod socket;
mod taker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cpus::Cpus;

/// What went wrong, for people.
type Result<T> = std::result::Result<T, String>;

#[derive(Parser)]
#[command(about = "Nylon's lane beside what a user would pick instead")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Every contender, in turns.
    Peers(runner::Args),
    /// One contender's client.
    #[command(hide = true)]
    Client { name: String },
    /// One contender's server.
    #[command(hide = true)]
    Serve { name: String, path: PathBuf },
}

fn main() -> ExitCode {
    let done = match Cli::parse().what {
        What::Peers(args) => runner::run(&args),
        What::Client { name } => Cpus::given().and_then(|cpus| contender::client(&name, &cpus)),
        What::Serve { name, path } => contender::serve(&name, &path),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("nylon-peers: {why}");
            ExitCode::FAILURE
        }
    }
}
