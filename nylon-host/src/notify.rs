//! What a service manager is told, by systemd's protocol (sd_notify(3)): datagrams to the socket named by `NOTIFY_SOCKET`.
//! Without one nothing is sent.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What a service manager shows of a gateway that serves.
pub const SERVING: &str = "serving";

/// How long a manager that reads nothing is waited for.
const PATIENCE: Duration = Duration::from_millis(200);

/// Requests are served; `status` says so to people.
pub fn ready(status: &str) {
    tell(&format!("READY=1\nSTATUS={status}"));
}

/// The configuration is read anew, until [`ready`].
pub fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reading the configuration"));
}

/// No new requests are taken.
pub fn stopping() {
    tell("STOPPING=1\nSTATUS=finishing requests");
}

/// What goes on, for people.
pub fn status(status: &str) {
    tell(&format!("STATUS={status}"));
}

/// Says twice a period that the gateway is alive, if the manager watches this process (`WATCHDOG_USEC`). The runtime's
/// own threads say so: when all of them hang, nobody does. Call it inside the runtime.
pub fn watchdog() {
    let ours = env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
    let period = env::var("WATCHDOG_USEC").ok().and_then(|usec| usec.parse().ok());
    let Some(period) = period.map(Duration::from_micros).filter(|p| ours && !p.is_zero()) else {
        return;
    };
    tokio::spawn(async move {
        let mut turns = tokio::time::interval(period / 2);
        loop {
            turns.tick().await;
            tell("WATCHDOG=1");
        }
    });
}

fn tell(state: &str) {
    let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return };
    if let Err(error) = send(&name, state) {
        tracing::warn!(%error, socket = %name.display(), "cannot notify the service manager");
    }
}

fn send(name: &OsString, state: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.send_to_addr(state.as_bytes(), &address(name)?).map(drop)
}

/// A path, or an abstract name, which is written with an `@`.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_an_at_sign_is_abstract() {
        let name = format!("nylon-notify-test-{}", std::process::id());
        let at = SocketAddr::from_abstract_name(&name).expect("a name");
        let manager = UnixDatagram::bind_addr(&at).expect("it is free");
        send(&format!("@{name}").into(), "READY=1").expect("it is heard");
        let mut heard = [0; 16];
        let bytes = manager.recv(&mut heard).expect("a datagram");
        assert_eq!(&heard[..bytes], b"READY=1");
        assert_eq!(
            address(OsStr::new("/run/n")).unwrap().as_pathname().unwrap().to_str(),
            Some("/run/n")
        );
    }
}
