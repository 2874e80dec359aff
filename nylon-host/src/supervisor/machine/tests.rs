//! The machine against simulated workers and operators, by seeds: nothing here is real but the machine.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use super::*;
use crate::supervisor::policy::{Backoff, Breaker, Supervision};

/// Mistakes that a supervisor could make, and that the simulation must find.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::supervisor) struct Planted {
    pub(in crate::supervisor) no_backoff: bool,
    pub(in crate::supervisor) double_spawn: bool,
    pub(in crate::supervisor) no_breaker: bool,
}

const SEEDS: u64 = 10_000;
/// How long faults go on in a run, and how long the world may take to be well again.
const CHAOS: Duration = Duration::from_secs(120);
const WELL: Duration = Duration::from_secs(300);

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % n.max(1)
    }

    fn ms(&mut self, max: u64) -> Duration {
        Duration::from_millis(self.below(max))
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A process as the world knows it.
#[derive(Clone, Copy, Debug, Default)]
struct Process {
    build: Build,
    ready: Option<Instant>,
    admitted: bool,
    /// The machine wants its end.
    asked: bool,
    hangs: bool,
}

struct World {
    machine: Machine,
    random: Random,
    now: Instant,
    /// What will happen; the number makes times unique.
    agenda: BTreeMap<(Instant, u64), Event>,
    number: u64,
    processes: BTreeMap<Generation, Process>,
    started: HashSet<Generation>,
    faults: bool,
    builds: Build,
    serves: Build,
    policy: Policy,
    /// What the breaker and the backoff must come to.
    row: u32,
    failures: Vec<Instant>,
    not_before: Option<Instant>,
    gone: bool,
    replaced: u32,
    failed: u32,
    hung: u32,
}

impl World {
    fn new(seed: u64, planted: Planted) -> Self {
        let mut random = Random(seed);
        let workers_min = 1 + u32::try_from(random.below(3)).unwrap();
        let workers_max = workers_min + u32::try_from(random.below(3)).unwrap();
        let keep = Supervision {
            breaker: Breaker { intensity: 5, period: Duration::from_secs(30) },
            drain: Duration::from_secs(3),
            ..Supervision::default()
        };
        let start_timeout = Duration::from_secs(5);
        let policy = Policy { workers_min, workers_max, start_timeout, keep };
        let mut machine = Machine::new(seed);
        machine.planted = planted;
        Self {
            machine,
            random,
            now: Instant::now(),
            agenda: BTreeMap::new(),
            number: 0,
            processes: BTreeMap::new(),
            started: HashSet::new(),
            faults: true,
            builds: 0,
            serves: 0,
            policy,
            row: 0,
            failures: Vec::new(),
            not_before: None,
            gone: false,
            replaced: 0,
            failed: 0,
            hung: 0,
        }
    }

    fn later(&mut self, after: Duration, event: Event) {
        self.number += 1;
        self.agenda.insert((self.now + after, self.number), event);
    }

    fn command(&mut self, command: Command) {
        let again = command == Command::Resume && self.machine.mode() == Mode::Drained;
        if again || command == Command::Rearm {
            self.forgive();
        }
        self.tell(Event::Command(command));
    }

    /// Nothing that failed counts any more.
    fn forgive(&mut self) {
        self.row = 0;
        self.failures.clear();
        self.not_before = None;
    }

    fn build(&mut self) -> Build {
        self.builds += 1;
        self.builds
    }

    /// Hands an event to the machine, and notes what it must come to.
    fn tell(&mut self, event: Event) {
        let lost = match &event {
            Event::Ended { generation, .. } | Event::NotStarted { generation, .. } => {
                self.processes.remove(generation).filter(|p| !p.asked && p.build == self.serves)
            }
            _ => None,
        };
        if let Some(lost) = lost {
            let lived = lost.ready.map_or(Duration::ZERO, |at| self.now - at);
            self.must_wait(lived);
        }
        if let Event::Ready(generation) = &event
            && let Some(process) = self.processes.get_mut(generation)
        {
            process.ready = Some(self.now);
        }
        let mut out = Vec::new();
        self.machine.on(event, self.now, &mut out);
        if self.machine.build() != self.serves {
            self.serves = self.machine.build();
            self.forgive();
        }
        self.carry_out(out);
        self.check_breaker();
    }

    fn must_wait(&mut self, lived: Duration) {
        let Backoff { first, max, jitter, stable } = self.policy.keep.backoff;
        let mut wait = Duration::ZERO;
        if lived >= stable {
            self.row = 0;
        } else {
            let exact = first.saturating_mul(1 << self.row.min(20)).min(max);
            wait = exact * (100 - jitter) / 100;
            self.row += 1;
        }
        self.not_before = Some(self.now + wait);
        let (now, period) = (self.now, self.policy.keep.breaker.period);
        self.failures.push(now);
        self.failures.retain(|at| now - *at <= period);
    }

    fn check_breaker(&self) {
        if self.failures.len() > self.policy.keep.breaker.intensity as usize {
            let open = self.machine.mode() != Mode::Running;
            assert!(open, "{} failures and the breaker is closed", self.failures.len());
        }
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Start(generation, build) => self.start(generation, build),
                Action::GiveUp { generation, .. } => {
                    self.process(generation).asked |= true;
                    let after = self.random.ms(50);
                    self.later(after, Event::NotStarted { generation, permanent: false });
                }
                Action::Switch { admit, withdraw } => {
                    for generation in admit {
                        let process = self.process(generation);
                        assert!(process.ready.is_some(), "{generation} takes requests too early");
                        process.admitted = true;
                    }
                    for generation in withdraw {
                        if let Some(process) = self.processes.get_mut(&generation) {
                            process.admitted = false;
                        }
                    }
                }
                Action::WatchIdle(generation) => {
                    self.process(generation).asked = true;
                    let after = self.random.ms(5000);
                    self.later(after, Event::Idle(generation));
                }
                Action::Look(generation) => {
                    let hangs = self.process(generation).hangs;
                    let sight = match self.random.below(3) {
                        _ if hangs => Sight::Silent,
                        0 => Sight::Quiet,
                        n => Sight::Alive { stuck: usize::try_from(n * 4).unwrap() },
                    };
                    self.later(Duration::ZERO, Event::Seen(generation, sight));
                }
                Action::Shutdown(generation, _) => {
                    assert!(!self.process(generation).admitted, "stopped while in service");
                    self.process(generation).asked = true;
                    if !self.process(generation).hangs {
                        let after = self.random.ms(1000);
                        self.later(after, Event::Ended { generation, well: true });
                    }
                }
                Action::Quit(generation) => {
                    assert!(self.process(generation).hangs, "{generation} did not hang");
                    // Counted when it was seen to hang, which is now.
                    if !std::mem::replace(&mut self.process(generation).asked, true)
                        && self.process(generation).build == self.serves
                    {
                        self.must_wait(self.policy.keep.backoff.stable);
                    }
                    self.hung += 1;
                }
                Action::Kill(generation) => {
                    self.process(generation).asked = true;
                    let after = self.random.ms(20);
                    self.later(after, Event::Ended { generation, well: false });
                }
                Action::Measure => {
                    let in_flight = usize::try_from(self.random.below(60)).unwrap();
                    self.later(Duration::ZERO, Event::Load { waiting: 0, in_flight });
                }
                Action::Replaced(build, true) => {
                    self.replaced += 1;
                    if self.machine.build() != build {
                        self.later(Duration::ZERO, Event::Command(Command::Commit));
                        self.later(Duration::from_millis(400), Event::Released(self.serves));
                    }
                }
                Action::Replaced(_, false) => {}
                Action::Failed(_) => self.failed += 1,
                Action::Gone => self.gone = true,
            }
        }
    }

    fn process(&mut self, generation: Generation) -> &mut Process {
        self.processes.get_mut(&generation).unwrap_or_else(|| panic!("{generation} is not there"))
    }

    fn start(&mut self, generation: Generation, build: Build) {
        assert!(self.started.insert(generation), "{generation} is started twice");
        if build == self.serves {
            let early = self.not_before.is_some_and(|at| self.now < at);
            assert!(!early, "{generation} is started without a wait");
        }
        let wild = self.faults && self.random.chance(50);
        let hangs = wild && self.random.chance(20);
        self.processes.insert(generation, Process { build, hangs, ..Process::default() });
        let after = self.random.ms(200);
        if wild && self.random.chance(30) {
            let permanent = self.random.chance(5);
            return self.later(after, Event::NotStarted { generation, permanent });
        }
        if wild && self.random.chance(5) {
            return; // it never shakes hands
        }
        self.later(after, Event::Ready(generation));
        let busy = after + self.random.ms(500);
        self.later(busy, Event::Busy(generation));
        if wild && !hangs {
            let lives = Duration::from_millis(1 << self.random.below(16));
            let well = self.random.chance(30);
            self.later(after + lives, Event::Ended { generation, well });
        }
    }

    /// Whether what was planned can still happen.
    fn still(&self, event: &Event) -> bool {
        match event {
            Event::Ready(g) | Event::Busy(g) | Event::Idle(g) | Event::Seen(g, _) => {
                self.processes.contains_key(g)
            }
            Event::Ended { generation, .. } | Event::NotStarted { generation, .. } => {
                self.processes.contains_key(generation)
            }
            _ => true,
        }
    }

    fn run_until(&mut self, end: Instant) {
        loop {
            let planned = self.agenda.keys().next().map(|(at, _)| *at);
            let due = self.machine.deadline();
            let next = [planned, due].into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at < end) else { break };
            self.now = self.now.max(next);
            if due.is_some_and(|at| at <= self.now) {
                let mut out = Vec::new();
                self.machine.tick(self.now, &mut out);
                self.carry_out(out);
                let stands = self.machine.deadline().is_some_and(|at| at <= self.now);
                assert!(!stands, "a deadline that passed stands");
                continue;
            }
            if let Some((_, event)) = self.agenda.pop_first()
                && self.still(&event)
            {
                self.tell(event);
            }
        }
        self.now = end;
    }

    fn operate(&mut self) {
        let command = match self.random.below(9) {
            0 => Command::Pause,
            1 | 2 => Command::Resume,
            3 => Command::Drain,
            4 | 5 => Command::Rearm,
            6 => Command::Abandon,
            held => {
                let build = self.build();
                Command::Replace { build, policy: self.policy, held: held == 7 }
            }
        };
        self.command(command);
    }
}

