//! Where the admin endpoint listens: a socket that is its owner's alone, and loopback where that is asked for.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, UnixListener, UnixSocket};

use crate::config::{self, AdminSocket, AdminTcp};

/// What was bound; dropped, the socket's name is removed.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(super) unix: Option<Socket>,
    pub(super) tcp: Option<(TcpListener, Token)>,
}

/// A Unix socket and its name.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) listener: UnixListener,
    pub(super) path: PathBuf,
    /// Device and inode: a file of that name that is another is left alone.
    id: (u64, u64),
}

/// What requests on TCP carry: its SHA-256, so that comparing tells nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token([u8; 32]);

impl Token {
    pub(super) fn new(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }
}

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 64;

/// Directories with the sockets of running gateways, `PID.sock` each: first that of this user, which may not exist yet.
pub fn directories() -> Vec<PathBuf> {
    let mut all = vec![own_directory()];
    let run = fs::read_dir("/run").into_iter().flatten().flatten();
    let ours = run.filter(|entry| entry.file_name().to_string_lossy().starts_with("nylon"));
    all.extend(ours.map(|entry| entry.path()).filter(|path| path.is_dir()));
    all.dedup();
    all
}

/// That of systemd's making, if there is one; root's; the user's.
fn own_directory() -> PathBuf {
    let given = |name| std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let by_systemd = given("RUNTIME_DIRECTORY")
        .filter(|dir| !dir.as_os_str().as_encoded_bytes().contains(&b':'));
    if let Some(dir) = by_systemd {
        return dir;
    }
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        return "/run/nylon".into();
    }
    match given("XDG_RUNTIME_DIR") {
        Some(dir) => dir.join("nylon"),
        None => std::env::temp_dir().join(format!("nylon-{}", uid.as_raw())),
    }
}

/// Listens as `config` says. Without its default socket a gateway serves all the same, and says so.
///
/// # Errors
/// What cannot be listened on, and why.
pub(crate) fn bind(config: &config::Admin) -> Result<Bound, String> {
    let unix = match &config.socket {
        AdminSocket::Off => None,
        AdminSocket::At(path) => Some(explicit(path)?),
        AdminSocket::Default => match default_socket() {
            Ok(socket) => Some(socket),
            Err(why) => {
                tracing::warn!(
                    target: "nylon",
                    why,
                    "no admin socket: `nylon ps` and its like will not find this gateway"
                );
                None
            }
        },
    };
    let tcp = config.tcp.as_ref().map(tcp).transpose()?;
    Ok(Bound { unix, tcp })
}

fn explicit(path: &Path) -> Result<Socket, String> {
    let named = |e: &dyn std::fmt::Display| format!("cannot listen on {}: {e}", path.display());
    let dir = path.parent().unwrap_or(Path::new("/"));
    make(dir).map_err(|e| named(&e))?;
    let mode = fs::metadata(dir).map_err(|e| named(&e))?.mode();
    if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        return Err(named(
            &"others can write in its directory: choose one that only the gateway's user can",
        ));
    }
    socket(path.to_owned()).map_err(|e| named(&e))
}

fn default_socket() -> Result<Socket, String> {
    let dir = own_directory();
    let named = |e: &dyn std::fmt::Display| format!("{}: {e}", dir.display());
    make(&dir).map_err(|e| named(&e))?;
    let found = fs::symlink_metadata(&dir).map_err(|e| named(&e))?;
    let ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    if !ours || found.mode() & 0o077 != 0 {
        return Err(named(&"it must be a directory of the gateway's user with mode 0700"));
    }
    remove_stale(&dir);
    socket(dir.join(format!("{}.sock", std::process::id()))).map_err(|e| named(&e))
}

fn make(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Sockets of gateways that were killed.
fn remove_stale(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let pid =
            entry.file_name().to_str().and_then(|name| name.strip_suffix(".sock")?.parse().ok());
        let pid: Option<u32> = pid;
        // Those of gateways that live are not rung at.
        let gone = pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        if gone && is_stale(&path) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether it is a socket on which nobody listens.
fn is_stale(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
        && UnixStream::connect(path).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
}

/// Nobody can connect before the socket is its owner's alone: it listens only then.
fn socket(path: PathBuf) -> io::Result<Socket> {
    if is_stale(&path) {
        fs::remove_file(&path)?;
    }
    let socket = UnixSocket::new_stream()?;
    socket.bind(&path).map_err(|e| match e.kind() {
        ErrorKind::AddrInUse => {
            io::Error::other("another gateway listens there, or it is no socket")
        }
        ErrorKind::InvalidInput => {
            io::Error::other("the path is too long: a socket's has at most 107 bytes")
        }
        _ => e,
    })?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    let found = fs::symlink_metadata(&path)?;
    let listener = socket.listen(BACKLOG)?;
    Ok(Socket { listener, path, id: (found.dev(), found.ino()) })
}

impl Drop for Socket {
    fn drop(&mut self) {
        let still = fs::symlink_metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == self.id);
        if still {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn tcp(config: &AdminTcp) -> Result<(TcpListener, Token), String> {
    let file = &config.token_file;
    let named = |e: &dyn std::fmt::Display| format!("admin token in {}: {e}", file.display());
    let text = fs::read_to_string(file).map_err(|e| named(&e))?;
    let mode = fs::metadata(file).map_err(|e| named(&e))?.mode();
    if mode & 0o077 != 0 {
        return Err(named(&"others can read or change it: `chmod 600` it"));
    }
    let token = text.lines().next().unwrap_or_default().trim();
    if token.len() < TOKEN_MIN {
        return Err(named(&format!("its first line must have {TOKEN_MIN} characters at least")));
    }
    let listen = || {
        let listener = std::net::TcpListener::bind(config.listen)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    let listener = listen().map_err(|e| format!("cannot listen on {}: {e}", config.listen))?;
    Ok((listener, Token::new(token)))
}

/// Characters that a token has at least.
const TOKEN_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use nylon_tests::Temp;

    #[tokio::test]
    async fn a_socket_is_its_owners_alone_and_goes_with_it() {
        let dir = Temp::new();
        let path = dir.path().join("sub/admin.sock");
        let bound = explicit(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(dir.path().join("sub")).unwrap().mode() & 0o777, 0o700);
        assert!(explicit(&path).unwrap_err().contains("another gateway listens there"));
        drop(bound);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_name_that_was_left_behind_is_taken_over_and_a_file_is_not() {
        let dir = Temp::new();
        let left = dir.path().join("left.sock");
        drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
        assert!(left.exists());
        explicit(&left).unwrap();
        let file = dir.path().join("file.sock");
        fs::write(&file, "kept").unwrap();
        explicit(&file).unwrap_err();
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    }

    #[tokio::test]
    async fn a_directory_where_others_write_is_refused() {
        let dir = Temp::new();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let refused = explicit(&dir.path().join("a.sock")).unwrap_err();
        assert!(refused.contains("others can write"), "{refused}");
    }
}
