//! One plugin's workers as a state machine: events in, actions out, the clock passed in.
//!
//! It decides when a worker is started, takes requests, is drained, asked whether it is there, told to dump its stacks,
//! killed; when starting is given up; and which build serves. `keeper` carries it out and reports what came of it.
//!
//! A worker's way (one *generation*: one start of one build):
//!
//! ```text
//! Waiting ──at──▶ Starting ──ready──▶ Ready ──▶ Draining ──idle──▶ Stopping ──▶ Dying ──ended──▶ gone
//!                    │ late, refused    │ silent, stuck  │ silent                ▲
//!                    └────────▶ gone    └──────▶ Quitting (SIGQUIT) ─────────────┘ (SIGKILL)
//! ```

#[cfg(test)]
mod restart_tests;
#[cfg(test)]
mod tests;
mod word;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::policy::{Policy, Restart, Supervision};
pub(crate) use word::{Action, Build, Command, Event, Generation, Sight, Why};

/// What the plugin as a whole is meant to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Serve.
    Running,
    /// Keep nothing, until told.
    Drained,
    /// Start nothing, until told.
    Failed(Why),
    /// End.
    Stopping,
}

/// Where a worker is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// To be started.
    Waiting { at: Instant },
    /// Until the handshake.
    Starting { until: Instant },
    /// In service, or ready to be.
    Ready { since: Instant, look: Option<Instant>, silent: u8 },
    /// Out of service; requests that have it go on.
    Draining { until: Instant, hung: bool },
    /// Dumping its stacks.
    Quitting { until: Instant },
    /// Running its shutdown hooks.
    Stopping { until: Instant },
    /// Killed.
    Dying,
}

#[derive(Clone, Copy, Debug)]
struct Worker {
    generation: Generation,
    build: Build,
    state: State,
    /// Whether requests go to it.
    admitted: bool,
    /// Whether its end is our doing.
    asked: bool,
    /// Whether it takes the place of one whose end was not.
    replaces: bool,
}

/// A build on its way into service.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    build: Build,
    policy: Policy,
    held: bool,
    ready: bool,
}

/// Handlers past their deadline that make a worker one to replace.
pub(crate) const STUCK_MAX: usize = 16;
/// Looks in each period of [`Supervision::ping`](super::policy::Supervision): a worker that falls silent is asked soon.
const LOOKS: u8 = 4;
/// Looks in a row that see nothing before a worker is given up: two periods of them.
const SILENT_MAX: u8 = 2 * LOOKS;
/// How often the load is measured where the number of workers may change.
const MEASURE: Duration = Duration::from_secs(1);
/// Calls in flight for each worker above which another is started.
const BUSY: usize = 16;
/// Measures in a row that ask for more, and for fewer, before something is done.
const MORE_AFTER: u32 = 2;
const FEWER_AFTER: u32 = 30;

/// The policy before there is a build.
const UNSERVED: Policy = Policy {
    workers_min: 0,
    workers_max: 0,
    start_timeout: Duration::ZERO,
    keep: Supervision::DEFAULT,
};

/// The workers of one plugin.
#[derive(Debug)]
pub(crate) struct Machine {
    policy: Policy,
    mode: Mode,
    /// An operator wants no requests to come.
    paused: bool,
    build: Build,
    candidate: Option<Candidate>,
    workers: Vec<Worker>,
    last: Generation,
    wanted: u32,
    /// Failures in a row, and when those that count for the breaker were.
    row: u32,
    failures: VecDeque<Instant>,
    /// Failures in whose place no worker was put yet.
    unreplaced: usize,
    /// Workers started in place of one that failed.
    restarts: u64,
    /// When the next start may be.
    not_before: Option<Instant>,
    measure: Option<Instant>,
    more: u32,
    fewer: u32,
    random: u64,
    /// Mistakes that the tests must find.
    #[cfg(test)]
    pub(super) planted: tests::Planted,
}

