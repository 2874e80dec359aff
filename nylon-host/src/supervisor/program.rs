//! The program of a plugin, opened once: what was looked at is what runs (HARDENING row 37).

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use rustix::fs::{MemfdFlags, Mode, SealFlags};
use sha2::Digest as _;

/// A SHA-256 hash: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256(pub [u8; 32]);

/// A program that can be run again and again, and is the same each time whatever becomes of its path.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    file: File,
    stamp: Stamp,
    kind: Kind,
    sha256: OnceLock<Sha256>,
}

/// The program of a build: opened for its first worker, and the very same for all that follow.
#[derive(Debug, Default)]
pub(crate) struct Held(OnceLock<Program>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Executed by its descriptor.
    Elf,
    /// A private copy that nobody can change, of a program that others than the host's user and root may write to.
    Copy,
    /// A script: the interpreter opens it again, so it runs by its path, and is what is there by then.
    Script,
}

/// Which file it is, and in which state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: Option<SystemTime>,
}

/// Why a program is not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(
        "{program} is not the program that `sha256` names: it has {found}, and {pinned} was expected. If it was \
         replaced on purpose, correct `sha256`"
    )]
    Pin { program: String, pinned: Sha256, found: Sha256 },
    #[error(
        "`sha256` cannot hold for {program}: it is a script, which its interpreter reads for itself. Name a compiled \
         program"
    )]
    PinnedScript { program: String },
}

impl Program {
    /// Opens `path`, looked for in PATH if it is a bare name. With `pin` it is read as a whole, and must have that hash.
    pub(crate) fn open(path: &Path, pin: Option<Sha256>) -> Result<Self, ProgramError> {
        let (found, mut file, meta) = find(path)?;
        let mut magic = [0; 4];
        let elf = file.read_exact_at(&mut magic, 0).is_ok() && magic == *b"\x7fELF";
        let kind = match elf {
            false => Kind::Script,
            true if others_may_write(&meta) => {
                file = sealed_copy(file)?;
                Kind::Copy
            }
            true => Kind::Elf,
        };
        let stamp = Stamp::of(&file.metadata()?);
        let program = Self { path: found, file, stamp, kind, sha256: OnceLock::new() };
        if let Some(pinned) = pin {
            let name = || program.path.display().to_string();
            if kind == Kind::Script {
                return Err(ProgramError::PinnedScript { program: name() });
            }
            let found = program.sha256()?;
            if found != pinned {
                return Err(ProgramError::Pin { program: name(), pinned, found });
            }
        }
        Ok(program)
    }

    /// Where it was found.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The hash of what is executed; the file is read when it is first asked for.
    pub(crate) fn sha256(&self) -> io::Result<Sha256> {
        if let Some(known) = self.sha256.get() {
            return Ok(*known);
        }
        let hash = self.hash()?;
        if !self.is_untouched()? {
            return Err(changed());
        }
        Ok(*self.sha256.get_or_init(|| hash))
    }

    fn hash(&self) -> io::Result<Sha256> {
        let mut hasher = sha2::Sha256::new();
        let (mut piece, mut at) = (vec![0; 64 << 10], 0);
        loop {
            match self.file.read_at(&mut piece, at)? {
                0 => break,
                n => {
                    hasher.update(&piece[..n]);
                    at += n as u64;
                }
            }
        }
        Ok(Sha256(hasher.finalize().into()))
    }

    /// An error if there is something else in the file than when it was opened. Where only its date changed, that takes its
    /// hash to know.
    pub(super) fn unchanged(&self) -> io::Result<()> {
        if self.kind == Kind::Script || self.is_untouched()? {
            return Ok(());
        }
        match self.sha256.get() {
            Some(known) if self.hash()? == *known => Ok(()),
            _ => Err(changed()),
        }
    }

    fn is_untouched(&self) -> io::Result<bool> {
        Ok(Stamp::of(&self.file.metadata()?) == self.stamp)
    }

    /// What to execute; `None`: its path.
    pub(super) fn executable(&self) -> Option<BorrowedFd<'_>> {
        (self.kind != Kind::Script).then(|| self.file.as_fd())
    }

    /// The file in the file system; `None` if it is a copy in memory.
    pub(super) fn on_disk(&self) -> Option<BorrowedFd<'_>> {
        (self.kind != Kind::Copy).then(|| self.file.as_fd())
    }
}

