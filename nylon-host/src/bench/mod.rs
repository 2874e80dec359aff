//! `nylon bench URL`: an open-loop load on an HTTP server, and what it found.
//!
//! In: a [`Schedule`] and a [`Target`].  Out: a [`Report`].
//! Never: a plugin, a configuration, or a request sent when it suits the server.
//!
//! The schedule is fixed before the first request, and latency counts from the moment a request should have been sent.
//! So a server that stalls is charged for everybody who would have come meanwhile (nothing is left to correct), and so
//! is a generator that is too slow: how far it fell behind is in the report. The tests and the rows of `cargo xtask
//! chaos` send by the same [`Pacer`] and sort failures by the same [`Trouble`].

mod args;
mod connection;
mod pace;
mod report;
mod target;
mod trouble;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

pub use args::BenchArgs;
pub use pace::{Due, Pacer, Schedule};
pub use report::Report;
pub use target::{Target, TargetError};
pub use trouble::Trouble;

use crate::cli::{EXIT_CONFIG, EXIT_RUNTIME};
use connection::Connection;

/// How often a long run says on standard error how it fares; a run no longer than twice that says nothing.
const PROGRESS: Duration = Duration::from_secs(5);

/// Runs the verb. 0: every request was answered with a status below 400; 1: one was not, or nobody is there; 2: the
/// command line is refused.
pub fn run(args: &BenchArgs) -> ExitCode {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(bench(args)),
        Err(e) => Err((EXIT_RUNTIME, e.to_string())),
    };
    match done {
        Ok(report) => {
            if args.json {
                println!("{:#}", report.json());
            } else {
                print!("{report}");
            }
            if report.all_well() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_RUNTIME) }
        }
        Err((code, why)) => {
            eprintln!("error: {why}");
            ExitCode::from(code)
        }
    }
}

async fn bench(args: &BenchArgs) -> Result<Report, (u8, String)> {
    let schedule = args.schedule().map_err(|why| (EXIT_CONFIG, why))?;
    let target = Arc::new(args.target().await.map_err(|e| (EXIT_CONFIG, e.to_string()))?);
    // Nobody wants to wait for the end of a run to read that nothing listens there.
    let greeting = Connection::new(target.clone()).open(args.timeout).await;
    greeting.map_err(|e| (EXIT_RUNTIME, format!("{}: {e}", target.place())))?;

    let report = Arc::new(Mutex::new(Report::new(schedule, args.connections)));
    let start = Instant::now();
    let pacer = Arc::new(Pacer::start(schedule, start));
    let mut connections = JoinSet::new();
    for _ in 0..args.connections {
        let connection = Connection::new(target.clone());
        connections.spawn(drive(connection, pacer.clone(), start, args.timeout, report.clone()));
    }
    let long = schedule.duration > 2 * PROGRESS;
    let mut tick = tokio::time::interval_at((start + PROGRESS).into(), PROGRESS);
    let mut stopped = std::pin::pin!(tokio::signal::ctrl_c());
    let interrupted = loop {
        tokio::select! {
            next = connections.join_next() => if next.is_none() { break false },
            _ = &mut stopped => break true,
            _ = tick.tick(), if long => eprintln!("{}", lock(&report).progress(start.elapsed())),
        }
    };
    let released = pacer.stop();
    connections.shutdown().await;
    let mut report = lock(&report).clone();
    report.end(start.elapsed(), released, interrupted);
    Ok(report)
}

/// One connection: takes what is due, as long as there is something.
async fn drive(
    mut connection: Connection,
    pacer: Arc<Pacer>,
    start: Instant,
    timeout: Duration,
    report: Arc<Mutex<Report>>,
) {
    while let Some(due) = pacer.next().await {
        let waited = start.elapsed().saturating_sub(due.intended);
        // The time a request waited for its connection is part of what a client waits.
        let outcome = match timeout.checked_sub(waited) {
            Some(left) => connection.send(left).await,
            None => Err(Trouble::Timeout),
        };
        let latency = start.elapsed().saturating_sub(due.intended);
        let mut report = lock(&report);
        report.add(&due, waited, latency, outcome);
        report.opened(std::mem::take(&mut connection.opened));
    }
}

fn lock(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}
