use super::{Found, Matched, Matcher, PatternError, Router, Target, host_without_port};
use http::Method;

/// A router of one host whose targets are the patterns' indices.
fn router(patterns: &[&str]) -> Router {
    let mut router = Router::default();
    for (route, pattern) in patterns.iter().enumerate() {
        add(&mut router, Matcher::Host("h".into()), pattern, &[Method::GET], route).unwrap();
    }
    router
}

fn add(
    router: &mut Router,
    matcher: Matcher,
    pattern: &str,
    methods: &[Method],
    route: usize,
) -> Result<(), PatternError> {
    router.insert(&matcher, pattern, methods, Target { route, path: 0 })
}

fn matched(found: Found) -> Option<Matched> {
    match found {
        Found::Matched(matched) => Some(matched),
        _ => None,
    }
}

fn route(router: &Router, path: &str) -> Option<usize> {
    matched(router.find(None, "h", &Method::GET, path)).map(|found| found.target.route)
}

#[test]
fn exact_beats_param_beats_catch_all() {
    let router = router(&["/a/{*rest}", "/a/{id}", "/a/b", "/{*all}"]);
    assert_eq!(route(&router, "/a/b"), Some(2));
    assert_eq!(route(&router, "/a/c"), Some(1));
    assert_eq!(route(&router, "/a/c/d"), Some(0));
    assert_eq!(route(&router, "/z"), Some(3));
}

#[test]
fn the_leftmost_difference_decides() {
    let router = router(&["/{x}/{y}", "/a/{*rest}"]);
    assert_eq!(route(&router, "/a/b"), Some(1));
    assert_eq!(route(&router, "/b/b"), Some(0));
}

#[test]
fn catch_all_does_not_match_an_empty_rest() {
    let router = router(&["/static/{*rest}", "/{*all}"]);
    assert_eq!(route(&router, "/static/"), Some(1));
    assert_eq!(route(&router, "/static"), Some(1));
    assert_eq!(route(&router, "/"), None);
}

#[test]
fn params_come_in_order_and_undecoded() {
    let router = router(&["/u/{id}/{*rest}"]);
    let found = matched(router.find(None, "h", &Method::GET, "/u/a%20b/c/d%2Fe")).unwrap();
    let expected = [("id", "a%20b"), ("rest", "c/d%2Fe")].map(|(k, v)| (k.into(), v.into()));
    assert_eq!(found.params, expected);
}

#[test]
fn header_value_comes_before_host() {
    let mut router = router(&["/", "/only-host"]);
    add(&mut router, Matcher::Header("blue".into()), "/", &[Method::GET], 7).unwrap();
    let find = |selector, path| router.find(selector, "h", &Method::GET, path);
    assert_eq!(matched(find(Some("blue"), "/")).unwrap().target.route, 7);
    assert_eq!(matched(find(Some("Blue"), "/")).unwrap().target.route, 0);
    assert_eq!(find(Some("blue"), "/only-host"), Found::NotFound);
}

#[test]
fn hosts_ignore_case_and_port() {
    let mut router = Router::default();
    add(&mut router, Matcher::Host("Example.COM".into()), "/", &[Method::GET], 0).unwrap();
    add(&mut router, Matcher::Host("[::1]".into()), "/", &[Method::GET], 1).unwrap();
    let find = |host| matched(router.find(None, host, &Method::GET, "/")).map(|m| m.target.route);
    assert_eq!(find("eXample.com:8080"), Some(0));
    assert_eq!(find("[::1]:80"), Some(1));
    assert_eq!(find("www.example.com"), None);
    assert_eq!(host_without_port("[::1]"), "[::1]");
    assert_eq!(host_without_port(""), "");
}

#[test]
fn other_methods_are_405_with_allow() {
    let mut router = Router::default();
    let host = || Matcher::Host("h".into());
    add(&mut router, host(), "/a/{id}", &[Method::POST, Method::GET], 0).unwrap();
    add(&mut router, host(), "/a/{*rest}", &[Method::PUT], 1).unwrap();
    let find = |method, path| router.find(None, "h", &method, path);
    let allow = |text: &str| Found::MethodNotAllowed { allow: text.into() };
    assert_eq!(find(Method::DELETE, "/a/1"), allow("GET, POST, PUT"));
    assert_eq!(find(Method::DELETE, "/a/1/2"), allow("PUT"));
    assert_eq!(find(Method::DELETE, "/b"), Found::NotFound);
    assert_eq!(matched(find(Method::PUT, "/a/1")).unwrap().target.route, 1);
}

#[test]
fn the_same_pattern_twice_is_a_conflict_unless_the_methods_differ() {
    let mut router = router(&["/a/{id}"]);
    let host = || Matcher::Host("H".into());
    let again = add(&mut router, host(), "/a/{name}", &[Method::GET], 1).unwrap_err();
    assert_eq!(again, PatternError::Conflict { method: Method::GET, with: "/a/{id}".into() });
    add(&mut router, host(), "/a/{id}", &[Method::POST], 2).unwrap();
}

#[test]
fn malformed_patterns_are_refused() {
    let mut router = Router::default();
    for pattern in ["/a/{", "/a/{}", "/{*rest}/b"] {
        let error = add(&mut router, Matcher::Host("h".into()), pattern, &[Method::GET], 0);
        assert!(matches!(error, Err(PatternError::Invalid(_))), "{pattern}: {error:?}");
    }
}

#[test]
fn rewrite_replaces_the_literal_prefix_and_keeps_the_query() {
    let rewritten = |pattern: &str, prefix: &str, request: &str| {
        let path = request.split('?').next().unwrap();
        let found = matched(router(&[pattern]).find(None, "h", &Method::GET, path)).unwrap();
        found.rewrite(prefix, request)
    };
    assert_eq!(rewritten("/api/{*rest}", "/v2", "/api/x/y?q=1"), "/v2/x/y?q=1");
    assert_eq!(rewritten("/api/{*rest}", "/", "/api/x"), "/x");
    assert_eq!(rewritten("/api/{*rest}", "", "/api/x"), "/x");
    assert_eq!(rewritten("/api", "/v2/", "/api?q"), "/v2?q");
    assert_eq!(rewritten("/api", "/", "/api?q"), "/?q");
    assert_eq!(rewritten("/{*all}", "/base", "/x"), "/base/x");
    assert_eq!(rewritten("/a/{id}/b", "/z", "/a/7/b"), "/z/7/b");
    assert_eq!(rewritten("/a/v{id}", "/z", "/a/v7"), "/z/v7");
}

#[test]
fn rewrite_leaves_a_path_alone_that_a_plugin_chose() {
    let found = matched(router(&["/api/{*rest}"]).find(None, "h", &Method::GET, "/api/x")).unwrap();
    for target in ["/other/y?k=1", "/zz", "/", "/apis/x"] {
        assert_eq!(found.rewrite("/v2", target), target);
    }
    assert_eq!(found.rewrite("/v2", "/api/other"), "/v2/other");
}
