//! How many processes a plugin has, and how they are kept.

use super::diagnostic::Report;
use super::fields::Fields;
use super::yaml::{Node, Value};
use crate::supervisor::{Backoff, Breaker, DrainStreams, Restart, Supervision};

/// `workers: 2`, or `workers: {min: 1, max: 4}`: fewest and most.
pub(super) fn workers(fields: &mut Fields<'_>, report: &mut Report) -> (u32, u32) {
    let number = |n: Option<u64>| n.and_then(|n| u32::try_from(n).ok());
    let is_range = |node: &Node| matches!(node.value, Value::Map(_));
    if !fields.get("workers").is_some_and(is_range) {
        let workers = number(fields.integer("workers", 1..=1024, report)).unwrap_or(1);
        return (workers, workers);
    }
    let Some(mut range) = fields.map("workers", "range of workers", report) else { return (1, 1) };
    range.required("max", report);
    let min = number(range.integer("min", 1..=1024, report)).unwrap_or(1);
    let max = number(range.integer("max", 1..=1024, report)).unwrap_or(min);
    if let Some(at) = range.place("max").filter(|_| max < min) {
        report.error(at, format!("`max` is less than `min`, which is {min}")).help =
            Some("swap them, or say `workers: N`".to_owned());
    }
    range.finish(report);
    (min, max.max(min))
}

/// Reads the keys `restart`, `backoff`, `breaker`, `ping`, `drain`.
pub(super) fn read(fields: &mut Fields<'_>, report: &mut Report) -> Supervision {
    let mut all = Supervision::DEFAULT;
    let restarts = [
        ("always", Restart::Always),
        ("on-failure", Restart::OnFailure),
        ("never", Restart::Never),
    ];
    if let Some(restart) = fields.choice("restart", &restarts, report) {
        all.restart = restart.value;
    }
    all.backoff = backoff(fields, report);
    all.breaker = breaker(fields, report);
    all.ping = fields.duration("ping", report).unwrap_or(all.ping);
    if let Some(mut drain) = fields.map("drain", "drain section", report) {
        all.drain = drain.duration("timeout", report).unwrap_or(all.drain);
        all.stop = drain.duration("stop", report).unwrap_or(all.stop);
        let streams = [("wait", DrainStreams::Wait), ("cut", DrainStreams::Cut)];
        if let Some(streams) = drain.choice("streams", &streams, report) {
            all.drain_streams = streams.value;
        }
        drain.finish(report);
    }
    all
}

fn backoff(fields: &mut Fields<'_>, report: &mut Report) -> Backoff {
    let mut all = Backoff::DEFAULT;
    if let Some(mut backoff) = fields.map("backoff", "backoff section", report) {
        all.first = backoff.duration("first", report).unwrap_or(all.first);
        all.max = backoff.duration("max", report).unwrap_or(all.max.max(all.first));
        all.stable = backoff.duration("stable", report).unwrap_or(all.stable);
        if let Some(jitter) = backoff.integer("jitter", 0..=50, report) {
            all.jitter = u32::try_from(jitter).unwrap_or(all.jitter);
        }
        if let Some(at) = backoff.place("max").filter(|_| all.max < all.first) {
            report.error(at, "`max` is shorter than `first`").help =
                Some("the waits grow from `first` to `max`".to_owned());
        }
        backoff.finish(report);
    }
    all
}

fn breaker(fields: &mut Fields<'_>, report: &mut Report) -> Breaker {
    let mut all = Breaker::DEFAULT;
    if let Some(mut breaker) = fields.map("breaker", "breaker section", report) {
        if let Some(intensity) = breaker.integer("intensity", 0..=1_000_000, report) {
            all.intensity = u32::try_from(intensity).unwrap_or(all.intensity);
        }
        all.period = breaker.duration("period", report).unwrap_or(all.period);
        breaker.finish(report);
    }
    all
}
