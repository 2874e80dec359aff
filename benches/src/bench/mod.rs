//! The benches, a file each; the first line of a file is what `cargo xtask bench --help` says of it.

mod roundtrip;

use crate::Result;
use crate::env::Env;
use crate::report::Row;

/// A bench: its name, and what makes its rows.
pub(crate) type Bench = (&'static str, fn(&Env) -> Result<Vec<Row>>);

/// All of them.
pub(crate) const ALL: &[Bench] = &[("roundtrip", roundtrip::rows)];
