//! Requests through the program nylon, static and proxied: no plugin, one, three; by the second, and p99 at half load

use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Duration;

use crate::Result;
use crate::case::Round;
use crate::contender::gateway::{Gateway, PLUGINS, Requests, Service};
use crate::env::Env;
use crate::report::{Figure, Row};
use crate::run::{Line, run};

const CHAINS: [(&str, usize); 3] = [("none", 0), ("one", 1), ("three", PLUGINS)];

pub(super) fn rows(env: &Env) -> Result<Vec<Row>> {
    let limit = Duration::from_millis(env.pick(150, 2500));
    // A round goes on for all of its time; this is what it must have in the end.
    let round = Round { limit, ..env.some(10, 500) };
    let gateway = OnceCell::new();
    let gateway = |env: &Env| -> Result<Rc<Gateway>> {
        if gateway.get().is_none() {
            let _ = gateway.set(Gateway::start(env)?);
        }
        gateway.get().cloned().ok_or_else(|| "no gateway".into())
    };
    let gateway = &gateway;
    let mut lines = Vec::new();
    for service in [Service::Static, Service::Proxy] {
        let name = |chain, rest: &str| format!("gateway/{}/{chain}/{rest}", service.name());
        for connections in [16, 64] {
            for (chain, plugins) in CHAINS {
                let rest = connections.to_string();
                let start = move |env: &Env| {
                    Ok(Requests::saturating(gateway(env)?, service, plugins, connections))
                };
                let line = Line::new(name(chain, &rest), name("none", &rest), round, start);
                lines.push(line.figure(Figure::Rate));
            }
        }
        for (chain, plugins) in CHAINS {
            let start =
                move |env: &Env| Requests::at_half(gateway(env)?, service, plugins, round.limit);
            let line = Line::new(name(chain, "p99"), name("none", "p99"), round, start);
            lines.push(line.figure(Figure::P99));
        }
    }
    run(env, env.pick(1, 3), lines)
}
