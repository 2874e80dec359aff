//! Who is compared, and how each one's client process is started.

mod lane;
mod uds;

use std::path::Path;
use std::process::Command;

use crate::cell::{Cell, Kind};
use crate::client::Client;
use crate::cpus::Cpus;
use crate::process::{Child, beside, itself};
use crate::{Result, client};

/// One contender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    /// First word of its rows.
    pub(crate) name: &'static str,
    /// What it stands for.
    pub(crate) role: Role,
    /// The Go program that is its client; none: this one.
    program: Option<&'static str>,
}

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// What the others are held against.
    Lane,
    /// What a user would pick instead, in a process of its own.
    Peer,
    /// Shown beside them: in process, or not what is shipped by default.
    Reference,
}

/// The one the others are held against comes first.
pub(crate) const ALL: &[Contender] = &[
    rust("lane", Role::Lane),
    rust("uds-go", Role::Peer),
    rust("uds-rust", Role::Peer),
    rust("lane-spin", Role::Reference),
];

const fn rust(name: &'static str, role: Role) -> Contender {
    Contender { name, role, program: None }
}

impl Contender {
    /// Starts its client, on the CPU of clients. What runs in one process has both CPUs.
    pub(crate) fn start(&self, cpus: &Cpus) -> Result<Child> {
        let mut command = match self.program {
            Some(program) => Command::new(beside(program)?),
            None => {
                let mut command = Command::new(itself()?);
                command.args(["client", self.name]);
                command
            }
        };
        command.env("PEERS_CLIENT_CPU", cpus.client.to_string());
        command.env("PEERS_SERVER_CPU", cpus.server.to_string());
        Cpus::pin(&[cpus.client])?;
        let child = Child::start(&mut command).map_err(|e| format!("{}: {e}", self.name));
        Cpus::pin(&[cpus.client, cpus.server])?;
        child
    }

    /// Whether the cell says something about it.
    pub(crate) fn has(&self, cell: &Cell) -> bool {
        cell.kind == Kind::Echo
    }
}

/// The client process of one contender.
pub(crate) fn client(name: &str, cpus: &Cpus) -> Result<()> {
    let client: Box<dyn Client> = match name {
        "lane" => Box::new(lane::Lane::start(cpus, false)?),
        "lane-spin" => Box::new(lane::Lane::start(cpus, true)?),
        "uds-go" => Box::new(uds::Uds::go(cpus)?),
        "uds-rust" => Box::new(uds::Uds::rust(cpus)?),
        _ => return Err(format!("no client {name:?}")),
    };
    client::serve(client)
}

/// The server process of one contender that is written in Rust.
pub(crate) fn serve(name: &str, path: &Path) -> Result<()> {
    match name {
        "uds" => uds::serve(path),
        _ => Err(format!("no server {name:?}")),
    }
}
