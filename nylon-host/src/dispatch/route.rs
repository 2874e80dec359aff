//! Router: from header value, host, method and path to a configured path.
//!
//! The selector header's value is looked up first, then the exact host without its port, in any
//! case; a header value that names a route decides, even if the route has no such path. Within
//! one of these tables, literal segments beat parameters and parameters beat catch-alls, segment
//! by segment from the left; `{*rest}` never matches an empty rest. Parameters are handed over as
//! they stand in the path: they are not percent-decoded.
//!
//! ```
//! use http::Method;
//! use nylon_host::dispatch::route::{Found, Matcher, Router, Target};
//!
//! let mut router = Router::default();
//! let host = Matcher::Host("example.com".into());
//! router.insert(&host, "/api/{*rest}", &[Method::GET], Target { route: 0, path: 0 }).unwrap();
//!
//! let Found::Matched(found) = router.find(None, "Example.com:80", &Method::GET, "/api/v1") else {
//!     panic!("no route")
//! };
//! assert_eq!(found.params, [("rest".to_owned(), "v1".to_owned())]);
//! assert_eq!(found.rewrite("/v2", "/api/v1?q=1"), "/v2/v1?q=1");
//! ```

use http::Method;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// What a request must carry to reach a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Matcher {
    /// This host, in any case, without a port.
    Host(String),
    /// This exact value of the selector header.
    Header(String),
}

/// Where a request goes: indices into the configuration's routes and the route's paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target {
    /// Index of the route.
    pub route: usize,
    /// Index of the path item within the route.
    pub path: usize,
}

/// The answer of [`Router::find`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// This path takes the request.
    Matched(Matched),
    /// The path exists, but not for this method: 405.
    MethodNotAllowed {
        /// The value of the `allow` header, as in `GET, POST`.
        allow: String,
    },
    /// Nothing takes the request: 404.
    NotFound,
}

/// A path that takes the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// Where the request goes.
    pub target: Target,
    /// Route parameters in path order, not percent-decoded.
    pub params: Vec<(String, String)>,
    /// The literal prefix of the pattern, `/api` in `/api/{*rest}`.
    prefix: Arc<str>,
}

/// A pattern that cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Another pattern takes the same requests.
    #[error("`{with}` already takes these {method} requests")]
    Conflict {
        /// The first method both claim.
        method: Method,
        /// The pattern that was there before.
        with: String,
    },
    /// Not a pattern.
    #[error("{0}")]
    Invalid(String),
}

/// All routes of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Router {
    hosts: HashMap<String, Table>,
    headers: HashMap<String, Table>,
}

/// The patterns of one host or header value, by method.
type Table = HashMap<Method, Patterns>;

/// matchit refuses `/a/{id}` beside `/a/{*rest}`, so catch-alls have a tree of their own.
#[derive(Debug, Clone, Default)]
struct Patterns {
    plain: matchit::Router<Leaf>,
    catch_all: matchit::Router<Leaf>,
}

#[derive(Debug, Clone)]
struct Leaf {
    target: Target,
    prefix: Arc<str>,
    /// How general each segment is; the lexicographically smallest candidate wins.
    rank: Vec<Segment>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal,
    Param,
    CatchAll,
}

impl Router {
    /// Sends requests for `matcher`, one of `methods` and `pattern` to `target`.
    pub fn insert(
        &mut self,
        matcher: &Matcher,
        pattern: &str,
        methods: &[Method],
        target: Target,
    ) -> Result<(), PatternError> {
        let table = match matcher {
            Matcher::Host(host) => self.hosts.entry(host.to_ascii_lowercase()).or_default(),
            Matcher::Header(value) => self.headers.entry(value.clone()).or_default(),
        };
        for method in methods {
            let prefix = pattern[..literal_prefix(pattern)].into();
            let leaf = Leaf { target, prefix, rank: rank(pattern) };
            table.entry(method.clone()).or_default().insert(pattern, leaf).map_err(|cause| {
                match cause {
                    matchit::InsertError::Conflict { with } => {
                        PatternError::Conflict { method: method.clone(), with }
                    }
                    other => PatternError::Invalid(other.to_string()),
                }
            })?;
        }
        Ok(())
    }

    /// The path that takes a request. `selector` is the selector header's value, `host` may
    /// carry a port, `path` has no query.
    pub fn find(&self, selector: Option<&str>, host: &str, method: &Method, path: &str) -> Found {
        let by_header = selector.and_then(|value| self.headers.get(value));
        let Some(table) = by_header.or_else(|| self.hosts.get(&*normal_host(host))) else {
            return Found::NotFound;
        };
        if let Some(matched) = table.get(method).and_then(|patterns| patterns.find(path)) {
            return Found::Matched(matched);
        }
        let mut allow: Vec<&str> = table
            .iter()
            .filter(|(_, patterns)| patterns.find(path).is_some())
            .map(|(method, _)| method.as_str())
            .collect();
        if allow.is_empty() {
            return Found::NotFound;
        }
        allow.sort_unstable();
        Found::MethodNotAllowed { allow: allow.join(", ") }
    }
}

impl Patterns {
    fn insert(&mut self, pattern: &str, leaf: Leaf) -> Result<(), matchit::InsertError> {
        let catches_all = leaf.rank.contains(&Segment::CatchAll);
        let tree = if catches_all { &mut self.catch_all } else { &mut self.plain };
        tree.insert(pattern, leaf)
    }

    fn find(&self, path: &str) -> Option<Matched> {
        let best = [self.plain.at(path), self.catch_all.at(path)]
            .into_iter()
            .flatten()
            .min_by(|a, b| a.value.rank.cmp(&b.value.rank))?;
        Some(Matched {
            target: best.value.target,
            params: best.params.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            prefix: best.value.prefix.clone(),
        })
    }
}

impl Matched {
    /// `path_and_query` with the pattern's literal prefix replaced by `prefix`; the query stays. A path without that
    /// prefix is one a plugin chose: it is left as it is.
    pub fn rewrite(&self, prefix: &str, path_and_query: &str) -> String {
        let whole = |rest: &&str| rest.is_empty() || rest.starts_with(['/', '?']);
        let Some(rest) = path_and_query.strip_prefix(&*self.prefix).filter(whole) else {
            return path_and_query.to_owned();
        };
        let base = prefix.trim_end_matches('/');
        let slash = if base.is_empty() && !rest.starts_with('/') { "/" } else { "" };
        format!("{base}{slash}{rest}")
    }
}

/// A `host` header's value without its port; an IPv6 literal keeps its brackets.
pub fn host_without_port(host: &str) -> &str {
    let name_end = host.rfind(']').map_or(0, |bracket| bracket + 1);
    match host[name_end..].find(':') {
        Some(colon) => &host[..name_end + colon],
        None => host,
    }
}

fn normal_host(host: &str) -> Cow<'_, str> {
    let host = host_without_port(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

fn rank(pattern: &str) -> Vec<Segment> {
    let kind = |segment: &str| match segment.find('{') {
        None => Segment::Literal,
        Some(at) if segment[at..].starts_with("{*") => Segment::CatchAll,
        Some(_) => Segment::Param,
    };
    pattern.split('/').map(kind).collect()
}

/// Length of the whole segments before the first parameter, without the slash that ends them.
fn literal_prefix(pattern: &str) -> usize {
    match pattern.find('{') {
        Some(brace) => pattern[..brace].rfind('/').unwrap_or(0),
        None => pattern.trim_end_matches('/').len(),
    }
}

#[cfg(test)]
mod tests;
