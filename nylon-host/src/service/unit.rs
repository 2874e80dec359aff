//! The text of a unit (systemd.service(5), systemd.exec(5)).
//!
//! What is not in it is left out on purpose. A filter of system calls, and every option that is one (`RestrictNamespaces`,
//! `PrivateDevices`, ..), would force `no_new_privs` on a gateway that is not root, and so on plugins with `sandbox: none`,
//! which may want a setuid program; the others set it themselves. `PrivateDevices` and `PrivateTmp` would hide the
//! telemetry segment or the sockets of plugins from those who are to see them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nylon_host::config::Config;

/// How every unit begins that this program may replace.
pub(super) const MARK: &str = "# Written by `nylon service install`";

/// From this version on systemd waits for a reload it asked for.
const NOTIFY_RELOAD: u32 = 253;
/// What the gateway takes beyond its grace period: hooks of plugins, the log.
const AFTER_GRACE: Duration = Duration::from_secs(10);
/// What it takes to start, beyond the slowest plugin.
const START: Duration = Duration::from_secs(60);
/// The gateway's signs of life come twice in this time.
const WATCHDOG: Duration = Duration::from_secs(30);
/// Files and sockets: the hard limit systemd gives by itself.
const NOFILE: u64 = 524_288;
/// What `ProtectSystem=full` makes read-only.
const PROTECTED: [&str; 4] = ["/usr", "/boot", "/efi", "/etc"];

/// A gateway as a unit of systemd.
#[derive(Debug)]
pub(super) struct Unit<'u> {
    /// Its name, without `.service`.
    pub(super) name: &'u str,
    /// The program, by an absolute path.
    pub(super) program: &'u Path,
    /// The runtime file, by an absolute path.
    pub(super) file: &'u Path,
    /// Whether it runs with `--lenient`.
    pub(super) lenient: bool,
    /// Who it runs as, if not root.
    pub(super) user: Option<&'u str>,
    /// The systemd it is for; unknown is any.
    pub(super) systemd: Option<u32>,
    /// What it serves.
    pub(super) config: &'u Config,
}

/// A path that cannot be written in a unit.
#[derive(Debug, thiserror::Error)]
#[error("the path {0:?} cannot be written in a unit: {1}")]
pub(super) struct Unwritable(PathBuf, &'static str);

impl Unit<'_> {
    /// The unit as a file.
    pub(super) fn text(&self) -> Result<String, Unwritable> {
        let Self { name, file, config, .. } = self;
        let runtime = &config.runtime;
        let directory = raw(file.parent().unwrap_or(Path::new("/")))?;
        let stop = (runtime.grace_period + AFTER_GRACE).as_secs();
        let slowest = config.plugins.iter().map(|plugin| plugin.start_timeout).max();
        let start = (slowest.unwrap_or_default() + START).as_secs();
        let nofile = config.plugins.iter().filter_map(|plugin| plugin.limits.nofile).max();
        let (kind, hang_up) = match self.systemd {
            Some(version) if version >= NOTIFY_RELOAD => ("notify-reload", ""),
            _ => ("notify", "ExecReload=/bin/kill -HUP $MAINPID\n"),
        };
        let mut text = format!(
            "\
{MARK}, which replaces it: changes belong into a drop-in,
# `systemctl edit {name}.service`. After a change of the grace period or of start timeouts install it again.
[Unit]
Description=Nylon gateway ({name})
Documentation=https://github.com/nylon-rs/nylon/blob/main/docs/operations.md
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type={kind}
NotifyAccess=main
WatchdogSec={watchdog}
ExecStart={run}
ExecReload={check}
{hang_up}\
WorkingDirectory={directory}
EnvironmentFile=-/etc/default/{name}
RuntimeDirectory={sockets}
RuntimeDirectoryMode=0700
LimitNOFILE={nofile}
TimeoutStartSec={start}
TimeoutStopSec={stop}
# It first ends its plugins by itself.
KillMode=mixed
Restart=on-failure
RestartSec=2
# A configuration that is refused is so the next time.
RestartPreventExitStatus=2
# Cgroups of its own are its own business, and a plugin that runs out of memory is too.
Delegate=yes
OOMPolicy=continue
ProtectSystem=full
",
            sockets = below_run(name),
            run = self.command("run")?,
            // A reload that will be refused fails for who asked for it, too.
            check = self.command("check --static")?,
            watchdog = WATCHDOG.as_secs(),
            nofile = nofile.unwrap_or(0).max(NOFILE),
        );
        for path in written(config) {
            let _ = writeln!(text, "ReadWritePaths=-{}", quoted(&path)?);
        }
        if let Some(user) = self.user.filter(|user| *user != "root") {
            // Ports below 1024. Workers do not inherit it.
            let _ = writeln!(text, "User={user}");
            text.push_str("AmbientCapabilities=CAP_NET_BIND_SERVICE\n");
            text.push_str("CapabilityBoundingSet=CAP_NET_BIND_SERVICE\n");
        }
        text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
        Ok(text)
    }

    /// A command line of this program about the runtime file.
    fn command(&self, verb: &str) -> Result<String, Unwritable> {
        let (program, file) = (quoted(self.program)?, quoted(self.file)?);
        // `:` switches variables off: in the path of the program a `$` could not be told otherwise.
        let literal = if program.contains('$') || file.contains('$') { ":" } else { "" };
        let lenient = if self.lenient { " --lenient" } else { "" };
        Ok(format!("{literal}{program} {verb} -c {file}{lenient}"))
    }
}

