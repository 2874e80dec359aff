//! The examples through the real gateway, each with its own `nylon.yaml`. The quickstart's `cases.json` is what its Go
//! tests run in memory: the same requests have the same outcome here.

use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::channel::Channel;
use http_body_util::{BodyExt as _, Full};
use nylon_tests::{Answer, Client, Gateway, Seen, Temp, Upstream, ports, proc, program, watchdog};
use serde_json::Value;

/// An example's gateway between a client and an upstream that says what it saw.
struct Example {
    upstream: Upstream,
    gateway: Gateway,
    client: Client,
    _dir: Temp,
}

impl Example {
    async fn start(name: &str) -> Example {
        let upstream = Upstream::start().await;
        let addr = ports::free();
        let dir = Temp::new();
        let text = adapted(name, &addr.to_string(), upstream.addr.port());
        let config = dir.write("nylon.yaml", &text);
        let mut gateway = Gateway::spawn(&config, dir.path(), addr);
        gateway.ready(&[]).await;
        Example { upstream, client: Client::new(addr), gateway, _dir: dir }
    }
}

/// The example's `nylon.yaml` with this run's ports and program in it.
fn adapted(name: &str, addr: &str, upstream: u16) -> String {
    let file = program::root().join("examples").join(name).join("nylon.yaml");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let program = program::plugin(name);
    let changes = [
        ("127.0.0.1:8080".to_owned(), addr.to_owned()),
        ("port: 9000".to_owned(), format!("port: {upstream}")),
        (format!("file: plugin/{name} "), format!("file: {} ", program.display())),
    ];
    changes.into_iter().fold(text, |text, (old, new)| {
        let found = text.matches(&old).count();
        let no_upstream = found == 0 && old.starts_with("port");
        assert!(found == 1 || no_upstream, "{found} times `{old}` in {}", file.display());
        text.replace(&old, &new)
    })
}

