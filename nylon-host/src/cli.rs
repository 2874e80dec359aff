//! The command line of `nylon`.

mod operate;
mod service;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

pub use crate::bench::BenchArgs;
pub use operate::{
    Ask, Crash, CrashListArgs, CrashShowArgs, EventsArgs, LogsArgs, Named, Operate, PluginVerb,
    Target, UpgradeArgs,
};
pub use service::{
    InstallArgs, ServiceArgs, ServiceName, ServiceVerb, StatusArgs, UninstallArgs, UnitPlace,
};

/// Exit code when the configuration or the command line is refused.
pub const EXIT_CONFIG: u8 = 2;

/// Exit code when something fails at run time.
pub const EXIT_RUNTIME: u8 = 1;

/// Exit code when there is no gateway to ask, or it is gone, or the service does not run.
pub const EXIT_GONE: u8 = 3;

/// A protocol version: major, then minor.
pub type ProtocolVersion = (u16, u16);

/// Runs plugins out of process at in-process speed.
#[derive(Debug, Parser)]
#[command(name = "nylon", arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `nylon` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM or SIGINT.
    Run(RunArgs),
    /// Check the configuration: start each plugin, list its entries and stop it.
    Check(CheckArgs),
    /// Watch the plugins of a running gateway, or print how they fare.
    ///
    /// Of each plugin and each of its workers: calls a second, p50 and p99 by phase, what is in flight and waits, the age of
    /// the oldest session, how full rings and arenas are, wakes, polling and why, memory, CPU time, restarts and the last
    /// exit. It reads what the gateway stores once a second, also when that hangs, is stopped or was killed. On the screen,
    /// ? explains the keys.
    Top(TopArgs),
    /// Ask a running gateway something.
    #[command(flatten)]
    Operate(Operate),
    /// Send requests by a fixed schedule, and say how long they took.
    Bench(BenchArgs),
    /// Run the gateway as a service of systemd: write its unit, and drive it.
    Service(ServiceArgs),
}

/// Arguments of `nylon run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The runtime file.
    #[arg(short, long, value_name = "FILE", default_value = "/etc/nylon/config.yaml")]
    pub config: PathBuf,

    /// Start although keys, plugins, entries, groups or directories are not there; their routes answer 500.
    #[arg(long)]
    pub lenient: bool,
}

/// Arguments of `nylon check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The runtime file.
    #[arg(short, long, value_name = "FILE", default_value = "/etc/nylon/config.yaml")]
    pub config: PathBuf,

    /// Only read the files: start no plugin.
    #[arg(long = "static")]
    pub static_only: bool,

    /// Say what `nylon run --lenient` would: warnings for what only breaks its routes.
    #[arg(long)]
    pub lenient: bool,

    /// Print problems and entries as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `nylon top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// The gateway with this process id; by default the only one there is.
    #[arg(long, value_name = "N")]
    pub pid: Option<u32>,

    /// Print all rows once instead of showing a screen.
    #[arg(long)]
    pub once: bool,

    /// Print them as JSON.
    #[arg(long, requires = "once")]
    pub json: bool,
}

impl Cli {
    /// Parses a command line. `oldest` and `newest` are the protocol versions this build speaks,
    /// for `--version`: `nylon 0.1.0 (protocol ABI 1.0–1.2)`.
    ///
    /// The error also stands for `--help` and `--version`: call [`clap::Error::exit`], which
    /// prints it and leaves with 0 or [`EXIT_CONFIG`].
    pub fn parse_line(
        line: impl IntoIterator<Item = OsString>,
        oldest: ProtocolVersion,
        newest: ProtocolVersion,
    ) -> Result<Self, clap::Error> {
        let version = version(oldest, newest);
        let matches = Self::command().version(version).try_get_matches_from(line)?;
        Self::from_arg_matches(&matches)
    }
}

/// What `--version` prints after the name of the program.
fn version(oldest: ProtocolVersion, newest: ProtocolVersion) -> String {
    let package = env!("CARGO_PKG_VERSION");
    format!("{package} (protocol ABI {}.{}–{}.{})", oldest.0, oldest.1, newest.0, newest.1)
}

#[cfg(test)]
mod tests {
    use super::{Cli, Command, EXIT_CONFIG};

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::parse_line(line.split(' ').map(Into::into), (1, 0), (1, 2))
    }

    #[test]
    fn run_defaults_to_the_system_file() {
        let Command::Run(args) = parse("nylon run").unwrap().command else { panic!() };
        assert_eq!(args.config.to_str(), Some("/etc/nylon/config.yaml"));
        assert!(!args.lenient);
        let Command::Run(args) = parse("nylon run -c a.yaml --lenient").unwrap().command else {
            panic!()
        };
        assert_eq!(args.config.to_str(), Some("a.yaml"));
        assert!(args.lenient);
    }

    #[test]
    fn check_takes_static_lenient_and_json() {
        let line = "nylon check -c a.yaml --static --lenient --json";
        let Command::Check(args) = parse(line).unwrap().command else { panic!() };
        assert!(args.static_only && args.lenient && args.json);
    }

    #[test]
    fn top_prints_json_once() {
        let line = "nylon top --pid 7 --once --json";
        let Command::Top(args) = parse(line).unwrap().command else { panic!() };
        assert!(args.pid == Some(7) && args.once && args.json);
        assert!(parse("nylon top --json").is_err());
    }

    #[test]
    fn version_names_the_protocol_range() {
        let printed = parse("nylon --version").unwrap_err();
        let expected = format!("nylon {} (protocol ABI 1.0–1.2)\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(printed.to_string(), expected);
        assert_eq!(printed.exit_code(), 0);
    }

    #[test]
    fn a_wrong_line_leaves_with_the_config_code() {
        assert_eq!(parse("nylon run --nope").unwrap_err().exit_code(), i32::from(EXIT_CONFIG));
    }
}
