//! What a template may ask about the request it is expanded for.

use std::borrow::Cow;

/// One request, as seen by the template functions.
pub trait TemplateContext {
    /// The first value of a request header; the name may come in any case.
    fn header(&self, name: &str) -> Option<Cow<'_, str>>;

    /// The raw query string without `?`, empty if there is none.
    fn query(&self) -> &str;

    /// A route parameter, as it stands in the path (not percent-decoded).
    fn param(&self, name: &str) -> Option<&str>;

    /// The peer's address as text.
    fn client_ip(&self) -> Cow<'_, str>;

    /// The host without its port.
    fn host(&self) -> &str;

    /// The method, as in `GET`.
    fn method(&self) -> &str;

    /// The path, undecoded.
    fn path(&self) -> &str;

    /// Whether the client's connection is encrypted.
    fn tls(&self) -> bool;

    /// `https` or `http`.
    fn scheme(&self) -> &str {
        if self.tls() { "https" } else { "http" }
    }

    /// The value of a cookie, read from the `cookie` header unless the caller knows better.
    fn cookie(&self, name: &str) -> Option<Cow<'_, str>> {
        let header = self.header("cookie")?;
        let value = header.split(';').find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then(|| value.trim_matches('"').to_owned())
        })?;
        Some(Cow::Owned(value))
    }
}
