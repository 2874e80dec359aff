//! The control socket of one worker: Hello down, HelloOk or Refuse up, later Shutdown and Bye (SPEC.md 8).

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nylon_protocol::handshake::{Control, Hello, HelloOk, Refuse, is_permanent, negotiate};
use nylon_protocol::wire;
use nylon_shm::segment::sealed_bytes;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::printable::printable;
use crate::readiness;

/// Our end of the control socket.
#[derive(Debug)]
pub(super) struct ControlSocket {
    fd: AsyncFd<OwnedFd>,
}

/// Why a worker will not be one.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// It closed the socket: it exits, or has.
    #[error("it closed the control socket before shaking hands")]
    Closed,
    /// The socket failed.
    #[error("control socket: {0}")]
    Io(#[from] io::Error),
    /// It said no.
    #[error("{message}")]
    Said { message: String, permanent: bool },
    /// Its protocol is not ours, whoever noticed.
    #[error("{0}: rebuild the plugin with an SDK of this host's release")]
    Mismatch(String),
    /// It is to take the place of a program that has this entry, and does not have it.
    #[error("it has no entry `{0}`, which routes use: change them first, and reload")]
    Lacks(String),
    /// It sent something else.
    #[error("it does not speak Nylon's handshake ({0}): is it a Nylon worker?")]
    Junk(String),
}

impl Refusal {
    pub(super) fn is_permanent(&self) -> bool {
        matches!(
            self,
            Self::Mismatch(_) | Self::Lacks(_) | Self::Junk(_) | Self::Said { permanent: true, .. }
        )
    }
}

impl ControlSocket {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { fd: readiness::watch(fd, Interest::READABLE | Interest::WRITABLE)? })
    }

    /// Sends Hello with its descriptors; a worker that is gone already is [`Refusal::Closed`].
    pub(super) async fn greet(&self, hello: &Hello, fds: [&OwnedFd; 5]) -> Result<(), Refusal> {
        match self.hello(hello, fds).await {
            Err(e) if is_gone(&e) => Err(Refusal::Closed),
            sent => Ok(sent?),
        }
    }

    /// Sends Hello with the descriptors {H, P, host bell, worker bell, rescue bell}.
    async fn hello(&self, hello: &Hello, fds: [&OwnedFd; 5]) -> io::Result<()> {
        let body = Control::Hello(hello.clone()).encode();
        let mut raw: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
        if body.len() <= wire::LIMIT_HELLO {
            return self.send(&body, &raw).await;
        }
        let sealed = sealed_bytes(&body)?;
        raw.push(sealed.as_raw_fd());
        self.send(&(body.len() as u64).to_le_bytes(), &raw).await
    }

    /// Waits for HelloOk and checks it.
    pub(super) async fn hello_ok(&self, hello: &Hello) -> Result<(HelloOk, u16), Refusal> {
        match self.receive().await? {
            None => Err(Refusal::Closed),
            Some(Ok(Control::HelloOk(mut ok))) => match ok.check(hello) {
                Ok(minor) => {
                    let names = ok.entries.iter_mut().chain([&mut ok.sdk]);
                    names.for_each(|name| *name = printable(name, wire::LIMIT_ERROR_TEXT));
                    Ok((ok, minor))
                }
                Err(reason) => Err(Refusal::Mismatch(reason.to_string())),
            },
            Some(Ok(Control::Refuse(refuse))) => Err(refused(hello, &refuse)),
            Some(Ok(_)) => Err(Refusal::Junk("an unexpected message".into())),
            Some(Err(violation)) => Err(Refusal::Junk(violation.to_string())),
        }
    }

    /// Asks the worker to stop.
    pub(super) async fn shutdown(&self, grace_ms: u32) -> io::Result<()> {
        self.send(&Control::Shutdown { grace_ms }.encode(), &[]).await
    }

    /// The next message; `None` at the end.
    async fn receive(&self) -> io::Result<Option<Result<Control, nylon_protocol::Violation>>> {
        let mut buffer = vec![0; wire::LIMIT_CONTROL];
        let read = self
            .fd
            .async_io(Interest::READABLE, |fd| {
                rustix::io::read(fd.as_fd(), &mut buffer).map_err(io::Error::from)
            })
            .await;
        match read {
            Ok(0) => Ok(None),
            Ok(n) => Ok(Some(Control::decode(&buffer[..n]))),
            Err(e) if is_gone(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn send(&self, message: &[u8], fds: &[RawFd]) -> io::Result<()> {
        let control = [ControlMessage::ScmRights(fds)];
        let control = if fds.is_empty() { &[][..] } else { &control[..] };
        self.fd
            .async_io(Interest::WRITABLE, |fd| {
                sendmsg::<()>(
                    fd.as_raw_fd(),
                    &[IoSlice::new(message)],
                    control,
                    MsgFlags::MSG_NOSIGNAL,
                    None,
                )
                .map_err(io::Error::from)
            })
            .await?;
        Ok(())
    }
}

/// Whether the other end is closed: a program that ends at once may be gone before Hello is sent.
fn is_gone(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// What a worker that says no is quoted with: for a version both ranges, else its own words.
fn refused(hello: &Hello, refuse: &Refuse) -> Refusal {
    if refuse.code == wire::REFUSE_VERSION
        && let Err(mismatch) = negotiate(hello.versions, refuse.versions)
    {
        return Refusal::Mismatch(mismatch.to_string());
    }
    Refusal::Said {
        message: printable(&refuse.message, wire::LIMIT_ERROR_TEXT),
        permanent: is_permanent(refuse.code),
    }
}
