//! What the gateway tells of requests and plugins: its log in both formats, the access log, the header of failed plugins,
//! traces, and what a service manager hears. None of it holds a request up.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use nylon_tests::{
    Client, Gateway, Site, Temp, Upstream, eventually, ports, proc, program, step, watchdog,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SOON: Duration = Duration::from_secs(10);
const HEADER: &str = "x-nylon-plugin-failure";

/// A site that logs JSON, and each request.
fn logging(up: SocketAddr) -> Site {
    let open = json!({"on_failure": "open", "timeout": "100ms"});
    let site = Site::new().runtime(json!({"log": {"format": "json", "access": true}}));
    let site = site.upstream("up", up).plugin("probe").plugin_with("ö/2", "probe", open);
    let site = site.service("answer", "probe", "pid", Value::Null);
    let site = site.path("/text", "up", &[step("probe", "say")]);
    let site = site.path("/passed", "up", &[step("ö/2", "panic"), step("ö/2", "never")]);
    let site = site.path("/failed", "up", &[step("ö/2", "panic"), step("probe", "panic")]);
    let site = site.path("/cut", "up", &[step("probe", "panic-body")]);
    let site = site.path("/held", "answer", &[step("probe", "held")]);
    let site = site.path("/hold", "answer", &[step("probe", "hold")]);
    let site = site.path("/traced", "up", &[step("probe", "traceparent"), step("ö/2", "panic")]);
    site.path("/plain", "up", &[])
}

/// A line of its log for which `which` holds, as an object, once it is there.
async fn line(gateway: &Gateway, what: &str, which: impl Fn(&Value) -> bool) -> Value {
    let found = || {
        let lines = gateway.log_lines(|l| l.starts_with('{'));
        lines.iter().map(|l| serde_json::from_str(l).expect("JSON")).find(|l| which(l))
    };
    eventually(what, SOON, found).await
}

