//! A request body that may be read by plugins before it goes upstream, and still goes upstream.

use bytes::Bytes;

use crate::body::Body;
use crate::error::Failure;

/// Most bytes kept of a body that a plugin reads and an upstream gets as well (CONTRACT B06).
pub(crate) const KEPT_MAX: usize = nylon_protocol::wire::LIMIT_RAW_BODY;

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
    /// Keep what is read: somebody else will want it.
    keep: bool,
}

impl Tape {
    /// `keep`: the body is forwarded after plugins have read it.
    pub(crate) fn new(body: Body, keep: bool) -> Self {
        let complete = http_body::Body::is_end_stream(&body);
        Self { pieces: Vec::new(), base: 0, end: 0, rest: Some(body), complete, keep }
    }

    /// Replaces the body by one a plugin made.
    pub(crate) fn replace(&mut self, body: Bytes) {
        let keep = self.keep;
        *self = Self::new(Body::empty(), keep);
        self.end = body.len();
        self.pieces.extend((!body.is_empty()).then_some(body));
        self.complete = true;
    }

    /// Whether the body ends at [`Self::end`].
    pub(crate) fn complete(&self) -> bool {
        self.complete
    }

    /// Whether the rest of the body was handed on, so that no more can be read.
    pub(crate) fn gone(&self) -> bool {
        self.rest.is_none() && !self.complete
    }

    /// Bytes read from the client so far.
    pub(crate) fn end(&self) -> usize {
        self.end
    }

    /// Reads one more piece. `whole` keeps it for a reader of the whole body.
    ///
    /// # Errors
    /// [`Failure::BodyTooLarge`] past the bound of a kept body, [`Failure::ClientGone`] when the client stops sending.
    pub(crate) async fn read(&mut self, whole: bool) -> Result<(), Failure> {
        let Some(rest) = self.rest.as_mut().filter(|_| !self.complete) else { return Ok(()) };
        match rest.next().await {
            None => self.complete = true,
            Some(Err(_)) => return Err(Failure::ClientGone),
            Some(Ok(frame)) => {
                if let Ok(piece) = frame.into_data() {
                    self.end += piece.len();
                    if (self.keep || whole) && self.end > KEPT_MAX {
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

    /// Up to `max` bytes from offset `at`, empty when they were not read yet or are no longer kept.
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

    /// The body to send upstream. A complete one can still be read afterwards.
    pub(crate) fn forward(&mut self) -> Body {
        let rest = self.rest.take().unwrap_or_default();
        let pieces =
            if self.complete { self.pieces.clone() } else { std::mem::take(&mut self.pieces) };
        match pieces.as_slice() {
            [] => rest,
            [one] if self.complete => one.clone().into(),
            _ => Body::tape(pieces, rest),
        }
    }
}
