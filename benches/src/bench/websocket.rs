//! WebSockets through a Go plugin: echo and broadcast next to a library alone, and the memory of sockets that idle

use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Duration;

use crate::Result;
use crate::case::Round;
use crate::contender::websocket::library::Manner;
use crate::contender::websocket::{Server, Share, Talk, Texts, raise_files};
use crate::env::Env;
use crate::report::{Figure, Row};
use crate::run::{Line, run};

/// Connections, and texts on their way on each.
const LOADS: [(usize, usize); 4] = [(1, 1), (16, 8), (64, 8), (MEMBERS, 8)];
/// Members of the room.
const MEMBERS: usize = 1000;
/// What a delivery to a member is held against: a text that the library sends on as many connections, and on few.
const SENDS: [(&str, &str); 2] =
    [("cpu", "websocket/library/1000"), ("cpu/16", "websocket/library/16")];
const DELIVERY: &str = "websocket/room/plugin";

pub(super) fn rows(env: &Env) -> Result<Vec<Row>> {
    raise_files()?;
    let sockets = env.pick(2_000, 10_000);
    let held = format!("websocket/held/{sockets}");
    let only = env.options.only.as_deref();
    let named = only.is_some_and(|only| held.contains(only));
    let mut rows = if named { Vec::new() } else { texts(env)? };
    if named || only.is_none() {
        rows.extend(memory(env, &held, sockets)?);
    }
    Ok(rows)
}

/// Echo and broadcast.
fn texts(env: &Env) -> Result<Vec<Row>> {
    let gateway = OnceCell::new();
    let gateway = |env: &Env| -> Result<Server> {
        if gateway.get().is_none() {
            let _ = gateway.set(Server::gateway(env)?);
        }
        gateway.get().cloned().ok_or_else(|| "no gateway".into())
    };
    let gateway = &gateway;
    let limit = Duration::from_millis(env.pick(150, 2000));
    // A round goes on for all of its time; this is what it must have in the end.
    let round = Round { limit, ..env.some(10, 500) };
    let (mut lines, mut shares) = (Vec::new(), Vec::new());
    let mut share = |name: &str| {
        let share = Rc::<Share>::default();
        shares.push((name.to_owned(), share.clone()));
        share
    };
    for (connections, flight) in LOADS {
        let kinds =
            [("library", Some(Manner::Echo)), ("forward", Some(Manner::Forward)), ("plugin", None)];
        for (who, manner) in kinds {
            if flight == 1 && manner == Some(Manner::Forward) {
                continue;
            }
            let name = format!("websocket/{who}/{connections}");
            let share = share(&name);
            let start = move |env: &Env| {
                let library = manner.map(|manner| Server::library(env, manner));
                let server = library.unwrap_or_else(|| gateway(env))?;
                Texts::start(server, Talk::Echo, connections, flight, share)
            };
            let line = Line::new(name, format!("websocket/library/{connections}"), round, start);
            lines.push(line.figure(if flight == 1 { Figure::P50 } else { Figure::Rate }));
        }
    }
    let round = Round { samples: env.pick(2, 50), ..round };
    for (name, library) in [("websocket/room/library", true), (DELIVERY, false)] {
        let share = share(name);
        let start = move |env: &Env| {
            let library = library.then(|| Server::library(env, Manner::Room));
            let server = library.unwrap_or_else(|| gateway(env).map(|g| g.room()))?;
            Texts::start(server, Talk::Broadcast, MEMBERS, 1, share)
        };
        lines.push(Line::new(name, "websocket/room/library", round, start).figure(Figure::Rate));
    }
    let mut rows = run(env, env.pick(2, 3), lines)?;
    let cpu = |name: &str| rows.iter().find(|r| r.case == name)?.cpu_s_per_million;
    // Seconds for a million are microseconds for one.
    let deliveries = SENDS.map(|(name, send)| {
        let (delivery, send) = cpu(DELIVERY).zip(cpu(send))?;
        let row = Row::plain(&format!("{DELIVERY}/{name}"), "us", delivery);
        Some(Row { limit: Some(send), ..row })
    });
    rows.extend(deliveries.into_iter().flatten());
    let took = shares.iter().filter(|(name, _)| rows.iter().any(|row| row.case == *name));
    let took =
        took.map(|(name, share)| Row::plain(&format!("{name}/client"), "CPUs", share.value()));
    let took: Vec<_> = took.collect();
    rows.extend(took);
    Ok(rows)
}

/// What a socket that idles takes.
fn memory(env: &Env, held: &str, sockets: usize) -> Result<Vec<Row>> {
    let rest = Duration::from_millis(env.pick(500, 2000));
    let (library, _) = Server::library(env, Manner::Echo)?.held(sockets, rest)?;
    let (gateway, worker) = Server::gateway(env)?.held(sockets, rest)?;
    let limit = Some(library);
    let row = |who: &str, each: f64| Row::plain(&format!("{held}/{who}"), "KiB", each);
    Ok(vec![
        Row { limit, ..row("library", library) },
        Row { limit, ..row("plugin", gateway) },
        row("plugin/worker", worker),
    ])
}
