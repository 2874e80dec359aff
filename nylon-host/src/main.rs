//! `nylon`: the gateway.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use nylon_host::cli::{Cli, Command, EXIT_CONFIG, EXIT_RUNTIME, RunArgs};
use nylon_host::config::{self, Loaded, Mode, Refused};
use nylon_host::gateway::{Control, Gateway, SetupError};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

mod check;
mod notify;
mod top;

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
        Command::Bench(args) => nylon_host::bench::run(&args),
    }
}

fn run(args: &RunArgs) -> ExitCode {
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
        let (stop, hang_ups) = match Signals::new() {
            Ok(signals) => signals.listen(),
            Err(e) => return fail(&e),
        };
        tokio::pin!(stop);
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
                notify::ready(SERVING);
                let reloads = reloads(args.clone(), gateway.control(), hang_ups);
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

/// What a service manager shows of a gateway that serves.
const SERVING: &str = "serving";

fn mode(lenient: bool) -> Mode {
    if lenient { Mode::Lenient } else { Mode::Strict }
}

/// Reloads the configuration for each hang-up; one that is refused changes nothing.
async fn reloads(args: RunArgs, control: Control, mut hang_ups: UnboundedReceiver<()>) {
    while hang_ups.recv().await.is_some() {
        // Those that came meanwhile want the same.
        while hang_ups.try_recv().is_ok() {}
        tracing::info!(config = %args.config.display(), "reloading");
        notify::reloading();
        match reload(&args, &control).await {
            Ok(()) => tracing::info!("reloaded"),
            Err(why) => {
                eprintln!("{why}");
                tracing::error!("not reloaded: what served goes on");
            }
        }
        notify::ready(SERVING);
    }
    std::future::pending().await
}

async fn reload(args: &RunArgs, control: &Control) -> Result<(), Box<dyn std::error::Error>> {
    let (file, mode) = (args.config.clone(), mode(args.lenient));
    let loaded = tokio::task::spawn_blocking(move || config::load(&file, mode)).await?;
    let Loaded { config, warnings } = loaded?;
    let more = control.reload(config).await?;
    warnings.iter().chain(&more).for_each(|w| eprintln!("{w}"));
    Ok(())
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

    /// What resolves when the gateway is to stop, and what gets a message for each hang-up.
    fn listen(mut self) -> (impl Future<Output = ()>, UnboundedReceiver<()>) {
        let (tx, rx) = tokio::sync::oneshot::channel();
        let (hang_up, hang_ups) = unbounded_channel();
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
        let stop = async {
            let _ = rx.await;
        };
        (stop, hang_ups)
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
