//! Bodies on their way through the host: the client's, the upstream's, or what a plugin made of them.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::mpsc;

/// Why a body ended before its end.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body: pieces of bytes, then perhaps trailers.
#[derive(Debug, Default)]
pub struct Body(Kind);

#[derive(Debug, Default)]
enum Kind {
    #[default]
    Empty,
    Full(Bytes),
    Incoming(hyper::body::Incoming),
    Boxed(UnsyncBoxBody<Bytes, BodyError>),
    /// Pieces a task makes.
    Pumped(mpsc::Receiver<Result<Frame<Bytes>, BodyError>>),
    /// Pieces already taken, then the rest.
    Tape(Vec<Bytes>, Box<Body>),
    /// Another body, and who wants to know how it ended.
    Tailed(Box<Body>, Box<dyn Tail>),
}

/// Hears how a body ended.
pub(crate) trait Tail: Send + std::fmt::Debug {
    /// This piece goes out.
    fn piece(&mut self, piece: &Bytes);
    /// Nothing more follows: at the end, with an error, or because the receiver left (`complete` is false).
    fn end(&mut self, complete: bool, error: Option<&str>);
}

/// Sends the pieces of a pumped body.
pub(crate) type Pump = mpsc::Sender<Result<Frame<Bytes>, BodyError>>;

impl Body {
    /// No body at all.
    pub fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// Any body of `http_body`'s kind.
    pub fn new<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        use http_body_util::BodyExt as _;
        Self(Kind::Boxed(UnsyncBoxBody::new(body.map_err(Into::into))))
    }

    /// A body that a task feeds; two pieces may wait.
    pub(crate) fn pumped() -> (Pump, Self) {
        let (tx, rx) = mpsc::channel(2);
        (tx, Self(Kind::Pumped(rx)))
    }

    /// `pieces`, then `rest`.
    pub(crate) fn tape(mut pieces: Vec<Bytes>, rest: Self) -> Self {
        if pieces.is_empty() {
            return rest;
        }
        pieces.reverse();
        Self(Kind::Tape(pieces, Box::new(rest)))
    }

    /// This body, with `tail` told how it ends.
    pub(crate) fn tailed(self, tail: Box<dyn Tail>) -> Self {
        Self(Kind::Tailed(Box::new(self), tail))
    }

    /// The next data piece or trailers.
    pub(crate) async fn next(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(if bytes.is_empty() { Kind::Empty } else { Kind::Full(bytes) })
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<hyper::body::Incoming> for Body {
    fn from(body: hyper::body::Incoming) -> Self {
        Self(if body.is_end_stream() { Kind::Empty } else { Kind::Incoming(body) })
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match &mut this.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                this.0 = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Incoming(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Kind::Boxed(body) => Pin::new(body).poll_frame(cx),
            Kind::Pumped(pieces) => pieces.poll_recv(cx),
            Kind::Tape(pieces, rest) => match pieces.pop() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None => Pin::new(&mut **rest).poll_frame(cx),
            },
            Kind::Tailed(body, tail) => {
                let polled = Pin::new(&mut **body).poll_frame(cx);
                match &polled {
                    Poll::Ready(None) => tail.end(true, None),
                    Poll::Ready(Some(Err(e))) => tail.end(false, Some(&e.to_string())),
                    Poll::Ready(Some(Ok(frame))) => {
                        frame.data_ref().into_iter().for_each(|piece| tail.piece(piece));
                        // hyper does not ask again once the length it announced is out.
                        if body.is_end_stream() {
                            tail.end(true, None);
                        }
                    }
                    Poll::Pending => {}
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(_) | Kind::Pumped(_) => false,
            Kind::Incoming(body) => body.is_end_stream(),
            Kind::Boxed(body) => body.is_end_stream(),
            Kind::Tape(pieces, rest) => pieces.is_empty() && rest.is_end_stream(),
            Kind::Tailed(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Incoming(body) => body.size_hint(),
            Kind::Boxed(body) => body.size_hint(),
            Kind::Pumped(_) => SizeHint::default(),
            Kind::Tape(pieces, rest) => {
                let taken: u64 = pieces.iter().map(|p| p.len() as u64).sum();
                let mut hint = rest.size_hint();
                let (lower, upper) = (hint.lower() + taken, hint.upper().map(|u| u + taken));
                if let Some(upper) = upper {
                    hint.set_upper(upper);
                }
                hint.set_lower(lower);
                hint
            }
            Kind::Tailed(body, _) => body.size_hint(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Kind::Tailed(_, tail) = &mut self.0 {
            tail.end(false, None);
        }
    }
}
