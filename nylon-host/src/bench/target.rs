//! What is sent, and where.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::Full;

/// A request to send again and again.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where: all addresses its name stands for.
    pub(super) addrs: Vec<SocketAddr>,
    place: String,
    method: Method,
    /// Path and query.
    path: Uri,
    headers: HeaderMap,
    body: Bytes,
}

/// Why there is nothing to send.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Not a URL of HTTP.
    #[error("`{0}` is not an address to send to: write it as http://127.0.0.1:8080/path")]
    Url(String),
    /// A URL of something that is not spoken.
    #[error("`{0}://` is not offered: only http:// is")]
    Scheme(String),
    /// The name stands for nothing.
    #[error("{0}: {1}")]
    Name(String, std::io::Error),
    /// No header.
    #[error("`{0}` is not a header: write `NAME: VALUE`")]
    Header(String),
}

impl Target {
    /// `method` to `url` with `headers`, each as `NAME: VALUE`, and `body`.
    ///
    /// # Errors
    /// [`TargetError`].
    pub async fn new(
        url: &str,
        method: Method,
        headers: &[String],
        body: Bytes,
    ) -> Result<Self, TargetError> {
        let refused = || TargetError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| refused())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some(other) => return Err(TargetError::Scheme(other.to_owned())),
            None => return Err(refused()),
        }
        let authority =
            uri.authority().filter(|a| !a.as_str().contains('@')).ok_or_else(refused)?;
        let place = authority.as_str().to_owned();
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let found = tokio::net::lookup_host((host, authority.port_u16().unwrap_or(80))).await;
        let addrs = found.map_err(|e| TargetError::Name(place.clone(), e))?.collect();
        let path = uri.path_and_query().map_or("/", |p| p.as_str());
        let path = path.parse().map_err(|_| refused())?;
        let mut all = HeaderMap::new();
        let agent = concat!("nylon-bench/", env!("CARGO_PKG_VERSION"));
        all.insert(USER_AGENT, HeaderValue::from_static(agent));
        all.insert(HOST, HeaderValue::from_str(&place).map_err(|_| refused())?);
        // One that is given replaces ours; given twice, it is sent twice.
        let headers = headers.iter().map(|line| header(line)).collect::<Result<Vec<_>, _>>()?;
        headers.iter().for_each(|(name, _)| _ = all.remove(name));
        headers.into_iter().for_each(|(name, value)| _ = all.append(name, value));
        Ok(Self { addrs, place, method, path, headers: all, body })
    }

    /// Host and port, as they were given.
    pub fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

fn header(line: &str) -> Result<(HeaderName, HeaderValue), TargetError> {
    let refused = || TargetError::Header(line.to_owned());
    let (name, value) = line.split_once(':').ok_or_else(refused)?;
    let name = name.trim().parse().map_err(|_| refused())?;
    Ok((name, value.trim().parse().map_err(|_| refused())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn target(url: &str, headers: &[&str]) -> Result<Target, TargetError> {
        let headers: Vec<String> = headers.iter().map(|h| (*h).to_owned()).collect();
        Target::new(url, Method::GET, &headers, Bytes::new()).await
    }

    #[tokio::test]
    async fn a_url_is_taken_apart() {
        let t = target("http://127.0.0.1:8080/a?b=c", &[]).await.expect("a url");
        assert_eq!(t.addrs, ["127.0.0.1:8080".parse().unwrap()]);
        let request = t.request();
        assert_eq!(request.uri(), "/a?b=c");
        assert_eq!(request.headers()[HOST], "127.0.0.1:8080");
        let t = target("http://[::1]", &["host: example.com", "x-a: 1", "X-A: 2"]).await;
        let request = t.expect("a url").request();
        assert_eq!(request.uri(), "/");
        assert_eq!(request.headers().get_all(HOST).iter().collect::<Vec<_>>(), ["example.com"]);
        assert_eq!(request.headers().get_all("x-a").iter().count(), 2);
    }

    #[tokio::test]
    async fn what_cannot_be_sent_is_refused_by_name() {
        for (url, header, why) in [
            ("https://localhost/", "a: b", "`https://` is not offered"),
            ("localhost:8080", "a: b", "write it as http://"),
            ("http://user@localhost/", "a: b", "write it as http://"),
            ("/path", "a: b", "write it as http://"),
            ("http://localhost/", "a b", "is not a header"),
            ("http://localhost/", "a b: c", "is not a header"),
            ("http://localhost/", "a: b\nc: d", "is not a header"),
        ] {
            let error = target(url, &[header]).await.expect_err(url).to_string();
            assert!(error.contains(why), "{url} {header}: {error}");
        }
    }
}
