//! One WebSocket of a client: messages in, frames out.
//!
//! Holds no buffer while nothing comes and nothing waits to be written. Bytes are read onto the stack; what belongs to a
//! message goes to its memory, which goes with it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::either::Either;

use super::frame::{self, Closing, Opcode};
use super::outgoing::{BATCH, Outgoing};
use super::reader::Reader;

/// Bytes taken from the connection at once.
const READ: usize = 16 * 1024;
/// Bytes that wait to be written until no more are wanted.
const QUEUED: usize = 64 * 1024;

/// What a client may send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SocketLimits {
    /// Bytes of a message, all its fragments together.
    pub(crate) max_message: usize,
    /// Bytes of one frame's payload.
    pub(crate) max_frame: usize,
}

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A whole text, which is UTF-8.
    Text(Bytes),
    Binary(Bytes),
    /// Answered already, with the next [`Socket::poll_flush`].
    Ping,
    Pong,
    /// The client's last word. Its answer goes out with [`Socket::close`].
    Close(Closing),
}

/// A socket that ended without the client's close frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// 1002, 1007, 1009: what the client did, and is told by [`Socket::close`]. 1006: it is gone.
    pub(crate) closing: Closing,
    /// None: the connection merely ended.
    pub(crate) error: Option<String>,
}

/// The server's end of a WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    io: Either<TcpStream, Box<dyn Io>>,
    reader: Reader,
    /// Read, and not yet taken apart.
    ahead: Bytes,
    received: u64,
    outgoing: Outgoing,
    state: State,
    /// Our close frame is queued: nothing comes behind it.
    is_closing: bool,
    is_shut: bool,
}

/// What is still to come from the client.
#[derive(Debug)]
enum State {
    Open,
    /// Nothing: this frame, if any, is what it is told.
    Ended(Option<Bytes>),
}

/// A connection of any kind.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug> Io for T {}

impl Socket {
    /// Speaks over an upgraded connection.
    pub(crate) fn over(io: Upgraded, limits: &SocketLimits) -> Self {
        match io.downcast::<TokioIo<TcpStream>>() {
            // The buffer is hyper's whole one: what is left in it is copied.
            Ok(parts) => Self::new(
                Either::Left(parts.io.into_inner()),
                Bytes::copy_from_slice(&parts.read_buf),
                limits,
            ),
            Err(io) => Self::new(Either::Right(Box::new(TokioIo::new(io))), Bytes::new(), limits),
        }
    }

    fn new(io: Either<TcpStream, Box<dyn Io>>, ahead: Bytes, limits: &SocketLimits) -> Self {
        Self {
            io,
            reader: Reader::new(*limits),
            ahead,
            received: 0,
            outgoing: Outgoing::default(),
            state: State::Open,
            is_closing: false,
            is_shut: false,
        }
    }

