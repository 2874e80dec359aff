//! 64 KiB and 1 MiB there and back through a session: RawBody, changed, as the answer

use crate::Result;
use crate::contender::body::BodyEcho;
use crate::contender::memcpy::Memcpy;
use crate::contender::sessions::{BALANCED, BUSY};
use crate::env::Env;
use crate::report::Row;
use crate::run::{Line, run};

const SIZES: [(&str, usize); 2] = [("64KiB", 64 << 10), ("1MiB", 1 << 20)];

pub(super) fn rows(env: &Env) -> Result<Vec<Row>> {
    let round = env.some(8, 500);
    let mut lines = Vec::new();
    for (name, size) in SIZES {
        let limit = format!("limit/memcpy/{name}");
        let memcpy = move |_: &Env| Ok(Memcpy::new(size));
        lines.push(Line::new(limit.clone(), limit.clone(), round, memcpy));
        for plugin in [BUSY, BALANCED] {
            let body = move |env: &Env| BodyEcho::start(env, plugin, size);
            lines.push(Line::new(format!("body/{name}/{plugin}"), limit.clone(), round, body));
        }
    }
    run(env, env.rounds(), lines)
}
