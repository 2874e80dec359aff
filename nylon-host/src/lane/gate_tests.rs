//! The gate under a clock that tests set, with peers that sleep, spin and wake as the real ones do.

use std::time::{Duration, Instant};

use super::gate::{CATCH_UP, Cpus, Gate, SpinReason, WaitPolicy};

use SpinReason::{
    FewCpus, Fresh, Idle, Missed, NoGain, Pays, Policy, Probing, Slow, Sparse, Throttled, TwoCpus,
};
use WaitPolicy::{Balanced, Cpu, Latency};

const fn us(n: u64) -> Duration {
    Duration::from_micros(n)
}

/// One caller, one worker, and a gate between them.
struct Pair {
    gate: Gate,
    now: Instant,
    /// What waking a sleeper costs.
    wake: Duration,
    /// What the handler takes.
    service: Duration,
    /// What the caller does between an answer and its next call.
    think: Duration,
    /// Whether the caller had to be woken last time, so that its worker has waited longer.
    woken: bool,
}

impl Pair {
    fn new(policy: WaitPolicy, usable: u32) -> Self {
        let gate = Gate::new(policy, Cpus { usable, throttled: 0 });
        let (wake, service, think) = (us(30), us(1), us(3));
        Self { gate, now: Instant::now(), wake, service, think, woken: true }
    }

    /// One call after the caller's pause.
    fn call(&mut self) {
        let spin = self.gate.decision().spin;
        let none = Duration::ZERO;
        let idle = self.think + if self.woken { self.wake } else { none };
        let mut rtt = self.service + if idle < spin { none } else { self.wake };
        let polled = rtt < spin;
        let longest = if self.woken && !spin.is_zero() { CATCH_UP } else { spin };
        self.woken = rtt >= longest;
        rtt += if self.woken { self.wake } else { none };
        self.now += self.think + rtt;
        self.gate.answered(self.now, rtt, polled);
    }

    /// Calls until the reason is `reason`; how many it took.
    fn calls_until(&mut self, reason: SpinReason) -> u32 {
        for n in 0..10_000 {
            if self.reason() == reason {
                return n;
            }
            self.call();
        }
        panic!("never {reason:?}: {:?}", self.gate.decision());
    }

    fn calls(&mut self, n: u32) -> SpinReason {
        (0..n).for_each(|_| self.call());
        self.reason()
    }

    fn count(&mut self, usable: u32, throttled: u64) -> SpinReason {
        self.gate.cpus(self.now, Cpus { usable, throttled });
        self.reason()
    }

    fn reason(&self) -> SpinReason {
        self.gate.decision().reason
    }
}

#[test]
fn steady_calls_under_latency_are_polled_for_soon_and_for_good() {
    for cpus in [2, 3, 64] {
        let mut pair = Pair::new(Latency, cpus);
        assert_eq!(pair.reason(), Fresh);
        assert_eq!(pair.calls_until(Probing), 2, "the first has nothing before it");
        assert_eq!(pair.gate.decision().spin, us(20));
        assert_eq!(pair.calls_until(Pays), 64);
        assert_eq!(pair.calls(100_000), Pays);
        // Twice the four microseconds from call to call.
        let spin = pair.gate.decision().spin;
        assert!((us(7)..us(10)).contains(&spin), "{spin:?}");
    }
}

#[test]
fn balanced_wants_many_close_calls_and_more_than_two_cpus() {
    let mut pair = Pair { wake: us(15), ..Pair::new(Balanced, 4) };
    assert_eq!(pair.calls(256), Fresh);
    assert_eq!(pair.calls(1), Probing, "the first has nothing before it");
    assert_eq!(pair.calls(64), Pays);

    let mut pair = Pair::new(Balanced, 2);
    assert_eq!((pair.calls(10_000), pair.gate.decision().spin), (TwoCpus, Duration::ZERO));
    assert!(!pair.gate.open() && pair.gate.heeds_cpus());
}

#[test]
fn balanced_does_not_poll_for_what_comes_seldom_or_takes_long() {
    let mut pair = Pair { think: us(60), wake: us(15), ..Pair::new(Balanced, 4) };
    assert_eq!(pair.calls(1000), Sparse);
    pair.think = us(3);
    pair.calls_until(Pays);

    let mut pair = Pair { service: us(16), wake: us(10), ..Pair::new(Balanced, 4) };
    pair.calls_until(Slow);
    assert_eq!(pair.gate.decision().spin, Duration::ZERO);
    pair.service = us(1);
    pair.calls_until(Pays);
    pair.service = us(16);
    pair.calls_until(Slow);
}

#[test]
fn policy_cpu_never_polls() {
    for cpus in [0, 1, 2, 64] {
        let mut pair = Pair::new(Cpu, cpus);
        assert_eq!((pair.calls(1000), pair.count(64, 0)), (Policy, Policy));
        assert_eq!(pair.gate.decision().spin, Duration::ZERO);
        assert!(!pair.gate.open() && !pair.gate.heeds_cpus());
    }
}

#[test]
fn one_cpu_is_never_enough_until_there_are_more() {
    let mut pair = Pair::new(Latency, 1);
    assert_eq!(pair.calls(1000), FewCpus);
    assert_eq!(pair.count(2, 0), Fresh);
    pair.calls_until(Pays);
    assert_eq!(pair.count(1, 0), FewCpus, "also while it pays");
    assert_eq!((pair.calls(1000), pair.gate.decision().spin), (FewCpus, Duration::ZERO));
}

