//! One call and its answer: the lane alone and a whole session, both sides spinning and both asleep

use std::time::Duration;

use super::{FUTEX, PING_PONG};
use crate::Result;
use crate::contender::futex::FutexPair;
use crate::contender::lane::{Lane, Wait};
use crate::contender::pingpong::PingPong;
use crate::contender::pipe::Alone;
use crate::contender::session::{Entry, Session};
use crate::contender::sessions::{BALANCED, BUSY};
use crate::env::Env;
use crate::report::Row;
use crate::run::{Line, run};

/// Calls of a parked row begin so far apart.
pub(super) const GAP: Duration = Duration::from_micros(200);

pub(super) fn rows(env: &Env) -> Result<Vec<Row>> {
    let lane = |wait| move |env: &Env| Lane::start(env, wait).map(Alone);
    let session = |policy| move |env: &Env| Session::start(env, policy, Entry::Getters);
    // A call of a session is long enough for a clock of its own.
    let (busy, single, parked) = (env.busy(16), env.busy(1), env.parked(GAP, 4_200));
    let lines = vec![
        Line::new(PING_PONG, PING_PONG, busy, |env: &Env| Ok(PingPong(env.cpus))),
        Line::new("lane/go/64B/busy", PING_PONG, busy, lane(Wait::Spin)),
        Line::new("session/busy", PING_PONG, single, session(BUSY)),
        Line::new(FUTEX, FUTEX, parked, FutexPair::start),
        Line::new("lane/go/64B/parked", FUTEX, parked, lane(Wait::Eventfd)),
        Line::new("lane/go/64B/parked/futex", FUTEX, parked, lane(Wait::Futex)),
        Line::new("session/parked", FUTEX, parked, session(BALANCED)),
    ];
    run(env, env.rounds(), lines)
}
