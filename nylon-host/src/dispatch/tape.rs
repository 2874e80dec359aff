//! A request body that may be read by plugins before it goes upstream, and still goes upstream.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::body::{Body, Tail};
use crate::error::Failure;
use crate::rope::Rope;

/// Most bytes kept of a body that a plugin reads and an upstream gets as well (CONTRACT B06).
pub(crate) const KEPT_MAX: usize = nylon_protocol::wire::LIMIT_RAW_BODY;

/// Most bytes remembered of a body that went upstream unread, for plugins that ask for it later.
pub(crate) const REMEMBERED_MAX: usize = 64 * 1024;

/// The client's body: what was read of it so far, and the rest.
#[derive(Debug)]
pub(crate) struct Tape {
    pieces: Vec<Bytes>,
    /// Offset of the first kept piece; > 0 once pieces were let go.
    base: usize,
    end: usize,
    rest: Option<Body>,
    /// Whether the body ends at `end`.
    complete: bool,
    /// Keep what is read: somebody else may want it.
    keep: bool,
    /// What went upstream unread.
    memory: Option<Arc<Mutex<Memory>>>,
}

impl Tape {
    /// Keeps what is read of `body`, until [`Self::last_reader`].
    pub(crate) fn new(body: Body) -> Self {
        let complete = http_body::Body::is_end_stream(&body);
        let (pieces, rest) = (Vec::new(), Some(body));
        Self { pieces, base: 0, end: 0, rest, complete, keep: true, memory: None }
    }

    /// Nobody reads after the handler that runs next: what it reads as it comes need not be kept, so that it may be
    /// larger than any bound.
    pub(crate) fn last_reader(&mut self) {
        self.keep = self.complete;
    }

    /// Somebody wants all of it: what is read from now on is kept.
    pub(crate) fn keep_all(&mut self) {
        self.keep = true;
    }

    /// Whether the bytes before `at` are no longer there.
    pub(crate) fn lost(&self, at: usize) -> bool {
        at < self.base
    }

    /// Replaces the body by one a plugin made.
    pub(crate) fn replace(&mut self, body: Rope) {
        *self = Self::new(Body::empty());
        self.end = body.len();
        self.pieces = body.into_pieces();
        self.complete = true;
    }

    /// Whether the body ends at [`Self::end`].
    pub(crate) fn complete(&self) -> bool {
        self.complete
    }

    /// Whether the body was handed on and cannot be read any more: it is larger than [`REMEMBERED_MAX`], or still on
    /// its way.
    pub(crate) fn gone(&mut self) -> bool {
        if let Some(memory) = &self.memory {
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            if memory.complete && !memory.over && !self.complete {
                let bytes = std::mem::take(&mut memory.bytes);
                (self.base, self.end, self.complete) = (0, bytes.len(), true);
                self.pieces = vec![bytes.into()];
            }
        }
        self.rest.is_none() && !self.complete
    }

    /// Bytes read from the client so far.
    pub(crate) fn end(&self) -> usize {
        self.end
    }

    /// Reads one more piece.
    ///
    /// # Errors
    /// [`Failure::BodyTooLarge`] past the bound of a kept body, [`Failure::ClientGone`] when the client stops sending.
    pub(crate) async fn read(&mut self) -> Result<(), Failure> {
        let Some(rest) = self.rest.as_mut().filter(|_| !self.complete) else { return Ok(()) };
        match rest.next().await {
            None => self.complete = true,
            Some(Err(_)) => return Err(Failure::ClientGone),
            Some(Ok(frame)) => {
                if let Ok(piece) = frame.into_data() {
                    self.end += piece.len();
                    if self.keep && self.end > KEPT_MAX {
                        return Err(Failure::BodyTooLarge(KEPT_MAX));
                    }
                    self.pieces.push(piece);
                }
                if http_body::Body::is_end_stream(rest) {
                    self.complete = true;
                }
            }
        }
        Ok(())
    }

    /// Whether the whole body is here, of at most `max` bytes; waits for nothing. It is kept then.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn is_here(&mut self, max: usize) -> Result<bool, Failure> {
        let most = self.rest.as_ref().and_then(|rest| http_body::Body::size_hint(rest).upper());
        let small = self.complete || most.is_some_and(|n| n <= max as u64);
        if self.lost(0) || !small {
            return Ok(false);
        }
        let mut now = Context::from_waker(Waker::noop());
        while !self.complete && self.end <= max {
            match pin!(self.read()).poll(&mut now) {
                Poll::Ready(read) => read?,
                Poll::Pending => return Ok(false),
            }
        }
        let here = self.complete && self.end <= max;
        self.keep |= here;
        Ok(here)
    }

    /// Up to `max` bytes from offset `at`, empty when they were not read yet.
    pub(crate) fn slice(&mut self, at: usize, max: usize) -> Bytes {
        if !self.keep {
            self.let_go(at);
        }
        let mut start = self.base;
        for piece in &self.pieces {
            let end = start + piece.len();
            if at >= start && at < end {
                let from = at - start;
                return piece.slice(from..piece.len().min(from + max));
            }
            start = end;
        }
        Bytes::new()
    }

    /// Drops pieces that lie wholly before `at`.
    fn let_go(&mut self, at: usize) {
        while let Some(first) = self.pieces.first() {
            if self.base + first.len() > at {
                break;
            }
            self.base += first.len();
            self.pieces.remove(0);
        }
    }

    /// The body to send upstream. A complete one, and a small one once it was sent, can still be read afterwards.
    pub(crate) fn forward(&mut self) -> Body {
        let rest = self.rest.take().unwrap_or_default();
        if self.complete {
            return match self.pieces.as_slice() {
                [] => rest,
                [one] => one.clone().into(),
                pieces => Body::tape(pieces.to_vec(), rest),
            };
        }
        let memory = Arc::new(Mutex::new(Memory::default()));
        self.memory = Some(memory.clone());
        let body = Body::tape(std::mem::take(&mut self.pieces), rest);
        body.tailed(Box::new(Recorder(memory)))
    }
}

/// A body as it went by, if it is small.
#[derive(Debug, Default)]
struct Memory {
    bytes: Vec<u8>,
    complete: bool,
    /// It is larger than [`REMEMBERED_MAX`].
    over: bool,
}

#[derive(Debug)]
struct Recorder(Arc<Mutex<Memory>>);

impl Tail for Recorder {
    fn piece(&mut self, piece: &Bytes) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.over |= memory.bytes.len() + piece.len() > REMEMBERED_MAX;
        if memory.over {
            memory.bytes = Vec::new();
        } else {
            memory.bytes.extend_from_slice(piece);
        }
    }

    fn end(&mut self, complete: bool, _error: Option<&str>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).complete |= complete;
    }
}
