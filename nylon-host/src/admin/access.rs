//! Whether a request may be answered: what holds for every one, and what TCP asks for besides (HARDENING row 35).

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, ORIGIN};
use http::{Method, StatusCode};

use super::answer::Refused;
use super::listen::Token;

/// The way a request came.
#[derive(Clone, Debug)]
pub(super) enum Door {
    /// The Unix socket, from somebody who may.
    Socket,
    /// The Unix socket, from somebody who may not: why.
    Closed(String),
    /// TCP.
    Tcp(Token),
}

impl Door {
    /// # Errors
    /// What the request is answered with instead.
    pub(super) fn pass(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refused> {
        let refuse = |status, word, message: &str| Err(Refused::new(status, word, message));
        if let Self::Closed(why) = self {
            tracing::warn!(target: "nylon", why, "refused at the admin socket");
            return refuse(StatusCode::FORBIDDEN, "peer", &format!("not for you: {why}"));
        }
        if headers.contains_key(ORIGIN) {
            let message = "requests of web pages (with an Origin) are refused";
            return refuse(StatusCode::FORBIDDEN, "origin", message);
        }
        if let Self::Tcp(token) = self {
            if !host(headers).is_some_and(is_loopback) {
                let message = "Host must be localhost, 127.0.0.1 or [::1]";
                return refuse(StatusCode::MISDIRECTED_REQUEST, "host", message);
            }
            if bearer(headers).map(Token::new).as_ref() != Some(token) {
                let message =
                    "send `Authorization: Bearer TOKEN`, the first line of admin.token_file";
                return refuse(StatusCode::UNAUTHORIZED, "token", message);
            }
        }
        if !matches!(*method, Method::GET | Method::HEAD) && !is_json(headers) {
            let message = "send `Content-Type: application/json`";
            return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", message);
        }
        Ok(())
    }
}

fn host(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(HOST).iter();
    let one = all.next()?.to_str().ok()?;
    all.next().is_none().then_some(one)
}

/// Whatever its port: a page of another site cannot have this host, a tunnel may have another port.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(door: &Door, method: Method, headers: &[(&str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        door.pass(&method, &map).map_or_else(|refused| refused.status.as_u16(), |()| 200)
    }

    #[test]
    fn a_page_and_a_form_get_nowhere() {
        let door = Door::Socket;
        assert_eq!(status(&door, Method::GET, &[]), 200);
        assert_eq!(status(&door, Method::GET, &[("origin", "null")]), 403);
        assert_eq!(status(&door, Method::POST, &[]), 415);
        let form = [("content-type", "application/x-www-form-urlencoded")];
        assert_eq!(status(&door, Method::POST, &form), 415);
        let json = [("content-type", "application/json; charset=utf-8")];
        assert_eq!(status(&door, Method::POST, &json), 200);
        assert_eq!(status(&Door::Closed("a worker".into()), Method::GET, &[]), 403);
    }

    #[test]
    fn tcp_wants_the_token_and_a_host_that_is_ours() {
        let door = Door::Tcp(Token::new("0123456789abcdef"));
        let right = ("authorization", "Bearer 0123456789abcdef");
        for host in ["localhost", "127.0.0.1:9901", "[::1]:9901", "LOCALHOST:1"] {
            assert_eq!(status(&door, Method::GET, &[("host", host), right]), 200, "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost:x", "[::1]x:1"] {
            assert_eq!(status(&door, Method::GET, &[("host", host), right]), 421, "{host}");
        }
        let local = ("host", "localhost");
        assert_eq!(status(&door, Method::GET, &[right]), 421);
        assert_eq!(status(&door, Method::GET, &[local, local, right]), 421);
        assert_eq!(status(&door, Method::GET, &[local]), 401);
        for wrong in ["Bearer 0123456789abcdeF", "Basic 0123456789abcdef", "Bearer", "Bearer "] {
            assert_eq!(status(&door, Method::GET, &[local, ("authorization", wrong)]), 401);
        }
    }
}
