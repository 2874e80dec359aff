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
    pub(crate) const NO_DOOR: Self =
        Self { status: StatusCode::NOT_IMPLEMENTED, reason: "This server upgrades no connection" };

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

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of RFC 6455 section 1.3, with `change` made to it.
    fn request(change: impl FnOnce(&mut Request<()>)) -> Request<()> {
        let mut request = Request::new(());
        for (name, value) in [
            ("host", "server.example.com"),
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("origin", "http://example.com"),
            ("sec-websocket-protocol", "chat, superchat"),
            ("sec-websocket-version", "13"),
        ] {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        change(&mut request);
        request
    }

    /// That request with headers set (`name: value`), added (`+name: value`) and taken away (`-name`).
    fn with(changes: &[&'static str]) -> Request<()> {
        request(|request| {
            for change in changes {
                if let Some(name) = change.strip_prefix('-') {
                    request.headers_mut().remove(name);
                    continue;
                }
                let (name, value) = change.split_once(": ").expect("name: value");
                let value = HeaderValue::from_static(value);
                match name.strip_prefix('+') {
                    Some(name) => _ = request.headers_mut().append(name, value),
                    None => _ = request.headers_mut().insert(HeaderName::from_static(name), value),
                }
            }
        })
    }

    #[test]
    fn what_asks_for_a_websocket() {
        for (changes, asks) in [
            (&[][..], true),
            (&["upgrade: WebSocket", "connection: upgrade"], true),
            (&["upgrade: WEBSOCKET", "connection: UPGRADE"], true),
            (&["connection: keep-alive, Upgrade"], true),
            (&["connection: keep-alive", "+connection: upgrade"], true),
            (&["connection: Upgrade, Sec-WebSocket-Key"], true),
            (&["upgrade: h2c, websocket"], true),
            (&["upgrade: h2c", "+upgrade: websocket"], true),
            (&["-sec-websocket-key", "-sec-websocket-version"], true),
            (&["sec-websocket-version: 8"], true),
            (&["-upgrade"], false),
            (&["-connection"], false),
            (&["upgrade: h2c"], false),
            (&["upgrade: websocket2"], false),
            (&["upgrade: web socket"], false),
            (&["connection: keep-alive"], false),
            (&["connection: close"], false),
            (&["connection: upgraded"], false),
        ] {
            assert_eq!(Offer::of(&with(changes)).is_some(), asks, "{changes:?}");
        }
    }

    #[test]
    fn what_is_answered_to_a_handshake() {
        let refused = |status: u16, reason| Err((status, reason));
        let no_key = "Sec-WebSocket-Key is not 16 bytes in base64";
        let no_version = "Sec-WebSocket-Version is not 13";
        for (changes, origins, expected) in [
            (&[][..], &[][..], Ok(())),
            (&["-sec-websocket-protocol", "-origin"], &[], Ok(())),
            (&["content-length: 0"], &[], Ok(())),
            (&["sec-websocket-extensions: permessage-deflate"], &[], Ok(())),
            (&["sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=="], &[], Ok(())),
            (&["sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAB=="], &[], Ok(())),
            (&["-sec-websocket-key"], &[], refused(400, "Missing Sec-WebSocket-Key")),
            (
                &["-sec-websocket-key", "-sec-websocket-version"],
                &[],
                refused(400, "Missing Sec-WebSocket-Key"),
            ),
            (
                &["+sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=="],
                &[],
                refused(400, "More than one Sec-WebSocket-Key"),
            ),
            (&["sec-websocket-key: "], &[], refused(400, no_key)),
            (&["sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ"], &[], refused(400, no_key)),
            (&["sec-websocket-key: SGVsbG8sIHdvcmxkIQ=="], &[], refused(400, no_key)),
            (&["sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAAAA"], &[], refused(400, no_key)),
            (&["sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAAA="], &[], refused(400, no_key)),
            (&["sec-websocket-key: !!!!!!!!!!!!!!!!!!!!!!=="], &[], refused(400, no_key)),
            (
                &["sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
                &[],
                refused(400, no_key),
            ),
            (&["-sec-websocket-version"], &[], refused(426, no_version)),
            (&["sec-websocket-version: 8"], &[], refused(426, no_version)),
            (&["sec-websocket-version: 14"], &[], refused(426, no_version)),
            (&["sec-websocket-version: 013"], &[], refused(426, no_version)),
            (&["sec-websocket-version: 13, 8"], &[], refused(426, no_version)),
            (
                &["+sec-websocket-version: 13"],
                &[],
                refused(400, "More than one Sec-WebSocket-Version"),
            ),
            (&["content-length: 5"], &[], refused(400, "The request for a WebSocket has no body")),
            (
                &["transfer-encoding: chunked"],
                &[],
                refused(400, "The request for a WebSocket has no body"),
            ),
            (&[], &["http://example.com"], Ok(())),
            (&["origin: HTTP://EXAMPLE.COM:80"], &["http://example.com"], Ok(())),
            (&["-origin"], &["http://example.com"], Ok(())),
            (&["origin: https://a.example.org"], &["https://*.example.org"], Ok(())),
            (
                &["origin: https://example.com"],
                &["http://example.com"],
                refused(403, "Origin may not open WebSockets here"),
            ),
            (
                &["origin: null"],
                &["http://example.com"],
                refused(403, "Origin may not open WebSockets here"),
            ),
            (
                &["+origin: http://example.com"],
                &["http://example.com"],
                refused(403, "Origin may not open WebSockets here"),
            ),
            (
                &["+origin: http://evil.test"],
                &[],
                refused(403, "Origin may not open WebSockets here"),
            ),
        ] {
            let origins = Origins::new(origins.iter().copied()).expect("origins");
            let offer = Offer::of(&with(changes)).expect("it asks for a WebSocket");
            let answer = offer.check(&origins).map_err(|r| (r.status.as_u16(), r.reason));
            assert_eq!(answer, expected, "{changes:?}");
        }
    }

    #[test]
    fn only_get_over_http_11_opens_one() {
        let all = Origins::default();
        for method in [Method::POST, Method::HEAD, Method::CONNECT, Method::OPTIONS] {
            let offer = Offer::of(&request(|r| *r.method_mut() = method.clone())).expect("asks");
            assert_eq!(offer.check(&all).expect_err("refused").status, 400, "{method}");
        }
        for version in [Version::HTTP_10, Version::HTTP_2] {
            let offer = Offer::of(&request(|r| *r.version_mut() = version)).expect("asks");
            assert_eq!(offer.check(&all).expect_err("refused").status, 400, "{version:?}");
        }
    }

    #[test]
    fn a_refusal_says_what_would_have_been_right() {
        let refuse = |changes| {
            let offer = Offer::of(&with(changes)).expect("asks");
            offer.check(&Origins::default()).expect_err("refused").response()
        };
        let old = refuse(&["sec-websocket-version: 8"]);
        assert_eq!(old.status(), 426);
        assert_eq!(old.headers()["sec-websocket-version"], "13");
        assert_eq!(
            (&old.headers()["upgrade"], &old.headers()["connection"]),
            (&HeaderValue::from_static("websocket"), &HeaderValue::from_static("Upgrade"))
        );
        let keyless = refuse(&["-sec-websocket-key"]);
        assert_eq!(keyless.status(), 400);
        assert_eq!(keyless.headers()["content-type"], "text/plain; charset=utf-8");
        assert!(!keyless.headers().contains_key("upgrade"));
    }

    #[test]
    fn the_101_proves_itself_and_takes_what_plugins_may_set() {
        let offer = Offer::of(&with(&[])).expect("asks");
        let mut set = HeaderMap::new();
        for (name, value) in [
            ("x-node", "a"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("sec-websocket-accept", "forged"),
            ("sec-websocket-extensions", "permessage-deflate"),
            ("sec-websocket-key", "forged"),
            ("connection", "close"),
            ("upgrade", "h2c"),
            ("transfer-encoding", "chunked"),
            ("content-length", "7"),
            ("sec-websocket-protocol", "superchat"),
        ] {
            set.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let (head, protocol) = offer.accept(set);
        assert_eq!(head.status(), 101);
        let mut lines: Vec<_> = head
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
            .collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "connection: Upgrade",
                "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
                "sec-websocket-protocol: superchat",
                "set-cookie: a=1",
                "set-cookie: b=2",
                "upgrade: websocket",
                "x-node: a",
            ]
        );
        assert_eq!(protocol.as_deref(), Some("superchat"));
    }

    #[test]
    fn a_subprotocol_is_one_that_the_client_offered() {
        for (offered, set, expected) in [
            (&["sec-websocket-protocol: a"][..], &["a"][..], Some("a")),
            (&["sec-websocket-protocol: a,b , c"], &["c"], Some("c")),
            (&["sec-websocket-protocol: a", "+sec-websocket-protocol: b"], &["b"], Some("b")),
            (&["sec-websocket-protocol: a"], &["A"], None),
            (&["sec-websocket-protocol: a, b"], &["a, b"], None),
            (&["sec-websocket-protocol: a"], &["z", "a"], Some("a")),
            (&["sec-websocket-protocol: a, b"], &["b", "a"], Some("b")),
            (&["sec-websocket-protocol: a"], &[], None),
            (&["-sec-websocket-protocol"], &["a"], None),
            (&["sec-websocket-protocol: "], &[""], None),
        ] {
            let offer = Offer::of(&with(offered)).expect("asks");
            let mut headers = HeaderMap::new();
            for value in set {
                headers.append(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(value));
            }
            let (head, protocol) = offer.accept(headers);
            assert_eq!(protocol.as_deref(), expected, "{offered:?} {set:?}");
            let told: Vec<_> =
                head.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().collect();
            assert_eq!(told, expected.into_iter().collect::<Vec<_>>(), "{offered:?} {set:?}");
        }
    }
}
