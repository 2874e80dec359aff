//! Who is compared, and how each one's client process is started.

mod cgo;
pub(crate) mod grpc;
#[cfg(feature = "iceoryx2")]
mod iceoryx;
mod lane;
mod pingpong;
mod ring;
mod uds;
#[cfg(feature = "wasmtime")]
mod wasm;

use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

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
    /// What in-process sessions are held against.
    Limit,
    /// What a user would pick instead, in a process of its own.
    Peer,
    /// The same in the host's own process.
    InProcess,
    /// Shown beside them.
    Reference,
}

/// The one the others are held against comes first.
pub(crate) const ALL: &[Contender] = &[
    rust("lane", Role::Lane),
    rust("ping-pong", Role::Limit),
    rust("uds-go", Role::Peer),
    rust("uds-rust", Role::Peer),
    rust("grpc", Role::Peer),
    go("go-plugin", "peer-goplugin"),
    go("net-rpc", "peer-netrpc"),
    go("shmipc-go", "peer-shmipc"),
    #[cfg(feature = "iceoryx2")]
    rust("iceoryx2-poll", Role::Peer),
    #[cfg(feature = "iceoryx2")]
    rust("iceoryx2-wait", Role::Peer),
    rust("cgo", Role::InProcess),
    rust("nylon-ring", Role::Reference),
    #[cfg(feature = "wasmtime")]
    rust("wasmtime", Role::Reference),
    rust("lane-spin", Role::Reference),
];

const fn rust(name: &'static str, role: Role) -> Contender {
    Contender { name, role, program: None }
}

const fn go(name: &'static str, program: &'static str) -> Contender {
    Contender { name, role: Role::Peer, program: Some(program) }
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
        cpus.give(&mut command);
        Cpus::pin(&[cpus.client])?;
        let child = Child::start(&mut command).map_err(|e| format!("{}: {e}", self.name));
        Cpus::pin(&[cpus.client, cpus.server])?;
        child
    }

    /// Whether the others in a cell are held against it.
    pub(crate) fn is_limit(&self) -> bool {
        matches!(self.role, Role::Lane | Role::Limit)
    }

    /// Whether the cell says something about it.
    pub(crate) fn has(&self, cell: &Cell) -> bool {
        match self.role {
            Role::Limit => cell.kind != Kind::Echo,
            Role::InProcess => true,
            Role::Lane | Role::Peer | Role::Reference => cell.kind == Kind::Echo,
        }
    }
}

/// The client process of one contender.
pub(crate) fn client(name: &str, cpus: &Cpus) -> Result<()> {
    let client: Box<dyn Client> = match name {
        "cgo" => Box::new(cgo::Cgo::start(cpus)?),
        "grpc" => Box::new(grpc::GrpcClient::start(cpus)?),
        #[cfg(feature = "iceoryx2")]
        "iceoryx2-poll" => Box::new(iceoryx::Iceoryx::start(cpus, false)?),
        #[cfg(feature = "iceoryx2")]
        "iceoryx2-wait" => Box::new(iceoryx::Iceoryx::start(cpus, true)?),
        "nylon-ring" => Box::new(ring::Ring::start()?),
        #[cfg(feature = "wasmtime")]
        "wasmtime" => Box::new(wasm::Wasm::start()?),
        "ping-pong" => Box::new(pingpong::PingPong(*cpus)),
        "lane" => Box::new(lane::Lane::start(cpus, false)?),
        "lane-spin" => Box::new(lane::Lane::start(cpus, true)?),
        "uds-go" => Box::new(uds::Uds::go(cpus)?),
        "uds-rust" => Box::new(uds::Uds::rust(cpus)?),
        _ => return Err(format!("no client {name:?}")),
    };
    client::serve(client)
}

/// The server process of one contender that is written in Rust; `at` is where its client finds it.
pub(crate) fn serve(name: &str, at: &str) -> Result<()> {
    // A server that polls would not see that its client was killed.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(|e| e.to_string())?;
    match name {
        "uds" => uds::serve(Path::new(at)),
        #[cfg(feature = "iceoryx2")]
        "iceoryx2-poll" => iceoryx::serve(at, false),
        #[cfg(feature = "iceoryx2")]
        "iceoryx2-wait" => iceoryx::serve(at, true),
        _ => Err(format!("no server {name:?}")),
    }
}
