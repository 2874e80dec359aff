//! `nylon service`: the gateway as a service of systemd.

use clap::{Args, Subcommand};
use std::path::PathBuf;

use super::RunArgs;

/// Arguments of `nylon service`.
#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: ServiceVerb,
}

/// What can be done with a service.
#[derive(Debug, Subcommand)]
pub enum ServiceVerb {
    /// Check the configuration, write a unit that runs it, and have it start at boot.
    Install(InstallArgs),
    /// Stop it and remove its unit.
    Uninstall(UninstallArgs),
    /// Start it, and wait until it serves.
    Start(ServiceName),
    /// Stop it, requests in flight finished.
    Stop(ServiceName),
    /// Stop it and start it again.
    Restart(ServiceName),
    /// Have it read its configuration anew.
    Reload(ServiceName),
    /// Say how it is.
    Status(StatusArgs),
}

/// Which service is meant.
#[derive(Debug, Clone, Args)]
pub struct ServiceName {
    /// The name of the service: its unit is NAME.service.
    #[arg(long, default_value = "nylon", value_parser = name)]
    pub name: String,
}

/// Where its unit is.
#[derive(Debug, Clone, Args)]
pub struct UnitPlace {
    /// Which service.
    #[command(flatten)]
    pub service: ServiceName,

    /// The directory of the unit.
    #[arg(long, value_name = "DIR", default_value = UnitPlace::DEFAULT_DIR)]
    pub unit_dir: PathBuf,

    /// Also replace or remove a unit that was not written by this program.
    #[arg(long)]
    pub force: bool,
}

impl UnitPlace {
    /// Where systemd looks for units of this machine's administrator.
    pub const DEFAULT_DIR: &str = "/etc/systemd/system";
}

/// Arguments of `nylon service install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// What it runs.
    #[command(flatten)]
    pub run: RunArgs,

    /// Where its unit goes.
    #[command(flatten)]
    pub place: UnitPlace,

    /// The user it runs as, by name; by default root.
    #[arg(long)]
    pub user: Option<String>,

    /// Print the unit and change nothing; also where there is no systemd.
    #[arg(long)]
    pub print: bool,
}

/// Arguments of `nylon service uninstall`.
#[derive(Debug, Args)]
pub struct UninstallArgs {
    /// Where its unit is.
    #[command(flatten)]
    pub place: UnitPlace,
}

/// Arguments of `nylon service status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Which service.
    #[command(flatten)]
    pub service: ServiceName,

    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
}

/// A name that stands for a unit, for files and directories alike: no templates, no paths, no options.
fn name(text: &str) -> Result<String, String> {
    let name = text.strip_suffix(".service").unwrap_or(text);
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=100).contains(&name.len()) && name.chars().all(good) && !name.starts_with(['-', '.']) {
        Ok(name.to_owned())
    } else {
        Err("a name has letters, digits, `-`, `_` and `.`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn a_name_is_no_path_and_no_option() {
        assert_eq!(name("edge-1.service"), Ok("edge-1".to_owned()));
        for bad in ["", "-x", "..", "a/b", "a@", "a b", "a\n", ".service"] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }
}
