//! Whom a request is for.

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::uri::Authority;

/// Whom a request is for, as it came: the authority of its target, else its Host header (RFC 9112 section 3.2.2).
#[derive(Debug)]
pub(super) struct Target {
    name: Name,
    port: u16,
}

#[derive(Debug)]
enum Name {
    /// So many bytes of the Host header.
    Header(HeaderValue, usize),
    Authority(Authority),
    Unknown,
}

impl Target {
    pub(super) fn of(parts: &Parts) -> Self {
        if let Some(authority) = parts.uri.authority() {
            return Self::authority(authority.clone());
        }
        let unknown = Self { name: Name::Unknown, port: 0 };
        let Some(header) = parts.headers.get(header::HOST) else { return unknown };
        let Ok(text) = header.to_str() else { return unknown };
        // Nearly every host is a plain name; others are left to the library.
        let (host, port) = text.split_once(':').unwrap_or((text, "80"));
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
        match port.parse() {
            Ok(port) if !host.is_empty() && host.bytes().all(plain) => {
                Self { name: Name::Header(header.clone(), host.len()), port }
            }
            _ => text.parse().map_or(unknown, Self::authority),
        }
    }

    fn authority(authority: Authority) -> Self {
        Self { port: authority.port_u16().unwrap_or(0), name: Name::Authority(authority) }
    }

    /// Without port; empty when there is none.
    pub(super) fn host(&self) -> &str {
        match &self.name {
            Name::Header(value, len) => value.to_str().map_or("", |text| &text[..*len]),
            Name::Authority(authority) => authority.host(),
            Name::Unknown => "",
        }
    }

    /// The URL's port; 0 when none, 80 or 443.
    pub(super) fn port(&self) -> u16 {
        if matches!(self.port, 80 | 443) { 0 } else { self.port }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn target(uri: &str, host: Option<&[u8]>) -> (String, u16) {
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header(header::HOST, HeaderValue::from_bytes(host).expect("a value"));
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let target = Target::of(&parts);
        (target.host().to_owned(), target.port())
    }

    #[test]
    fn a_host_is_told_without_its_port() {
        for (header, host, port) in [
            ("example.com", "example.com", 0),
            ("example.com:8080", "example.com", 8080),
            ("example.com:443", "example.com", 0),
            ("example.com:", "example.com", 0),
            ("10.0.0.1:81", "10.0.0.1", 81),
            ("[2001:db8::1]:8080", "[2001:db8::1]", 8080),
            ("under_score.example", "under_score.example", 0),
            ("", "", 0),
            ("a b", "", 0),
            ("example.com:99999", "example.com", 0),
        ] {
            let text = header.as_bytes();
            assert_eq!(target("/x", Some(text)), (host.to_owned(), port), "{header}");
        }
        assert_eq!(target("/x", None), (String::new(), 0));
        assert_eq!(target("/x", Some(b"\xff")), (String::new(), 0));
    }

    #[test]
    fn an_absolute_target_goes_before_the_header() {
        let found = target("http://right.example:81/x", Some(b"wrong.example"));
        assert_eq!(found, ("right.example".to_owned(), 81));
    }
}