#[test]
fn a_throttled_cgroup_stops_polling_until_a_count_without() {
    let mut pair = Pair::new(Latency, 2);
    assert_eq!(pair.count(2, 7), Throttled, "it rose since the start");
    assert_eq!(pair.calls(1000), Throttled);
    assert_eq!(pair.count(2, 7), Fresh);
    pair.calls_until(Pays);
    assert_eq!(pair.count(2, 7), Pays, "no news");
    assert_eq!(pair.count(2, 8), Throttled);
}

#[test]
fn silence_ends_polling_and_the_way_back_is_short() {
    let mut pair = Pair::new(Latency, 2);
    pair.calls_until(Pays);
    pair.now += us(1000);
    assert!(pair.gate.idle(pair.now).is_some_and(|d| d.spin.is_zero() && d.reason == Idle));
    assert_eq!(pair.gate.idle(pair.now), None);
    assert!(pair.calls_until(Probing) < 50);
    assert_eq!(pair.calls(64), Pays);
    // The same when the next call is faster than whoever notices silence.
    pair.now += us(2000);
    pair.call();
    assert_eq!((pair.reason(), pair.gate.decision().spin), (Idle, Duration::ZERO));
    let again = pair.calls_until(Pays);
    assert!(again <= 8 + 64 + 1, "{again}");
}

#[test]
fn polling_that_shortens_nothing_is_given_up() {
    // A wake-up that costs nothing to speak of. What sleeping costs shows at the first call after each pause.
    let mut pair = Pair { wake: Duration::from_nanos(100), ..Pair::new(Latency, 2) };
    for pause in 0.. {
        if pair.calls(100) == NoGain {
            break;
        }
        assert!(pause < 16, "{:?}", pair.gate.decision());
        pair.now += us(2000);
    }
    assert_eq!(pair.gate.decision().spin, Duration::ZERO);
}

#[test]
fn polling_that_finds_nothing_is_given_up() {
    let mut pair = Pair { think: us(200), ..Pair::new(Latency, 2) };
    pair.calls_until(Probing);
    assert_eq!(pair.calls_until(Missed), 64 + 64 + 7, "two rounds to get used to each other");
}

#[test]
fn each_failed_probe_doubles_the_wait_for_the_next_up_to_a_second() {
    let mut pair = Pair { think: us(200), ..Pair::new(Latency, 2) };
    let mut waits = Vec::new();
    for _ in 0..13 {
        pair.calls_until(Missed);
        let failed = pair.now;
        pair.calls_until(Probing);
        waits.push((pair.now - failed).as_millis());
    }
    // A call takes a fifth of a millisecond, and eight of them make a probe.
    let wanted = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000, 1000];
    for (wait, wanted) in waits.iter().zip(wanted) {
        assert!((wanted..=wanted + 2).contains(wait), "{waits:?}");
    }
    pair.think = us(3);
    pair.calls_until(Pays);
    pair.calls(256);
    pair.think = us(200);
    pair.calls_until(Missed);
    let failed = pair.now;
    pair.calls_until(Probing);
    assert!((pair.now - failed).as_millis() <= 3, "what paid for a while begins anew");
}

#[test]
fn a_window_with_too_few_hits_ends_it() {
    let mut pair = Pair::new(Latency, 2);
    pair.calls_until(Pays);
    pair.calls(1000);
    // A slow answer costs two: the next call finds the worker asleep.
    let mut n = 0;
    let mut mixed = |every: u32, calls: u32| {
        let mut reasons = Vec::new();
        for _ in 0..calls {
            n += 1;
            pair.service = if n % every == 0 { us(40) } else { us(1) };
            pair.call();
            reasons.push(pair.reason());
        }
        reasons.dedup();
        reasons
    };
    assert_eq!(mixed(10, 2000), [Pays]);
    assert_eq!(mixed(4, 200)[..2], [Pays, Missed]);
}

#[test]
fn calls_that_began_before_a_decision_say_nothing_about_it() {
    let mut pair = Pair::new(Latency, 2);
    pair.calls_until(Probing);
    // A crowd that was under way when the probe began.
    for _ in 0..100 {
        pair.now += us(1);
        pair.gate.answered(pair.now, us(500), false);
    }
    assert_eq!(pair.reason(), Probing);
    assert_eq!(pair.calls(64), Pays);
}

#[test]
fn the_budget_follows_the_calls_within_its_bounds() {
    let mut pair =
        Pair { think: us(0), service: Duration::from_nanos(300), ..Pair::new(Latency, 2) };
    pair.calls_until(Pays);
    pair.calls(1000);
    assert_eq!(pair.gate.decision().spin, us(2));
    let mut pair = Pair { think: us(15), ..Pair::new(Latency, 2) };
    pair.calls_until(Pays);
    pair.calls(1000);
    assert_eq!(pair.gate.decision().spin, us(20));
}

#[test]
fn every_reason_has_words_of_its_own() {
    let all = [
        Fresh, Policy, FewCpus, Throttled, TwoCpus, Sparse, Slow, Probing, Pays, NoGain, Missed,
        Idle,
    ];
    let texts: std::collections::HashSet<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), all.len());
    assert!(all.iter().zip(0..).all(|(reason, n)| *reason as u8 == n));
}
