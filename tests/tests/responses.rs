//! What a plugin sees of a response, and what it may change (CONTRACT 6).

use std::time::Duration;

use nylon_tests::{
    Client, Gateway, Site, Upstream, eventually, ports, raw, step, step_with, watchdog,
};
use serde_json::{Value, json};

/// A gateway before an upstream whose every path passes `steps`.
async fn proxied(path: &str, steps: &[Value]) -> (Upstream, Site, Gateway, Client) {
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin("probe").path(path, "up", steps);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);
    (up, site, gateway, client)
}

fn answer_case(case: &str) -> Value {
    step_with("probe", "answer", json!({ "case": case }))
}

async fn logged(site: &Site, prefix: &str) -> String {
    let found = || site.trace().into_iter().find(|l| l.starts_with(prefix));
    eventually(prefix, Duration::from_secs(3), found).await
}

/// The bytes of an answer to `method path`, until the gateway closes.
async fn on_the_wire(gateway: &Gateway, method: &str, path: &str) -> String {
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    raw(gateway.addr, request.as_bytes(), Duration::from_secs(5)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b07_set_replaces_whatever_the_case() {
    let _dog = watchdog(60);
    let (_up, _, _gateway, client) = proxied("/text", &[step("probe", "set-header")]).await;
    let answer = client.get("/text").await;
    assert_eq!(answer.headers("x-dup"), ["plugin"], "both of the upstream's are replaced");
    assert_eq!(answer.headers("x-mixed-case"), [""; 0], "removed");
    assert_eq!(answer.headers("x-order"), ["last"], "operations apply in call order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn added_headers_are_all_kept() {
    let _dog = watchdog(60);
    let (_up, _, _gateway, client) = proxied("/text", &[step("probe", "add-header")]).await;
    assert_eq!(client.get("/text").await.headers("set-cookie"), ["a=1", "b=2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b08_the_upstream_status_stays() {
    let _dog = watchdog(60);
    let (_up, _, _gateway, client) = proxied("/status/{n}", &[step("probe", "read-head")]).await;
    for status in [200_u16, 201, 404, 418, 500, 503] {
        let answer = client.get(&format!("/status/{status}")).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("x-saw-status"), status.to_string(), "as it will be sent");
        assert_eq!(answer.text(), format!("status {status}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b09_headers_are_those_of_the_response() {
    let _dog = watchdog(60);
    let (_up, _, _gateway, client) = proxied("/text", &[step("probe", "read-head")]).await;
    let answer = client.get_with("/text", &[("X-One", "1")]).await;
    assert_eq!(answer.header("x-saw-type"), "text/plain");
    assert_eq!(answer.header("x-saw-mixed"), "kept", "keys are lower case");
    assert_eq!(answer.header("x-saw-request"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b10_an_answer_is_framed() {
    let _dog = watchdog(60);
    let mut site = Site::new().plugin("probe");
    for case in ["text", "raw", "chunked", "empty", "not-modified", "status"] {
        let payload = json!({"case": case, "status": 404});
        site = site.service(case, "probe", "answer", payload).path(&format!("/{case}"), case, &[]);
    }
    let gateway = Gateway::start(&site).await;
    for (path, body) in [("/text", "plain"), ("/raw", "raw"), ("/status", "")] {
        let wire = on_the_wire(&gateway, "GET", path).await.to_lowercase();
        let length = format!("content-length: {}", body.len());
        assert!(wire.contains(&length), "{path} says how long it is:\n{wire}");
        assert!(wire.ends_with(&format!("\r\n\r\n{body}")), "{path}:\n{wire}");
    }
    let by_hand = Client::new(gateway.addr).get("/chunked").await;
    assert_eq!(by_hand.text(), "framed by hand", "what the docs tell authors to do works as well");

    let head = on_the_wire(&gateway, "HEAD", "/text").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "no body:\n{head}");
    for (path, status) in [("/empty", "204"), ("/not-modified", "304")] {
        let wire = on_the_wire(&gateway, "GET", path).await.to_lowercase();
        assert!(wire.starts_with(&format!("http/1.1 {status}")), "{wire}");
        assert!(wire.ends_with("\r\n\r\n") && !wire.contains("never sent"), "no body:\n{wire}");
        assert!(!wire.contains("transfer-encoding"), "{wire}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b11_an_empty_body_blanks_the_upstreams() {
    let _dog = watchdog(60);
    let (_up, _, _gateway, client) = proxied("/text", &[step("probe", "blank")]).await;
    let answer = client.get("/text").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b12_every_byte_passes_once() {
    let _dog = watchdog(60);
    let steps = [step("probe", "upper"), step("probe", "brackets")];
    let (_up, _, _gateway, client) = proxied("/chunked", &steps).await;
    let answer = client.get("/chunked").await;
    assert_eq!(answer.text().replace(['[', ']'], ""), "ONE TWO THREE");
    assert_eq!(answer.text(), "[ONE ][TWO ][THREE]", "a call per piece, in the order of the items");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_body_is_framed_anew() {
    let _dog = watchdog(60);
    let (_up, _, gateway, client) = proxied("/text", &[step("probe", "brackets")]).await;
    assert_eq!(client.get("/text").await.text(), "[hello from upstream]");
    let wire = on_the_wire(&gateway, "GET", "/text").await.to_lowercase();
    assert!(!wire.contains("content-length: 19"), "the upstream's length is gone:\n{wire}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b13_logging_sees_the_bytes_sent() {
    let _dog = watchdog(60);
    let (_up, site, _gateway, client) = proxied("/sized/{n}", &[step("probe", "log")]).await;
    let answer = client.get("/sized/70000").await;
    assert_eq!(answer.body.len(), 70_000);
    assert_eq!(logged(&site, "log /sized/70000").await, "log /sized/70000 200 70000 ok");
}

/// The head Logging sees is the one that was sent, whether it changed after this entry's ResponseFilter or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logging_sees_the_head_as_it_was_sent() {
    let _dog = watchdog(60);
    let read = step("probe", "log-head");
    for (steps, order) in
        [(vec![read.clone()], ""), (vec![read, step("probe", "set-header")], "last")]
    {
        let (_up, site, _gateway, client) = proxied("/text", &steps).await;
        let answer = client.get("/text").await;
        let kind = answer.header("content-type");
        assert_eq!(logged(&site, "filter /text").await, format!("filter /text 200 {kind} "));
        assert_eq!(logged(&site, "log /text").await, format!("log /text 200 {kind} {order}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logging_sees_the_error_of_a_dead_upstream() {
    let _dog = watchdog(60);
    let site = Site::new().upstream("dead", ports::free()).plugin("probe");
    let site = site.path("/dead", "dead", &[step("probe", "log")]);
    let gateway = Gateway::start(&site).await;
    let answer = Client::new(gateway.addr).get("/dead").await;
    assert_eq!((answer.status, &answer.json()["status"]), (502, &json!(502)), "{}", answer.text());
    let line = logged(&site, "log /dead").await;
    assert!(line.starts_with("log /dead 502 ") && line.ends_with(" error"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_carry_their_content_type() {
    let _dog = watchdog(60);
    let mut site = Site::new().plugin("probe");
    for case in ["text", "html", "json", "redirect", "moved"] {
        let service = site.service(case, "probe", "answer", json!({ "case": case }));
        site = service.path(&format!("/{case}"), case, &[]);
    }
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);
    for (path, kind) in [
        ("/text", "text/plain; charset=utf-8"),
        ("/html", "text/html; charset=utf-8"),
        ("/json", "application/json"),
    ] {
        assert_eq!(client.get(path).await.header("content-type"), kind, "{path}");
    }
    for (path, status) in [("/redirect", 302), ("/moved", 301)] {
        let answer = client.get(path).await;
        assert_eq!((answer.status, answer.header("location")), (status, "/elsewhere"));
        assert_eq!(answer.body.len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_set_before_next_replaces_the_upstreams() {
    let _dog = watchdog(60);
    let (up, _, _gateway, client) = proxied("/text", &[answer_case("next")]).await;
    let answer = client.get("/text").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "instead of the upstream's"));
    assert_eq!(up.seen().len(), 1, "the upstream was asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_injection_is_refused_whole() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let mut site = Site::new().upstream("up", up.addr).plugin("probe");
    for case in ["crlf", "nul", "name"] {
        let bad = step_with("probe", "bad-head", json!({ "case": case }));
        site = site.path(&format!("/text/{case}"), "up", &[bad]);
    }
    let gateway = Gateway::start(&site).await;
    for case in ["crlf", "nul", "name"] {
        let wire = on_the_wire(&gateway, "GET", &format!("/text/{case}")).await.to_lowercase();
        assert!(wire.starts_with("http/1.1 502"), "{case}:\n{wire}");
        let head = wire.split("\r\n\r\n").next().unwrap_or_default();
        assert!(!head.contains("x-injected") && !head.contains("bad:"), "{case}:\n{wire}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn framing_headers_of_a_plugin_never_reach_the_wire() {
    let _dog = watchdog(60);
    let framing = step_with("probe", "bad-head", json!({"case": "framing"}));
    let (_up, _, gateway, client) = proxied("/text", &[framing]).await;
    let answer = client.get("/text").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello from upstream"));
    let wire = on_the_wire(&gateway, "GET", "/text").await.to_lowercase();
    for never in ["content-length: 3\r", "gzip", "connection: x-upstream", "trailer:"] {
        assert!(!wire.contains(never), "{never}:\n{wire}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_no_response_has_is_refused() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let mut site = Site::new().upstream("up", up.addr).plugin("probe");
    for status in [0, 99, 101, 199, 600, 999] {
        let set = step_with("probe", "set-status", json!({ "status": status }));
        site = site.path(&format!("/text/{status}"), "up", &[set]);
    }
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);
    for status in [0, 99, 101, 199, 600, 999] {
        assert_eq!(client.get(&format!("/text/{status}")).await.status, 502, "{status}");
    }
}
