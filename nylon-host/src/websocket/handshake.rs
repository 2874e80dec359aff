//! The opening handshake (RFC 6455 section 4.2): what a client asks for, and what it is told.

use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ::http::{Method, Request, Response, StatusCode, Version};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest as _, Sha1};

use super::origins::Origins;
use crate::body::Body;
use crate::dispatch::is_hop_by_hop;

/// A request that asks for a WebSocket, rightly or not.
///
/// Read before anything is stripped from the request, and kept as its extension, where hyper leaves its `OnUpgrade`.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    method: Method,
    version: Version,
    has_body: bool,
    /// All values, of which one is expected.
    keys: Vec<HeaderValue>,
    versions: Vec<HeaderValue>,
    origins: Vec<HeaderValue>,
    /// Subprotocols, the client's favourite first.
    protocols: Vec<String>,
}

/// Why no WebSocket is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// The body of the answer, plain text.
    pub(crate) reason: &'static str,
}

/// Trailing bits that say nothing may be anything: some clients make their keys up.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);
/// What a server proves its knowledge of the protocol with (section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The one version there is (section 4.1).
const VERSION: &str = "13";

impl Offer {
    /// What `request` asks for, if its `Upgrade` names `websocket` and its `Connection` names `upgrade`.
    pub(crate) fn of<B>(request: &Request<B>) -> Option<Self> {
        let headers = request.headers();
        if !names(headers, header::UPGRADE, "websocket")
            || !names(headers, header::CONNECTION, "upgrade")
        {
            return None;
        }
        let all = |name| headers.get_all(name).iter().cloned().collect();
        let length = headers.get(header::CONTENT_LENGTH);
        Some(Self {
            method: request.method().clone(),
            version: request.version(),
            has_body: length.is_some_and(|n| n != "0")
                || headers.contains_key(header::TRANSFER_ENCODING),
            keys: all(header::SEC_WEBSOCKET_KEY),
            versions: all(header::SEC_WEBSOCKET_VERSION),
            origins: all(header::ORIGIN),
            protocols: tokens(headers, header::SEC_WEBSOCKET_PROTOCOL).map(str::to_owned).collect(),
        })
    }

    /// Whether a WebSocket can be opened for it. A request without `Origin` comes from no page, and passes.
    ///
    /// # Errors
    /// What to answer instead of the 101.
    pub(crate) fn check(&self, origins: &Origins) -> Result<(), Refusal> {
        let bad = |reason| Err(Refusal { status: StatusCode::BAD_REQUEST, reason });
        if self.method != Method::GET {
            return bad("A WebSocket is opened by GET");
        }
        if self.version != Version::HTTP_11 {
            return bad("A WebSocket is opened by HTTP/1.1");
        }
        if self.has_body {
            return bad("The request for a WebSocket has no body");
        }
        let [key] = &self.keys[..] else {
            return match self.keys[..] {
                [] => bad("Missing Sec-WebSocket-Key"),
                _ => bad("More than one Sec-WebSocket-Key"),
            };
        };
        match &self.versions[..] {
            [version] if version == VERSION => {}
            [] | [_] => {
                return Err(Refusal {
                    status: StatusCode::UPGRADE_REQUIRED,
                    reason: "Sec-WebSocket-Version is not 13",
                });
            }
            _ => return bad("More than one Sec-WebSocket-Version"),
        }
        let mut random = [0; 18];
        if !matches!(BASE64.decode_slice(key, &mut random), Ok(16)) {
            return bad("Sec-WebSocket-Key is not 16 bytes in base64");
        }
        let allowed = |origin: &HeaderValue| origin.to_str().is_ok_and(|o| origins.allow(o));
        if self.origins.len() > 1 || !self.origins.iter().all(allowed) {
            return Err(Refusal {
                status: StatusCode::FORBIDDEN,
                reason: "Origin may not open WebSockets here",
            });
        }
        Ok(())
    }

    /// The head of the 101, and the subprotocol. Of what plugins set, `Sec-WebSocket-Protocol` is taken if the client offered
    /// it; what belongs to the connection or to the handshake is left out. What is left out is logged.
    pub(crate) fn accept(&self, set_by_plugins: HeaderMap) -> (Response<()>, Option<String>) {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.proof());
        let mut protocol = None;
        let mut name = None;
        for (next, value) in set_by_plugins {
            // Only the first value of a name comes with it.
            name = next.or(name);
            let Some(name) = &name else { continue };
            if *name == header::SEC_WEBSOCKET_PROTOCOL && protocol.is_none() {
                protocol = self.protocols.iter().find(|offered| value == offered.as_str());
                if protocol.is_some() {
                    headers.insert(name, value);
                } else {
                    tracing::warn!(protocol = ?value, "a subprotocol that the client did not offer");
                }
            } else if is_ours(name) {
                tracing::warn!(header = %name, "left out of the 101: it is the gateway's own");
            } else {
                headers.append(name, value);
            }
        }
        (response, protocol.cloned())
    }

    /// `Sec-WebSocket-Accept` (section 4.2.2).
    fn proof(&self) -> HeaderValue {
        let key = self.keys.first().map_or(&b""[..], HeaderValue::as_bytes);
        let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
        HeaderValue::from_str(&BASE64.encode(hash)).unwrap_or(HeaderValue::from_static(""))
    }
}

impl Refusal {
    /// The server gives no connection away.
    pub(crate) const NO_DOOR: Self = Self {
        status: StatusCode::NOT_IMPLEMENTED,
        reason: "This server upgrades no connection",
    };

    /// Of a request that asks for none (CONTRACT 7.1).
    pub(crate) fn of_plain(headers: &HeaderMap) -> Self {
        if headers.contains_key(header::SEC_WEBSOCKET_KEY) {
            let reason = "This needs Upgrade: websocket and Connection: Upgrade";
            return Self { status: StatusCode::UPGRADE_REQUIRED, reason };
        }
        Self { status: StatusCode::BAD_REQUEST, reason: "Missing Sec-WebSocket-Key" }
    }

    /// The answer to a request that gets no WebSocket.
    pub(crate) fn response(&self) -> Response<Body> {
        let mut response = Response::new(self.reason.to_owned().into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, text);
        if self.status == StatusCode::UPGRADE_REQUIRED {
            // RFC 9110 section 15.5.22, and RFC 6455 section 4.4.
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
        }
        response
    }
}

/// Whether no plugin may say this of a 101: it belongs to the connection or the handshake, or tells of a body (RFC 9110
/// section 8.6).
fn is_ours(name: &HeaderName) -> bool {
    is_hop_by_hop(name)
        || name.as_str().starts_with("sec-websocket-")
        || *name == header::CONTENT_LENGTH
}

/// Whether a header that is a list names this, in any case.
fn names(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|t| t.eq_ignore_ascii_case(token))
}

/// The tokens of a header that is a list, over all its lines (RFC 9110 section 5.6.1).
fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|token| !token.is_empty())
}
