//! What a handler that burns CPU does to the calls of others on its lane.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::session::{Entry, Target};
use super::sessions::{BALANCED, Sessions};
use crate::Result;
use crate::case::{Case, Round, Taken, ns};
use crate::env::Env;
use crate::timer::Timer;

/// Of so many calls one burns: for 100 ms, in the plugin.
const BURNS_EVERY: usize = 250;

/// Calls on a schedule, `round.gap` apart, each counted from when it was due; policy `balanced`.
pub(crate) struct Others {
    all: Rc<Sessions>,
    target: Target,
    stuck: bool,
    count: u64,
}

impl Others {
    /// `stuck`: beside the others, one call in [`BURNS_EVERY`] burns.
    pub(crate) fn start(env: &Env, stuck: bool) -> Result<Self> {
        let all = env.sessions()?;
        let target = Target::of(&all, BALANCED, Entry::Burner)?;
        Ok(Self { all, target, stuck, count: 0 })
    }
}

impl Case for Others {
    fn round(&mut self, round: &Round) -> Result<Taken> {
        let before = self.all.status(BALANCED);
        let (target, stuck, first) = (self.target.clone(), self.stuck, self.count);
        let calls = self.all.runtime.spawn(take(*round, target, stuck, first));
        let taken = self.all.runtime.block_on(calls).map_err(|e| e.to_string())??;
        self.all.audit(BALANCED, &before, taken.calls)?;
        self.count += taken.calls;
        Ok(taken)
    }

    fn cpu(&self) -> Duration {
        self.all.cpu(BALANCED)
    }
}

async fn take(round: Round, target: Target, stuck: bool, mut n: u64) -> Result<Taken> {
    let gap = round.gap.unwrap_or(Duration::from_millis(1));
    let timer = Timer::new()?;
    let mut calls: JoinSet<Result<Option<u64>>> = JoinSet::new();
    let mut taken = Taken::default();
    let mut due = Instant::now();
    for i in 1..=round.samples {
        due += gap;
        timer.until(due).await?;
        n += 1;
        let one = target.clone();
        calls.spawn(async move { one.call(n).await.map(|_| Some(ns(due.elapsed()))) });
        taken.calls += 1;
        if stuck && i % BURNS_EVERY == BURNS_EVERY / 2 {
            n += 1;
            let burner = target.clone();
            calls.spawn(async move { burner.burn(n).await.map(|_| None) });
            taken.calls += 1;
        }
    }
    while let Some(done) = calls.join_next().await {
        taken.samples.extend(done.map_err(|e| e.to_string())??);
    }
    Ok(taken)
}
