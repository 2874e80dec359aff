//! `nylon service`: a unit of systemd that runs the gateway, written and driven; or why that cannot be.
//!
//! In: a configuration that passes `nylon check --static`.  Out: a unit, and calls of `systemctl`.
//! Never: a unit of somebody else changed, or one left half written.

mod status;
mod systemctl;
mod unit;

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{self, Path, PathBuf};
use std::process::ExitCode;

use nix::unistd::{User, geteuid};
use nylon_host::cli::{
    EXIT_CONFIG, EXIT_GONE, InstallArgs, ServiceArgs, ServiceName, ServiceVerb, StatusArgs,
    UnitPlace,
};
use nylon_host::config::{self, Loaded, Refused};

use status::Status;
use systemctl::Systemctl;
use unit::{MARK, Unit, Unwritable};

/// Why nothing was done, or not all of it.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(
        "there is no `systemctl` on PATH: this machine has no systemd\nlet the service manager there is run `nylon run -c \
         FILE`, or take the unit elsewhere: `nylon service install --print`"
    )]
    NoSystemctl,
    #[error(
        "systemd does not run this machine: /run/systemd/system is not there (a container, say)\nlet what does start \
         `nylon run -c FILE`, or take the unit elsewhere: `nylon service install --print`"
    )]
    NotBooted,
    #[error("systemctl cannot be asked: {0}")]
    Silent(String),
    #[error("systemctl {line}: {said}{}", root_hint())]
    Failed { line: String, said: String },
    #[error(
        "{} was not written by `nylon service install`: choose another --name, or replace it by --force",
        .0.display()
    )]
    Foreign(PathBuf),
    #[error("{} cannot be {what}: {source}{}", path.display(), root_hint())]
    File { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("there is no service {0}: `nylon service install` makes it")]
    NotInstalled(String),
    #[error("there is no user `{0}` on this machine: `useradd --system {0}` makes one")]
    NoUser(String),
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
    #[error(transparent)]
    Config(#[from] Refused),
}

fn root_hint() -> &'static str {
    if geteuid().is_root() { "" } else { "\nyou are not root: run it by sudo" }
}

impl Problem {
    fn exit(self) -> ExitCode {
        if let Self::Config(refused) = &self {
            return crate::refuse(refused);
        }
        let failed = crate::fail(&self);
        let asked_wrongly = matches!(self, Self::NoUser(_) | Self::Unwritable(_));
        if asked_wrongly { ExitCode::from(EXIT_CONFIG) } else { failed }
    }
}

pub(crate) fn run(args: &ServiceArgs) -> ExitCode {
    let done = match &args.verb {
        ServiceVerb::Install(args) => install(args),
        ServiceVerb::Uninstall(args) => uninstall(&args.place),
        ServiceVerb::Start(name) => drive("start", name),
        ServiceVerb::Stop(name) => drive("stop", name),
        ServiceVerb::Restart(name) => drive("restart", name),
        ServiceVerb::Reload(name) => drive("reload", name),
        ServiceVerb::Status(args) => status(args),
    };
    done.unwrap_or_else(Problem::exit)
}

