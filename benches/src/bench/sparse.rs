//! One call per millisecond, policy balanced; --stuck: beside a handler that burns CPU for 100 ms now and then

use std::time::Duration;

use super::FUTEX;
use crate::Result;
use crate::case::Round;
use crate::contender::futex::FutexPair;
use crate::contender::lane::{Lane, Wait};
use crate::contender::others::Others;
use crate::contender::pipe::Alone;
use crate::contender::session::{Entry, Session};
use crate::contender::sessions::BALANCED;
use crate::env::Env;
use crate::report::{Figure, Row};
use crate::run::{Line, run};

pub(super) fn rows(env: &Env) -> Result<Vec<Row>> {
    let round = env.parked(Duration::from_millis(1), 1_000);
    let lane = |wait| move |env: &Env| Lane::start(env, wait).map(Alone);
    let session = |env: &Env| Session::start(env, BALANCED, Entry::Getters);
    let mut lines = vec![
        Line::new(FUTEX, FUTEX, round, FutexPair::start),
        Line::new("sparse/lane/go/64B", FUTEX, round, lane(Wait::Eventfd)),
        Line::new("sparse/lane/go/64B/futex", FUTEX, round, lane(Wait::Futex)),
        Line::new("sparse/session", FUTEX, round, session),
    ];
    if env.options.stuck {
        let others = |stuck| move |env: &Env| Others::start(env, stuck);
        let (alone, beside) = ("sparse/others", "sparse/others/stuck");
        // At least one handler burns in each round.
        let round = Round { samples: round.samples.max(250), ..round };
        lines.push(Line::new(alone, alone, round, others(false)).figure(Figure::P99));
        lines.push(Line::new(beside, alone, round, others(true)).figure(Figure::P99));
    }
    run(env, env.rounds(), lines)
}
