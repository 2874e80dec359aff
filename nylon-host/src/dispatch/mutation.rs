//! What a plugin wants changed, checked before anything of it is applied (HARDENING rows 28 to 30).

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use nylon_protocol::record::{Op, Value};
use nylon_protocol::wire;
use smallvec::SmallVec;

use super::header_names::HeaderNames;
use crate::error::Failure;
use crate::rope::Rope;
use crate::session::Commit;

/// A change of the response head.
#[derive(Clone, Debug)]
pub(crate) enum HeadOp {
    Status(StatusCode),
    Set(HeaderName, HeaderValue),
    Add(HeaderName, HeaderValue),
    Remove(HeaderName),
}

/// A change of the request.
#[derive(Clone, Debug)]
pub(crate) enum RequestOp {
    Method(Method),
    Path(String),
    Query(String),
    Set(HeaderName, HeaderValue),
    Remove(HeaderName),
    Body(Rope),
}

/// A commit, checked as a whole.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) head: SmallVec<[HeadOp; 2]>,
    pub(crate) request: SmallVec<[RequestOp; 1]>,
    pub(crate) body: Option<Rope>,
    /// Framing and hop-by-hop headers that were taken and not used: the gateway frames by itself.
    pub(crate) overruled: usize,
}

impl Changes {
    /// The body a request body filter made of its piece.
    pub(crate) fn request_body(self) -> Option<Bytes> {
        let set = self.request.into_iter().rev().find_map(|op| match op {
            RequestOp::Body(body) => Some(body),
            _ => None,
        });
        set.or(self.body).map(Rope::into_bytes)
    }
}

/// Checks every entry of `commit`, which came from a worker of ABI minor `minor`.
///
/// # Errors
/// [`Failure::Refused`] for the first entry that is not allowed; nothing is applied then.
pub(super) fn check(commit: &Commit, minor: u16, names: &HeaderNames) -> Result<Changes, Failure> {
    let mut changes = Changes::default();
    let (mut headers, mut bytes) = (0usize, 0usize);
    for op in commit.ops() {
        match op {
            Op::SetHeader { name, value } | Op::AddHeader { name, value } => {
                headers += 1;
                bytes += name.len() + value.len();
                let add = matches!(op, Op::AddHeader { .. });
                let name = names.get(name)?;
                let value = self::value(commit, &name, value)?;
                if is_hop_by_hop(&name) || name == header::CONTENT_LENGTH {
                    changes.overruled += 1;
                } else if add {
                    changes.head.push(HeadOp::Add(name, value));
                } else {
                    changes.head.push(HeadOp::Set(name, value));
                }
            }
            Op::RemoveHeader { name } => {
                let name = names.get(name)?;
                if !is_hop_by_hop(&name) && name != header::CONTENT_LENGTH {
                    changes.head.push(HeadOp::Remove(name));
                }
            }
            Op::Status(status) => changes.head.push(HeadOp::Status(self::status(status)?)),
            Op::Body(value) => {
                changes.body = Some(body(commit, value, commit.staged_response.as_ref())?)
            }
            _ if minor < 1 => return Err(refused("a request change needs ABI 1.1")),
            Op::SetMethod(value) => changes.request.push(RequestOp::Method(method(value)?)),
            Op::SetPath(value) => changes.request.push(RequestOp::Path(path(value)?)),
            Op::SetQuery(value) => changes.request.push(RequestOp::Query(query(value)?)),
            Op::SetRequestHeader { name, value } => {
                headers += 1;
                bytes += name.len() + value.len();
                let name = names.get(name)?;
                let value = self::value(commit, &name, value)?;
                if is_hop_by_hop(&name) || name == header::CONTENT_LENGTH || name == header::HOST {
                    changes.overruled += 1;
                } else {
                    changes.request.push(RequestOp::Set(name, value));
                }
            }
            Op::RemoveRequestHeader { name } => {
                let name = names.get(name)?;
                if name == header::HOST || name == header::CONTENT_LENGTH || is_hop_by_hop(&name) {
                    changes.overruled += 1;
                } else {
                    changes.request.push(RequestOp::Remove(name));
                }
            }
            Op::RequestBody(value) => {
                let body = body(commit, value, commit.staged_request.as_ref())?;
                changes.request.push(RequestOp::Body(body));
            }
        }
        if headers > wire::LIMIT_HEADERS || bytes > wire::LIMIT_HEADER_BYTES {
            return Err(Failure::Refused(format!(
                "more than {} headers or {} bytes of them",
                wire::LIMIT_HEADERS,
                wire::LIMIT_HEADER_BYTES
            )));
        }
    }
    Ok(changes)
}

