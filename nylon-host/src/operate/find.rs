//! Which running gateway is meant.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nylon_host::admin::directories;
use nylon_host::admin::view::GatewayView;
use nylon_host::cli::Target;
use nylon_host::config::{self, AdminSocket};

use super::client::{Client, Trouble};

/// How long a gateway has to say who it is.
const PATIENCE: Duration = Duration::from_secs(2);

/// The runtime file of a gateway that was started without naming one.
const DEFAULT_FILE: &str = "/etc/nylon/config.yaml";

/// The gateway `to` stands for.
pub(super) async fn gateway(to: &Target) -> Result<Client, Trouble> {
    if let Some(socket) = &to.socket {
        return Ok(Client::new(socket));
    }
    if let Some(pid) = to.pid {
        let found = directories().into_iter().map(|dir| dir.join(format!("{pid}.sock")));
        let found =
            found.filter(|socket| socket.exists()).map(|socket| Client::new(&socket)).next();
        return found.ok_or_else(|| {
            Trouble::Nobody(format!("no admin socket of process {pid} in {}", list(&directories())))
        });
    }
    let file = to.config.as_deref();
    match config::admin_socket(file.unwrap_or(Path::new(DEFAULT_FILE))) {
        Some(AdminSocket::At(socket)) => return Ok(Client::new(&socket)),
        Some(AdminSocket::Off) if file.is_some() => {
            let why = "this gateway has no admin socket: its runtime file says `admin: false`";
            return Err(Trouble::Nobody(why.to_owned()));
        }
        _ => {}
    }
    search(file).await
}

/// Asks every gateway whose socket lies where they do by default.
async fn search(file: Option<&Path>) -> Result<Client, Trouble> {
    let (mut sockets, mut closed) = (Vec::new(), Vec::new());
    for dir in directories() {
        match std::fs::read_dir(&dir) {
            Ok(entries) => sockets.extend(entries.flatten().map(|entry| entry.path())),
            Err(e) if e.kind() == ErrorKind::PermissionDenied => closed.push(dir),
            Err(_) => {}
        }
    }
    let asked = sockets.into_iter().map(|socket| async move {
        let client = Client::new(&socket);
        let asked = tokio::time::timeout(PATIENCE, client.get("/v1/gateway")).await;
        let (gateway, _): (GatewayView, _) = asked.ok()?.ok()?;
        Some((client, gateway))
    });
    let mut found: Vec<_> =
        futures_util::future::join_all(asked).await.into_iter().flatten().collect();
    found.retain(|(_, gateway)| file.is_none_or(|file| is_same(file, &gateway.config)));
    if found.len() > 1 {
        let mut text = "several gateways run: choose one with --pid".to_owned();
        for (_, GatewayView { pid, config, plugins, .. }) in &found {
            text += &format!(
                "\n  --pid {pid:<8} {}, plugins: {}",
                config.display(),
                plugins.join(", ")
            );
        }
        return Err(Trouble::Several(text));
    }
    found.pop().map(|(client, _)| client).ok_or_else(|| {
        let of = file.map(|file| format!(" with {}", file.display())).unwrap_or_default();
        let hint = match closed.as_slice() {
            [] => String::new(),
            closed => format!("; {} can only be read by its owner: try as that user", list(closed)),
        };
        Trouble::Nobody(format!(
            "no gateway runs{of}: none has its socket in {}{hint}",
            list(&directories())
        ))
    })
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => std::path::absolute(one).is_ok_and(|one| one == other),
    }
}

fn list(dirs: &[PathBuf]) -> String {
    dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ")
}
