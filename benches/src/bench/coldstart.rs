//! From spawn to ready: a Go plugin under a host against an empty Go program, the parts, and the first answer.

use std::time::Duration;

use crate::Result;
use crate::case::Round;
use crate::contender::spawn::{ColdPlugin, EmptyGo, Part};
use crate::env::Env;
use crate::report::Row;
use crate::run::{Line, run};

const EMPTY: &str = "limit/empty-go";

pub(super) fn rows(env: &Env) -> Result<Vec<Row>> {
    let round = Round { limit: Duration::from_secs(env.pick(1, 10)), ..env.some(5, 40) };
    let plugin = |part| move |env: &Env| ColdPlugin::new(env, part);
    let lines = vec![
        Line::new(EMPTY, EMPTY, round, EmptyGo::new),
        Line::new("coldstart/go", EMPTY, round, plugin(Part::Whole)),
        Line::new("coldstart/go/to-main", EMPTY, round, plugin(Part::ToMain)),
        Line::new("coldstart/go/from-main", EMPTY, round, plugin(Part::FromMain)),
        Line::new("coldstart/go/answered", EMPTY, round, plugin(Part::Answered)),
    ];
    run(env, env.rounds(), lines)
}
