//! `nylon`: the gateway.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use nylon_host::cli::{Cli, Command, EXIT_CONFIG, EXIT_RUNTIME, RunArgs};
use nylon_host::config::{self, Loaded, Mode, Refused};
use nylon_host::gateway::{Control, Gateway, SetupError};
use nylon_host::notify;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

mod check;
mod operate;
mod service;
mod table;
mod top;
mod watch;

fn main() -> ExitCode {
    if let Err(e) = nylon_host::harden() {
        return fail(&e);
    }
    let (oldest, newest) = nylon_host::PROTOCOL;
    let cli = match Cli::parse_line(std::env::args_os(), oldest, newest) {
        Ok(cli) => cli,
        Err(e) => e.exit(),
    };
    match cli.command {
        Command::Run(args) => run(&args),
        Command::Check(args) => check::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Operate(verb) => operate::run(&verb),
        Command::Bench(args) => nylon_host::bench::run(&args),
        Command::Service(args) => service::run(&args),
    }
}

fn run(args: &RunArgs) -> ExitCode {
    // Before it is read: what changes from here on has changed.
    let seen = watch::Seen::of(&args.config);
    let Loaded { config, warnings } = match config::load(&args.config, mode(args.lenient)) {
        Ok(loaded) => loaded,
        Err(refused) => return refuse(&refused),
    };
    let log = nylon_host::log::start(&config.runtime.log);
    warnings.iter().for_each(|w| log.warn(w));
    let runtime = match runtime(config.runtime.threads) {
        Ok(runtime) => runtime,
        Err(e) => return fail(&e),
    };
    runtime.block_on(async {
        let (hang_up, hang_ups) = unbounded_channel();
        let stop = match Signals::new() {
            Ok(signals) => signals.listen(hang_up.clone()),
            Err(e) => return fail(&e),
        };
        tokio::pin!(stop);
        if config.runtime.watch {
            watch::start(args.config.clone(), seen, move || {
                let _ = hang_up.send(());
            });
        }
        notify::watchdog();
        notify::status("starting plugins");
        let started = tokio::select! {
            started = Gateway::start(config, args.lenient) => started,
            () = &mut stop => return ExitCode::SUCCESS,
        };
        match started {
            Ok((gateway, warnings)) => {
                warnings.iter().for_each(|w| log.warn(w));
                for addr in gateway.addresses() {
                    tracing::info!(%addr, pid = std::process::id(), "listening");
                }
                notify::ready(notify::SERVING);
                let reloads = reloads(gateway.control(), hang_ups);
                tokio::select! {
                    () = gateway.serve(stop) => {}
                    () = reloads => {}
                }
                ExitCode::SUCCESS
            }
            Err(e @ (SetupError::Config(_) | SetupError::Plugins(_))) => {
                eprintln!("{e}");
                let code = if let SetupError::Config(_) = e { EXIT_CONFIG } else { EXIT_RUNTIME };
                ExitCode::from(code)
            }
            Err(e) => fail(&e),
        }
    })
}

fn mode(lenient: bool) -> Mode {
    if lenient { Mode::Lenient } else { Mode::Strict }
}

/// Reloads the configuration for each hang-up, or change of its files; one that is refused changes nothing.
async fn reloads(control: Control, mut hang_ups: UnboundedReceiver<()>) {
    while hang_ups.recv().await.is_some() {
        // Those that came meanwhile want the same.
        while hang_ups.try_recv().is_ok() {}
        match control.reload_file().await {
            Ok(warnings) => warnings.iter().for_each(|w| eprintln!("{w}")),
            Err(why) => eprintln!("{why}"),
        }
    }
    std::future::pending().await
}

/// SIGTERM and SIGINT stop the gateway, a second one at once. SIGHUP reloads the configuration.
struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        // A limit on file sizes is an error of what would pass it, a log or the memory of a worker: it ends nobody.
        drop(signal(SignalKind::from_raw(nix::sys::signal::Signal::SIGXFSZ as i32))?);
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// What resolves when the gateway is to stop; each hang-up is sent to `hang_up`.
    fn listen(mut self, hang_up: UnboundedSender<()>) -> impl Future<Output = ()> {
        let (tx, rx) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let mut tx = Some(tx);
            loop {
                tokio::select! {
                    _ = self.term.recv() => {}
                    _ = self.int.recv() => {}
                    _ = self.hup.recv() => {
                        let _ = hang_up.send(());
                        continue;
                    }
                }
                match tx.take() {
                    Some(tx) => {
                        tracing::info!("stopping");
                        notify::stopping();
                        let _ = tx.send(());
                    }
                    None => std::process::exit(EXIT_RUNTIME.into()),
                }
            }
        });
        async {
            let _ = rx.await;
        }
    }
}

fn runtime(threads: usize) -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(threads.max(1)).enable_all().build()
}

fn refuse(refused: &Refused) -> ExitCode {
    eprintln!("{refused}");
    ExitCode::from(EXIT_CONFIG)
}

fn fail(e: &dyn std::error::Error) -> ExitCode {
    for line in e.to_string().lines() {
        eprintln!("error: {line}");
    }
    ExitCode::from(EXIT_RUNTIME)
}

/// Time the plugins of `nylon check` have to stop.
const CHECK_GRACE: Duration = Duration::from_secs(2);
