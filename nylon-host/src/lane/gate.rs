//! The spin gate of a lane: whether both sides poll before they sleep, how long, and why (RING.md section 5).
//!
//! In: calls that were answered, silence, what CPUs there are; each with `now`.  Out: a [`SpinDecision`].
//! Never: a clock, a file, shared memory. The lane tells the worker; the worker obeys.

use std::fmt;
use std::time::{Duration, Instant};

/// How a worker and its host wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WaitPolicy {
    /// Sleep. With more than two usable CPUs and calls that come close together, poll first while that is measured to pay.
    #[default]
    Balanced,
    /// Poll first wherever that is measured to pay. Takes a CPU for either side while calls come.
    Latency,
    /// Never poll: sleep as soon as there is nothing to do.
    Cpu,
}

/// Why the two sides of a lane poll or sleep. The numbers are those of the telemetry segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum SpinReason {
    /// Not enough calls yet to say anything.
    #[default]
    Fresh = 0,
    /// The policy is [`WaitPolicy::Cpu`].
    Policy = 1,
    /// Fewer than two usable CPUs.
    FewCpus = 2,
    /// The cgroup was throttled.
    Throttled = 3,
    /// Two usable CPUs, on which polling pays only under [`WaitPolicy::Latency`].
    TwoCpus = 4,
    /// Calls come too far apart.
    Sparse = 5,
    /// Answers take longer than anybody should poll.
    Slow = 6,
    /// Polling, to measure whether it pays.
    Probing = 7,
    /// Polling: it was measured to pay.
    Pays = 8,
    /// Polling did not make round trips short enough.
    NoGain = 9,
    /// Polling found too few of the answers.
    Missed = 10,
    /// Polling would pay, but no call came for a millisecond.
    Idle = 11,
}

impl SpinReason {
    /// The reason with this number in the telemetry segment.
    pub fn from_number(number: u64) -> Option<Self> {
        use SpinReason::*;
        let all = [
            Fresh, Policy, FewCpus, Throttled, TwoCpus, Sparse, Slow, Probing, Pays, NoGain,
            Missed, Idle,
        ];
        all.into_iter().find(|reason| *reason as u64 == number)
    }
}

impl fmt::Display for SpinReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fresh => "too few calls yet",
            Self::Policy => "the policy is cpu",
            Self::FewCpus => "fewer than two usable CPUs",
            Self::Throttled => "the cgroup was throttled",
            Self::TwoCpus => "two usable CPUs only",
            Self::Sparse => "calls come too far apart",
            Self::Slow => "answers take too long",
            Self::Probing => "measuring whether it pays",
            Self::Pays => "it pays",
            Self::NoGain => "round trips became no shorter",
            Self::Missed => "too few answers came in time",
            Self::Idle => "no call for a millisecond",
        })
    }
}

/// What a gate decided. Both sides of the lane hold to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SpinDecision {
    /// How long either side polls before it sleeps; zero: not at all.
    pub spin: Duration,
    /// Why.
    pub reason: SpinReason,
}

/// What there is to spin on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cpus {
    /// CPUs that host and worker may both be running on at a time.
    pub(crate) usable: u32,
    /// How often their cgroup was throttled so far.
    pub(crate) throttled: u64,
}

/// Decides for one lane.
#[derive(Debug)]
pub(crate) struct Gate {
    policy: WaitPolicy,
    cpus: Cpus,
    /// Whether the cgroup was throttled between the last two counts.
    throttled: bool,
    decision: SpinDecision,
    /// When `decision` was made: a call that began before it tells nothing about it.
    since: Option<Instant>,
    /// When the last call was answered.
    last: Option<Instant>,
    /// Answers that came close together, the last of them included.
    close: u32,
    /// Round trips while both sides slept, and those of a probe.
    asleep: Samples,
    polled: Samples,
    rtt: Average,
    apart: Average,
    /// Calls of this probe or window, and how many of them found no answer by polling.
    calls: u32,
    missed: u32,
    /// How many times a probe may go on for [`PROBE_CALLS`], this time included.
    rounds: u32,
    /// When the next probe may begin, after one that failed.
    retry: Option<Instant>,
    backoff: Duration,
}

/// Calls that a probe takes.
const PROBE_CALLS: u32 = 64;
/// Round trips of sleepers that it takes to know what sleeping costs.
const SLEPT_MIN: usize = 16;
/// Of the calls of a probe, how many may find no answer: 90 % must.
const PROBE_MISSES: u32 = 6;
const PROBE_SPIN: Duration = Duration::from_micros(20);
const SPIN_MIN: Duration = Duration::from_micros(2);
/// Calls after which a lane that polls is judged again.
const WINDOW: u32 = 256;
/// Of those, how many may find no answer: 75 % must.
const WINDOW_MISSES: u32 = WINDOW / 4;
/// How long a caller polls once when its worker has gone to sleep in between: as long as a wake-up takes. Otherwise the two
/// would go on to miss each other, each asleep when the other comes.
pub(super) const CATCH_UP: Duration = Duration::from_micros(100);
/// No call for so long ends the polling.
pub(super) const IDLE: Duration = Duration::from_millis(1);
const BACKOFF_MIN: Duration = Duration::from_millis(1);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Handlers under policy `balanced` are to take less.
const SERVICE_MAX: Duration = Duration::from_micros(15);

