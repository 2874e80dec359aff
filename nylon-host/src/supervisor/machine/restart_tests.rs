//! Which starts count as restarts: those that nobody asked for.

use std::time::{Duration, Instant};

use super::*;

/// A machine whose workers do at once what is asked of them.
struct Plugin {
    machine: Machine,
    now: Instant,
    builds: Build,
    started: Vec<Generation>,
}

impl Plugin {
    /// Of so many workers, which are ready.
    fn of(workers_min: u32, workers_max: u32, restart: Restart) -> (Self, Policy) {
        let keep = Supervision { restart, ..Supervision::default() };
        let start_timeout = Duration::from_secs(5);
        let policy = Policy { workers_min, workers_max, start_timeout, keep };
        let (machine, now) = (Machine::new(1), Instant::now());
        let mut plugin = Self { machine, now, builds: 1, started: Vec::new() };
        plugin.command(Command::Serve { build: 1, policy });
        assert_eq!(plugin.ready().len(), workers_min as usize);
        (plugin, policy)
    }

    fn command(&mut self, command: Command) {
        self.tell(Event::Command(command));
    }

    /// Hands an event in, and goes on for ten minutes.
    fn tell(&mut self, event: Event) {
        let mut out = Vec::new();
        self.machine.on(event, self.now, &mut out);
        self.carry_out(out);
        let end = self.now + Duration::from_secs(600);
        while let Some(due) = self.machine.deadline().filter(|at| *at < end) {
            self.now = self.now.max(due);
            let mut out = Vec::new();
            self.machine.tick(self.now, &mut out);
            self.carry_out(out);
        }
        self.now = end;
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            let event = match action {
                Action::Start(generation, _) => {
                    self.started.push(generation);
                    Event::Ready(generation)
                }
                Action::WatchIdle(generation) => Event::Idle(generation),
                Action::Shutdown(generation, _) => Event::Ended { generation, well: true },
                Action::Quit(generation) | Action::Kill(generation) => {
                    Event::Ended { generation, well: false }
                }
                _ => continue,
            };
            let mut out = Vec::new();
            self.machine.on(event, self.now, &mut out);
            self.carry_out(out);
        }
    }

    fn replace(&mut self, policy: Policy) {
        self.builds += 1;
        self.command(Command::Replace { build: self.builds, policy, held: false });
        assert_eq!(self.machine.build(), self.builds);
    }

    fn ready(&self) -> Vec<Generation> {
        let ready = self.machine.workers().filter(|(.., admitted)| *admitted);
        ready.map(|(generation, ..)| generation).collect()
    }

    fn dies(&mut self, well: bool) {
        let generation = self.ready()[0];
        self.tell(Event::Ended { generation, well });
    }
}

#[test]
fn one_that_ends_or_hangs_unasked_is_restarted() {
    let (mut plugin, _) = Plugin::of(2, 2, Restart::Always);
    assert_eq!(plugin.machine.restarts(), 0);
    plugin.dies(false);
    assert_eq!((plugin.machine.restarts(), plugin.started.len()), (1, 3));
    plugin.dies(true);
    assert_eq!((plugin.machine.restarts(), plugin.started.len()), (2, 4));
    plugin.tell(Event::Seen(plugin.ready()[0], Sight::Alive { stuck: STUCK_MAX }));
    assert_eq!((plugin.machine.restarts(), plugin.started.len()), (3, 5));
    assert_eq!(plugin.ready().len(), 2);
}

#[test]
fn what_an_operator_or_the_load_wants_is_none() {
    let (mut plugin, policy) = Plugin::of(2, 3, Restart::Always);
    plugin.replace(policy);
    plugin.replace(policy);
    plugin.command(Command::Drain);
    assert!(plugin.ready().is_empty());
    plugin.command(Command::Resume);
    for _ in 0..MORE_AFTER {
        plugin.tell(Event::Load { waiting: 1, in_flight: 0 });
    }
    assert_eq!((plugin.ready().len(), plugin.started.len()), (3, 9));
    assert_eq!(plugin.machine.restarts(), 0);
}

#[test]
fn what_is_not_replaced_is_none() {
    let (mut plugin, policy) = Plugin::of(2, 2, Restart::OnFailure);
    plugin.dies(true);
    assert_eq!((plugin.ready().len(), plugin.machine.restarts()), (1, 0));
    // One that is given up for good, and the next that an operator asks for.
    let generation = plugin.ready()[0];
    plugin.machine.mode = Mode::Failed(Why::Breaker);
    plugin.tell(Event::Ended { generation, well: false });
    assert_eq!((plugin.ready().len(), plugin.machine.restarts()), (0, 0));
    plugin.command(Command::Rearm);
    plugin.replace(policy);
    assert_eq!((plugin.ready().len(), plugin.machine.restarts()), (2, 0));
    plugin.dies(false);
    assert_eq!(plugin.machine.restarts(), 1);
}
