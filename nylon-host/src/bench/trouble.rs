//! Why there was no whole answer.

use std::error::Error;
use std::fmt;
use std::io;

/// Why a request got no whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// No connection: nothing of the request was sent.
    Connect,
    /// Not all of an answer in time.
    Timeout,
    /// The connection was closed or reset before the answer began.
    Closed,
    /// The answer ended before its end.
    CutOff,
    /// What came is no HTTP.
    Malformed,
    /// Anything else.
    Other,
}

impl Trouble {
    /// All there are.
    pub const ALL: [Self; 6] =
        [Self::Connect, Self::Timeout, Self::Closed, Self::CutOff, Self::Malformed, Self::Other];

    /// What an error of hyper or of a client above it means, by the first cause that says.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(e) = error.downcast_ref::<hyper_util::client::legacy::Error>()
                && e.is_connect()
            {
                return Self::Connect;
            }
            if let Some(e) = error.downcast_ref::<hyper::Error>() {
                if e.is_parse() {
                    return Self::Malformed;
                }
                if e.is_body_write_aborted() || e.is_timeout() {
                    return Self::Timeout;
                }
                if e.is_incomplete_message() || e.is_canceled() || e.is_closed() {
                    return Self::Closed;
                }
            }
            if let Some(e) = error.downcast_ref::<io::Error>() {
                use io::ErrorKind as K;
                return match e.kind() {
                    K::ConnectionRefused => Self::Connect,
                    K::TimedOut => Self::Timeout,
                    K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe => Self::Closed,
                    K::UnexpectedEof => Self::CutOff,
                    _ => Self::Other,
                };
            }
            next = error.source();
        }
        Self::Other
    }

    /// One word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::CutOff => "cut_off",
            Self::Malformed => "malformed",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "no connection",
            Self::Timeout => "no answer in time",
            Self::Closed => "closed before an answer",
            Self::CutOff => "answer cut off",
            Self::Malformed => "answer is no HTTP",
            Self::Other => "other",
        })
    }
}