/// The directory of a service below `/run`: its name says whose it is, as tools look for it.
fn below_run(name: &str) -> String {
    if name.starts_with("nylon") { name.to_owned() } else { format!("nylon-{name}") }
}

/// What the gateway and its plugins are to write where `ProtectSystem` would not let them: as much of each path as is
/// there, but no more than that.
fn written(config: &Config) -> Vec<PathBuf> {
    let plugins = config.plugins.iter().flat_map(|plugin| &plugin.sandbox.write);
    let all = config.runtime.crash_reports.iter().chain(plugins);
    let mut paths: Vec<_> = all
        .filter(|path| PROTECTED.iter().any(|root| path.starts_with(root)))
        .filter_map(|path| path.ancestors().find(|path| path.exists()))
        .filter(|path| PROTECTED.iter().all(|root| *path != Path::new(root)))
        .map(Path::to_owned)
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

/// A path as a word of a list, or of a command line without variables.
fn quoted(path: &Path) -> Result<String, Unwritable> {
    let text = writable(path)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@=$".contains(c);
    if text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' => quoted.push_str("%%"),
            c => quoted.push(c),
        }
    }
    Ok(quoted + "\"")
}

/// A path that is the whole of a value: quotes mean nothing there.
fn raw(path: &Path) -> Result<String, Unwritable> {
    let text = writable(path)?;
    if text.ends_with(|c: char| c == '\\' || c.is_whitespace()) {
        return Err(Unwritable(path.to_owned(), "its end would be taken for something else"));
    }
    Ok(text.replace('%', "%%"))
}

fn writable(path: &Path) -> Result<&str, Unwritable> {
    let refuse = |why| Unwritable(path.to_owned(), why);
    let text = path.to_str().ok_or_else(|| refuse("it is not UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(refuse("it has control characters"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_as_systemd_reads_it() {
        for (path, expected) in [
            ("/opt/nylon-1.2/bin/nylon", "/opt/nylon-1.2/bin/nylon"),
            ("/a b/c", "\"/a b/c\""),
            ("/100%/n", "\"/100%%/n\""),
            ("/it's", "\"/it's\""),
            ("/a\"b\\c", "\"/a\\\"b\\\\c\""),
            ("/$HOME/ü;", "\"/$HOME/ü;\""),
        ] {
            assert_eq!(quoted(Path::new(path)).expect("it can"), expected);
        }
        assert!(quoted(Path::new("/a\nUser=root")).is_err());
    }

    #[test]
    fn a_directory_below_run_says_whose_it_is() {
        assert_eq!(["nylon", "nylon-2", "edge"].map(below_run), ["nylon", "nylon-2", "nylon-edge"]);
    }

    #[test]
    fn a_directory_stands_as_it_is_but_for_its_specifiers() {
        assert_eq!(raw(Path::new("/a b/50%")).expect("it can"), "/a b/50%%");
        assert!(raw(Path::new("/a\\")).is_err() && raw(Path::new("/a ")).is_err());
    }

    #[test]
    fn a_dollar_is_no_variable() {
        let temp = nylon_tests::Temp::new();
        let file = temp.write("n.yaml", "http: 127.0.0.1:1\nroutes: []\n");
        let loaded = nylon_host::config::load(&file, nylon_host::config::Mode::Strict);
        let config = loaded.expect("it is good").config;
        let unit = |program: &'static str, systemd| {
            let (program, file) = (Path::new(program), Path::new("/etc/n.yaml"));
            let (name, lenient, user) = ("nylon", true, None);
            let unit = Unit { name, program, file, lenient, user, systemd, config: &config };
            unit.text().expect("it can be written")
        };
        let text = unit("/opt/$x/nylon", Some(253));
        assert!(
            text.contains("\nExecStart=:/opt/$x/nylon run -c /etc/n.yaml --lenient\n"),
            "{text}"
        );
        assert!(text.contains("\nType=notify-reload\n") && !text.contains("-HUP"), "{text}");
        for systemd in [None, Some(252)] {
            let text = unit("/opt/nylon", systemd);
            assert!(text.contains("\nType=notify\n"), "{text}");
            assert!(
                text.contains("-c /etc/n.yaml --lenient\nExecReload=/bin/kill -HUP $MAINPID\n"),
                "{text}"
            );
            assert!(text.contains("\nExecStart=/opt/nylon run "), "{text}");
        }
    }
}