async fn access(gateway: &Gateway, path: &str) -> Value {
    line(gateway, path, |l| l["target"] == "access" && l["path"] == path).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_say_which_worker_and_which_request() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let gateway = Gateway::start(&logging(up.addr)).await;
    let client = Client::new(gateway.addr);
    assert_eq!(client.get_with("/text?q=secret", &[("x-request-id", "r\"7")]).await.status, 200);

    let workers: Vec<u32> = gateway.workers().iter().map(|w| w.pid).collect();
    let ready =
        line(&gateway, "ready", |l| l["message"] == "ready" && l["plugin"] == "probe").await;
    assert!(workers.contains(&u32::try_from(ready["worker"].as_u64().unwrap()).unwrap()));
    assert_eq!((&ready["generation"], &ready["level"]), (&json!(1), &json!("INFO")));
    assert!(ready["time"].as_str().is_some_and(|t| t.len() == 27 && t.ends_with('Z')), "{ready}");

    let said = line(&gateway, "what it said", |l| l["message"] == "said\\nso").await;
    let told = json!({"user": 7, "worker": 1});
    let expected = [
        ("level", json!("WARN")),
        ("target", json!("plugin")),
        ("plugin", json!("probe")),
        ("worker", ready["worker"].clone()),
        ("generation", json!(1)),
        ("stream", json!("stderr")),
        ("entry", json!("say")),
        ("request_id", json!("r\"7")),
        ("attributes", told),
    ];
    for (key, value) in expected {
        assert_eq!(said[key], value, "{key} of {said}");
    }
    let forged = line(&gateway, "what it forged", |l| l["message"] == "forged").await;
    assert_eq!((&forged["plugin"], &forged["target"]), (&json!("probe"), &json!("plugin")));
    assert_eq!((&forged["generation"], &forged["worker"]), (&json!(1), &ready["worker"]));

    let access = access(&gateway, "/text").await;
    let bytes = client.get("/plain").await.body.len();
    assert_eq!((&access["request_id"], &access["status"]), (&json!("r\"7"), &json!(200)));
    assert_eq!((&access["route"], &access["client"]), (&json!("main"), &json!("127.0.0.1")));
    assert_eq!((&access["method"], &access["end"]), (&json!("GET"), &json!("complete")));
    assert!(access["duration_ms"].is_number() && access["bytes"].as_u64() > Some(0), "{access}");
    assert_eq!(self::access(&gateway, "/plain").await["bytes"], json!(bytes));
    assert!(!gateway.log().contains("secret"), "a query is nobody's business");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_names_the_plugins_that_failed() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let gateway = Gateway::start(&logging(up.addr)).await;
    let client = Client::new(gateway.addr);
    let panicked = "%C3%B6%2F2/panic; phase=request_filter; reason=panicked; action=pass";
    let late = "%C3%B6%2F2/never; phase=request_filter; reason=timeout; action=pass";
    let failed = "probe/panic; phase=request_filter; reason=panicked; action=fail";

    let answer = client.get("/passed").await;
    assert_eq!((answer.status, answer.headers(HEADER)), (200, vec![panicked, late]));
    let answer = client.get("/failed").await;
    assert_eq!((answer.status, answer.headers(HEADER)), (502, vec![panicked, failed]));
    assert_eq!(client.get("/plain").await.headers(HEADER), [""; 0]);

    let passed = access(&gateway, "/passed").await;
    assert_eq!((&passed["plugin"], &passed["action"]), (&json!("ö/2"), &json!("pass")));
    assert_eq!((&passed["status"], &passed["failures"]), (&json!(200), &json!(2)));
    let failed = access(&gateway, "/failed").await;
    let found = ["plugin", "entry", "phase", "reason", "action"].map(|key| failed[key].clone());
    assert_eq!(found, ["probe", "panic", "request_filter", "panicked", "fail"].map(Value::from));
    let id = &failed["request_id"];
    let of_request = |l: &Value| l["message"] == "failed" && l["request_id"] == *id;
    let logged = line(&gateway, "the failure", |l| of_request(l) && l["plugin"] == "probe").await;
    assert!(logged["worker"].is_u64() && logged["generation"].is_u64(), "{logged}");
    assert!(access(&gateway, "/plain").await.get("plugin").is_none());

    let quiet = logging(up.addr).runtime(json!({"failure_header": false}));
    let gateway = Gateway::start(&quiet).await;
    let answer = Client::new(gateway.addr).get("/failed").await;
    assert_eq!((answer.status, answer.headers(HEADER)), (502, vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_access_log_knows_how_a_response_ended() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let gateway = Gateway::start(&logging(up.addr)).await;
    let client = Client::new(gateway.addr);
    assert!(client.try_get("/cut").await.is_err(), "it was cut off");
    let cut = access(&gateway, "/cut").await;
    assert_eq!((&cut["end"], &cut["status"]), (&json!("cut"), &json!(200)));
    assert_eq!((&cut["reason"], &cut["action"]), (&json!("panicked"), &json!("fail")));
    assert_eq!(cut["phase"], "response_body_filter");

    let mut gone = tokio::net::TcpStream::connect(gateway.addr).await.expect("it listens");
    gone.write_all(b"GET /hold HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
    while client.get("/held").await.header("x-held") != "true" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(gone);
    let gone = access(&gateway, "/hold").await;
    assert_eq!((&gone["end"], gone.get("status")), (&json!("client_gone"), None), "{gone}");

    let head = client.send(client.request("HEAD", "/plain"), bytes::Bytes::new()).await;
    assert_eq!(head.expect("an answer").status, 200);
    let which = |l: &Value| l["method"] == "HEAD" && l["target"] == "access";
    let head = line(&gateway, "HEAD", which).await;
    assert_eq!((&head["end"], &head["bytes"]), (&json!("complete"), &json!(0)));
    assert_eq!(client.get("/nowhere").await.status, 404);
    let nowhere = access(&gateway, "/nowhere").await;
    assert_eq!((&nowhere["status"], nowhere.get("route")), (&json!(404), None));
    assert!(nowhere["request_id"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sampled_trace_goes_on_through_plugins_to_the_upstream() {
    let _dog = watchdog(60);
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let up = Upstream::start().await;
    let gateway = Gateway::start(&logging(up.addr)).await;
    let client = Client::new(gateway.addr);
    let theirs = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let answer =
        client.get_with("/traced", &[("traceparent", &theirs), ("tracestate", "a=b")]).await;
    assert_eq!(answer.status, 200);
    let seen = up.last();
    let ours = seen.header("traceparent").to_owned();
    assert_eq!(ours, answer.header("x-traceparent"), "the plugin saw what the upstream sees");
    assert_eq!(seen.header("tracestate"), "a=b");
    let (kept, span) = (&ours[..36], &ours[36..52]);
    assert_eq!(kept, &theirs[..36]);
    assert_ne!(span, &theirs[36..52]);

    let which = |l: &Value| l["target"] == "trace" && l["name"] == "request";
    let request = line(&gateway, "the request's span", which).await;
    let found = ["trace_id", "span_id", "parent_id", "outcome"].map(|key| request[key].clone());
    assert_eq!(found, [TRACE, span, "00f067aa0ba902b7", "ok"].map(Value::from));
    let mut outcomes = HashMap::new();
    for entry in ["traceparent", "panic"] {
        let which = |l: &Value| l["target"] == "trace" && l["entry"] == entry;
        let phase = line(&gateway, entry, which).await;
        let found = ["trace_id", "parent_id", "name"].map(|key| phase[key].clone());
        assert_eq!(found, [TRACE, span, "request_filter"].map(Value::from));
        assert!(phase["duration_ms"].is_number() && phase["start"].is_string(), "{phase}");
        outcomes.insert(entry, phase["outcome"].clone());
    }
    assert_eq!(
        (&outcomes["traceparent"], &outcomes["panic"]),
        (&json!("next"), &json!("panicked"))
    );

    for header in ["", "00-nonsense", &theirs.replace("-01", "-00")] {
        let headers = [("traceparent", header)];
        let sent = if header.is_empty() { &headers[..0] } else { &headers[..] };
        assert_eq!(client.get_with("/plain", sent).await.status, 200);
        assert_eq!(up.last().header("traceparent"), header, "passed as it is");
    }
    let spans = gateway.log_lines(|l| l.contains(r#""target":"trace""#));
    // The fourth is the response filter of the plugin that was passed: it is asked anew.
    assert_eq!(spans.len(), 4, "{spans:#?}");
}

/// A gateway whose standard error is a pipe, which is the test's to read.
struct Unread(Child);

impl Unread {
    async fn start(site: &Site, ready: &str) -> (Self, Client) {
        let addr = ports::free();
        let mut command = Command::new(program::nylon());
        command.args(["run", "-c"]).arg(site.write(addr)).current_dir(site.dir());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let unread = Self(command.spawn().expect("nylon starts"));
        let client = Client::new(addr);
        let end = tokio::time::Instant::now() + SOON;
        while !client.try_get(ready).await.is_ok_and(|answer| answer.status == 200) {
            assert!(tokio::time::Instant::now() < end, "{ready} does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (unread, client)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Plugins that print all they may, and nobody who reads it.
async fn flooded() -> (Site, Unread, Client) {
    let site = Site::new().runtime(json!({"log": {"format": "json", "access": true}}));
    let site = site.plugin("probe").plugin_with("loud", "probe", json!({"workers": 4}));
    let site = site.service("good", "probe", "pid", Value::Null).path("/good", "good", &[]);
    let site = site.path("/chatter", "good", &[step("loud", "chatter")]);
    let (unread, client) = Unread::start(&site, "/good").await;
    for _ in 0..8 {
        assert_eq!(client.get("/chatter").await.status, 200);
    }
    (site, unread, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_do_not_wait_for_a_log_that_nobody_reads() {
    let _dog = watchdog(120);
    let (_site, mut unread, client) = flooded().await;
    for _ in 0..300 {
        assert_eq!(client.get("/good").await.status, 200);
    }
    // The flood lasts three seconds; what it does not fill by then, the access log does.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for _ in 0..300 {
        assert_eq!(client.get("/good").await.status, 200);
    }
    let pipe = unread.0.stderr.take().expect("piped");
    let dropped = tokio::task::spawn_blocking(move || read_until_dropped(pipe));
    let dropped = tokio::time::timeout(SOON, dropped).await.expect("it is told").expect("read");
    assert!(dropped > 0, "the fault did not happen");
    assert_eq!(client.get("/good").await.status, 200);
}

/// Reads lines up to that which says how many were lost; each is whole.
fn read_until_dropped(pipe: impl Read) -> u64 {
    for line in BufReader::new(pipe).lines() {
        let line = line.expect("UTF-8");
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        if line["target"] == "nylon" && line["dropped"].is_u64() {
            return line["dropped"].as_u64().unwrap_or_default();
        }
    }
    panic!("nothing was lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_log_does_not_hold_the_exit() {
    let _dog = watchdog(120);
    let (_site, mut unread, _client) = flooded().await;
    proc::kill(unread.0.id(), Signal::SIGTERM);
    let status = eventually("the gateway ends", 3 * SOON, || unread.0.try_wait().expect("wait"));
    assert_eq!(status.await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_lines_name_the_worker_and_the_environment_goes_first() {
    let _dog = watchdog(60);
    let site = Site::new().runtime(json!({"log": {"format": "json", "level": "off"}}));
    let site = site.plugin("probe").service("answer", "probe", "pid", Value::Null);
    let site = site.path("/say", "answer", &[step("probe", "say")]);
    let addr = ports::free();
    let env =
        [("NYLON_LOG", "info"), ("NYLON_LOG_FORMAT", "text")].map(|(k, v)| (k, OsStr::new(v)));
    let mut gateway = Gateway::spawn_with(&site.write(addr), site.dir(), addr, &env);
    gateway.ready(&["/ready/probe".to_owned()]).await;
    let worker = gateway.worker().await;
    let ready =
        format!(" INFO nylon_host::supervisor: ready plugin=probe worker={worker} generation=1");
    gateway.logged(&ready, SOON).await;
    assert_eq!(Client::new(addr).get("/say").await.status, 200);
    let said = gateway.logged("said", SOON).await;
    let host =
        format!(" WARN plugin: plugin=probe worker={worker} generation=1 stream=stderr entry=say");
    assert!(said.contains(&host) && said.ends_with(r"| said\nso"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_manager_hears_when_it_serves_and_when_it_stops() {
    let _dog = watchdog(60);
    let dir = Temp::new();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(SOON)).expect("a timeout");
    let site = Site::new().plugin("probe").plugin_with("two", "probe", json!({"workers": 2}));
    let addr = ports::free();
    let env = [("NOTIFY_SOCKET", path.as_os_str()), ("WATCHDOG_USEC", OsStr::new("200000"))];
    let mut gateway = Gateway::spawn_with(&site.write(addr), site.dir(), addr, &env);
    let until = |wanted: &str| loop {
        let mut text = [0; 256];
        let bytes = manager.recv(&mut text).unwrap_or_else(|e| panic!("{wanted}: {e}"));
        let text = String::from_utf8_lossy(&text[..bytes]).into_owned();
        assert!(wanted == "STOPPING=1" || !text.contains("STOPPING"), "{text}");
        if text.lines().any(|l| l == wanted) {
            return text;
        }
    };
    until("READY=1");
    assert_eq!(gateway.workers().len(), 3, "all of them are ready");
    assert_eq!(Client::new(addr).get("/ready/two").await.status, 200);
    until("WATCHDOG=1");
    gateway.signal(Signal::SIGHUP);
    assert!(until("RELOADING=1").contains("\nMONOTONIC_USEC="));
    until("READY=1");
    gateway.signal(Signal::SIGTERM);
    until("STOPPING=1");
    assert_eq!(gateway.exit(SOON).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_bytes_of_a_client_stay_on_their_line() {
    let _dog = watchdog(60);
    let up = Upstream::start().await;
    let gateway = Gateway::start(&logging(up.addr)).await;
    let mut raw = tokio::net::TcpStream::connect(gateway.addr).await.expect("it listens");
    let request =
        b"GET /a%0a\xc2\x9b{\"x\":1} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    raw.write_all(request).await.expect("sent");
    let _ = raw.read_to_end(&mut Vec::new()).await;
    assert_eq!(Client::new(gateway.addr).get("/plain").await.status, 200);
    access(&gateway, "/plain").await;
    let broken = gateway.log_lines(|l| serde_json::from_str::<Value>(l).is_err());
    assert_eq!(broken, [""; 0], "every line is one object");
}
