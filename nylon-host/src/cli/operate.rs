//! The verbs that ask a running gateway something.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What an operator asks of a running gateway.
#[derive(Debug, Subcommand)]
pub enum Operate {
    /// List the plugins and their workers.
    Ps(Ask),
    /// Change one plugin.
    #[command(flatten)]
    One(PluginVerb),
    /// Serve the configuration as it is now, or say why not.
    Reload(Ask),
    /// Say whether the gateway can do its work, and what keeps it from that.
    Health(Ask),
    /// Print the log's last lines, and follow it.
    Logs(LogsArgs),
    /// Print what happened to plugins, and follow it.
    Events(EventsArgs),
    /// Print the rings and requests of a plugin's live workers.
    Dump(Named),
    /// Look at workers that ended without being asked to.
    #[command(subcommand)]
    Crash(Crash),
    /// Change one plugin: the same as the verbs of these names.
    #[command(subcommand)]
    Plugin(PluginVerb),
    /// Print the description of the admin endpoint (OpenAPI 3.1).
    Openapi,
}

/// What can be done to one plugin.
#[derive(Debug, Subcommand)]
pub enum PluginVerb {
    /// Start a plugin's workers anew, beside those that serve.
    Restart(Named),
    /// Take a plugin out of service, and stop its workers when their requests are done.
    Drain(Named),
    /// Bring another program of a plugin into service, or the same file as it is now.
    Upgrade(UpgradeArgs),
    /// Take the last upgrade of a plugin back.
    Rollback(Named),
    /// Send a plugin no new requests; its workers stay.
    Pause(Named),
    /// Send a paused or drained plugin requests again.
    Resume(Named),
}

/// Crashes that are remembered.
#[derive(Debug, Subcommand)]
pub enum Crash {
    /// List them, oldest first.
    List(CrashListArgs),
    /// Print the report of one.
    Show(CrashShowArgs),
}

/// Which gateway is meant: without any of these the only one that runs here.
#[derive(Clone, Debug, Default, Args)]
pub struct Target {
    /// The one that runs with this runtime file.
    #[arg(short, long, value_name = "FILE", help_heading = "Which gateway")]
    pub config: Option<PathBuf>,

    /// The one with this process id.
    #[arg(long, value_name = "N", help_heading = "Which gateway")]
    pub pid: Option<u32>,

    /// The one with this admin socket.
    #[arg(long, value_name = "PATH", help_heading = "Which gateway")]
    pub socket: Option<PathBuf>,
}

/// A question, and how it is answered.
#[derive(Clone, Debug, Args)]
pub struct Ask {
    /// Which gateway.
    #[command(flatten)]
    pub to: Target,

    /// Print the answer as JSON.
    #[arg(long)]
    pub json: bool,
}

/// A plugin.
#[derive(Debug, Args)]
pub struct Named {
    /// Its name.
    #[arg(value_name = "PLUGIN")]
    pub plugin: String,

    /// Of which gateway, and how it is answered.
    #[command(flatten)]
    pub ask: Ask,
}

/// Arguments of `nylon upgrade`.
#[derive(Debug, Args)]
pub struct UpgradeArgs {
    /// The plugin.
    #[command(flatten)]
    pub named: Named,

    /// The new program, in a directory that `admin.programs` names; without it the same file as it is now.
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
}

/// Arguments of `nylon events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Only those of this plugin.
    pub plugin: Option<String>,

    /// Go on with those to come, until interrupted.
    #[arg(short, long)]
    pub follow: bool,

    /// So many of those that are kept.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub lines: usize,

    /// Of which gateway, and how it is answered: as JSON, one object a line.
    #[command(flatten)]
    pub ask: Ask,
}

/// Arguments of `nylon logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// As for events.
    #[command(flatten)]
    pub lines: EventsArgs,

    /// Only lines of this level or above: error, warn, info, debug, trace.
    #[arg(long)]
    pub level: Option<String>,

    /// Lines of requests (access log and spans) instead, those to come.
    #[arg(long, requires = "follow")]
    pub requests: bool,
}

/// Arguments of `nylon crash list`.
#[derive(Debug, Args)]
pub struct CrashListArgs {
    /// Only those of this plugin.
    pub plugin: Option<String>,

    /// Of which gateway, and how it is answered.
    #[command(flatten)]
    pub ask: Ask,
}

/// Arguments of `nylon crash show`.
#[derive(Debug, Args)]
pub struct CrashShowArgs {
    /// Its id, as `authz-7`, a plugin for its last one, or the file of a report; without it the last of all.
    pub crash: Option<String>,

    /// Of which gateway, and how it is answered.
    #[command(flatten)]
    pub ask: Ask,
}

impl Operate {
    /// Whether the answer is wanted as JSON.
    pub fn is_json(&self) -> bool {
        match self {
            Self::Ps(ask) | Self::Reload(ask) | Self::Health(ask) => ask.json,
            Self::Dump(named) => named.ask.json,
            Self::Logs(args) => args.lines.ask.json,
            Self::Events(args) => args.ask.json,
            Self::Crash(Crash::List(args)) => args.ask.json,
            Self::Crash(Crash::Show(args)) => args.ask.json,
            Self::One(verb) | Self::Plugin(verb) => verb.is_json(),
            Self::Openapi => true,
        }
    }
}

impl PluginVerb {
    fn is_json(&self) -> bool {
        match self {
            Self::Restart(named)
            | Self::Drain(named)
            | Self::Rollback(named)
            | Self::Pause(named)
            | Self::Resume(named) => named.ask.json,
            Self::Upgrade(args) => args.named.ask.json,
        }
    }
}