/// The folders below examples/ that hold a gateway.
fn examples() -> Vec<String> {
    let all = std::fs::read_dir(program::root().join("examples")).expect("examples");
    let with_gateway = all.flatten().filter(|e| e.path().join("nylon.yaml").exists());
    let mut names: Vec<_> =
        with_gateway.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cases() {
    let _dog = watchdog(120);
    let file = program::root().join("examples/quickstart/cases.json");
    let text = std::fs::read_to_string(file).expect("cases.json");
    let cases: Vec<Value> = serde_json::from_str(&text).expect("a list");
    assert!(cases.len() >= 15, "{} cases", cases.len());
    let example = Example::start("quickstart").await;
    let mut wrong = Vec::new();
    for case in &cases {
        let name = case["name"].as_str().expect("a name");
        println!("case {name}");
        wrong.extend(run(&example, case).await.into_iter().map(|why| format!("{name}: {why}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", example.gateway.log());
}

/// Sends the request of one case; what was not as expected.
async fn run(example: &Example, case: &Value) -> Vec<String> {
    let (wanted, mut wrong) = (&case["expect"], Vec::new());
    let asked_before = example.upstream.seen().len();
    let (answer, frames) = send(&example.client, &case["request"]).await;
    let asked = example.upstream.seen().len() > asked_before;

    if wanted["status"] != answer.status {
        wrong.push(format!("status {}: {}", answer.status, answer.text()));
    }
    let client = |name: &str| answer.headers(name).iter().map(|v| (*v).to_owned()).collect();
    wrong.extend(headers("the client", &wanted["headers"], client));
    if wanted["body"].as_str().is_some_and(|body| body != answer.text()) {
        wrong.push(format!("body {:?}", answer.text()));
    }
    if !contains(&answer.json(), &wanted["json"]) {
        wrong.push(format!("body {} lacks {}", answer.text(), wanted["json"]));
    }
    // Each chunk was written 100 ms after the one before; a reader that sleeps through two sees them as one.
    if wanted["chunks"].is_u64() && frames < 2 {
        wrong.push(format!("{frames} pieces, not {}", wanted["chunks"]));
    }
    match &wanted["upstream"] {
        Value::Null if wanted.get("upstream").is_some() => {
            if asked {
                wrong.push(format!("the upstream was asked: {:?}", example.upstream.last()));
            }
        }
        Value::Null => {}
        _ if !asked => wrong.push("the upstream was not asked".into()),
        upstream => wrong.extend(saw(&example.upstream.last(), upstream)),
    }
    for name in wanted["same"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let (down, up) = (answer.header(name), example.upstream.last().header(name).to_owned());
        if down.is_empty() || down != up || wanted["not"][name] == down {
            wrong.push(format!("{name}: the client saw {down:?}, the upstream {up:?}"));
        }
    }
    if let Some(line) = wanted["log"].as_str() {
        example.gateway.logged(line, Duration::from_secs(10)).await;
    }
    if !case["upstream"].is_null() {
        wrong.extend(answers_so(example, &case["upstream"]).await);
    }
    wrong
}

/// The answer, and in how many pieces its body came.
async fn send(client: &Client, request: &Value) -> (Answer, usize) {
    let path = request["path"].as_str().expect("a path");
    let query = request["query"].as_str().map(|q| format!("?{q}")).unwrap_or_default();
    let method = request["method"].as_str().unwrap_or("GET");
    let mut builder = client.request(method, &format!("{path}{query}"));
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        builder = builder.header(name, value.as_str().expect("a text"));
    }
    let request = match request["pieces"].as_array() {
        None => builder.body(Full::new(Bytes::new()).map_err(|never| match never {}).boxed()),
        Some(pieces) => {
            let (mut send, body) = Channel::<Bytes, std::io::Error>::new(1);
            let pieces: Vec<Bytes> =
                pieces.iter().map(|p| p.as_str().expect("a text").to_owned().into()).collect();
            tokio::spawn(async move {
                for piece in pieces {
                    send.send_data(piece).await.expect("somebody reads");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
            builder.body(body.boxed())
        }
    };
    let request: Request<_> = request.expect("a request");
    let whole = async {
        let (head, mut body) = client.open(request).await.expect("an answer").into_parts();
        let (mut bytes, mut frames) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.expect("a whole body").into_data() {
                frames += 1;
                bytes.extend_from_slice(&data);
            }
        }
        let (status, headers) = (head.status.as_u16(), head.headers);
        (Answer { status, headers, body: bytes.into() }, frames)
    };
    tokio::time::timeout(Duration::from_secs(30), whole).await.expect("an answer in time")
}

fn saw(seen: &Seen, wanted: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let body = String::from_utf8_lossy(&seen.body).into_owned();
    for (key, got) in [("method", &seen.method), ("path", &seen.path), ("body", &body)] {
        if wanted[key].as_str().is_some_and(|wanted| wanted != got) {
            wrong.push(format!("the upstream saw {key} {got:?}"));
        }
    }
    let upstream = |name: &str| {
        let name = name.to_lowercase();
        seen.headers.iter().filter(|(k, _)| *k == name).map(|(_, v)| v.clone()).collect()
    };
    wrong.extend(headers("the upstream", &wanted["headers"], upstream));
    wrong
}

/// The upstream in memory and the real one give the same answer, or the case compares nothing.
async fn answers_so(example: &Example, wanted: &Value) -> Vec<String> {
    let path = example.upstream.last().path;
    let answer = Client::new(example.upstream.addr).get(&path).await;
    let pieces = wanted["pieces"].as_array().into_iter().flatten();
    let body: String = pieces.filter_map(Value::as_str).collect();
    if wanted["status"] == answer.status && body == answer.text() {
        return Vec::new();
    }
    vec![format!("the upstream itself answers {path} with {} {}", answer.status, answer.text())]
}

/// `null` says that a header must not be there.
fn headers(who: &str, wanted: &Value, got: impl Fn(&str) -> Vec<String>) -> Vec<String> {
    let wanted = wanted.as_object().into_iter().flatten();
    let different = wanted.filter_map(|(name, value)| {
        let got = got(name);
        let right = value.as_str().map_or(got.is_empty(), |value| got == [value]);
        (!right).then(|| format!("{who} saw {name}: {got:?}, not {value}"))
    });
    different.collect()
}

/// Whether every key of `wanted` is in `got`, with its value.
fn contains(got: &Value, wanted: &Value) -> bool {
    match wanted {
        Value::Null => true,
        Value::Object(wanted) => wanted.iter().all(|(key, value)| contains(&got[key], value)),
        _ => got == wanted,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plugin_of_the_quickstart_may_die() {
    let _dog = watchdog(60);
    let example = Example::start("quickstart").await;
    let first = example.client.get("/json").await.json()["pid"].as_u64().expect("a pid");
    let pid = u32::try_from(first).expect("a pid");
    proc::kill(pid, nix::sys::signal::Signal::SIGKILL);
    example.gateway.worker_after(pid).await;
    let end = tokio::time::Instant::now() + Duration::from_secs(15);
    loop {
        let answer = example.client.get("/json").await;
        if answer.status == 200 {
            assert_ne!(answer.json()["pid"], first);
            break;
        }
        assert!(matches!(answer.status, 502 | 503), "{} {}", answer.status, answer.text());
        assert!(tokio::time::Instant::now() < end, "the plugin does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quickstart_does_not_start_without_a_token() {
    let _dog = watchdog(60);
    let text = adapted("quickstart", &ports::free().to_string(), 9);
    let said = nylon(&["check"], &text.replace("token: let-me-in", "token: ''"));
    assert_eq!(said.0, Some(1), "{}", said.1);
    assert!(said.1.contains("config.token is missing"), "{}", said.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apikey() {
    let _dog = watchdog(60);
    let example = Example::start("apikey").await;
    let key = "2b7e151628aed2a6abf7158809cf4f3c";
    for (path, header, key, status) in [
        ("/api/a", "x-api-key", key, 200),
        ("/legacy/a", "x-token", key, 200),
        ("/api/a", "x-api-key", "guessed", 401),
        ("/api/a", "x-token", key, 401),
    ] {
        let answer =
            example.client.get_with(path, &[(header, key), ("x-api-client", "root")]).await;
        assert_eq!(answer.status, status, "{path} {header}: {}", answer.text());
        let seen = example.upstream.last();
        assert_eq!((seen.header("x-api-client"), seen.header(header)), ("alice", ""));
    }
    assert_eq!(example.upstream.seen().len(), 2, "the upstream sees only those with a key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ratelimit() {
    let _dog = watchdog(60);
    let example = Example::start("ratelimit").await;
    // Two a second, five at once: whoever asks faster than that is refused sooner or later.
    let mut passed = 0;
    let refused = loop {
        let answer = example.client.get("/a").await;
        if answer.status != 200 {
            break answer;
        }
        passed += 1;
    };
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1"), "{}", refused.text());
    assert!(passed >= 5, "{passed} passed");
    assert_eq!(example.upstream.seen().len(), passed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jwt() {
    let _dog = watchdog(60);
    let example = Example::start("jwt").await;
    // {"sub":"alice","scope":"read","aud":"nylon-example","iss":"https://login.example.com","exp":4102444800}, HS256
    let token = concat!(
        "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
        "eyJzdWIiOiJhbGljZSIsInNjb3BlIjoicmVhZCIsImF1ZCI6Im55bG9uLWV4YW1wbGUiLCJpc3MiOiJodHRwczovL2",
        "xvZ2luLmV4YW1wbGUuY29tIiwiZXhwIjo0MTAyNDQ0ODAwfQ.",
        "rLfai9Z4i74VHfVKvL5Dyfi9aIjSjvAuapCVdBWA7iY",
    );
    let send = [("authorization", token), ("x-user", "forged")];
    let answer = example.client.get_with("/api/a", &send).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = example.upstream.last();
    assert_eq!((seen.header("x-user"), seen.header("x-scope")), ("alice", "read"));

    let cut = &token[..token.len() - 2];
    let answer = example.client.get_with("/api/a", &[("authorization", cut)]).await;
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert_eq!(answer.header("www-authenticate"), "Bearer error=\"invalid_token\"");
    assert_eq!(example.upstream.seen().len(), 1);
}

#[test]
fn every_example_checks() {
    let _dog = watchdog(120);
    let names = examples();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let (code, said) = nylon(&["check"], &adapted(&name, &ports::free().to_string(), 9));
        assert_eq!(code, Some(0), "{name}: {said}");
        assert!(!said.contains("warning"), "{name}: {said}");
    }
}

/// Every map of a configuration with a key it does not know: the messages list those it knows.
const UNKNOWN: &str = "
http: 127.0.0.1:1
zz: 1
pingora: {zz: 1}
websocket: {adapter_type: redis, redis: {host: h, port: 1, zz: 1}, cluster: {zz: 1}, zz: 1}
plugins:
  - {name: p, type: process, file: f, zz: 1, phases: {zz: 1, logging: {zz: 1}}}
services:
  - {name: a, service_type: http, zz: 1, algorithm: random, endpoints: [{ip: 127.0.0.1, port: 1, zz: 1}],
     health_check: {zz: 1}}
  - {name: b, service_type: plugin, plugin: {name: p, entry: e, zz: 1}}
  - {name: c, service_type: static, static: {root: ., zz: 1}}
routes:
  - name: r
    zz: 1
    route: {type: host, value: a, zz: 1}
    tls: {zz: 1}
    middleware:
      - {plugin: p, entry: e, zz: 1}
      - {plugin: RequestHeaderModifier, payload: {set: [{name: a, value: b, zz: 1}], zz: 1}}
    paths: [{path: /, service: {name: a, zz: 1}, zz: 1}]
tls: [{type: acme, acme: {zz: 1}, zz: 1}]
";

#[test]
fn config_md_names_every_key() {
    let _dog = watchdog(60);
    let page = std::fs::read_to_string(program::root().join("docs/config.md")).expect("config.md");
    let (code, said) = nylon(&["check", "--static"], UNKNOWN);
    assert_eq!(code, Some(2), "{said}");
    let lists = said.lines().filter_map(|line| line.split_once(" takes: ").map(|(_, list)| list));
    let lists: Vec<&str> = lists.collect();
    assert_eq!(lists.len(), UNKNOWN.matches("zz: 1").count(), "{said}");
    let keys = lists.iter().flat_map(|list| list.split(", "));
    let missing: Vec<&str> = keys.filter(|key| !page.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "docs/config.md lacks {missing:?}");
}

/// Runs `nylon ARGS -c FILE` to its end: exit code, and what it said.
fn nylon(args: &[&str], text: &str) -> (Option<i32>, String) {
    let dir = Temp::new();
    let config = dir.write("nylon.yaml", text);
    let mut command = Command::new(program::nylon());
    let ran = command.args(args).arg("-c").arg(config).current_dir(dir.path()).output();
    let ran = ran.expect("the gateway runs");
    let said = [ran.stdout, ran.stderr].concat();
    (ran.status.code(), String::from_utf8_lossy(&said).into_owned())
}
