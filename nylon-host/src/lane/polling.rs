//! Callers that poll: they take the consumer's place from the reactor for as long as the gate lets them.
//!
//! Two rules keep every frame heard. Whoever leaves a lane disarmed has made sure that the reactor looks at it by a
//! timer (`timed`). And nobody sleeps on a disarmed lane: who gives up arms it, and so does who finds that others wait.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use nylon_protocol::{Token, Violation};
use nylon_shm::{Armed, Consumer, MappedRing};
use tokio::sync::Notify;

use super::gate::{CATCH_UP, Cpus, Gate, IDLE, SpinDecision, SpinReason};
use super::{Fault, Lane, Peer, Up, lock, reactor};

/// How often the CPUs are counted anew while calls come.
const RECOUNT: Duration = Duration::from_secs(10);

/// What a lane keeps for its callers that poll.
#[derive(Debug)]
pub(super) struct Polling {
    gate: Mutex<Gate>,
    /// Whether the gate wants to hear of answers.
    open: AtomicBool,
    /// How long a caller polls, ns.
    spin: AtomicU32,
    /// Whether the worker is likely to be asleep, as the last who polled had no answer.
    astray: AtomicBool,
    /// Whether the lane is armed: written under the consumer's lock, read as a hint.
    armed: AtomicBool,
    /// Whether the reactor looks again by a timer: cleared under the consumer's lock only.
    timed: AtomicBool,
    since: Instant,
    /// When the CPUs are to be counted again: ns since `since`.
    recount_at: AtomicU64,
    recount: Notify,
}

impl Polling {
    pub(super) fn new(gate: Gate, now: Instant) -> Self {
        let recount_at = if gate.heeds_cpus() { nanos(RECOUNT) } else { u64::MAX };
        Self {
            open: gate.open().into(),
            gate: gate.into(),
            spin: 0.into(),
            astray: false.into(),
            armed: false.into(),
            timed: false.into(),
            since: now,
            recount_at: recount_at.into(),
            recount: Notify::new(),
        }
    }

    pub(super) fn spins(&self) -> bool {
        self.spin.load(Ordering::Relaxed) != 0
    }
}

/// What the reactor knows when it looks, rung or not.
#[derive(Debug, Default)]
pub(super) struct Look {
    calls: u64,
    since: Option<Instant>,
    /// When the last piece of a large body came, if nothing came since.
    pub(super) piece: Option<Instant>,
}

impl Lane {
    /// Keeps the worker from ringing while callers poll; called before publishing.
    pub(crate) fn hush(&self) {
        if self.polling.spins()
            && self.polling.armed.load(Ordering::Relaxed)
            && let Some(mut up) = self.consumer()
        {
            self.disarm(&mut up.ring);
        }
    }

    /// Polls the lane for `token` until the gate's budget is spent, counted from `from`; everybody's frames are delivered
    /// on the way. Whether there was one for `token` within that budget.
    pub(crate) fn spin(&self, token: Token, from: Instant) -> bool {
        let budget = self.polling.spin.load(Ordering::Relaxed);
        if budget == 0 {
            return false;
        }
        // Fence: pairs with the one in `leave`.
        fence(Ordering::SeqCst);
        let Some(mut up) = self.consumer() else { return false };
        self.disarm(&mut up.ring);
        let budget = Duration::from_nanos(budget.into());
        let astray = self.polling.astray.load(Ordering::Relaxed);
        let longest = if astray { CATCH_UP } else { budget };
        match self.poll(token, &mut up, from, longest) {
            Ok(true) if astray => self.polling.astray.store(false, Ordering::Relaxed),
            Ok(true) => {}
            Ok(false) => {
                self.polling.astray.store(true, Ordering::Relaxed);
                self.arm(&mut up.ring);
                return false;
            }
            Err(v) => {
                self.peer.report(Fault::Violation(v));
                return false;
            }
        }
        reactor::ring_space(self, &mut up.ring);
        self.leave(up, 1);
        !astray || from.elapsed() <= budget
    }

    fn poll(
        &self,
        token: Token,
        up: &mut Up,
        from: Instant,
        budget: Duration,
    ) -> Result<bool, Violation> {
        // The reactor may have been faster.
        if self.table().peek(token) {
            return Ok(true);
        }
        loop {
            for _ in 0..64 {
                if self.take_one(up)?.is_none() {
                    std::hint::spin_loop();
                } else if self.table().peek(token) {
                    return Ok(true);
                }
            }
            if from.elapsed() >= budget {
                return Ok(false);
            }
        }
    }

    /// A call that was sent at `sent` got its first answer at `now`; `polled`: by [`Self::spin`].
    pub(crate) fn answered(&self, sent: Instant, now: Instant, polled: bool) {
        let polling = &self.polling;
        if polling.open.load(Ordering::Relaxed)
            // One call in a crowd tells as much as the next.
            && let Ok(mut gate) = polling.gate.try_lock()
        {
            let decision = gate.answered(now, now.saturating_duration_since(sent), polled);
            self.obey(decision);
        }
        if nanos(now.saturating_duration_since(polling.since))
            >= polling.recount_at.load(Ordering::Relaxed)
        {
            polling.recount_at.store(u64::MAX, Ordering::Relaxed);
            polling.recount.notify_one();
        }
    }

