//! Sessions by the second: so many tasks of the host's runtime that each send one request after another.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::session::{Entry, Target};
use super::sessions::Sessions;
use crate::Result;
use crate::case::{Case, Round, Taken, ns};
use crate::env::Env;

/// Requests in flight all the time.
const FLIGHT: usize = 64;
/// Requests of each task before the first that counts.
const WARM_UP: usize = 8;

pub(crate) struct SessionFlight {
    all: Rc<Sessions>,
    target: Target,
    plugin: &'static str,
    count: Arc<AtomicU64>,
}

impl SessionFlight {
    /// `plugin` is one of the policies in [`super::sessions`].
    pub(crate) fn start(env: &Env, plugin: &'static str) -> Result<Self> {
        let all = env.sessions()?;
        let target = Target::of(&all, plugin, Entry::Getters)?;
        Ok(Self { all, target, plugin, count: Arc::default() })
    }

    /// [`FLIGHT`] tasks until each has made `each` requests or `limit` has passed: the time of every request.
    fn fly(&self, each: usize, limit: Duration) -> Result<Vec<u64>> {
        let began = Instant::now();
        let tasks: Vec<_> = (0..FLIGHT)
            .map(|_| {
                let (target, count) = (self.target.clone(), self.count.clone());
                self.all.runtime.spawn(async move {
                    let mut times = Vec::with_capacity(each);
                    while times.len() < each && began.elapsed() < limit {
                        let n = count.fetch_add(1, Ordering::Relaxed) + 1;
                        times.push(ns(target.call(n).await?));
                    }
                    Ok::<_, String>(times)
                })
            })
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(self.all.runtime.block_on(task).map_err(|e| e.to_string())??);
        }
        Ok(times)
    }
}

impl Case for SessionFlight {
    fn round(&mut self, round: &Round) -> Result<Taken> {
        let before = self.all.status(self.plugin);
        let warm_up = self.fly(WARM_UP, round.limit)?.len() as u64;
        let began = Instant::now();
        let samples = self.fly(round.samples.div_ceil(FLIGHT), round.limit)?;
        let seconds = began.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
        let rate = samples.len() as f64 / seconds;
        let calls = warm_up + samples.len() as u64;
        self.all.audit(self.plugin, &before, calls)?;
        Ok(Taken { samples, calls, rate, spoilt: None })
    }

    fn cpu(&self) -> Duration {
        self.all.cpu(self.plugin)
    }
}
