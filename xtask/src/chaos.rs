//! `cargo xtask chaos [ROW…|all] [--long] [--seed N]`: rows of the reliability table.
//!
//! The rows live in tests/src/chaos, beside the harness they use; adding one needs no change here.

use std::os::unix::process::CommandExt as _;
use std::path::Path;

use crate::Result;
use crate::demo::launch;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// R1, R2, …; `all` runs every row; none: list them
    row: Vec<String>,
    /// The long form of the rows
    #[arg(long)]
    long: bool,
    /// Same seed, same victims
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    let mut chaos = launch(root, "nylon-chaos", &["probe"])?;
    chaos.args(&args.row).arg("--seed").arg(args.seed.to_string());
    if args.long {
        chaos.arg("--long");
    }
    // In its place, so that a signal to this command reaches it.
    Err(chaos.exec().to_string())
}