    /// Waits until the CPUs should be counted: ten seconds after the last time, and when a call comes.
    pub(crate) async fn recount(&self) {
        self.polling.recount.notified().await;
    }

    /// The CPUs were counted.
    pub(crate) fn cpus(&self, now: Instant, cpus: Cpus) {
        let polling = &self.polling;
        let mut gate = lock(&polling.gate);
        let decision = gate.cpus(now, cpus);
        polling.open.store(gate.open(), Ordering::Relaxed);
        let next = now.saturating_duration_since(polling.since) + RECOUNT;
        polling.recount_at.store(nanos(next), Ordering::Relaxed);
        self.obey(decision);
    }

    /// Whether callers poll now, and why.
    pub(crate) fn spin_decision(&self) -> SpinDecision {
        lock(&self.polling.gate).decision()
    }

    /// Whether the reactor may look for the next piece of a body before it sleeps: never where polling takes the CPU away
    /// from the worker that makes it.
    pub(super) fn may_linger(&self) -> bool {
        use SpinReason::{FewCpus, Policy, Throttled};
        !matches!(self.spin_decision().reason, FewCpus | Policy | Throttled)
    }

    /// Tells both sides; called with the gate locked.
    fn obey(&self, decision: Option<SpinDecision>) {
        let Some(SpinDecision { spin, reason }) = decision else { return };
        let Peer { plugin, pid: worker, generation, .. } = &*self.peer;
        tracing::debug!(%plugin, worker, generation, ?spin, %reason, "spin gate");
        let spin = u32::try_from(spin.as_nanos()).unwrap_or(u32::MAX);
        let before = self.polling.spin.swap(spin, Ordering::Relaxed);
        if spin != before {
            self.waker.set_spin(spin);
            self.polling.astray.store(before == 0, Ordering::Relaxed);
        }
        if spin == 0 && before != 0 {
            // Nobody sleeps on a disarmed lane.
            self.nudge.notify_one();
        }
    }

    /// Whether the reactor is to look again by its timer, because callers poll.
    pub(super) fn polled(&self, look: &mut Look) -> bool {
        if !self.polling.timed.load(Ordering::Relaxed) {
            return false;
        }
        let now = Instant::now();
        let calls = self.counters.calls.load(Ordering::Relaxed);
        if look.since.is_none() || calls != look.calls {
            (look.calls, look.since) = (calls, Some(now));
        }
        let silent = look.since.is_some_and(|since| now.duration_since(since) >= IDLE);
        if silent {
            let decision = lock(&self.polling.gate).idle(now);
            self.obey(decision);
        }
        !silent && self.polling.spins()
    }

    /// The reactor has armed the lane, and looks by no timer any more.
    pub(super) fn armed(&self) {
        self.polling.armed.store(true, Ordering::Relaxed);
        self.polling.timed.store(false, Ordering::Relaxed);
    }

    /// Gives the consumer back without arming it, unless more than `polling` invocations are open: the others may sleep.
    pub(super) fn leave(&self, up: MutexGuard<'_, Up>, polling: usize) {
        drop(up);
        // Fence: pairs with the one in `spin`, between another caller's credit and its try at the lock; either it gets
        // the lock or we see its credit.
        fence(Ordering::SeqCst);
        if self.flying.load(Ordering::Relaxed) > polling
            && let Some(mut up) = self.consumer()
            && !self.polling.armed.load(Ordering::Relaxed)
        {
            self.arm(&mut up.ring);
        }
    }

    /// The consumer, unless somebody has it who will deliver what comes.
    pub(super) fn consumer(&self) -> Option<MutexGuard<'_, Up>> {
        match self.up.try_lock() {
            Ok(up) => Some(up),
            Err(TryLockError::Poisoned(up)) => Some(up.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn disarm(&self, up: &mut Consumer<MappedRing>) {
        up.disarm();
        self.polling.armed.store(false, Ordering::Relaxed);
        if !self.polling.timed.load(Ordering::Relaxed)
            && !self.polling.timed.swap(true, Ordering::Relaxed)
        {
            self.nudge.notify_one();
        }
    }

    /// Arms the lane for those who wait; what came in between is for the reactor.
    fn arm(&self, up: &mut Consumer<MappedRing>) {
        match up.arm() {
            Ok(Armed::Sleep(_)) => self.polling.armed.store(true, Ordering::Relaxed),
            Ok(Armed::Ready) => self.nudge.notify_one(),
            Err(v) => self.peer.report(Fault::Violation(v)),
        }
        reactor::ring_space(self, up);
    }
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}