fn install(args: &InstallArgs) -> Result<ExitCode, Problem> {
    let file = absolute(&args.run.config);
    let (program, place) = (program(), Installed::new(&args.place));
    // As the service will: relative programs may be looked for where it runs.
    if let Some(dir) = file.parent() {
        let _ = std::env::set_current_dir(dir);
    }
    let Loaded { config, warnings } = config::load(&file, crate::mode(args.run.lenient))?;
    warnings.iter().for_each(|warning| eprintln!("{warning}"));
    let unit = Unit {
        name: &args.place.service.name,
        program: &program,
        file: &file,
        lenient: args.run.lenient,
        user: args.user.as_deref(),
        systemd: systemctl::version(),
        config: &config,
    };
    let text = unit.text()?;
    if args.print {
        print!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(user) = &args.user
        && !matches!(User::from_name(user), Ok(Some(_)))
    {
        return Err(Problem::NoUser(user.clone()));
    }
    let systemctl = Systemctl::found()?;
    let written = match place.read()? {
        Some(there) if there == text => "unchanged",
        Some(_) => place.write(&text).map(|()| "replaced")?,
        None => place.write(&text).map(|()| "written")?,
    };
    systemctl.run(&["daemon-reload"])?;
    systemctl.run(&["enable", "--quiet", &place.to_enable()])?;
    let name = &args.place.service.name;
    println!("{}: {written}; it starts at boot", place.path.display());
    println!("now: `nylon service start --name {name}`, or `restart` if it runs already");
    Ok(ExitCode::SUCCESS)
}

fn uninstall(place: &UnitPlace) -> Result<ExitCode, Problem> {
    let systemctl = Systemctl::found()?;
    let place = Installed::new(place);
    if place.read()?.is_none() {
        println!("{}: not there, nothing to do", place.path.display());
        return Ok(ExitCode::SUCCESS);
    }
    systemctl.run(&["disable", "--now", "--quiet", &place.unit])?;
    place.remove()?;
    systemctl.run(&["daemon-reload"])?;
    println!("{}: stopped and removed", place.path.display());
    Ok(ExitCode::SUCCESS)
}

fn drive(verb: &str, name: &ServiceName) -> Result<ExitCode, Problem> {
    let systemctl = Systemctl::found()?;
    let unit = unit_of(name);
    if !Status::of(&systemctl, &unit)?.installed {
        return Err(Problem::NotInstalled(unit));
    }
    systemctl.run(&[verb, &unit])?;
    println!("{}", Status::of(&systemctl, &unit)?.line());
    Ok(ExitCode::SUCCESS)
}

fn status(args: &StatusArgs) -> Result<ExitCode, Problem> {
    let status = Status::of(&Systemctl::found()?, &unit_of(&args.service))?;
    if args.json {
        println!("{:#}", status.json());
    } else {
        print!("{status}");
    }
    Ok(if status.active { ExitCode::SUCCESS } else { ExitCode::from(EXIT_GONE) })
}

fn unit_of(name: &ServiceName) -> String {
    format!("{}.service", name.name)
}

/// A unit's file.
#[derive(Debug)]
struct Installed {
    unit: String,
    path: PathBuf,
    force: bool,
}

impl Installed {
    fn new(place: &UnitPlace) -> Self {
        let unit = unit_of(&place.service);
        Self { path: absolute(&place.unit_dir).join(&unit), unit, force: place.force }
    }

    /// Its text, if it is there. One of somebody else is a problem, unless it is forced.
    fn read(&self) -> Result<Option<String>, Problem> {
        match fs::read(&self.path) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let ours = text.starts_with(MARK) && !self.path.is_symlink();
                if ours || self.force {
                    Ok(Some(text))
                } else {
                    Err(Problem::Foreign(self.path.clone()))
                }
            }
            Err(e) if e.kind() == ErrorKind::NotFound && !self.path.is_symlink() => Ok(None),
            // A link that leads nowhere.
            Err(e) if e.kind() == ErrorKind::NotFound && self.force => Ok(Some(String::new())),
            Err(e) if e.kind() == ErrorKind::NotFound => Err(Problem::Foreign(self.path.clone())),
            Err(source) => Err(self.problem("read", source)),
        }
    }

    /// Writes it: all of it, or nothing.
    fn write(&self, text: &str) -> Result<(), Problem> {
        let new = self.path.with_file_name(format!(".{}.{}", self.unit, std::process::id()));
        let mut options = fs::OpenOptions::new();
        let written =
            options.write(true).create_new(true).mode(0o644).open(&new).and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                fs::rename(&new, &self.path)
            });
        written.map_err(|source| {
            let _ = fs::remove_file(&new);
            self.problem("written", source)
        })
    }

    fn remove(&self) -> Result<(), Problem> {
        fs::remove_file(&self.path).map_err(|source| self.problem("removed", source))
    }

    fn problem(&self, what: &'static str, source: std::io::Error) -> Problem {
        Problem::File { what, path: self.path.clone(), source }
    }

    /// What `systemctl enable` is told: the path of one that systemd does not look for by itself.
    fn to_enable(&self) -> String {
        if self.path.parent() == Some(Path::new(UnitPlace::DEFAULT_DIR)) {
            self.unit.clone()
        } else {
            self.path.display().to_string()
        }
    }
}

/// This program by the path it was called by, so that a link stays a link and an upgrade behind it is one of the service;
/// otherwise the path of its file.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let candidates: Vec<PathBuf> = if called.components().count() > 1 {
        vec![absolute(&called)]
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|dir| absolute(&dir.join(&called))).collect()
    };
    let is_own = |path: &PathBuf| path.canonicalize().is_ok_and(|path| path == own);
    candidates.into_iter().find(is_own).unwrap_or(own)
}

fn absolute(path: &Path) -> PathBuf {
    path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