impl HeadOp {
    /// Whether it belongs to the one response it was made for: its status, what its body is, how long it may be kept,
    /// where it leads.
    pub(crate) fn is_of_one_response(&self) -> bool {
        match self {
            Self::Status(_) => true,
            Self::Set(name, _) | Self::Add(name, _) | Self::Remove(name) => matches!(
                name.as_str(),
                "accept-ranges"
                    | "age"
                    | "cache-control"
                    | "content-disposition"
                    | "content-encoding"
                    | "content-language"
                    | "content-location"
                    | "content-range"
                    | "content-type"
                    | "etag"
                    | "expires"
                    | "last-modified"
                    | "location"
            ),
        }
    }

    /// Applies the change to a head.
    pub(crate) fn apply(&self, status: &mut StatusCode, headers: &mut HeaderMap) {
        match self {
            Self::Status(new) => *status = *new,
            Self::Set(name, value) => {
                headers.insert(name.clone(), value.clone());
            }
            Self::Add(name, value) => {
                headers.append(name.clone(), value.clone());
            }
            Self::Remove(name) => {
                headers.remove(name);
            }
        }
    }
}

/// Headers that belong to one connection, never to a message (RFC 9110 section 7.6.1).
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// The value of header `name`; it shares its bytes with `commit`.
fn value(commit: &Commit, name: &HeaderName, value: &[u8]) -> Result<HeaderValue, Failure> {
    HeaderValue::from_maybe_shared(commit.share(value)).map_err(|_| {
        Failure::Refused(format!("the value of header `{name}` has a line break or control byte"))
    })
}

fn status(status: u16) -> Result<StatusCode, Failure> {
    StatusCode::from_u16(status)
        .ok()
        .filter(|s| (200..=599).contains(&s.as_u16()))
        .ok_or_else(|| Failure::Refused(format!("status {status} is not in 200..=599")))
}

fn method(value: &[u8]) -> Result<Method, Failure> {
    Method::from_bytes(value).ok().filter(|m| m != Method::CONNECT).ok_or_else(|| {
        Failure::Refused(format!("`{}` is no method to forward", value.escape_ascii()))
    })
}

fn path(value: &[u8]) -> Result<String, Failure> {
    let visible = value.iter().all(|b| (0x21..=0x7e).contains(b) && *b != b'?' && *b != b'#');
    match std::str::from_utf8(value) {
        Ok(text) if visible && text.starts_with('/') => Ok(text.to_owned()),
        _ => Err(Failure::Refused(format!("`{}` is no path", value.escape_ascii()))),
    }
}

fn query(value: &[u8]) -> Result<String, Failure> {
    let visible = value.iter().all(|b| (0x21..=0x7e).contains(b) && *b != b'#');
    match std::str::from_utf8(value) {
        Ok(text) if visible => Ok(text.to_owned()),
        _ => Err(Failure::Refused(format!("`{}` is no query", value.escape_ascii()))),
    }
}

fn body(commit: &Commit, value: Value<'_>, staged: Option<&Rope>) -> Result<Rope, Failure> {
    match value {
        Value::Inline(bytes) => Ok(commit.share(bytes).into()),
        Value::Staged => staged.cloned().ok_or_else(|| refused("a staged body that never came")),
    }
}

fn refused(why: &str) -> Failure {
    Failure::Refused(why.to_owned())
}