impl Machine {
    /// No worker yet: the first build comes by [`Command::Replace`]. `seed` makes the jitter.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            policy: UNSERVED,
            mode: Mode::Running,
            paused: false,
            build: 0,
            candidate: None,
            workers: Vec::new(),
            last: 0,
            wanted: 0,
            row: 0,
            failures: VecDeque::new(),
            unreplaced: 0,
            restarts: 0,
            not_before: None,
            measure: None,
            more: 0,
            fewer: 0,
            random: seed | 1,
            #[cfg(test)]
            planted: tests::Planted::default(),
        }
    }

    /// What the plugin is meant to do.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether an operator wants no requests to come.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// The build that serves, 0 before the first does.
    pub(crate) fn build(&self) -> Build {
        self.build
    }

    /// Whether a build is on its way.
    pub(crate) fn is_replacing(&self) -> bool {
        self.candidate.is_some()
    }

    /// How many workers there should be.
    pub(crate) fn wanted(&self) -> u32 {
        self.wanted
    }

    /// Workers started in place of one that ended, or hung, without being asked to, or that did not start.
    pub(crate) fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Every worker: its generation, its build and where it is; `true` if requests go to it.
    pub(crate) fn workers(&self) -> impl Iterator<Item = (Generation, Build, State, bool)> {
        self.workers.iter().map(|w| (w.generation, w.build, w.state, w.admitted))
    }

    /// When [`Self::tick`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let workers = self.workers.iter().filter_map(|w| match w.state {
            State::Waiting { at: until }
            | State::Starting { until }
            | State::Draining { until, .. }
            | State::Quitting { until }
            | State::Stopping { until } => Some(until),
            State::Ready { look, .. } => look,
            State::Dying => None,
        });
        workers.chain(self.measure).min()
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant, out: &mut Vec<Action>) {
        for i in 0..self.workers.len() {
            let Policy { start_timeout, keep: Supervision { ping, .. }, .. } =
                self.policy_of(self.workers[i].build);
            let worker = &mut self.workers[i];
            match worker.state {
                State::Waiting { at } if at <= now => {
                    let until = now + start_timeout;
                    worker.state = State::Starting { until };
                    self.restarts += u64::from(worker.replaces);
                    out.push(Action::Start(worker.generation, worker.build));
                    #[cfg(test)]
                    if self.planted.double_spawn {
                        out.push(Action::Start(worker.generation, worker.build));
                    }
                }
                State::Starting { until } if until <= now => {
                    worker.state = State::Dying;
                    let generation = worker.generation;
                    out.push(Action::GiveUp { generation, late: true });
                }
                State::Ready { since, look: Some(at), silent } if at <= now => {
                    worker.state =
                        State::Ready { since, look: Some(now + ping / u32::from(LOOKS)), silent };
                    out.push(Action::Look(worker.generation));
                }
                State::Draining { until, hung } if until <= now => self.end(i, hung, now, out),
                State::Quitting { until } | State::Stopping { until } if until <= now => {
                    worker.state = State::Dying;
                    out.push(Action::Kill(worker.generation));
                }
                _ => {}
            }
        }
        if self.measure.is_some_and(|at| at <= now) {
            self.measure = Some(now + MEASURE);
            out.push(Action::Measure);
        }
    }

    /// Takes in what happened.
    pub(crate) fn on(&mut self, event: Event, now: Instant, out: &mut Vec<Action>) {
        match event {
            Event::Ready(generation) => self.ready(generation, now, out),
            Event::NotStarted { generation, permanent } => {
                let why = if permanent { Some(Why::Permanent) } else { None };
                self.lost(generation, Duration::ZERO, false, why, now, out);
            }
            Event::Ended { generation, well } => {
                let lived = self.find(generation).map(|i| match self.workers[i].state {
                    State::Ready { since, .. } => now.saturating_duration_since(since),
                    _ => Duration::ZERO,
                });
                self.lost(generation, lived.unwrap_or_default(), well, None, now, out);
            }
            Event::Busy(generation) => {
                if let Some(i) = self.find(generation)
                    && let State::Ready { since, look: None, silent } = self.workers[i].state
                {
                    let ping = self.policy_of(self.workers[i].build).keep.ping;
                    let look = Some(now + ping / u32::from(LOOKS));
                    self.workers[i].state = State::Ready { since, look, silent };
                    // The answer to this first PING is what the first look asks for.
                    out.push(Action::Look(generation));
                }
            }
            Event::Seen(generation, sight) => self.seen(generation, sight, now, out),
            Event::Idle(generation) => {
                if let Some(i) = self.find(generation)
                    && let State::Draining { hung, .. } = self.workers[i].state
                {
                    self.end(i, hung, now, out);
                }
            }
            Event::Released(build) => {
                if build != self.build || self.mode == Mode::Stopping {
                    self.retire(|w| w.build == build, now, out);
                }
            }
            Event::Load { waiting, in_flight } => self.load(waiting, in_flight),
            Event::Command(command) => self.command(command, now, out),
        }
        self.balance(now, out);
        if self.mode == Mode::Stopping && self.workers.is_empty() {
            self.measure = None;
            out.push(Action::Gone);
        }
    }

    fn command(&mut self, command: Command, now: Instant, out: &mut Vec<Action>) {
        match command {
            Command::Serve { build, policy } => {
                self.serve(Candidate { build, policy, held: false, ready: false }, now);
            }
            Command::Replace { build, policy, held } => {
                if self.mode == Mode::Stopping || self.candidate.is_some() {
                    out.push(Action::Replaced(build, false));
                    return;
                }
                self.candidate = Some(Candidate { build, policy, held, ready: false });
                let number = self.wanted.clamp(policy.workers_min, policy.workers_max);
                for _ in 0..number {
                    self.add(build, now, false);
                }
            }
            Command::Commit => {
                if let Some(candidate) = self.candidate.take_if(|c| c.held && c.ready) {
                    self.serve(candidate, now);
                }
            }
            Command::Abandon => self.abandon(now, out),
            Command::Rearm => {
                self.row = 0;
                self.failures.clear();
                self.not_before = None;
                if matches!(self.mode, Mode::Failed(_) | Mode::Drained) {
                    self.mode = Mode::Running;
                }
                for worker in &mut self.workers {
                    if let State::Waiting { at } = &mut worker.state {
                        *at = now;
                    }
                }
            }
            Command::Pause => {
                self.paused = true;
                self.switch(Vec::new(), |w| w.admitted, out);
            }
            Command::Resume => {
                self.paused = false;
                if self.mode == Mode::Drained {
                    self.command(Command::Rearm, now, out);
                }
            }
            Command::Drain => {
                if self.mode != Mode::Stopping {
                    self.abandon(now, out);
                    self.mode = Mode::Drained;
                    self.retire(|_| true, now, out);
                }
            }
            Command::Stop(hooks) => {
                self.mode = Mode::Stopping;
                self.abandon(now, out);
                // Without a time for the hooks: those a chain is bound to are told by `Released`.
                let Some(hooks) = hooks else { return };
                self.switch(Vec::new(), |w| w.admitted, out);
                for i in 0..self.workers.len() {
                    let worker = &mut self.workers[i];
                    if matches!(worker.state, State::Ready { .. } | State::Draining { .. }) {
                        worker.asked = true;
                        worker.state = State::Stopping { until: now + hooks };
                        out.push(Action::Shutdown(worker.generation, hooks));
                    }
                }
                self.cancel_starts(|_| true, out);
            }
        }
    }

    fn ready(&mut self, generation: Generation, now: Instant, out: &mut Vec<Action>) {
        let Some(i) = self.find(generation) else { return };
        if !matches!(self.workers[i].state, State::Starting { .. }) {
            return;
        }
        let build = self.workers[i].build;
        self.workers[i].state = State::Ready { since: now, look: None, silent: 0 };
        if let Some(candidate) = &mut self.candidate
            && candidate.build == build
            && !candidate.ready
        {
            let starting = |w: &Worker| w.build == build && !matches!(w.state, State::Ready { .. });
            if self.workers.iter().any(starting) {
                return;
            }
            candidate.ready = true;
            let candidate = *candidate;
            // A held build has chains of its own, and nobody else's requests.
            let new: Vec<_> =
                self.workers.iter().filter(|w| w.build == build).map(|w| w.generation).collect();
            let held = candidate.held;
            let old = self.build;
            if !held {
                self.candidate = None;
                self.serve(candidate, now);
            }
            let new = if self.paused { Vec::new() } else { new };
            self.switch(new, |w| !held && w.build == old && w.admitted, out);
            out.push(Action::Replaced(build, true));
            if !held {
                self.retire(|w| w.build == old, now, out);
            }
            return;
        }
        if build != self.build && !self.paused {
            self.switch(vec![generation], |_| false, out);
        }
    }

    /// A build serves from now on.
    fn serve(&mut self, candidate: Candidate, now: Instant) {
        self.build = candidate.build;
        self.policy = candidate.policy;
        let Policy { workers_min, workers_max, .. } = self.policy;
        self.wanted = self.wanted.clamp(workers_min, workers_max);
        self.measure = (workers_min < workers_max).then_some(now + MEASURE);
        self.row = 0;
        self.failures.clear();
        self.not_before = None;
        if matches!(self.mode, Mode::Failed(_) | Mode::Drained) {
            self.mode = Mode::Running;
        }
    }

    /// A worker is gone, or never came.
    fn lost(
        &mut self,
        generation: Generation,
        lived: Duration,
        well: bool,
        why: Option<Why>,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let Some(i) = self.find(generation) else { return };
        let worker = self.workers.remove(i);
        if worker.admitted {
            // Nothing is admitted; who was, is told so.
            out.push(Action::Switch { admit: Vec::new(), withdraw: vec![generation] });
        }
        if let Some(candidate) = self.candidate.filter(|c| c.build == worker.build) {
            if candidate.ready && !worker.asked {
                // It is about to be committed to.
                self.add(worker.build, now + candidate.policy.keep.backoff.first, true);
            } else if !worker.asked {
                self.abandon(now, out);
            }
            return;
        }
        if worker.asked || worker.build != self.build {
            return;
        }
        let restart = match self.policy.keep.restart {
            Restart::Always => true,
            Restart::OnFailure => !well,
            Restart::Never => false,
        };
        if !restart {
            self.wanted = self.wanted.saturating_sub(1);
            return;
        }
        self.failed(lived, why, now, out);
    }

    /// Counts a failure: how long to wait, and whether to go on at all.
    fn failed(&mut self, lived: Duration, why: Option<Why>, now: Instant, out: &mut Vec<Action>) {
        let Supervision { backoff, breaker, .. } = self.policy.keep;
        let mut wait = Duration::ZERO;
        if lived >= backoff.stable {
            self.row = 0;
        } else {
            let exact = backoff.first.saturating_mul(1 << self.row.min(20)).min(backoff.max);
            wait = self.jitter(exact, backoff.jitter);
            self.row = self.row.saturating_add(1);
        }
        #[cfg(test)]
        if self.planted.no_backoff {
            wait = Duration::ZERO;
        }
        let not_before = now + wait;
        self.not_before = Some(not_before);
        // Also for those that wait already: a failure of one says something of the others.
        for worker in &mut self.workers {
            if let State::Waiting { at } = &mut worker.state
                && worker.build == self.build
            {
                *at = not_before.max(*at);
            }
        }
        self.failures.push_back(now);
        self.unreplaced += 1;
        while self.failures.front().is_some_and(|at| now - *at > breaker.period) {
            self.failures.pop_front();
        }
        let many = breaker.intensity != 0 && self.failures.len() > breaker.intensity as usize;
        #[cfg(test)]
        let many = many && !self.planted.no_breaker;
        let why = why.or(many.then_some(Why::Breaker));
        if let (Some(why), Mode::Running) = (why, self.mode) {
            self.mode = Mode::Failed(why);
            let build = self.build;
            self.cancel_starts(|w| w.build == build, out);
            out.push(Action::Failed(why));
        }
    }

    /// `exact`, made shorter or longer by up to `percent`.
    fn jitter(&mut self, exact: Duration, percent: u32) -> Duration {
        // xorshift64 (Marsaglia, 2003)
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let span = u64::from(percent.min(50)) * 2 + 1;
        let part = 100 - u64::from(percent.min(50)) + self.random % span;
        exact * u32::try_from(part).unwrap_or(100) / 100
    }

    fn seen(&mut self, generation: Generation, sight: Sight, now: Instant, out: &mut Vec<Action>) {
        let Some(i) = self.find(generation) else { return };
        let State::Ready { since, look, silent } = self.workers[i].state else { return };
        let (look, silent) = match sight {
            Sight::Quiet => (None, 0),
            Sight::Alive { stuck } if stuck >= STUCK_MAX => return self.hang(i, false, now, out),
            Sight::Alive { .. } => (look, 0),
            Sight::Silent if silent + 1 >= SILENT_MAX => return self.hang(i, true, now, out),
            Sight::Silent => (look, silent + 1),
        };
        self.workers[i].state = State::Ready { since, look, silent };
    }

    /// A worker that hangs goes: at once if it is `silent`, else when what others want of it is done. Another takes its
    /// place meanwhile.
    fn hang(&mut self, i: usize, silent: bool, now: Instant, out: &mut Vec<Action>) {
        let Worker { generation, build, .. } = self.workers[i];
        self.switch(Vec::new(), |w| w.generation == generation && w.admitted, out);
        self.workers[i].asked = true;
        let until = now + self.policy_of(build).keep.drain;
        self.workers[i].state = State::Draining { until, hung: true };
        if silent {
            self.end(i, true, now, out);
        } else {
            out.push(Action::WatchIdle(generation));
        }
        if self.candidate.is_some_and(|c| c.build == build) {
            self.abandon(now, out);
        } else if build == self.build && self.policy.keep.restart != Restart::Never {
            self.failed(self.policy.keep.backoff.stable, None, now, out);
        } else if build == self.build {
            self.wanted = self.wanted.saturating_sub(1);
        }
    }

    /// What was in flight is done, or had its time: the hooks, or the stacks of one that hung.
    fn end(&mut self, i: usize, hung: bool, now: Instant, out: &mut Vec<Action>) {
        let policy = self.policy_of(self.workers[i].build).keep;
        let worker = &mut self.workers[i];
        if hung {
            worker.state = State::Quitting { until: now + policy.quit };
            out.push(Action::Quit(worker.generation));
        } else {
            worker.state = State::Stopping { until: now + policy.stop };
            out.push(Action::Shutdown(worker.generation, policy.stop));
        }
    }

    /// Takes workers out of service and drains them; those that only start are given up.
    fn retire(&mut self, which: impl Fn(&Worker) -> bool, now: Instant, out: &mut Vec<Action>) {
        self.switch(Vec::new(), |w| which(w) && w.admitted, out);
        for i in 0..self.workers.len() {
            let drain = self.policy_of(self.workers[i].build).keep.drain;
            let worker = &mut self.workers[i];
            if which(worker) && matches!(worker.state, State::Ready { .. }) {
                worker.asked = true;
                worker.state = State::Draining { until: now + drain, hung: false };
                out.push(Action::WatchIdle(worker.generation));
            }
        }
        self.cancel_starts(which, out);
    }

    /// Nothing more is started of what has not been.
    fn cancel_starts(&mut self, which: impl Fn(&Worker) -> bool, out: &mut Vec<Action>) {
        self.workers.retain_mut(|w| {
            if which(w) && matches!(w.state, State::Starting { .. }) {
                w.asked = true;
                w.state = State::Dying;
                out.push(Action::GiveUp { generation: w.generation, late: false });
            }
            !(which(w) && matches!(w.state, State::Waiting { .. }))
        });
    }

    /// Gives the build up that was to replace another.
    fn abandon(&mut self, now: Instant, out: &mut Vec<Action>) {
        let Some(candidate) = self.candidate.take() else { return };
        if !candidate.ready {
            out.push(Action::Replaced(candidate.build, false));
        }
        self.retire(|w| w.build == candidate.build, now, out);
    }

    fn load(&mut self, waiting: usize, in_flight: usize) {
        let Policy { workers_min, workers_max, .. } = self.policy;
        let wanted = self.wanted as usize;
        let more = waiting > 0 || in_flight > wanted * BUSY;
        let fewer = waiting == 0 && wanted > 1 && in_flight * 2 < (wanted - 1) * BUSY;
        self.more = if more { self.more + 1 } else { 0 };
        self.fewer = if fewer { self.fewer + 1 } else { 0 };
        if self.more >= MORE_AFTER && self.wanted < workers_max {
            self.wanted += 1;
            self.more = 0;
        } else if self.fewer >= FEWER_AFTER && self.wanted > workers_min {
            self.wanted -= 1;
            self.fewer = 0;
        }
    }

    /// As many workers of the build that serves as there should be, and all that are ready in service.
    fn balance(&mut self, now: Instant, out: &mut Vec<Action>) {
        let (build, unreplaced) = (self.build, std::mem::take(&mut self.unreplaced));
        let idle =
            |w: &&Worker| w.build == build && !w.admitted && matches!(w.state, State::Ready { .. });
        let idle: Vec<_> = self.workers.iter().filter(idle).map(|w| w.generation).collect();
        if !self.paused && matches!(self.mode, Mode::Running | Mode::Failed(_)) {
            self.switch(idle, |_| false, out);
        }
        if self.mode != Mode::Running || build == 0 {
            return;
        }
        let counts = |w: &Worker| {
            w.build == build
                && matches!(
                    w.state,
                    State::Waiting { .. } | State::Starting { .. } | State::Ready { .. }
                )
        };
        let wanted = self.wanted as usize;
        let there = self.workers.iter().filter(|w| counts(w)).count();
        for added in 0..wanted.saturating_sub(there) {
            let at = self.not_before.map_or(now, |at| at.max(now));
            self.add(build, at, added < unreplaced);
        }
        if there > wanted {
            let spare: Vec<_> = self.workers.iter().rev().filter(|w| counts(w)).collect();
            let spare: Vec<_> = spare[..there - wanted].iter().map(|w| w.generation).collect();
            self.retire(|w| spare.contains(&w.generation), now, out);
        }
    }

    fn add(&mut self, build: Build, at: Instant, replaces: bool) {
        self.last += 1;
        let state = State::Waiting { at };
        self.workers.push(Worker {
            generation: self.last,
            build,
            state,
            admitted: false,
            asked: false,
            replaces,
        });
    }

    /// Admits and withdraws in one action, if there is anything to do.
    fn switch(
        &mut self,
        admit: Vec<Generation>,
        withdraw: impl Fn(&Worker) -> bool,
        out: &mut Vec<Action>,
    ) {
        let mut withdrawn = Vec::new();
        for worker in &mut self.workers {
            if admit.contains(&worker.generation) {
                worker.admitted = true;
            } else if withdraw(worker) {
                worker.admitted = false;
                withdrawn.push(worker.generation);
            }
        }
        if !admit.is_empty() || !withdrawn.is_empty() {
            out.push(Action::Switch { admit, withdraw: withdrawn });
        }
    }

    fn find(&self, generation: Generation) -> Option<usize> {
        self.workers.iter().position(|w| w.generation == generation)
    }

    fn policy_of(&self, build: Build) -> Policy {
        match self.candidate {
            Some(candidate) if candidate.build == build => candidate.policy,
            _ => self.policy,
        }
    }
}
