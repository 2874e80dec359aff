//! What confines one worker, prepared in the host: between clone and exec there are only system calls left to make.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, Scope,
};
use nix::errno::Errno;
use rustix::fs::FileType;
use rustix::process::{Gid, PidfdFlags, PidfdGetfdFlags, Uid};
use rustix::thread::CapabilitySet;
use seccompiler::{BpfProgram, sock_filter};

use super::program::Program;
use super::sandbox::{self, BASE, Confinement, Sandbox, SandboxLevel, SandboxPart};
use super::seccomp;

/// Newest Landlock whose rights are asked for; of an older kernel's what it has.
const LANDLOCK: ABI = ABI::V7;

/// Capabilities that `standard` leaves: over files, sockets and the process's own identity, not over other processes, the
/// kernel or the machine.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::IPC_LOCK)
    .union(CapabilitySet::LEASE);

/// Everything that confines one worker.
#[derive(Debug)]
pub(super) struct Cage<'s> {
    sandbox: &'s Sandbox,
    /// Signals, abstract sockets and files; `None` if the kernel has nothing of it.
    pub(super) ruleset: Option<OwnedFd>,
    pub(super) filter: BpfProgram,
    uid: Option<Uid>,
    gid: Option<Gid>,
    /// To try whether the worker gets at it.
    host: OwnedFd,
    pub(super) steps: Steps,
}

/// What each step gave, written by the child: 0, or an errno.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Steps {
    capabilities: i32,
    privileges: i32,
    pub(super) landlock: i32,
    pub(super) seccomp: i32,
    /// EPERM: as it should be.
    signal: i32,
    /// Likewise.
    descriptor: i32,
}

impl<'s> Cage<'s> {
    pub(super) fn new(sandbox: &'s Sandbox, program: &Program) -> io::Result<Self> {
        let ruleset = match sandbox.level {
            SandboxLevel::None => None,
            _ => ruleset(sandbox, program)?,
        };
        let filter = seccomp::filter(sandbox.level).unwrap_or_default();
        let own = rustix::process::getpid();
        Ok(Self {
            sandbox,
            ruleset,
            filter,
            uid: sandbox.user.map(Uid::from_raw),
            gid: sandbox.group.map(Gid::from_raw),
            host: rustix::process::pidfd_open(own, PidfdFlags::empty())?,
            steps: Steps::default(),
        })
    }

    /// Whether there is anything to do but [`Self::change_user`].
    pub(super) fn closes(&self) -> bool {
        self.sandbox.level != SandboxLevel::None
    }

