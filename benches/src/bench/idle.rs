//! A host with an idle worker: CPU of both, wakes of the lane, context switches

use std::time::Duration;

use nylon_host::WaitPolicy;

use crate::Result;
use crate::contender::session::{Entry, Target};
use crate::contender::sessions::{BALANCED, Sessions};
use crate::env::Env;
use crate::report::Row;

pub(super) fn rows(env: &Env) -> Result<Vec<Row>> {
    let all = Sessions::with(env, &[(BALANCED, WaitPolicy::Balanced)])?;
    let target = Target::of(&all, BALANCED, Entry::Getters)?;
    for n in 1..=1000 {
        let target = target.clone();
        let call = all.runtime.spawn(async move { target.call(n).await });
        all.runtime.block_on(call).map_err(|e| e.to_string())??;
    }
    let seconds = env.pick(2, 10);
    // What the calls leave behind is over by then: timers, Go's collector.
    std::thread::sleep(Duration::from_millis(seconds * 250));
    let (status, waits, cpu) = (all.status(BALANCED), all.waits(BALANCED), all.cpu(BALANCED));
    std::thread::sleep(Duration::from_secs(seconds));
    let spent = all.cpu(BALANCED).saturating_sub(cpu);
    let (after, waited) = (all.status(BALANCED), all.waits(BALANCED));
    if after.pid != status.pid || after.calls != 1000 {
        return Err(format!("that was not idle: {status:?}, then {after:?}"));
    }
    let count = |case: &str, before: u64, after: u64| {
        #[expect(clippy::cast_precision_loss, reason = "a few")]
        Row::plain(case, "count", (after - before) as f64)
    };
    let frames = |s: &nylon_host::PluginStatus| s.frames_down + s.frames_up;
    let rows = vec![
        Row::plain(&format!("idle/{seconds}s/cpu"), "ms", spent.as_secs_f64() * 1e3),
        count("idle/lane-wakes", status.wakes, after.wakes),
        count("idle/frames", frames(&status), frames(&after)),
        count("idle/switches/host", waits.0, waited.0),
        count("idle/switches/worker", waits.1, waited.1),
    ];
    Ok(rows)
}
