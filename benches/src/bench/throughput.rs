//! 64 in flight on one lane: frames echoed by Go and whole sessions, by the second

use super::RTRB;
use crate::Result;
use crate::contender::lane::{Lane, Wait};
use crate::contender::pipe::Flight;
use crate::contender::rtrb::Rtrb;
use crate::contender::session_flight::SessionFlight;
use crate::contender::sessions::{BALANCED, BUSY};
use crate::env::Env;
use crate::report::{Figure, Row};
use crate::run::{Line, run};

pub(super) fn rows(env: &Env) -> Result<Vec<Row>> {
    let rate = |line: Line<'static>| line.figure(Figure::Rate);
    let lane = |wait| move |env: &Env| Lane::start(env, wait).map(Flight);
    let sessions = |policy| move |env: &Env| SessionFlight::start(env, policy);
    let (flights, calls) = (env.busy(1), env.some(1_000, 50_000));
    let lines = vec![
        rate(Line::new(RTRB, RTRB, flights, |env: &Env| Ok(Flight(Rtrb::new(env.cpus))))),
        rate(Line::new("frames/go/64B", RTRB, flights, lane(Wait::Spin))),
        rate(Line::new("sessions/latency", RTRB, calls, sessions(BUSY))),
        rate(Line::new("sessions/balanced", RTRB, calls, sessions(BALANCED))),
    ];
    run(env, env.rounds(), lines)
}
