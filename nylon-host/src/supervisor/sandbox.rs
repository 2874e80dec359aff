//! What a worker may do outside its own process: what was asked for, and what was reached.

use std::io;
use std::path::PathBuf;

use rustix::process::DumpableBehavior;

/// How far a worker is kept from everything that is not its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum SandboxLevel {
    /// Not at all: the plugin may be buggy, not malicious.
    None = 0,
    /// It cannot signal, trace or limit another process, read or write another's memory or descriptors, or gain
    /// privileges. Files and network are those of its user.
    #[default]
    Standard = 1,
    /// As well: only files that are listed, no capability, and no system call that administers the machine, makes
    /// namespaces or mounts, or sends a signal to another process.
    Strict = 2,
}

impl SandboxLevel {
    /// As it is configured and shown: `none`, `standard`, `strict`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Standard => "standard",
            Self::Strict => "strict",
        }
    }
}

impl std::fmt::Display for SandboxLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The sandbox of a plugin's workers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sandbox {
    /// What is asked for; on an older kernel less may be reached.
    pub level: SandboxLevel,
    /// Do not run a worker that is confined less than asked for.
    pub enforce: bool,
    /// User id that workers run as; the host must be allowed to change it, as root is. Whatever the level.
    pub user: Option<u32>,
    /// Group id they run as. With this or [`Self::user`] they have no supplementary groups.
    pub group: Option<u32>,
    /// Files and directories they may read, and execute programs from. If these or [`Self::write`] are given, or with
    /// [`SandboxLevel::Strict`], nothing else can be opened but what every program needs (docs/config.md).
    pub read: Vec<PathBuf>,
    /// Files and directories they may read, write, make and remove.
    pub write: Vec<PathBuf>,
}

impl Sandbox {
    /// Whether there are rules for files.
    pub(super) fn files(&self) -> bool {
        match self.level {
            SandboxLevel::None => false,
            SandboxLevel::Standard => !self.read.is_empty() || !self.write.is_empty(),
            SandboxLevel::Strict => true,
        }
    }
}

/// What programs read before and after their main, where there are rules for files: libraries, names, certificates, time
/// zones, what runtimes ask about the machine. Of other processes in /proc only what is for everybody.
pub(super) const BASE: [&str; 29] = [
    "/bin",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    "/etc/ca-certificates",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/pki",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/timezone",
    "/lib",
    "/lib64",
    "/proc",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/sys/kernel/mm",
    "/usr",
];

/// One thing that confines a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SandboxPart {
    /// It cannot gain privileges by running a program (`no_new_privs`).
    Privileges,
    /// It has no capability over the kernel or other processes; with `strict` none at all.
    Capabilities,
    /// It cannot signal the host. Tried by each worker before it runs its program.
    Signals,
    /// It cannot get at the host's memory and descriptors. Tried likewise.
    Memory,
    /// System calls are filtered (seccomp).
    Calls,
    /// Only what is listed can be opened (Landlock).
    Files,
    /// The host leaves no core dump and its files in /proc are root's: see [`harden`].
    Host,
}

impl SandboxPart {
    /// As it is shown: one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Privileges => "privileges",
            Self::Capabilities => "capabilities",
            Self::Signals => "signals",
            Self::Memory => "memory",
            Self::Calls => "calls",
            Self::Files => "files",
            Self::Host => "host",
        }
    }
}

/// How a worker is confined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// What was asked for.
    pub asked: SandboxLevel,
    /// The highest level of which every part was reached.
    pub reached: SandboxLevel,
    /// The parts that were asked for, each with the reason if it was not reached.
    pub parts: Vec<(SandboxPart, Result<(), String>)>,
}

impl Confinement {
    pub(super) fn new(asked: SandboxLevel, parts: Vec<(SandboxPart, Result<(), String>)>) -> Self {
        let mut this = Self { asked, reached: SandboxLevel::None, parts };
        let only_files = |(part, _)| part == SandboxPart::Files;
        this.reached = match asked {
            SandboxLevel::None => SandboxLevel::None,
            _ if this.missing().next().is_none() => asked,
            SandboxLevel::Strict if this.missing().all(only_files) => SandboxLevel::Standard,
            _ => SandboxLevel::None,
        };
        this
    }

    /// The parts that were not reached, and why.
    pub fn missing(&self) -> impl Iterator<Item = (SandboxPart, &str)> {
        self.parts
            .iter()
            .filter_map(|(part, reached)| Some((*part, reached.as_ref().err()?.as_str())))
    }
}

/// `standard`, or `none instead of standard (signals: the kernel has no Landlock)`.
impl std::fmt::Display for Confinement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.reached)?;
        if self.missing().next().is_none() {
            return Ok(());
        }
        if self.reached != self.asked {
            write!(f, " instead of {}", self.asked)?;
        }
        for (index, (part, why)) in self.missing().enumerate() {
            write!(f, "{}{}: {why}", if index == 0 { " (" } else { "; " }, part.as_str())?;
        }
        f.write_str(")")
    }
}

/// Keeps other processes of the same user from reading this one's memory: its files in /proc become root's, it cannot be
/// traced but by root, and it leaves no core dump. Call it at the start of `main`; the gateway does. Without it no worker
/// reaches [`SandboxLevel::Standard`].
///
/// # Errors
/// The kernel refused, which none is known to do.
pub fn harden() -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Whether [`harden`] was called, or something else had its effect.
pub(super) fn hardened() -> bool {
    rustix::process::dumpable_behavior().is_ok_and(|now| now != DumpableBehavior::Dumpable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_reached_when_all_of_its_parts_are() {
        use SandboxLevel::{None, Standard, Strict};
        use SandboxPart::{Files, Signals};
        let no = || Err("why not".to_owned());
        let of = |asked, parts: &[_]| Confinement::new(asked, parts.to_vec());
        let cases = [
            (of(None, &[]), None, "none"),
            (of(Standard, &[(Signals, Ok(()))]), Standard, "standard"),
            (of(Standard, &[(Signals, no())]), None, "none instead of standard (signals: why not)"),
            (of(Strict, &[(Signals, Ok(())), (Files, Ok(()))]), Strict, "strict"),
            (
                of(Strict, &[(Signals, Ok(())), (Files, no())]),
                Standard,
                "standard instead of strict (files: why not)",
            ),
            (
                of(Strict, &[(Signals, no()), (Files, no())]),
                None,
                "none instead of strict (signals: why not; files: why not)",
            ),
        ];
        for (confinement, reached, shown) in cases {
            assert_eq!(confinement.reached, reached, "{shown}");
            assert_eq!(confinement.to_string(), shown);
        }
    }
}
