//! Keeps the workers of one plugin: carries out what the machine decides and tells it what came of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::built::Built;
use super::machine::{Action, Build, Command, Event, Generation, Machine, Sight, Why};
use super::order::{Answer, Order, What};
use super::policy::Supervision;
use super::spawn::Spawner;
use super::status::WorkerStatus;
use super::worker::{Job, Live, Report, WorkerOrder};
use super::{EventKind, LOG, Of, Plugin, PluginSpec};
use crate::error::{ControlError, StartError};
use crate::metrics::End;

/// A worker that is there.
struct Kept {
    orders: UnboundedSender<WorkerOrder>,
    build: Build,
    live: Option<Live>,
    /// Frames it had sent when it was last asked whether it is there; `None`: it was not.
    asked: Option<u64>,
}

pub(super) struct Keeper {
    plugin: Arc<Plugin>,
    spawner: Spawner,
    machine: Machine,
    builds: BTreeMap<Build, Built>,
    last_build: Build,
    /// What served before the last upgrade.
    previous: Option<Build>,
    kept: HashMap<Generation, Kept>,
    /// Who waits for a build, what for, and why it failed, if it did.
    pending: Option<Pending>,
    drained: Vec<Answer>,
    /// What is said once the board shows it.
    told: Vec<(Answer, Result<Build, ControlError>)>,
    reports: UnboundedSender<(Generation, Report)>,
    inbox: UnboundedReceiver<(Generation, Report)>,
    gone: bool,
}

struct Pending {
    build: Build,
    answer: Answer,
    error: Option<StartError>,
    /// What served when it was asked for.
    old: Build,
    what: What,
}

impl Keeper {
    pub(super) fn new(plugin: Arc<Plugin>, spawner: Spawner) -> Self {
        let (reports, inbox) = unbounded_channel();
        let seed = uuid::Uuid::new_v4().as_u64_pair().0;
        Self {
            plugin,
            spawner,
            machine: Machine::new(seed),
            builds: BTreeMap::new(),
            last_build: 0,
            previous: None,
            kept: HashMap::new(),
            pending: None,
            drained: Vec::new(),
            told: Vec::new(),
            reports,
            inbox,
            gone: false,
        }
    }

