//! What a plugin sees of a request, and what it may change (CONTRACT 5, 10).

use std::time::Duration;

use bytes::Bytes;
use nylon_tests::{Client, Gateway, Hash, Site, Upstream, pattern, step, watchdog};
use serde_json::{Value, json};

/// What the entry `raw-body` says of a body.
fn sum(body: &[u8]) -> String {
    format!("{} {}", body.len(), Hash::of(body).0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn getters_show_the_request() {
    let _dog = watchdog(60);
    let site = Site::new().plugin("probe").service("getters", "probe", "getters", Value::Null);
    let site = site.path("/users/{id}/{*rest}", "getters", &[]);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);

    let request = client.request("POST", "/users/7/a%20b/c?x=1&x=2&y=%2F");
    let request = request.header("X-One", "first").header("X-One", "second");
    let answer = client.send(request, Bytes::from("12345")).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = answer.json();
    let port = gateway.addr.port();
    for (key, value) in [
        ("method", json!("POST")),
        ("path", json!("/users/7/a%20b/c")),
        ("query", json!("x=1&x=2&y=%2F")),
        ("url", json!(format!("http://127.0.0.1:{port}/users/7/a%20b/c?x=1&x=2&y=%2F"))),
        ("host", json!("127.0.0.1")),
        ("client_ip", json!("127.0.0.1")),
        ("bytes", json!(5)),
        ("missing", json!("")),
        ("values", json!(["first", "second"])),
    ] {
        assert_eq!(seen[key], value, "{key} of {seen}");
    }
    assert_eq!(seen["params"]["id"], "7");
    assert_eq!(seen["headers"]["x-one"], "second", "of repeated headers the last wins in the map");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("clock");
    let stamp = seen["timestamp"].as_i64().expect("a number");
    let now = i64::try_from(now.as_millis()).expect("fits");
    assert!((now - 10_000..=now).contains(&stamp), "{stamp} is about {now}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b04_a_missing_header_is_empty() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let site = site.path("/text", "up", &[step("probe", "missing-header")]);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);

    let without = client.get("/text").await;
    assert_eq!((without.status, without.text().as_str()), (401, "no key"));
    assert_eq!(client.get_with("/text", &[("X-API-Key", "k")]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b05_parallel_getters_get_their_own_replies() {
    let _dog = watchdog(120);
    let site = Site::new().plugin("probe");
    let site = site.service("getters", "probe", "parallel-getters", Value::Null);
    let site = site.path("/{name}", "getters", &[]);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);

    let mut all = tokio::task::JoinSet::new();
    for i in 0..8 {
        let client = client.clone();
        all.spawn(async move {
            let nonce = format!("nonce-{i}");
            let request = client.request("POST", &format!("/p{i}")).header("x-nonce", &nonce);
            let answer = client.send(request, nonce.clone().into()).await.expect("an answer");
            assert_eq!((answer.status, answer.text().as_str()), (200, "0"), "replies swapped");
            assert_eq!(answer.header("x-nonce-echo"), nonce);
        });
    }
    all.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b06_a_body_that_was_read_still_goes_up() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let site = site.path("/sum", "up", &[step("probe", "raw-body")]);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);

    for len in [0, 1, 1000, 100_000, 1 << 20, 8 << 20] {
        let body = pattern(3, len);
        let answer = client.post("/sum", body.clone()).await;
        assert_eq!(answer.status, 200, "{len} bytes: {}", answer.text());
        assert_eq!(answer.header("x-body"), sum(&body), "{len} bytes");
        assert_eq!(answer.header("x-body-again"), sum(&body), "read twice: the same");
        let seen = up.last();
        assert_eq!((seen.len, seen.hash), (len as u64, Hash::of(&body)), "{len} bytes upstream");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_over_the_bound_is_413() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let site = site.path("/sum", "up", &[step("probe", "raw-body")]);
    let gateway = Gateway::start(&site).await;

    let answer = Client::new(gateway.addr).post("/sum", pattern(0, (8 << 20) + 1)).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert_eq!(up.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_can_be_read_as_it_comes() {
    let _dog = watchdog(60);
    let site = Site::new().plugin("probe");
    let site = site.service("reader", "probe", "body-reader", Value::Null);
    let site = site.path("/read", "reader", &[]);
    let gateway = Gateway::start(&site).await;

    let body = pattern(0, 20 << 20);
    let answer = Client::new(gateway.addr).post("/read", body.clone()).await;
    assert_eq!(answer.text(), format!("{} <nil>", sum(&body)), "past the bound of RawBody");
}

/// The host sends a body ahead to an entry that asked for the last one: right or wrong, nobody sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_came_ahead_is_the_body() {
    let _dog = watchdog(60);
    let site = Site::new().plugin("probe");
    let site = site.service("perhaps", "probe", "body-perhaps", Value::Null);
    let site = site.path("/perhaps", "perhaps", &[]);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);

    let hows = ["whole", "whole", "reader", "whole", "no", "reader", "no", "no", "whole", "whole"];
    for len in [0, 5, 70_000, 700_000, 1 << 20, 3 << 20] {
        for (i, how) in hows.iter().enumerate() {
            // Who answers before it has read a long body may close the connection under the client.
            let len = if *how == "no" { len.min(5_000) } else { len };
            let body = pattern(i as u64, len);
            let request = client.request("POST", "/perhaps").header("x-how", *how);
            let answer = client.send(request, body.clone()).await.expect("an answer");
            let due = if *how == "no" { String::new() } else { sum(&body) };
            assert_eq!(answer.text(), due, "{len} bytes, {how} after {i} others");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_may_change_the_request() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let site = site.path("/original", "up", &[step("probe", "rewrite")]);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);

    let request = client.request("POST", "/original?old=1").header("x-secret", "s");
    let answer = client.send(request, Bytes::from("old body")).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = up.last();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("PUT", "/rewritten"));
    assert_eq!(seen.query, "a=1&b=2");
    assert_eq!((seen.header("x-added"), seen.header("x-secret")), ("by plugin", ""));
    assert_eq!(seen.body, b"a new body");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b18_a_plugin_service_gets_its_payload_expanded() {
    let _dog = watchdog(60);
    let payload = json!({
        "plain": "text", "number": 7, "flag": true, "list": ["${header(x-one)}", 2],
        "nested": {"query": "q=${query(q, 'none')}!", "param": "${param(id)}"},
        "unknown": "[${nothing(1)}]", "id": "${uuid(v4)}", "a.b[0]": "${request(method)}",
    });
    let site = Site::new().plugin("probe").service("payload", "probe", "payload", payload);
    let site = site.path("/items/{id}", "payload", &[]);
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);

    let answer = client.get_with("/items/42?q=a%20b", &[("x-one", "1")]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let all = answer.json();
    let got = &all["payload"];
    assert_eq!(got["list"], json!(["1", 2]));
    assert_eq!(got["nested"], json!({"query": "q=a b!", "param": "42"}));
    assert_eq!(
        (&got["plain"], &got["number"], &got["flag"]),
        (&json!("text"), &json!(7), &json!(true))
    );
    assert_eq!((&got["unknown"], &got["a.b[0]"]), (&json!("[]"), &json!("GET")));
    assert_eq!(got["id"].as_str().map(str::len), Some(36));
    assert_eq!(got, &all["again"], "once per step: the same uuid twice");

    let none = client.get("/items/1").await.json();
    assert_eq!(none["payload"]["nested"]["query"], "q=none!");
    assert_eq!(none["payload"]["list"][0], "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_prints_is_in_the_log() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).plugin("probe");
    let site = site.path("/text", "up", &[step("probe", "log")]);
    let gateway = Gateway::start(&site).await;

    Client::new(gateway.addr).get("/text").await;
    let line = gateway.logged("printed /text", Duration::from_secs(3)).await;
    assert!(line.contains("probe"), "with the plugin's name: {line}");
}
