//! What the machine can do at all: a cache line or a wake to and fro, memcpy, another ring

use super::roundtrip::GAP;
use super::{FUTEX, PING_PONG, RTRB};
use crate::Result;
use crate::contender::futex::FutexPair;
use crate::contender::memcpy::Memcpy;
use crate::contender::pingpong::PingPong;
use crate::contender::pipe::{Alone, Flight};
use crate::contender::rtrb::Rtrb;
use crate::env::Env;
use crate::report::{Figure, Row};
use crate::run::{Line, run};

const MEMCPY: &str = "limit/memcpy/1MiB";

pub(super) fn rows(env: &Env) -> Result<Vec<Row>> {
    let (busy, single, parked) = (env.busy(16), env.busy(1), env.parked(GAP, 4_200));
    let lines = vec![
        Line::new(PING_PONG, PING_PONG, busy, |env: &Env| Ok(PingPong(env.cpus))),
        Line::new(FUTEX, FUTEX, parked, FutexPair::start),
        Line::new(MEMCPY, MEMCPY, env.some(50, 2_000), |_: &Env| Ok(Memcpy::new(1 << 20))),
        Line::new("limit/rtrb/64B/alone", PING_PONG, busy, |env: &Env| {
            Ok(Alone(Rtrb::new(env.cpus)))
        }),
        Line::new(RTRB, RTRB, single, |env: &Env| Ok(Flight(Rtrb::new(env.cpus))))
            .figure(Figure::Rate),
    ];
    run(env, env.rounds(), lines)
}
