//! `cargo xtask`: every chore of the project, one command and one file each.
//!
//! A command finds what exists (crates, test files, Go modules) and fails by name where a required thing is missing, so
//! that adding a test file or an example needs no change here.

mod bench;
mod chaos;
mod check;
mod demo;
mod fuzz;
mod r#gen;
mod go;
mod loom;
mod process;
mod schema;
mod test;
mod tool;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

type Result<T> = std::result::Result<T, String>;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Every chore of the project")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the generated files: constants of three languages, FlatBuffers code
    Gen {
        /// Compare with the committed files instead of writing them
        #[arg(long)]
        check: bool,
    },
    /// Formatting, lints, docs and generated files of every language
    Check {
        /// Also licences, bans and sources of the dependencies (cargo-deny)
        #[arg(long)]
        full: bool,
    },
    /// Every test of every language
    Test(test::Args),
    /// The shipped ring and doorbell under loom
    Loom {
        /// Break the code as nylon-shm/tests/mutants.toml says and demand that a test fails each time
        #[arg(long)]
        mutants: bool,
    },
    /// Build the benches in release and run one; without a name: list them
    #[command(disable_help_flag = true)]
    Bench {
        /// NAME [--json FILE] [--quick] [--only CASE]
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Rows of the reliability table: inject the fault, hold the figures; without a row: list them
    Chaos(chaos::Args),
    /// Run the fuzz targets for a while
    Fuzz(fuzz::Args),
    /// Show the whole path with a real plugin, and kill it under load
    Demo(demo::Args),
}

fn main() -> ExitCode {
    let root = root();
    let done = match Cli::parse().command {
        Command::Gen { check } => r#gen::run(&root, check).and_then(|()| schema::run(&root, check)),
        Command::Check { full } => check::run(&root, full),
        Command::Test(args) => test::run(&root, &args),
        Command::Loom { mutants } => loom::run(&root, mutants),
        Command::Bench { args } => bench::run(&root, &args),
        Command::Chaos(args) => chaos::run(&root, &args),
        Command::Fuzz(args) => fuzz::run(&root, &args),
        Command::Demo(args) => demo::run(&root, &args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace: where `cargo xtask` was built from, or the current folder if that one is gone.
fn root() -> PathBuf {
    let built =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask sits in the workspace");
    if built.join("Cargo.toml").exists() { built.to_owned() } else { PathBuf::from(".") }
}

/// Where cargo puts things; `CARGO_TARGET_DIR` moves it.
fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}
