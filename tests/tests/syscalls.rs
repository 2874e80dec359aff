//! What a busy lane asks of the kernel: nothing, on either side. Counted, never timed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use nix::libc::SYS_futex;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use nylon_host::{Body, Chain, Client, Host, Item, PluginSpec, SpinReason, WaitPolicy};
use nylon_tests::trace::{self, Syscall, Trace};
use nylon_tests::{program, watchdog};
use rustix::time::{ClockId, clock_gettime};

/// Calls that count.
const CALLS: usize = 100_000;
/// Calls between two looks at the gate.
const STRETCH: usize = 1_000;
/// Calls that are judged together.
const BLOCK: usize = 20;

/// One call after the other while the gate says that polling pays: the kernel hears of most of them nothing at all, from no
/// thread of either process.
///
/// Not of all: a side that is taken off its CPU for longer than the other polls is slept for, collectors collect, and
/// runtimes have timers. So the calls are judged by twenties, and more than half of those must have made no system call.
/// One that belongs to the calls, even to one in twenty, leaves none.
#[test]
fn a_busy_lane_makes_no_system_calls() {
    let _dog = watchdog(120);
    let [host_cpu, .., worker_cpu] = cpus()[..] else {
        return println!("not counted: nobody polls on one CPU");
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .on_thread_start(move || pin(host_cpu))
        .enable_all()
        .build()
        .expect("a runtime");
    // The host starts its workers from a thread of its own, which starts here.
    pin(worker_cpu);
    let spec = PluginSpec {
        wait: WaitPolicy::Latency,
        start_timeout: Duration::from_secs(20),
        lanes: 1,
        ..PluginSpec::new("probe", program::plugin("probe"))
    };
    let host = runtime.block_on(Host::start(vec![spec])).expect("a worker");
    pin(host_cpu);
    let chain = host.chain().item(Item::new("probe", "nonce")).expect("known").build();
    let gate = || host.status("probe").expect("its status").spin.reason;
    let stretch = || {
        let calls = runtime.spawn(stretch(chain.clone()));
        runtime.block_on(calls).expect("right answers")
    };

    let pid = host.status("probe").expect("its status").pid;
    let trace = match Trace::start(&[std::process::id(), pid]) {
        Ok(trace) => trace,
        Err(e) => return println!("not counted: {e}"),
    };
    stretch(); // warm
    let mut busy = Vec::new();
    let mut gates = Vec::new();
    while busy.len() < CALLS / STRETCH && gates.len() < 10 * CALLS / STRETCH {
        let before = gate();
        let began = stretch();
        gates.push(gate());
        if [before, gate()] == [SpinReason::Pays; 2] {
            busy.push(began);
        }
    }
    let seen = trace.stop().expect("all of them");
    let own = trace::threads(std::process::id());
    runtime.block_on(host.stop(Duration::from_secs(2)));

    gates.dedup();
    assert_eq!(busy.len(), CALLS / STRETCH, "busy stretches; the gate said {gates:?}");
    let blocks = busy.iter().flat_map(|began| began.windows(BLOCK + 1).step_by(BLOCK));
    let made: Vec<&[Syscall]> = blocks.map(|b| between(&seen, b[0], b[BLOCK])).collect();
    let none = made.iter().filter(|calls| calls.is_empty()).count();
    let table = table(made.iter().copied().flatten(), &own);
    println!("{none} of {} blocks without a system call; in the others: {table:?}", made.len());
    assert!(none * 2 > made.len(), "{none} of {} blocks; {table:#?}", made.len());
    // Whether anything is counted at all: the runtime goes to sleep between two stretches.
    assert!(seen.iter().any(|call| call.number == SYS_futex), "{} calls", seen.len());
}

/// Those of `seen` in a span of time, µs.
fn between(seen: &[Syscall], from: u64, to: u64) -> &[Syscall] {
    let index = |at| seen.partition_point(|call| call.at < at);
    &seen[index(from)..index(to)]
}

/// How often which side made which call.
fn table<'c>(
    calls: impl Iterator<Item = &'c Syscall>,
    host: &[u32],
) -> BTreeMap<(&'static str, String), usize> {
    let mut table = BTreeMap::new();
    for call in calls {
        let side = if host.contains(&call.thread) { "host" } else { "worker" };
        *table.entry((side, call.to_string())).or_default() += 1;
    }
    table
}

/// So many calls: when each began, and when the last was answered, µs.
async fn stretch(chain: Arc<Chain>) -> Vec<u64> {
    let client = Client { ip: [127, 0, 0, 1].into(), tls: false };
    let mut began = Vec::with_capacity(STRETCH + 1);
    for n in 0..STRETCH {
        let request = Request::get("/").header("x-nonce", n).body(Body::empty());
        let service = async |_| Ok(Response::new(Body::empty()));
        began.push(now());
        let answer = chain.call(request.expect("a request"), client, vec![], service).await;
        assert_eq!(answer.headers().get("x-nonce-echo"), Some(&HeaderValue::from(n)));
    }
    began.push(now());
    began
}

/// The clock of the trace, µs.
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1_000).expect("after the start")
}

fn cpus() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).expect("an affinity");
    (0..CpuSet::count()).filter(|n| set.is_set(*n) == Ok(true)).collect()
}

/// Binds this thread, and what it starts from now on.
fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)).expect("an affinity");
}