impl Held {
    /// The program; the first time, what [`Program::open`] finds.
    pub(super) fn get(&self, path: &Path, pin: Option<Sha256>) -> Result<&Program, ProgramError> {
        if let Some(program) = self.0.get() {
            return Ok(program);
        }
        let program = Program::open(path, pin)?;
        Ok(self.0.get_or_init(|| program))
    }

    /// Reads the program as a whole: from then on it is known by more than its date.
    pub(super) fn learn(&self) {
        // One that was written to is found out when it is to run.
        let _ = self.0.get().map(Program::sha256);
    }
}

fn changed() -> io::Error {
    io::Error::other(
        "its file was written to after this build had begun, so what it ran is lost: an upgrade takes the file as it is now",
    )
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        let (device, inode) = (meta.dev(), meta.ino());
        Self { device, inode, len: meta.len(), modified: meta.modified().ok() }
    }
}

/// Opens what execvp would run. The kernel says whether it may be executed.
fn find(path: &Path) -> io::Result<(PathBuf, File, Metadata)> {
    if path.as_os_str().as_bytes().contains(&b'/') {
        return open(path.to_owned());
    }
    let dirs = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut refused = io::Error::from(rustix::io::Errno::NOENT);
    for dir in std::env::split_paths(&dirs) {
        match open(dir.join(path)) {
            Err(e)
                if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(e) => refused = e,
            found => return found,
        }
    }
    Err(refused)
}

fn open(path: PathBuf) -> io::Result<(PathBuf, File, Metadata)> {
    let file = File::open(&path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.mode() & 0o111 == 0 {
        return Err(rustix::io::Errno::ACCESS.into());
    }
    Ok((path, file, meta))
}

/// Whether somebody else than root and the user of this process may change the file while it is open.
fn others_may_write(meta: &Metadata) -> bool {
    let owner = meta.uid();
    meta.mode() & 0o022 != 0 || (owner != 0 && owner != rustix::process::geteuid().as_raw())
}

fn sealed_copy(mut file: File) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let create = |flags| rustix::fs::memfd_create("nylon-program", flags);
    // Kernels before 6.3 do not know the flag, and need none.
    let copy = create(flags | MemfdFlags::EXEC).or_else(|_| create(flags))?;
    let mut copy = File::from(copy);
    file.rewind()?;
    io::copy(&mut file.by_ref(), &mut copy)?;
    rustix::fs::fchmod(&copy, Mode::from_raw_mode(0o555))?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals)?;
    Ok(copy)
}

impl std::fmt::Display for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 hash has 64 hexadecimal digits")]
pub struct NotSha256;

impl std::str::FromStr for Sha256 {
    type Err = NotSha256;