impl Gate {
    /// A gate for a worker that has just started.
    pub(crate) fn new(policy: WaitPolicy, cpus: Cpus) -> Self {
        let mut gate = Self {
            policy,
            cpus,
            throttled: false,
            decision: SpinDecision::default(),
            since: None,
            last: None,
            close: 0,
            asleep: Samples::default(),
            polled: Samples::default(),
            rtt: Average::default(),
            apart: Average::default(),
            calls: 0,
            missed: 0,
            rounds: 0,
            retry: None,
            backoff: BACKOFF_MIN,
        };
        gate.decision.reason = gate.barred().unwrap_or_default();
        gate
    }

    /// What holds now.
    pub(crate) fn decision(&self) -> SpinDecision {
        self.decision
    }

    /// Whether answers are of interest; if not, only [`Self::cpus`] can change anything.
    pub(crate) fn open(&self) -> bool {
        self.barred().is_none()
    }

    /// Whether [`Self::cpus`] can change anything.
    pub(crate) fn heeds_cpus(&self) -> bool {
        self.policy != WaitPolicy::Cpu
    }

    /// A call got its first answer at `now`, `rtt` after it was sent; `polled`: by polling
    /// no longer than decided. Some: the decision changed.
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        rtt: Duration,
        polled: bool,
    ) -> Option<SpinDecision> {
        let began = now.checked_sub(rtt).unwrap_or(now);
        let last = self.last.replace(now)?;
        let (apart, silence) =
            (now.saturating_duration_since(last), began.saturating_duration_since(last));
        if !self.open() || self.since.is_some_and(|since| began < since) {
            return None;
        }
        match self.decision.reason {
            SpinReason::Probing | SpinReason::Pays if silence > IDLE => self.idle(now),
            SpinReason::Probing => {
                self.measure(rtt, apart, polled);
                self.probed(now)
            }
            SpinReason::Pays => {
                self.measure(rtt, apart, polled);
                self.judged(now)
            }
            _ => self.slept(now, rtt, apart),
        }
    }

    /// No call came for [`IDLE`]. Some: the decision changed.
    pub(crate) fn idle(&mut self, now: Instant) -> Option<SpinDecision> {
        if self.decision.spin.is_zero() {
            return None;
        }
        self.decide(now, Duration::ZERO, SpinReason::Idle)
    }

    /// The CPUs were counted again. Some: the decision changed.
    pub(crate) fn cpus(&mut self, now: Instant, cpus: Cpus) -> Option<SpinDecision> {
        let was = self.barred();
        let before = std::mem::replace(&mut self.cpus, cpus);
        self.throttled = cpus.throttled > before.throttled;
        match (was, self.barred()) {
            (_, Some(why)) => self.decide(now, Duration::ZERO, why),
            (Some(_), None) => self.decide(now, Duration::ZERO, SpinReason::Fresh),
            (None, None) => None,
        }
    }

    /// Why nobody polls, whatever the calls are like.
    fn barred(&self) -> Option<SpinReason> {
        match self.policy {
            WaitPolicy::Cpu => Some(SpinReason::Policy),
            _ if self.cpus.usable < 2 => Some(SpinReason::FewCpus),
            _ if self.throttled => Some(SpinReason::Throttled),
            WaitPolicy::Balanced if self.cpus.usable == 2 => Some(SpinReason::TwoCpus),
            _ => None,
        }
    }

    /// A call while both sides slept: what sleeping costs, and whether it is time for a probe.
    fn slept(&mut self, now: Instant, rtt: Duration, apart: Duration) -> Option<SpinDecision> {
        self.asleep.push(nanos(rtt));
        // Under `latency` at once, but after a failure: handlers are timed by their worker, and those that ring a host
        // which sleeps are soon taken for long ones.
        let (apart_max, enough) = match (self.policy, self.retry) {
            (WaitPolicy::Latency, None) => (IDLE, 1),
            (WaitPolicy::Latency, Some(_)) => (IDLE, 8),
            _ => (Duration::from_micros(50), 256),
        };
        let failed = self.retry.is_some_and(|retry| now < retry);
        if apart >= apart_max {
            self.close = 0;
            return if failed { None } else { self.explain(SpinReason::Sparse) };
        }
        self.close = self.close.saturating_add(1);
        if failed || self.close < enough {
            return None;
        }
        self.polled = Samples::default();
        (self.rtt, self.apart) = (Average::default(), Average::default());
        self.rounds = if self.policy == WaitPolicy::Latency { 3 } else { 1 };
        self.decide(now, PROBE_SPIN, SpinReason::Probing)
    }

    /// A call of a probe has been measured.
    fn probed(&mut self, now: Instant) -> Option<SpinDecision> {
        let missed = self.missed > PROBE_MISSES;
        if missed && self.rounds == 1 {
            return self.fail(now, SpinReason::Missed);
        }
        if self.calls < PROBE_CALLS {
            return None;
        }
        if missed {
            self.rounds -= 1;
            (self.calls, self.missed) = (0, 0);
            return None;
        }
        if self.slow() {
            return self.fail(now, SpinReason::Slow);
        }
        // Shorter by 30 % at least, as far as is known.
        if self.asleep.next >= SLEPT_MIN
            && u64::from(self.polled.median()) * 10 > u64::from(self.asleep.median()) * 7
        {
            return self.fail(now, SpinReason::NoGain);
        }
        self.decide(now, self.budget(), SpinReason::Pays)
    }

    /// A call of a lane that polls has been measured.
    fn judged(&mut self, now: Instant) -> Option<SpinDecision> {
        if self.missed > WINDOW_MISSES {
            return self.fail(now, SpinReason::Missed);
        }
        if self.calls < WINDOW {
            return None;
        }
        if self.slow() {
            return self.fail(now, SpinReason::Slow);
        }
        (self.calls, self.missed) = (0, 0);
        (self.retry, self.backoff) = (None, BACKOFF_MIN);
        let (old, new) = (self.decision.spin, self.budget());
        if new.abs_diff(old) < old / 4 {
            return None;
        }
        self.decision.spin = new;
        Some(self.decision)
    }

    fn measure(&mut self, rtt: Duration, apart: Duration, polled: bool) {
        self.calls += 1;
        self.missed += u32::from(!polled);
        self.polled.push(nanos(rtt));
        self.rtt.add(nanos(rtt));
        self.apart.add(nanos(apart));
    }

    /// Whether handlers take longer than the policy wants to wait for. What they take shows only while nobody sleeps, so
    /// it is asked at the end of a probe and not before it.
    fn slow(&self) -> bool {
        self.policy == WaitPolicy::Balanced && self.polled.median() >= nanos(SERVICE_MAX)
    }

    /// Twice what either side usually waits: the host for an answer, the worker for the next call.
    fn budget(&self) -> Duration {
        let usual = self.rtt.get().max(self.apart.get());
        Duration::from_nanos(2 * u64::from(usual)).clamp(SPIN_MIN, PROBE_SPIN)
    }

    /// Polling did not pay: the next probe is twice as far away as the last one was.
    fn fail(&mut self, now: Instant, why: SpinReason) -> Option<SpinDecision> {
        self.retry = Some(now + self.backoff);
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        self.decide(now, Duration::ZERO, why)
    }

    fn decide(&mut self, now: Instant, spin: Duration, reason: SpinReason) -> Option<SpinDecision> {
        if self.decision == (SpinDecision { spin, reason }) {
            return None;
        }
        self.since = Some(now);
        (self.close, self.calls, self.missed) = (0, 0, 0);
        self.decision = SpinDecision { spin, reason };
        Some(self.decision)
    }

    /// Still asleep, for another reason.
    fn explain(&mut self, reason: SpinReason) -> Option<SpinDecision> {
        if self.decision.reason == reason {
            return None;
        }
        self.decision.reason = reason;
        Some(self.decision)
    }
}

