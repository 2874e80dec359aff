//! Nylon's lane beside what a user would pick instead. What each row means is in README.md.

mod build;
mod cell;
mod client;
mod contender;
mod cpus;
mod gateway;
mod payload;
mod process;
mod report;
mod runner;
mod socket;
mod taker;
mod tasks;

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
    /// One gateway.
    #[command(hide = true)]
    Gateway { name: String },
    /// One contender's server.
    #[command(hide = true)]
    Serve { name: String, at: String },
}

fn main() -> ExitCode {
    let done = match Cli::parse().what {
        What::Peers(args) => runner::run(&args),
        What::Client { name } => Cpus::given().and_then(|cpus| contender::client(&name, &cpus)),
        What::Gateway { name } => Cpus::given().and_then(|cpus| gateway::serve(&name, &cpus)),
        What::Serve { name, at } => contender::serve(&name, &at),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("nylon-peers: {why}");
            ExitCode::FAILURE
        }
    }
}
