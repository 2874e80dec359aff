//! How a service is, as systemd tells it.

use std::fmt;

use serde_json::{Value, json};

use super::Problem;
use super::systemctl::Systemctl;

const ASKED: [&str; 12] = [
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "FragmentPath",
    "NeedDaemonReload",
    "MainPID",
    "StatusText",
    "ActiveEnterTimestamp",
    "NRestarts",
    "Result",
    "ExecMainStatus",
];

/// A service, at one moment.
#[derive(Debug)]
pub(super) struct Status {
    unit: String,
    /// Whether systemd knows a unit of this name.
    pub(super) installed: bool,
    /// Whether it serves, or did and reads its configuration anew.
    pub(super) active: bool,
    state: String,
    sub_state: String,
    /// `enabled`: it starts at boot.
    at_boot: String,
    path: String,
    /// The file is not what systemd has read.
    stale: bool,
    pid: u32,
    /// What the gateway says of itself.
    says: String,
    since: String,
    restarts: u64,
    /// `success`, `exit-code`, `signal`, `watchdog`, `timeout`, ..
    result: String,
    exit: i64,
}

impl Status {
    pub(super) fn of(systemctl: &Systemctl, unit: &str) -> Result<Self, Problem> {
        let mut said = systemctl.show(unit, &ASKED)?;
        let mut text = |name: &str| said.remove(name).unwrap_or_default();
        let state = text("ActiveState");
        Ok(Self {
            unit: unit.to_owned(),
            installed: !matches!(text("LoadState").as_str(), "" | "not-found"),
            active: matches!(state.as_str(), "active" | "reloading"),
            state,
            sub_state: text("SubState"),
            at_boot: text("UnitFileState"),
            path: text("FragmentPath"),
            stale: text("NeedDaemonReload") == "yes",
            pid: text("MainPID").parse().unwrap_or(0),
            says: text("StatusText"),
            since: text("ActiveEnterTimestamp"),
            restarts: text("NRestarts").parse().unwrap_or(0),
            result: text("Result"),
            exit: text("ExecMainStatus").parse().unwrap_or(0),
        })
    }

    /// It in one line.
    pub(super) fn line(&self) -> String {
        let Self { unit, state, sub_state, says, .. } = self;
        let says = if says.is_empty() { String::new() } else { format!(": {says}") };
        format!("{unit} {state} ({sub_state}){says}")
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "unit": self.unit, "installed": self.installed, "active": self.active,
            "state": self.state, "sub_state": self.sub_state, "at_boot": self.at_boot,
            "path": self.path, "stale": self.stale, "pid": self.pid, "says": self.says,
            "since": self.since, "restarts": self.restarts, "result": self.result, "exit": self.exit,
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.installed {
            return writeln!(f, "{} is not installed", self.unit);
        }
        writeln!(f, "{}", self.line())?;
        writeln!(f, "  unit      {} ({})", self.path, self.at_boot)?;
        if self.stale {
            writeln!(f, "            changed on disk: `systemctl daemon-reload`")?;
        }
        if self.active {
            writeln!(f, "  process   {}, since {}", self.pid, self.since)?;
        }
        writeln!(f, "  restarts  {}", self.restarts)?;
        if self.result != "success" {
            let unit = &self.unit;
            writeln!(f, "  ended by  {}, exit {}: `journalctl -u {unit}`", self.result, self.exit)?;
        }
        Ok(())
    }
}