    fn from_str(text: &str) -> Result<Self, NotSha256> {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(NotSha256);
        }
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| NotSha256)?;
        }
        Ok(Self(hash))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A file that is removed with the test.
    struct Temp(PathBuf);

    impl Temp {
        fn new(name: &str, content: &[u8], mode: u32) -> Self {
            let name = format!("nylon-program-pin-{}-{name}", std::process::id());
            let temp = Self(std::env::temp_dir().join(name));
            std::fs::write(&temp.0, content).unwrap();
            std::fs::set_permissions(&temp.0, Permissions::from_mode(mode)).unwrap();
            temp
        }
    }

    impl Drop for Temp {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_pin_is_compared_with_what_was_opened() {
        let temp = Temp::new("pinned", b"\x7fELF", 0o755);
        let program = Program::open(&temp.0, None).unwrap();
        let hash = program.sha256().unwrap();
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.to_string().to_uppercase().parse(), Ok(hash));
        Program::open(&temp.0, Some(hash)).unwrap();
        let mut other = hash;
        other.0[31] ^= 1;
        let refused = Program::open(&temp.0, Some(other)).unwrap_err().to_string();
        assert!(refused.contains(&other.to_string()), "{refused}");
        assert!(refused.contains(&hash.to_string()), "{refused}");
        for text in ["", "12", &"g".repeat(64), &"é".repeat(32), &"+1".repeat(32)] {
            assert_eq!(text.parse::<Sha256>(), Err(NotSha256), "{text}");
        }
    }

    #[test]
    fn a_replaced_file_does_not_matter_and_a_changed_one_is_refused() {
        let temp = Temp::new("replaced", b"\x7fELF one", 0o755);
        let program = Program::open(&temp.0, None).unwrap();
        let hash = program.sha256().unwrap();
        std::fs::remove_file(&temp.0).unwrap();
        std::fs::write(&temp.0, b"\x7fELF two").unwrap();
        program.unchanged().unwrap();
        assert_eq!(program.sha256().unwrap(), hash);
        std::fs::set_permissions(&temp.0, Permissions::from_mode(0o755)).unwrap();
        let program = Program::open(&temp.0, None).unwrap();
        File::options().append(true).open(&temp.0).unwrap().write_all(b"!").unwrap();
        program.unchanged().unwrap_err();
        program.sha256().unwrap_err();
    }

    #[test]
    fn a_build_keeps_its_program_and_knows_it_by_more_than_its_date() {
        let temp = Temp::new("held", b"\x7fELF one", 0o755);
        let held = Held::default();
        assert!(matches!(held.get(Path::new("/not/there"), None), Err(ProgramError::Io(_))));
        let program = held.get(&temp.0, None).unwrap();
        let touch = |by| {
            let file = File::options().append(true).open(&temp.0).unwrap();
            file.set_modified(SystemTime::now() + std::time::Duration::from_secs(by)).unwrap();
        };
        held.learn();
        touch(60);
        program.unchanged().unwrap();
        std::fs::write(&temp.0, b"\x7fELF two").unwrap();
        program.unchanged().unwrap_err();
        std::fs::write(&temp.0, b"\x7fELF one").unwrap();
        held.get(Path::new("/not/there"), None).unwrap().unchanged().unwrap();
        let unknown = Program::open(&temp.0, None).unwrap();
        touch(120);
        unknown.unchanged().unwrap_err();
    }

    #[test]
    fn a_script_runs_by_its_path_and_cannot_be_pinned() {
        let temp = Temp::new("script", b"#!/bin/sh\n", 0o755);
        let program = Program::open(&temp.0, None).unwrap();
        assert!(program.executable().is_none());
        let refused = Program::open(&temp.0, Some(program.sha256().unwrap())).unwrap_err();
        assert!(matches!(refused, ProgramError::PinnedScript { .. }), "{refused}");
    }

    #[test]
    fn what_others_may_write_to_is_copied_and_sealed() {
        for (mode, copied) in [(0o755, false), (0o775, true), (0o757, true), (0o500, false)] {
            let temp = Temp::new(&format!("{mode:o}"), b"\x7fELF before", mode);
            let program = Program::open(&temp.0, None).unwrap();
            let hash = program.sha256().unwrap();
            assert_eq!(program.on_disk().is_none(), copied, "{mode:o}");
            std::fs::set_permissions(&temp.0, Permissions::from_mode(0o755)).unwrap();
            std::fs::write(&temp.0, b"\x7fELF after, and longer").unwrap();
            assert_eq!(program.unchanged().is_ok(), copied, "{mode:o}");
            if copied {
                (&program.file).write_all(b"x").unwrap_err();
                assert_eq!(program.sha256().unwrap(), hash);
            }
        }
    }

    #[test]
    fn a_bare_name_is_looked_for_in_path() {
        let shell = Program::open(Path::new("sh"), None).unwrap();
        assert!(shell.path().is_absolute(), "{shell:?}");
        assert!(shell.executable().is_some());
        for (name, errno) in [("no-such-program-anywhere", 2), ("/not/there", 2), ("/etc", 13)] {
            let Err(ProgramError::Io(e)) = Program::open(Path::new(name), None) else {
                panic!("{name}")
            };
            assert_eq!(e.raw_os_error(), Some(errno), "{name}");
        }
        let temp = Temp::new("plain", b"\x7fELF", 0o644);
        Program::open(&temp.0, None).unwrap_err();
    }
}
