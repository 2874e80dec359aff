//! One request through Chain::call into a Go entry: NEXT alone and with three getters, spinning and asleep

use super::roundtrip::GAP;
use super::{FUTEX, PING_PONG};
use crate::Result;
use crate::contender::evaluate::{Expand, Route};
use crate::contender::futex::FutexPair;
use crate::contender::pingpong::PingPong;
use crate::contender::session::{Entry, Session};
use crate::contender::sessions::{BALANCED, BUSY};
use crate::env::Env;
use crate::report::Row;
use crate::run::{Line, run};

/// A session whose payload is made of templates; its parts are held against it.
const PAYLOAD: &str = "session/busy/payload";

pub(super) fn rows(env: &Env) -> Result<Vec<Row>> {
    let session = |policy, entry| move |env: &Env| Session::start(env, policy, entry);
    let (single, parked) = (env.busy(1), env.parked(GAP, 4_200));
    let lines = vec![
        Line::new(PING_PONG, PING_PONG, env.busy(16), |env: &Env| Ok(PingPong(env.cpus))),
        Line::new("session/busy", PING_PONG, single, session(BUSY, Entry::Getters)),
        Line::new("session/busy/static", PING_PONG, single, session(BUSY, Entry::Static)),
        Line::new("session/busy/next", PING_PONG, single, session(BUSY, Entry::Next)),
        Line::new(PAYLOAD, PING_PONG, single, session(BUSY, Entry::Payload)),
        Line::new("session/part/route", PAYLOAD, env.busy(16), |_: &Env| Route::new()),
        Line::new("session/part/payload", PAYLOAD, env.busy(16), |_: &Env| Expand::new()),
        Line::new(FUTEX, FUTEX, parked, FutexPair::start),
        Line::new("session/parked", FUTEX, parked, session(BALANCED, Entry::Getters)),
        Line::new("session/parked/next", FUTEX, parked, session(BALANCED, Entry::Next)),
    ];
    run(env, env.rounds(), lines)
}
