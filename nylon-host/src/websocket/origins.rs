//! The web pages that may open WebSockets: `Origin` (RFC 6454), which a browser always sends and no page can change.

/// An allow-list; the default allows every origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Vec<Pattern>);

/// `https://*.example.com:8443`, in small letters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// None: `http` or `https`.
    scheme: Option<String>,
    host: Host,
    port: Port,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Any,
    Is(String),
    /// Any name that ends so, the dot included: `*.example.com` is not `example.com`.
    Below(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Any,
    /// That of the scheme.
    Default,
    Is(u16),
}

impl Origins {
    /// Allows what each of `list` says, as [`Self::add`].
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub fn new<'a>(list: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut all = Self::default();
        for text in list {
            all.add(text).map_err(|why| format!("`{text}`: {why}"))?;
        }
        Ok(all)
    }

    /// Allows what `text` says: `https://app.example.com`, `http://localhost:3000`, `https://*.example.com` (names below
    /// it), `example.com` (`http` or `https`), `http://localhost:*` (any port), `null` (pages without one) or `*` (all).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, text: &str) -> Result<(), &'static str> {
        self.0.push(Pattern::read(text)?);
        Ok(())
    }

    /// Whether pages of this origin, the text of an `Origin` header, may.
    pub(crate) fn allow(&self, origin: &str) -> bool {
        self.0.is_empty() || {
            let origin = Origin::read(origin);
            self.0.iter().any(|pattern| pattern.covers(origin.as_ref()))
        }
    }
}

impl Pattern {
    fn read(text: &str) -> Result<Self, &'static str> {
        let text = text.to_ascii_lowercase();
        let of = |scheme, host, port| Ok(Self { scheme, host, port });
        match text.as_str() {
            "*" => return of(None, Host::Any, Port::Any),
            "null" => return of(Some(text), Host::Is(String::new()), Port::Default),
            _ => {}
        }
        let (scheme, rest) = match text.split_once("://") {
            Some(("", _)) => return Err("no scheme before `://`"),
            Some((scheme, rest)) => (Some(scheme.to_owned()), rest),
            None => (None, text.as_str()),
        };
        if rest.contains(['/', '?', '#', '@']) {
            return Err("an origin has no path: only scheme, host and port");
        }
        let (host, port) = split_port(rest);
        let port = match port {
            None => Port::Default,
            Some("*") => Port::Any,
            Some(port) => Port::Is(port.parse().map_err(|_| "no such port")?),
        };
        let host = match host.strip_prefix('*') {
            Some("") => Host::Any,
            Some(below) if below.len() > 1 && below.starts_with('.') && !below.contains('*') => {
                Host::Below(below.to_owned())
            }
            None if !host.is_empty() && !host.contains('*') => Host::Is(host.to_owned()),
            _ => return Err("`*` stands for whole labels at the beginning: `*.example.com`"),
        };
        of(scheme, host, port)
    }

    fn covers(&self, origin: Option<&Origin>) -> bool {
        let everything = self.scheme.is_none() && self.host == Host::Any && self.port == Port::Any;
        let Some(origin) = origin else { return everything };
        let scheme = match &self.scheme {
            Some(scheme) => *scheme == origin.scheme,
            None => everything || matches!(origin.scheme.as_str(), "http" | "https"),
        };
        let host = match &self.host {
            Host::Any => true,
            Host::Is(host) => *host == origin.host,
            Host::Below(end) => {
                origin.host.len() > end.len() && origin.host.ends_with(end.as_str())
            }
        };
        let port = match self.port {
            Port::Any => true,
            Port::Default => origin.port == usual_port(&origin.scheme),
            Port::Is(port) => origin.port == Some(port),
        };
        scheme && host && port
    }
}

/// What a client says it is.
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    fn read(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text == "null" {
            return Some(Self { scheme: text, host: String::new(), port: None });
        }
        let (scheme, rest) = text.split_once("://")?;
        let (host, port) = split_port(rest);
        let port = match port {
            Some(port) => Some(port.parse().ok()?),
            None => usual_port(scheme),
        };
        Some(Self { scheme: scheme.to_owned(), host: host.to_owned(), port })
    }
}

/// Splits what stands behind the last colon, but for one within the brackets of an IPv6 address.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn usual_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_allowed_as_users_would_expect() {
        for (pattern, allowed, refused) in [
            ("*", &["https://a.test", "null", "http://x:1", "junk"][..], &[][..]),
            (
                "https://app.test",
                &["https://app.test", "HTTPS://APP.test", "https://app.test:443"],
                &[
                    "http://app.test",
                    "https://app.test:8443",
                    "https://app.test.evil.test",
                    "https://evil-app.test",
                    "https://x.app.test",
                    "null",
                    "app.test",
                    "",
                ],
            ),
            ("HTTPS://App.test:443", &["https://app.test"], &["http://app.test:443"]),
            ("http://localhost:3000", &["http://localhost:3000"], &["http://localhost", "junk"]),
            (
                "http://localhost:*",
                &["http://localhost", "http://localhost:5173"],
                &["https://localhost", "http://localhost:99999"],
            ),
            (
                "https://*.example.com",
                &["https://a.example.com", "https://a.b.example.com"],
                &[
                    "https://example.com",
                    "https://.example.com.evil.test",
                    "https://evilexample.com",
                    "http://a.example.com",
                    "https://.example.com",
                ],
            ),
            (
                "example.com",
                &["https://example.com", "http://example.com:80"],
                &["https://example.com:444", "ftp://example.com", "https://a.example.com"],
            ),
            ("*.example.com", &["http://a.example.com"], &["chrome-extension://a.example.com"]),
            ("http://[::1]:8080", &["http://[::1]:8080"], &["http://[::1]", "http://[::1]:80801"]),
            ("http://[::1]", &["http://[::1]"], &["http://[::2]"]),
            ("null", &["null"], &["https://null", ""]),
            ("chrome-extension://abcdef", &["chrome-extension://abcdef"], &["https://abcdef"]),
        ] {
            let origins = Origins::new([pattern]).expect(pattern);
            for origin in allowed {
                assert!(origins.allow(origin), "{pattern} covers {origin}");
            }
            for origin in refused {
                assert!(!origins.allow(origin), "{pattern} does not cover `{origin}`");
            }
        }
        assert!(Origins::default().allow("https://anyone.test"));
        let two = Origins::new(["https://a.test", "https://b.test"]).expect("origins");
        assert!(two.allow("https://b.test") && !two.allow("https://c.test"));
    }

    #[test]
    fn what_is_no_origin_is_said() {
        for text in [
            "https://a.test/",
            "https://a.test/path",
            "://a",
            "https://a*.test",
            "https://*a.test",
            "https://*.",
            "https://a.*.test",
            "https://",
            "http://a:70000",
            "",
            "https://u@a.test",
        ] {
            let why = Origins::new([text]).expect_err(text);
            assert!(why.starts_with(&format!("`{text}`: ")), "{why}");
        }
    }
}
