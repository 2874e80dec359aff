//! The rings of nylon-shm between two threads: payloads in the slot and in the arena, one at a time and 64 in flight

use super::{PING_PONG, RTRB};
use crate::Result;
use crate::contender::pingpong::PingPong;
use crate::contender::pipe::{Alone, Flight};
use crate::contender::ring::{Place, Ring};
use crate::contender::rtrb::Rtrb;
use crate::env::Env;
use crate::report::{Figure, Row};
use crate::run::{Line, run};

/// Sizes that fit into a slot.
const SHORT: [usize; 4] = [24, 48, 64, 88];

pub(super) fn rows(env: &Env) -> Result<Vec<Row>> {
    let busy = env.busy(16);
    let alone = |name: String, size, place| {
        let start = move |env: &Env| Ok(Alone(Ring::new(env.cpus, size, place)));
        Line::new(name, PING_PONG, busy, start)
    };
    let ping_pong = Line::new(PING_PONG, PING_PONG, busy, |env: &Env| Ok(PingPong(env.cpus)));
    let mut lines = vec![
        ping_pong,
        alone("ring/64B".into(), 64, Place::Ring),
        alone("ring/256B".into(), 256, Place::Ring),
        alone("ring/4KiB".into(), 4096, Place::Ring),
    ];
    for size in SHORT {
        lines.push(alone(format!("ring/{size}B/inline"), size, Place::Ring));
        lines.push(alone(format!("ring/{size}B/arena"), size, Place::Arena));
    }
    for size in [128, 256] {
        lines.push(alone(format!("ring/{size}B/arena"), size, Place::Ring));
    }
    let flight = |size| {
        let start = move |env: &Env| Ok(Flight(Ring::new(env.cpus, size, Place::Ring)));
        Line::new(format!("ring/{size}B/flight"), RTRB, env.busy(1), start).figure(Figure::Rate)
    };
    let rtrb = |env: &Env| Ok(Flight(Rtrb::new(env.cpus)));
    lines.push(Line::new(RTRB, RTRB, env.busy(1), rtrb).figure(Figure::Rate));
    lines.extend([flight(64), flight(256)]);
    run(env, env.rounds(), lines)
}
