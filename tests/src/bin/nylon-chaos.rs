//! `cargo xtask chaos [ROW…|all]`: rows of HARDENING's reliability table, injected and measured.
//!
//! The rows are nylon_tests::chaos. The last line is the summary, the exit is 0 only if every fault happened and every
//! figure held.

use std::process::ExitCode;

use clap::Parser;
use nylon_tests::chaos::{self, Mode, ROWS, Row, Size};

#[derive(Parser)]
struct Cli {
    /// R1, …; `all` runs every row; none: list them
    row: Vec<String>,
    /// The long form
    #[arg(long)]
    long: bool,
    /// Same seed, same victims
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.row.is_empty() {
        ROWS.iter().for_each(|row| println!("{:<4} {}", row.name, row.what));
        return ExitCode::SUCCESS;
    }
    let rows = match rows(&cli.row) {
        Ok(rows) => rows,
        Err(name) => {
            let all: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
            eprintln!("error: no row `{name}`; there are {}, and `all`", all.join(", "));
            return ExitCode::from(2);
        }
    };
    let mode = Mode { size: if cli.long { Size::Long } else { Size::Short }, seed: cli.seed };
    let mut summary = Vec::new();
    let mut failed = false;
    for row in rows {
        println!("{row:?}");
        let (name, seed) = (row.name, cli.seed);
        // A row that cannot go on says so by a panic; the others go on.
        let Ok(found) = tokio::spawn(row.run(mode)).await else {
            failed = true;
            summary.push(format!("{name} FAILED (seed {seed}): it could not be run to its end"));
            continue;
        };
        summary.push(if found.missed().is_empty() {
            format!("{name} held (seed {seed}): {}", found.figures().join("; "))
        } else {
            failed = true;
            format!("{name} FAILED (seed {seed}): {}", found.missed().join("; "))
        });
    }
    summary.iter().for_each(|line| println!("{line}"));
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The rows of these names, or the name that is none.
fn rows(names: &[String]) -> Result<Vec<&'static Row>, &String> {
    if names.iter().any(|n| n.eq_ignore_ascii_case("all")) {
        return Ok(ROWS.iter().collect());
    }
    names.iter().map(|name| chaos::row(name).ok_or(name)).collect()
}
