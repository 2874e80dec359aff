//! The limits of a plugin.

use super::diagnostic::Report;
use super::fields::Fields;
use crate::bytesize::Size;
use crate::supervisor::Limits;
use crate::supervisor::limits::{LOG_BURST_MIN, LOG_RATE_MIN, NOFILE_MIN, nofile_max};
use nylon_protocol::wire;

/// Most requests that a limit counts.
const REQUESTS_MAX: u64 = 1_000_000;
/// Least memory of a worker: a Go program that does nothing takes half of it.
const MEMORY_MIN: u64 = 16 << 20;
const ARENA: std::ops::RangeInclusive<u64> =
    wire::LIMIT_ARENA_MIN as u64..=wire::LIMIT_ARENA_MAX as u64;

/// Reads `limits`; what is not there is as it is by default.
pub(super) fn read(plugin: &mut Fields<'_>, report: &mut Report) -> Limits {
    let default = Limits::default();
    let Some(mut fields) = plugin.map("limits", "limit list", report) else { return default };
    let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let limits = Limits {
        concurrency: fields.integer("concurrency", 1..=REQUESTS_MAX, report).map(number),
        websockets: fields
            .integer("websockets", 0..=REQUESTS_MAX, report)
            .map_or(default.websockets, number),
        queue: fields.integer("queue", 0..=REQUESTS_MAX, report).map_or(default.queue, number),
        queue_wait: fields.duration("queue_wait", report).unwrap_or(default.queue_wait),
        arena: arena(&mut fields, report).unwrap_or(default.arena),
        log_rate: fields
            .bytes("log_rate", LOG_RATE_MIN..=u64::MAX, report)
            .unwrap_or(default.log_rate),
        log_burst: fields
            .bytes("log_burst", LOG_BURST_MIN..=u64::MAX, report)
            .unwrap_or(default.log_burst),
        memory: fields.bytes("memory", MEMORY_MIN..=u64::MAX, report),
        nofile: nofile(&mut fields, report),
    };
    fields.finish(report);
    limits
}

fn arena(fields: &mut Fields<'_>, report: &mut Report) -> Option<u64> {
    let arena = fields.bytes("arena", ARENA, report)?;
    if arena.is_power_of_two() {
        return Some(arena);
    }
    let above = arena.next_power_of_two();
    let at = &fields.get("arena")?.at;
    report.error(at, "`arena` must be a power of two".to_owned()).help =
        Some(format!("write {} or {}", Size(above / 2), Size(above)));
    None
}

fn nofile(fields: &mut Fields<'_>, report: &mut Report) -> Option<u64> {
    let nofile = fields.integer("nofile", NOFILE_MIN..=u64::MAX, report)?;
    let most = nofile_max();
    if nofile > most {
        let at = &fields.get("nofile")?.at;
        let message = format!("`nofile` is above the gateway's own hard limit, {most}");
        report.error(at, message).help =
            Some("write less, or raise it: `ulimit -Hn`, LimitNOFILE= under systemd".to_owned());
    }
    Some(nofile)
}