/// One run: faults and commands for two minutes, then peace, then the end. Returns what was exercised.
fn run(seed: u64, planted: Planted) -> (u32, u32, u32) {
    let mut world = World::new(seed, planted);
    let build = world.build();
    world.command(Command::Serve { build, policy: world.policy });
    let end = world.now + CHAOS;
    while world.now < end {
        let step = Duration::from_secs(1 + world.random.below(20));
        world.run_until((world.now + step).min(end));
        world.operate();
    }
    world.faults = false;
    // Wild ones are left of before; they end or are ended.
    world.command(Command::Abandon);
    world.run_until(world.now + WELL);
    for command in [Command::Resume, Command::Rearm] {
        world.command(command);
    }
    world.run_until(world.now + WELL);
    world.command(Command::Rearm);
    world.run_until(world.now + WELL);
    assert_eq!(world.machine.mode(), Mode::Running);
    let serving = world.processes.values().filter(|p| p.admitted && p.build == world.serves);
    let wanted = world.machine.wanted() as usize;
    assert_eq!(serving.count(), wanted, "workers in service: {:?}", world.machine);
    assert!(wanted >= world.policy.workers_min as usize);

    world.command(Command::Stop(Some(Duration::from_secs(1))));
    world.run_until(world.now + WELL);
    assert!(world.gone && world.processes.is_empty(), "left: {:?}", world.processes);
    assert_eq!(world.machine.deadline(), None);
    (world.replaced, world.failed, world.hung)
}

#[test]
fn ten_thousand_worlds_come_to_rest() {
    let (mut replaced, mut failed, mut hung) = (0, 0, 0);
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| run(seed, Planted::default()));
        let (r, f, h) = run.unwrap_or_else(|_| panic!("seed {seed}"));
        (replaced, failed, hung) = (replaced + r, failed + f, hung + h);
    }
    // Each was exercised, or the runs say nothing of it.
    assert!(replaced > 1000 && failed > 1000 && hung > 1000, "{replaced} {failed} {hung}");
}

#[test]
fn planted_mistakes_are_found() {
    let all = [
        ("no backoff", Planted { no_backoff: true, ..Planted::default() }),
        ("double spawn", Planted { double_spawn: true, ..Planted::default() }),
        ("no breaker", Planted { no_breaker: true, ..Planted::default() }),
    ];
    let found = all.map(|(name, planted)| {
        (name, (0..200).any(|seed| std::panic::catch_unwind(|| run(seed, planted)).is_err()))
    });
    assert!(found.iter().all(|(_, found)| *found), "{found:?}");
}