/// The last round trips of one kind, ns.
#[derive(Clone, Copy, Debug)]
struct Samples {
    ring: [u32; PROBE_CALLS as usize],
    /// How many there have been.
    next: usize,
}

impl Default for Samples {
    fn default() -> Self {
        Self { ring: [0; PROBE_CALLS as usize], next: 0 }
    }
}

impl Samples {
    fn push(&mut self, ns: u32) {
        self.ring[self.next % self.ring.len()] = ns;
        self.next += 1;
    }

    /// Of those there are; zero of none.
    fn median(&self) -> u32 {
        let mut ring = self.ring;
        let known = &mut ring[..self.next.min(self.ring.len())];
        if known.is_empty() {
            return 0;
        }
        let middle = known.len() / 2;
        *known.select_nth_unstable(middle).1
    }
}

/// An exponentially weighted average, ns.
#[derive(Clone, Copy, Debug, Default)]
struct Average(Option<i64>);

impl Average {
    /// `ns` counts an eighth.
    fn add(&mut self, ns: u32) {
        let ns = i64::from(ns);
        self.0 = Some(self.0.map_or(ns, |average| average + (ns - average) / 8));
    }

    fn get(&self) -> u32 {
        self.0.unwrap_or(0).try_into().unwrap_or(u32::MAX)
    }
}

fn nanos(duration: Duration) -> u32 {
    duration.as_nanos().try_into().unwrap_or(u32::MAX)
}