    /// Takes the bounding set's capabilities away, which needs one of them. In the child.
    pub(super) fn drop_capabilities(&mut self) {
        let kept = match self.sandbox.level {
            SandboxLevel::None => return,
            SandboxLevel::Standard => KEPT,
            SandboxLevel::Strict => CapabilitySet::empty(),
        };
        let mut dropped = rustix::thread::clear_ambient_capability_set();
        for bit in 0..u64::BITS {
            let one = CapabilitySet::from_bits_retain(1 << bit);
            if kept.contains(one) {
                continue;
            }
            match rustix::thread::capability_is_in_bounding_set(one) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(_) => break,
            }
            // Without the capability to do this an unprivileged process has none to pass on either.
            match rustix::thread::remove_capability_from_bounding_set(one) {
                Err(rustix::io::Errno::PERM) if !rustix::process::geteuid().is_root() => break,
                done => dropped = dropped.and(done),
            }
        }
        self.steps.capabilities = errno(dropped);
    }

    /// Becomes the user and group that are asked for, by system calls of this thread alone: what libc offers would change
    /// every thread of the host. In the child.
    pub(super) fn change_user(&self) -> Result<(), Errno> {
        let raw = |e: rustix::io::Errno| Errno::from_raw(e.raw_os_error());
        if self.uid.is_some() || self.gid.is_some() {
            rustix::thread::set_thread_groups(&[]).map_err(raw)?;
        }
        if let Some(gid) = self.gid {
            rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(raw)?;
        }
        if let Some(uid) = self.uid {
            rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(raw)?;
        }
        Ok(())
    }

    /// In the child.
    pub(super) fn refuse_privileges(&mut self) {
        self.steps.privileges = errno(rustix::thread::set_no_new_privs(true));
    }

    /// The filter, for this process. In the child.
    pub(super) fn filter(&mut self) -> &mut [sock_filter] {
        seccomp::own(&mut self.filter, std::process::id());
        &mut self.filter
    }

    /// Tries what must fail from now on. In the child.
    pub(super) fn try_the_bars(&mut self, host: nix::unistd::Pid) {
        self.steps.signal = nix::sys::signal::kill(host, None).err().map_or(0, |e| e as i32);
        // Whether or not the host has a descriptor 0 comes after whether it may be asked.
        let got = rustix::process::pidfd_getfd(&self.host, 0, PidfdGetfdFlags::empty());
        self.steps.descriptor = errno(got.map(drop));
    }

    /// What came of it, as the steps of the child say; `ruled`: it had a ruleset.
    pub(super) fn confinement(&self, ruled: bool) -> Confinement {
        let Self { sandbox, steps, .. } = self;
        let done = |errno: i32| match errno {
            0 => Ok(()),
            errno => Err(Errno::from_raw(errno).desc().to_owned()),
        };
        let barred = |errno: i32, what: &str| match Errno::from_raw(errno) {
            Errno::EPERM => Ok(()),
            Errno::ENOSYS => Err("the kernel cannot tell".to_owned()),
            _ if !ruled => Err(format!("{what}: the kernel has no Landlock for it")),
            _ if steps.landlock != 0 => {
                Err(format!("{what}: Landlock: {}", Errno::from_raw(steps.landlock).desc()))
            }
            _ => Err(format!("{what}: this kernel's Landlock does not cover it")),
        };
        let calls = match self.filter.is_empty() {
            true => Err("there is no filter for this machine".to_owned()),
            false => done(steps.seccomp),
        };
        let files = match ruled {
            false => Err("the kernel has no Landlock".to_owned()),
            true => done(steps.landlock),
        };
        let host = match sandbox::hardened() {
            true => Ok(()),
            false => Err("it can be traced and dumped: call nylon_host::harden()".to_owned()),
        };
        let mut parts = vec![
            (SandboxPart::Privileges, done(steps.privileges)),
            (SandboxPart::Capabilities, done(steps.capabilities)),
            (SandboxPart::Signals, barred(steps.signal, "it can signal the host")),
            (SandboxPart::Memory, barred(steps.descriptor, "it can take the host's descriptors")),
            (SandboxPart::Calls, calls),
            (SandboxPart::Host, host),
        ];
        if sandbox.files() {
            parts.push((SandboxPart::Files, files));
        }
        if sandbox.level == SandboxLevel::None {
            parts.clear();
        }
        Confinement::new(sandbox.level, parts)
    }

    /// What a message says of [`Self::change_user`].
    pub(super) fn identity(&self) -> String {
        let id = |what, id: Option<u32>| id.map(|id| format!("{what} {id}"));
        let ids = [id("user", self.sandbox.user), id("group", self.sandbox.group)];
        ids.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

fn errno(result: Result<(), rustix::io::Errno>) -> i32 {
    result.err().map_or(0, rustix::io::Errno::raw_os_error)
}

/// Signals and abstract sockets stay among the worker and its children, and files are those listed.
fn ruleset(sandbox: &Sandbox, program: &Program) -> io::Result<Option<OwnedFd>> {
    let other = |e: RulesetError| io::Error::other(format!("Landlock: {e}"));
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .scope(Scope::from_all(LANDLOCK))
        .map_err(other)?;
    if !sandbox.files() {
        return Ok(ruleset.create().map_err(other)?.into());
    }
    ruleset = ruleset.handle_access(AccessFs::from_all(LANDLOCK)).map_err(other)?;
    let mut rules = ruleset.create().map_err(other)?;
    let read = AccessFs::from_read(LANDLOCK);
    let devices = AccessFs::MakeChar | AccessFs::MakeBlock;
    let write = AccessFs::from_all(LANDLOCK) & !(devices | AccessFs::Execute);
    if let Some(file) = program.on_disk() {
        rules = allow(rules, file, read).map_err(other)?;
    }
    for base in BASE {
        if let Ok(path) = PathFd::new(base) {
            rules = allow(rules, path.as_fd(), read).map_err(other)?;
        }
    }
    let null = ("/dev/null".into(), AccessFs::ReadFile | AccessFs::WriteFile);
    let listed = sandbox.read.iter().map(|path| (path.clone(), read));
    let written = sandbox.write.iter().map(|path| (path.clone(), write));
    for (path, rights) in listed.chain(written).chain([null]) {
        let open = PathFd::new(&path);
        let open = open.map_err(|e| io::Error::other(format!("a path of its sandbox: {e}")))?;
        rules = allow(rules, open.as_fd(), rights).map_err(other)?;
    }
    Ok(rules.into())
}

/// `rights` beneath `path`, or those of them that a file can have.
fn allow(
    rules: RulesetCreated,
    path: BorrowedFd<'_>,
    rights: landlock::BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let stat = rustix::fs::fstat(path);
    let directory = stat.is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory);
    let rights = if directory { rights } else { rights & AccessFs::from_file(LANDLOCK) };
    rules.add_rule(PathBeneath::new(path, rights))
}
