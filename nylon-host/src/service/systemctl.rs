//! The program `systemctl`, by which systemd is driven.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::process::{Command, Output, Stdio};

use super::Problem;

/// A `systemctl` with a manager behind it.
#[derive(Debug)]
pub(super) struct Systemctl(());

impl Systemctl {
    /// The one on PATH, if systemd runs this machine.
    pub(super) fn found() -> Result<Self, Problem> {
        let said = output(&["is-system-running"])?;
        // `degraded` is an answer too, and no success.
        match text(&said.stdout).as_str() {
            "offline" => Err(Problem::NotBooted),
            "" | "unknown" => Err(Problem::Silent(text(&said.stderr))),
            _ => Ok(Self(())),
        }
    }

    /// Runs it with these arguments.
    pub(super) fn run(&self, args: &[&str]) -> Result<(), Problem> {
        let out = output(args)?;
        if out.status.success() {
            return Ok(());
        }
        let said = [text(&out.stderr), text(&out.stdout)].join("\n").trim().to_owned();
        Err(Problem::Failed { line: args.join(" "), said })
    }

    /// What it says of a unit.
    pub(super) fn show(
        &self,
        unit: &str,
        properties: &[&str],
    ) -> Result<HashMap<String, String>, Problem> {
        let asked = format!("--property={}", properties.join(","));
        let out = output(&["show", unit, &asked])?;
        let said = text(&out.stdout);
        let pairs = said.lines().filter_map(|line| line.split_once('='));
        Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// The version of the systemd that is installed, running or not.
pub(super) fn version() -> Option<u32> {
    let out = output(&["--version"]).ok()?;
    parse_version(&text(&out.stdout))
}

/// `systemd 252 (252.38-1~deb12u1)`, and more lines.
fn parse_version(said: &str) -> Option<u32> {
    let number = said.strip_prefix("systemd ")?.split(|c: char| !c.is_ascii_digit()).next()?;
    number.parse().ok()
}

fn output(args: &[&str]) -> Result<Output, Problem> {
    let mut command = Command::new("systemctl");
    command.args(args).stdin(Stdio::null()).env("SYSTEMD_PAGER", "").env("LC_ALL", "C");
    command.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => Problem::NoSystemctl,
        _ => Problem::Silent(error.to_string()),
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn versions_of_distributions_are_numbers() {
        assert_eq!(parse_version("systemd 252 (252.38-1~deb12u1)\n+PAM"), Some(252));
        assert_eq!(parse_version("systemd 257~rc1"), Some(257));
        assert_eq!(parse_version("runit"), None);
    }
}