    /// The next thing the client says. Nothing is lost when the caller stops waiting. After a close, or an error, nothing
    /// more comes: it is pending for ever.
    ///
    /// # Errors
    /// [`Broken`]: the connection ended, or the client broke the protocol.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Broken>> {
        if let State::Ended(_) = self.state {
            return Poll::Pending;
        }
        let said = ready!(self.poll_incoming(cx));
        match &said {
            Ok(Incoming::Ping) => self.urgent(Opcode::Pong, None),
            // With the same code and reason (RFC 6455 section 5.5.1).
            Ok(Incoming::Close(closing)) => self.state = State::Ended(Some(frame::close(closing))),
            Ok(_) => {}
            Err(Broken { closing, .. }) => {
                let told = closing.code != Some(1006);
                self.state = State::Ended(told.then(|| frame::close(closing)));
            }
        }
        Poll::Ready(said)
    }

    /// Bytes that came from the client since the beginning: it is alive while this grows, also within a message.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Whether less than 64 KiB wait to be written.
    pub(crate) fn wants_more(&self) -> bool {
        self.outgoing.cost() < QUEUED
    }

    /// Queues an encoded frame ([`frame::message`]), which may be shared: it is written without a copy.
    /// After [`Socket::close`] it is dropped.
    pub(crate) fn push(&mut self, frame: Bytes) {
        if !self.is_closing {
            self.outgoing.push(frame);
        }
    }

    /// Queues a ping before the messages that wait; of `payload` at most 125 bytes.
    pub(crate) fn ping(&mut self, payload: &[u8]) {
        self.urgent(Opcode::Ping, Some(payload));
    }

    /// Queues the close frame, behind what was pushed; without `closing` it says nothing. A code that may not be sent becomes
    /// 1011. To a client that closed, or broke the protocol, goes what that demands instead.
    pub(crate) fn close(&mut self, closing: Option<&Closing>) {
        if std::mem::replace(&mut self.is_closing, true) {
            return;
        }
        let frame = match &mut self.state {
            State::Open => {
                Some(closing.map_or_else(|| frame::close(&Closing::default()), frame::close))
            }
            State::Ended(reply) => reply.take(),
        };
        if let Some(frame) = frame {
            self.outgoing.push(frame);
        }
    }

    /// Writes what is queued.
    ///
    /// # Errors
    /// Those of the connection: nothing more can be written.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let mut slices = [IoSlice::new(&[]); BATCH];
            let count = self.outgoing.slices(&mut slices);
            let io = Pin::new(&mut self.io);
            // One frame, which is what an idle room or an echo has, goes by the cheaper call.
            let wrote = match &slices[..count] {
                [one] => io.poll_write(cx, one),
                several => io.poll_write_vectored(cx, several),
            };
            match ready!(wrote)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.outgoing.written(written),
            }
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// After [`Socket::close`]: writes what is queued, waits for the client's close frame or its end, and ends the
    /// connection. The server's side ends first (RFC 6455 section 7.1.1), and what still comes is read, so that no reset takes
    /// away what the client has not yet read. A client can hold this for ever: the caller has the clock.
    pub(crate) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_shut {
            if ready!(self.poll_flush(cx)).is_err() {
                return Poll::Ready(());
            }
            while let State::Open = self.state {
                if let Err(_) | Ok(Incoming::Close(_)) = ready!(self.poll_incoming(cx)) {
                    self.state = State::Ended(None);
                }
            }
            if ready!(Pin::new(&mut self.io).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            self.is_shut = true;
        }
        let mut scratch = [MaybeUninit::uninit(); READ];
        loop {
            let mut bytes = ReadBuf::uninit(&mut scratch);
            let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut bytes));
            if read.is_err() || bytes.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }

    fn urgent(&mut self, opcode: Opcode, payload: Option<&[u8]>) {
        if !self.is_closing {
            let payload = payload.unwrap_or_else(|| self.reader.control());
            self.outgoing.push_urgent(frame::control(opcode, payload));
        }
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Broken>> {
        if !self.ahead.is_empty() {
            let mut bytes = &self.ahead[..];
            let said = self.reader.take(&mut bytes)?;
            let taken = self.ahead.len() - bytes.len();
            self.ahead.advance(taken);
            if let Some(said) = said {
                return Poll::Ready(Ok(said));
            }
        }
        self.ahead = Bytes::new();
        let mut scratch = [MaybeUninit::uninit(); READ];
        loop {
            let mut read = ReadBuf::uninit(&mut scratch);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))
                .map_err(|e| gone(Some(e.to_string())))?;
            let mut bytes = read.filled();
            if bytes.is_empty() {
                return Poll::Ready(Err(gone(None)));
            }
            self.received += bytes.len() as u64;
            if let Some(said) = self.reader.take(&mut bytes)? {
                self.ahead = Bytes::copy_from_slice(bytes);
                return Poll::Ready(Ok(said));
            }
        }
    }
}

/// The connection ended without a close frame.
fn gone(error: Option<String>) -> Broken {
    Broken { closing: Closing { code: Some(1006), reason: String::new() }, error }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