    /// Keeps the plugin until it is stopped and its last worker is gone.
    pub(super) async fn run(mut self, mut orders: UnboundedReceiver<Order>) {
        while !self.gone {
            let due = self.machine.deadline();
            let due = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((generation, report)) = self.inbox.recv() => self.reported(generation, report),
                order = orders.recv() => self.order(order.unwrap_or(Order::Stop(Some(Duration::ZERO)))),
                () = due => {
                    let mut out = Vec::new();
                    self.machine.tick(Instant::now(), &mut out);
                    self.carry_out(out);
                }
            }
            self.show();
            self.note_drained();
            self.told.drain(..).for_each(|(answer, outcome)| drop(answer.send(outcome)));
        }
        self.plugin.board.stopped();
        self.note(EventKind::Gone, "");
    }

    fn tell(&mut self, event: Event) {
        let mut out = Vec::new();
        self.machine.on(event, Instant::now(), &mut out);
        self.carry_out(out);
    }

    fn command(&mut self, command: Command) {
        self.tell(Event::Command(command));
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Prepare(built, answer) => self.replace(built, What::Reload, answer),
            Order::Serve(built) => {
                let policy = built.spec.policy();
                let build = self.add(built);
                self.command(Command::Serve { build, policy });
            }
            Order::Commit => {
                self.previous = None;
                let first = self.serving().is_none();
                self.command(Command::Commit);
                if !first {
                    self.note(EventKind::Reloaded, "");
                }
            }
            Order::Abandon => {
                if self.machine.is_replacing() {
                    self.note(
                        EventKind::ReloadRefused,
                        "it was ready, and is not wanted after all",
                    );
                }
                self.command(Command::Abandon);
            }
            Order::Released(binding) => {
                let of =
                    |(build, built): (&Build, &Built)| (built.binding == binding).then_some(*build);
                let builds: Vec<_> = self.builds.iter().filter_map(of).collect();
                builds.into_iter().for_each(|build| self.tell(Event::Released(build)));
            }
            Order::Restart(answer) => self.restart(answer),
            Order::Upgrade(program, answer) => {
                let Some(built) = self.serving() else {
                    return self.refuse(What::Upgrade, answer, ControlError::NothingServes);
                };
                let mut spec = PluginSpec::clone(&built.spec);
                spec.program = program.unwrap_or(spec.program);
                // What routes use they go on finding.
                let needs = built.registry.in_use(&self.plugin.board.entries()).into();
                let built = Built { spec: Arc::new(spec), needs, ..built.anew() };
                self.replace(built, What::Upgrade, answer);
            }
            Order::Rollback(answer) => match self.previous.and_then(|b| self.builds.get(&b)) {
                Some(previous) => {
                    let previous = previous.again();
                    self.replace(previous, What::Rollback, answer);
                }
                None => self.refuse(What::Rollback, answer, ControlError::NoPrevious),
            },
            Order::Pause(answer) => {
                self.command(Command::Pause);
                self.note(EventKind::Paused, "");
                self.told.push((answer, Ok(self.machine.build())));
            }
            Order::Resume(answer) => {
                self.command(Command::Resume);
                self.note(EventKind::Resumed, "");
                self.told.push((answer, Ok(self.machine.build())));
            }
            Order::Drain(answer) => {
                self.drained.push(answer);
                self.note(EventKind::Draining, "");
                self.command(Command::Drain);
            }
            Order::Stop(hooks) => self.command(Command::Stop(hooks)),
        }
    }

    fn serving(&self) -> Option<&Built> {
        self.builds.get(&self.machine.build())
    }

    /// A plugin that runs gets new workers beside the old; one that does not is started as if nothing had failed.
    fn restart(&mut self, answer: Answer) {
        let Some(built) = self.serving() else {
            return self.refuse(What::Restart, answer, ControlError::NothingServes);
        };
        let again = built.again();
        let ready = self.kept.values().any(|k| k.live.is_some() && k.build == self.machine.build());
        if !ready {
            self.command(Command::Rearm);
        }
        self.replace(again, What::Restart, answer);
    }

    fn replace(&mut self, built: Built, what: What, answer: Answer) {
        if self.machine.is_replacing() {
            return self.refuse(what, answer, ControlError::Replacing);
        }
        let policy = built.spec.policy();
        let old = self.machine.build();
        if old != 0 {
            let program = built.spec.program.display().to_string();
            self.note(what.begins(), &program);
        }
        let build = self.add(built);
        self.pending = Some(Pending { build, answer, error: None, old, what });
        let held = what == What::Reload;
        self.command(Command::Replace { build, policy, held });
    }

    fn add(&mut self, built: Built) -> Build {
        self.last_build += 1;
        self.builds.insert(self.last_build, built);
        self.last_build
    }

    fn reported(&mut self, generation: Generation, report: Report) {
        match report {
            Report::Ready(live) => {
                let pid = live.pid;
                if let Some(kept) = self.kept.get_mut(&generation) {
                    kept.live = Some(live);
                }
                self.proved(generation);
                self.tell(Event::Ready(generation));
                // In service before anybody is told: who waits for "ready" sends at once.
                self.plugin.board.ready(pid);
                self.note_worker(EventKind::Ready, generation, "");
                tracing::info!(target: LOG, plugin = %self.plugin.name, worker = pid, generation, "ready");
            }
            Report::NotStarted(error) => {
                let permanent = error.is_permanent();
                self.note_worker(EventKind::NotStarted, generation, &error.to_string());
                let build = self.kept.remove(&generation).map(|kept| kept.build);
                self.look_again(build);
                self.plugin.board.metrics.ended(End::Start);
                self.plugin.board.not_started(&error.to_string());
                match &mut self.pending {
                    Some(pending) if Some(pending.build) == build => {
                        pending.error.get_or_insert(error);
                    }
                    _ => {
                        let name = &*self.plugin.name;
                        tracing::error!(target: LOG, plugin = name, generation, %error, "cannot start");
                    }
                }
                self.tell(Event::NotStarted { generation, permanent });
            }
            Report::Ended { well } => {
                self.kept.remove(&generation);
                self.tell(Event::Ended { generation, well });
            }
            Report::Busy => self.tell(Event::Busy(generation)),
            Report::Idle => self.tell(Event::Idle(generation)),
        }
        self.forget_builds();
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Start(generation, build) => self.start(generation, build),
                Action::GiveUp { generation, late } => {
                    self.tell_worker(generation, WorkerOrder::GiveUp { late });
                }
                Action::Switch { admit, withdraw } => self.switch(&admit, &withdraw),
                Action::WatchIdle(generation) => {
                    self.note_worker(EventKind::Draining, generation, "");
                    self.tell_worker(generation, WorkerOrder::WatchIdle);
                }
                Action::Look(generation) => self.look(generation),
                Action::Shutdown(generation, grace) => {
                    self.tell_worker(generation, WorkerOrder::Shutdown(grace));
                }
                Action::Quit(generation) => self.tell_worker(generation, WorkerOrder::Quit),
                Action::Kill(generation) => self.tell_worker(generation, WorkerOrder::Kill),
                Action::Measure => self.measure(),
                Action::Replaced(build, well) => self.replaced(build, well),
                Action::Failed(why) => {
                    let why = match why {
                        Why::Breaker => {
                            "too many failures: it stays down until `nylon restart`, or `nylon upgrade` with a better program"
                        }
                        Why::Permanent => "it cannot start: nothing is tried until `nylon restart`",
                    };
                    tracing::error!(target: LOG, plugin = %self.plugin.name, why, "failed");
                    self.note(EventKind::Failed, why);
                }
                Action::Gone => self.gone = true,
            }
        }
    }

    fn start(&mut self, generation: Generation, build: Build) {
        let Some(built) = self.builds.get(&build) else { return };
        let (orders, inbox) = unbounded_channel();
        let job = Job {
            plugin: self.plugin.clone(),
            spec: built.spec.clone(),
            program: built.program.clone(),
            needs: built.needs.clone(),
            registry: built.registry.clone(),
            bounds: built.bounds.clone(),
            shown: self.plugin.board.worker(),
            generation,
            build,
            spawner: self.spawner.clone(),
            orders: inbox,
            reports: self.reports.clone(),
        };
        self.plugin.board.starting(generation);
        self.kept.insert(generation, Kept { orders, build, live: None, asked: None });
        tokio::spawn(job.run());
    }

    /// From its first ready worker on, a build runs one program and no other.
    fn proved(&mut self, generation: Generation) {
        let Some(kept) = self.kept.get(&generation) else { return };
        let Some(built) = self.builds.get_mut(&kept.build) else { return };
        if !std::mem::replace(&mut built.proved, true) {
            let program = built.program.clone();
            tokio::task::spawn_blocking(move || program.learn());
        }
    }

    /// A build of which no worker has ever been ready may find a better program at the next try.
    fn look_again(&mut self, build: Option<Build>) {
        let Some(build) = build.filter(|build| self.kept.values().all(|k| k.build != *build))
        else {
            return;
        };
        if let Some(built) = self.builds.get_mut(&build).filter(|built| !built.proved) {
            built.program = Arc::default();
        }
    }

    fn tell_worker(&self, generation: Generation, order: WorkerOrder) {
        if let Some(kept) = self.kept.get(&generation) {
            let _ = kept.orders.send(order);
        }
    }

    /// All workers of one switch are of one registry.
    fn switch(&self, admit: &[Generation], withdraw: &[Generation]) {
        for (build, built) in &self.builds {
            let lanes = |generations: &[Generation]| -> Vec<_> {
                let kept = generations.iter().filter_map(|g| self.kept.get(g));
                let of_build = kept.filter(|k| self.shares(k.build, *build));
                of_build.filter_map(|k| k.live.as_ref()).flat_map(|l| l.lanes.clone()).collect()
            };
            let (admit, withdraw) = (lanes(admit), lanes(withdraw));
            if !admit.is_empty() || !withdraw.is_empty() {
                built.registry.switch(&admit, &withdraw);
            }
        }
    }

    /// Whether two builds serve the same chains.
    fn shares(&self, one: Build, other: Build) -> bool {
        let registry = |build| self.builds.get(&build).map(|b: &Built| Arc::as_ptr(&b.registry));
        registry(one) == registry(other)
    }

    /// Says how a worker looks, and asks it anew.
    fn look(&mut self, generation: Generation) {
        let Some(kept) = self.kept.get_mut(&generation) else { return };
        let Some(Live { peer, lanes, .. }) = &kept.live else { return };
        let now = Instant::now();
        let ping = self
            .builds
            .get(&kept.build)
            .map_or(Supervision::DEFAULT.ping, |b| b.spec.supervision.ping);
        let count = || {
            let overdue = lanes.iter().map(|lane| lane.overdue(now - ping));
            let (left, stuck) = overdue.fold((0, 0), |sum, o| (sum.0 + o.0, sum.1 + o.1));
            let awaited = lanes.iter().map(|l| l.in_flight() + usize::from(l.is_unheard()));
            (left + awaited.sum::<usize>(), stuck)
        };
        let (mut in_flight, stuck) = count();
        if in_flight == 0 {
            peer.rests();
            in_flight = count().0;
        }
        let asked = kept.asked;
        kept.asked = None;
        if in_flight > 0 {
            kept.asked = Some(peer.frames());
            lanes.iter().for_each(|lane| lane.ping());
        }
        let sight = match asked {
            _ if in_flight == 0 => Sight::Quiet,
            Some(frames) if frames == peer.frames() => Sight::Silent,
            _ => Sight::Alive { stuck },
        };
        self.tell(Event::Seen(generation, sight));
    }

    fn measure(&mut self) {
        let lanes = self.kept.values().filter_map(|k| k.live.as_ref()).flat_map(|l| &l.lanes);
        let (waiting, in_flight) =
            lanes.fold((0, 0), |sum, l| (sum.0 + l.waiting(), sum.1 + l.in_flight()));
        let before = self.machine.wanted();
        self.tell(Event::Load { waiting, in_flight });
        let wanted = self.machine.wanted();
        if wanted != before {
            self.note(EventKind::Scaled, &format!("{wanted} workers instead of {before}"));
        }
    }

    fn replaced(&mut self, build: Build, well: bool) {
        let Some(pending) = self.pending.take_if(|p| p.build == build) else { return };
        let Pending { answer, error, old, what, .. } = pending;
        if !well {
            let error = error.map_or(ControlError::Abandoned, ControlError::NotStarted);
            return self.refuse(what, answer, error);
        }
        if matches!(what, What::Upgrade | What::Rollback) {
            self.previous = Some(old);
        }
        if let Some(kind) = what.is_done() {
            self.note(kind, "");
        }
        self.told.push((answer, Ok(build)));
    }

    /// Tells that `what` was not done. What never served has nothing to be restarted, upgraded or reloaded from.
    fn refuse(&mut self, what: What, answer: Answer, error: ControlError) {
        if self.machine.build() != 0 {
            let (kind, words) = what.is_refused();
            self.note(kind, &format!("{words}{error}"));
        }
        self.told.push((answer, Err(error)));
    }

    /// Notes what happened to the plugin and the build that serves.
    fn note(&self, kind: EventKind, detail: &str) {
        self.plugin.note(kind, Of::build(self.machine.build()), detail);
    }

    /// Notes what happened to a worker.
    fn note_worker(&self, kind: EventKind, generation: Generation, detail: &str) {
        let kept = self.kept.get(&generation);
        let worker = kept.and_then(|kept| kept.live.as_ref()).map(|live| live.pid);
        let build = kept.map(|kept| kept.build);
        self.plugin.note(kind, Of { worker, generation: Some(generation), build }, detail);
    }

    /// Answers those who wait for the last worker to be gone.
    fn note_drained(&mut self) {
        if self.kept.is_empty() && !self.drained.is_empty() {
            self.note(EventKind::Drained, "");
            let build = self.machine.build();
            for answer in self.drained.drain(..) {
                let _ = answer.send(Ok(build));
            }
        }
    }

    /// Builds that nothing runs and nobody can have back.
    fn forget_builds(&mut self) {
        let Self { machine, previous, pending, kept, .. } = self;
        self.builds.retain(|build, _| {
            *build == machine.build()
                || *previous == Some(*build)
                || pending.as_ref().is_some_and(|p| p.build == *build)
                || kept.values().any(|k| k.build == *build)
                || machine.workers().any(|(_, b, ..)| b == *build)
        });
    }

    /// Puts up how the plugin fares.
    fn show(&self) {
        let workers = self.machine.workers().map(|(generation, build, state, admitted)| {
            let live = self.kept.get(&generation).and_then(|kept| kept.live.as_ref());
            WorkerStatus {
                generation,
                build,
                state: state.into(),
                admitted,
                pid: live.map_or(0, |l| l.pid),
            }
        });
        let program = self.serving().map(|built| &*built.spec.program);
        self.plugin.board.keep(&self.machine, program, workers.collect());
    }
}
