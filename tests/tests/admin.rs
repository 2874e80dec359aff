//! What an operator asks of a running gateway, over its socket and with the verbs of `nylon`; and who may not.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use nylon_host::admin::ENDPOINTS;
use nylon_tests::admin::Ask;
use nylon_tests::{Answer, Client, Gateway, Site, eventually, ports, proc, program, watchdog};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(15);

/// The description in the repository.
fn description() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    serde_json::from_slice(&std::fs::read(file).expect("docs/openapi.json")).expect("JSON")
}

/// Panics unless `value` is what the description says of `schema`, which may point into it.
#[track_caller]
fn assert_valid(description: &Value, schema: &Value, value: &Value, what: &str) {
    let mut whole = schema.clone();
    whole["components"] = description["components"].clone();
    let schema = jsonschema::draft202012::new(&whole).expect("a schema");
    let errors: Vec<_> =
        schema.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{what}: {errors:?}\n{value:#}");
}

/// A gateway with the plugin `probe`, two workers, and its site.
async fn start() -> (Site, Gateway) {
    // What `hello` wants to start as well: another program that an upgrade tries.
    let keys = json!({"workers": 2, "timeout": "30s", "config": {"greeting": "hi"}});
    let site = Site::new().plugin_with("probe", "probe", keys);
    let site = site.service("asks", "probe", "admin", Value::Null).path("/asks", "asks", &[]);
    let site = site.service("orphan", "probe", "admin-orphan", Value::Null);
    let site = site.path("/orphan", "orphan", &[]);
    let gateway = Gateway::start(&site).await;
    (site, gateway)
}

/// A crash of one worker, until it is remembered.
async fn crash(site: &Site, gateway: &Gateway) {
    let worker = gateway.worker().await;
    proc::kill(worker, Signal::SIGKILL);
    let socket = site.admin_socket();
    loop {
        let list = Ask::get("/v1/crashes").socket(&socket).await.json();
        if list["crashes"].as_array().is_some_and(|all| all.iter().any(|c| c["pid"] == worker)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_served_is_described_and_back() {
    let _dog = watchdog(60);
    let (site, gateway) = start().await;
    crash(&site, &gateway).await;
    let id = "probe-1";
    let described = description();
    let mut operations = Vec::new();
    for (path, methods) in described["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            operations.push((method.to_uppercase(), path.clone(), operation.clone()));
        }
    }
    let served: Vec<_> =
        ENDPOINTS.iter().map(|e| (e.method.to_owned(), e.path.to_owned())).collect();
    let mut listed: Vec<_> = operations.iter().map(|(m, p, _)| (m.clone(), p.clone())).collect();
    let mut wanted = served.clone();
    listed.sort();
    wanted.sort();
    assert_eq!(listed, wanted, "docs/openapi.json: run `nylon openapi > docs/openapi.json`");
    // A rollback needs an upgrade before it, a resume is the last word after pause and drain: the order of the table.
    operations.sort_by_key(|(method, path, _)| {
        served.iter().position(|(m, p)| m == method && p == path).expect("it is served")
    });
    let socket = site.admin_socket();
    let crashes = Ask::get("/v1/crashes").socket(&socket).await.json();
    let crash = crashes["crashes"][0]["id"].as_str().unwrap_or(id).to_owned();
    for (method, path, operation) in &operations {
        let real = path.replace("{plugin}", "probe").replace("{id}", &crash);
        let ask = if method == "GET" { Ask::get(&real) } else { Ask::post(&real, "{}") };
        let answer = ask.socket(&socket).await;
        assert_eq!(answer.status, 200, "{method} {real}: {}", answer.text());
        assert_described(&described, operation, &answer, &real);
        // Of a plugin that is not there, and by another method: a refusal.
        let absent = path.replace("{plugin}", "nobody").replace("{id}", "nobody-1");
        if absent != real {
            let ask = if method == "GET" { Ask::get(&absent) } else { Ask::post(&absent, "{}") };
            let refused = ask.socket(&socket).await;
            assert_eq!(refused.status, 404, "{absent}");
            assert_described(&described, operation, &refused, &absent);
        }
        let other = if method == "GET" { Ask::post(&real, "{}") } else { Ask::get(&real) };
        let refused = other.socket(&socket).await;
        assert_eq!((refused.status, refused.header("allow")), (405, &**method), "{real}");
    }
    let nowhere = Ask::get("/v1/nothing").socket(&socket).await;
    assert_eq!(nowhere.status, 404);
    assert_described(&described, &operations[0].2, &nowhere, "/v1/nothing");
}

#[track_caller]
fn assert_described(described: &Value, operation: &Value, answer: &Answer, path: &str) {
    let kind = answer.header("content-type").split(';').next().unwrap_or_default().to_owned();
    let responses = &operation["responses"];
    let response = if answer.status == 200 { &responses["200"] } else { &responses["default"] };
    let content = response["content"].as_object().unwrap_or_else(|| panic!("{path}: no content"));
    let said = content.iter().find(|(name, _)| name.split(';').next() == Some(&*kind));
    let (_, content) = said.unwrap_or_else(|| panic!("{path}: {kind} is not described"));
    let schema = &content["schema"];
    match &*kind {
        "application/json" if !schema.is_null() => {
            assert_valid(described, schema, &answer.json(), path);
        }
        "application/x-ndjson" => {
            let text = answer.text();
            assert!(!text.is_empty(), "{path}: nothing happened");
            for line in text.lines() {
                let value = serde_json::from_str(line).expect("a line of JSON");
                assert_valid(described, schema, &value, path);
            }
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_verb_prints_json_as_described() {
    let _dog = watchdog(60);
    let (site, gateway) = start().await;
    crash(&site, &gateway).await;
    let described = description();
    let verbs: &[&[&str]] = &[
        &["ps"],
        &["health"],
        &["restart", "probe"],
        &["upgrade", "probe"],
        &["rollback", "probe"],
        &["pause", "probe"],
        &["resume", "probe"],
        &["plugin", "upgrade", "probe"],
        &["plugin", "rollback", "probe"],
        &["dump", "probe"],
        &["crash", "list"],
        &["crash", "show"],
        &["events"],
        &["logs"],
        &["reload"],
        &["drain", "probe"],
    ];
    for verb in verbs {
        let mut line = verb.to_vec();
        line.push("--json");
        let printed =
            gateway.operate(&site, &line).await.unwrap_or_else(|e| panic!("{verb:?}: {e}"));
        let name = match verb {
            ["crash", what] => format!("crash-{what}"),
            ["plugin", verb, ..] => (*verb).to_owned(),
            _ => verb[0].to_owned(),
        };
        let operation = operation(&described, &name);
        let content = &operation["responses"]["200"]["content"];
        let lines = &content["application/x-ndjson"]["schema"];
        if lines.is_null() {
            let value = serde_json::from_str(&printed).expect("JSON");
            assert_valid(&described, &content["application/json"]["schema"], &value, &name);
        } else {
            assert!(!printed.is_empty(), "{name}: nothing");
            for line in printed.lines() {
                assert_valid(&described, lines, &serde_json::from_str(line).expect("JSON"), &name);
            }
        }
    }
    // Asks nobody, and is described all the same.
    let mut top = tokio::process::Command::new(program::nylon());
    top.args(["top", "--once", "--json", "--pid", &gateway.pid().to_string()]);
    let printed = top.output().await.expect("it runs").stdout;
    let schema = json!({"$ref": "#/components/schemas/Top"});
    let printed: Value = serde_json::from_slice(&printed).expect("JSON");
    assert_eq!(printed["plugins"][0]["name"], "probe");
    assert_valid(&described, &schema, &printed, "top");
    // A refusal is JSON as well.
    let refused = verb(&site, &["restart", "nobody", "--json"]).await;
    assert_eq!(refused.0, 1);
    let schema = json!({"$ref": "#/components/schemas/Refusal"});
    assert_valid(&described, &schema, &serde_json::from_str(&refused.1).expect("JSON"), "refusal");
}

fn operation(described: &Value, id: &str) -> Value {
    let paths = described["paths"].as_object().expect("paths").values();
    let mut operations = paths.flat_map(|methods| methods.as_object().expect("methods").values());
    operations.find(|o| o["operationId"] == id).unwrap_or_else(|| panic!("no {id}")).clone()
}

/// Exit code and stdout of a verb.
async fn verb(site: &Site, line: &[&str]) -> (i32, String) {
    let mut command = tokio::process::Command::new(program::nylon());
    command.args(line).arg("-c").arg(site.runtime_file()).current_dir(site.dir());
    let out = command.output().await.expect("it runs");
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stdout).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verbs_do_what_they_say() {
    let _dog = watchdog(90);
    let (site, mut gateway) = start().await;
    let client = Client::new(gateway.addr);
    let status = async || client.get("/ready/probe").await.status;
    let pids = || {
        let mut pids: Vec<u32> = gateway.workers().iter().map(|w| w.pid).collect();
        pids.sort_unstable();
        pids
    };
    let first = pids();
    let said = gateway.operate(&site, &["restart", "probe"]).await.expect("it restarts");
    assert_eq!(said, "probe: restarted, build 2 serves");
    eventually("others run", SOON, || {
        let now = pids();
        (now.len() == 2 && first.iter().all(|old| !now.contains(old))).then_some(())
    })
    .await;
    assert_eq!(status().await, 200);

    gateway.operate(&site, &["pause", "probe"]).await.expect("it pauses");
    assert_eq!(status().await, 503);
    let (code, said) = verb(&site, &["health"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("probe is paused"), "{said}");
    gateway.operate(&site, &["resume", "probe"]).await.expect("it resumes");
    assert_eq!((status().await, verb(&site, &["health"]).await.0), (200, 0));

    // Another program: from the directories that are named, and one that is a plugin.
    let beside = |name| program::plugin(name).display().to_string();
    program::plugin("probe");
    for (file, why) in [
        ("/bin/true".to_owned(), "admin.programs"),
        (beside("mute"), "must call sdk.Serve()"),
        (beside("hello"), "it has no entry `"),
        (beside("probe") + "-not", "No such file"),
    ] {
        let refused = gateway.operate(&site, &["upgrade", "probe", "--program", &file]).await;
        assert!(refused.as_ref().is_err_and(|e| e.contains(why)), "{file}: {refused:?}");
        assert_eq!(status().await, 200, "{file}");
    }
    let refused = gateway.operate(&site, &["rollback", "probe"]).await;
    assert!(refused.as_ref().is_err_and(|e| e.contains("no earlier build")), "{refused:?}");
    assert_eq!(status().await, 200);

    let said = gateway.operate(&site, &["drain", "probe"]).await.expect("it drains");
    assert_eq!((said.as_str(), status().await), ("probe: drained", 503));
    assert!(pids().is_empty(), "{:?}", pids());
    gateway.operate(&site, &["resume", "probe"]).await.expect("it resumes");
    gateway.ready(&["/ready/probe".to_owned()]).await;

    // A configuration that is wrong, and one that is right.
    let right = std::fs::read_to_string(site.proxy_file()).expect("it is there");
    std::fs::write(site.proxy_file(), "routes: [{unknown: 1}]\n").expect("written");
    let refused = gateway.operate(&site, &["reload"]).await;
    assert!(refused.as_ref().is_err_and(|e| e.contains("unknown key `unknown`")), "{refused:?}");
    assert_eq!(status().await, 200);
    std::fs::write(site.proxy_file(), right).expect("written");
    assert_eq!(gateway.operate(&site, &["reload"]).await.as_deref(), Ok("reloaded"));

    let events = gateway.operate(&site, &["events"]).await.expect("events");
    for kind in
        ["restarted", "paused", "resumed", "drained", "refused", "reload_refused", "reloaded"]
    {
        assert!(events.contains(&format!(" {kind}")), "{kind}: {events}");
    }
    let ps = gateway.operate(&site, &["ps"]).await.expect("ps");
    assert!(ps.contains("ready 2/2") && ps.contains("standard"), "{ps}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_and_what_they_leave_behind_are_refused() {
    let _dog = watchdog(60);
    let (site, gateway) = start().await;
    let client = Client::new(gateway.addr);
    let socket = site.admin_socket().display().to_string();
    let said = client.get_with("/asks", &[("x-socket", &socket)]).await.text();
    assert!(said.starts_with("403 ") && said.contains("not for you"), "{said}");
    let file = site.dir().join("orphan");
    let headers = [("x-socket", &*socket), ("x-file", file.to_str().expect("text"))];
    assert_eq!(client.get_with("/orphan", &headers).await.text(), "done");
    let said = eventually("the orphan asked", SOON, || std::fs::read_to_string(&file).ok()).await;
    assert!(said.starts_with("403 ") && said.contains("not for you"), "{said}");
    assert_eq!(client.get("/ready/probe").await.status, 200);
    gateway.logged("refused at the admin socket", SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_is_for_who_has_the_token() {
    let _dog = watchdog(60);
    let site = Site::new().plugin("probe");
    let token = site.dir().join("token");
    std::fs::write(&token, "0123456789abcdef0123\n").expect("written");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).expect("set");
    let addr = ports::free();
    let site = site.runtime(json!({"admin": {"listen": addr.to_string(), "token_file": token}}));
    let gateway = Gateway::start(&site).await;
    let client = Client::new(gateway.addr);
    let (host, json) = (("host", "localhost"), ("content-type", "application/json"));
    let bearer = ("authorization", "Bearer 0123456789abcdef0123");
    let pause = "/v1/plugins/probe/pause";
    type Headers<'h> = &'h [(&'h str, &'h str)];
    let cases: &[(&str, Headers<'_>, u16)] = &[
        ("GET", &[host, bearer, json], 405),
        ("HEAD", &[host, bearer, json], 405),
        ("POST", &[host, json], 401),
        ("POST", &[host, json, ("authorization", "Bearer 0123456789abcdef0124")], 401),
        ("POST", &[host, bearer], 415),
        ("POST", &[host, bearer, ("content-type", "text/plain")], 415),
        ("POST", &[host, bearer, json, ("origin", "http://localhost")], 403),
        ("POST", &[("host", "evil.example"), bearer, json], 421),
        ("PUT", &[host, bearer, json], 405),
    ];
    for (method, headers, status) in cases {
        let ask = Ask { method, path: pause, headers, body: "{}" };
        assert_eq!(ask.tcp(addr).await.status, *status, "{ask:?}");
        assert_eq!(client.get("/ready/probe").await.status, 200, "{ask:?}");
    }
    let wrong =
        Ask { method: "POST", path: pause, headers: &[host, bearer, json], body: "{\"a\":1}" };
    assert_eq!(wrong.tcp(addr).await.status, 400);
    let metrics = Ask { method: "GET", path: "/metrics", headers: &[host], body: "" };
    assert_eq!(metrics.tcp(addr).await.status, 401);
    let right = Ask { body: "{}", ..wrong };
    assert_eq!(right.tcp(addr).await.status, 200);
    assert_eq!(client.get("/ready/probe").await.status, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_socket_is_found_and_leaves_no_trace() {
    let _dog = watchdog(60);
    // Its user's own directory, as a service manager would name it.
    let site = Site::new().plugin("probe");
    let run = site.dir().join("run");
    let addr = ports::free();
    let config = site.write(addr);
    let text = std::fs::read_to_string(&config).expect("it was written");
    let mut runtime: Value = serde_json::from_str(&text).expect("JSON");
    runtime.as_object_mut().expect("a map").remove("admin");
    std::fs::write(&config, runtime.to_string()).expect("written");
    let spawn = || {
        let env = [("RUNTIME_DIRECTORY", run.as_os_str())];
        Gateway::spawn_with(&config, site.dir(), addr, &env)
    };
    let mut gateway = spawn();
    gateway.ready(&["/ready/probe".to_owned()]).await;
    let socket = |pid: u32| -> PathBuf { run.join(format!("{pid}.sock")) };
    let killed = socket(gateway.pid());
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode();
    assert_eq!((mode(&run) & 0o777, mode(&killed) & 0o777), (0o700, 0o600));
    assert!(std::fs::metadata(&killed).expect("it is there").file_type().is_socket());
    let ps = async |more: &[&str]| {
        let mut command = tokio::process::Command::new(program::nylon());
        command.arg("ps").args(more).env("RUNTIME_DIRECTORY", &run);
        command.output().await.expect("it runs")
    };
    let pid = gateway.pid().to_string();
    let file = config.display().to_string();
    for more in [
        &["--pid", &*pid] as &[&str],
        &["-c", &file],
        &["--socket", killed.to_str().expect("text")],
    ] {
        let out = ps(more).await;
        assert!(out.status.success() && !out.stdout.is_empty(), "{more:?}: {out:?}");
    }

    proc::kill(gateway.pid(), Signal::SIGKILL);
    gateway.exit(SOON).await;
    let out = ps(&["-c", &file]).await;
    assert_eq!(out.status.code(), Some(3), "{out:?}");
    assert!(killed.exists());
    let mut gateway = spawn();
    gateway.ready(&["/ready/probe".to_owned()]).await;
    assert!(!killed.exists(), "a name that was left behind");
    let stopped = socket(gateway.pid());
    assert!(stopped.exists());
    gateway.signal(Signal::SIGTERM);
    gateway.exit(SOON).await;
    assert!(!stopped.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_followed() {
    let _dog = watchdog(60);
    let (site, gateway) = start().await;
    let mut command = tokio::process::Command::new(program::nylon());
    command.args(["events", "-f", "-n", "1", "--json", "-c"]).arg(site.runtime_file());
    command.stdout(std::process::Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("it runs");
    let mut lines = {
        use tokio::io::AsyncBufReadExt as _;
        tokio::io::BufReader::new(child.stdout.take().expect("piped")).lines()
    };
    let first = lines.next_line().await.expect("a line").expect("one that is kept");
    assert!(first.contains("\"seq\""), "{first}");
    gateway.operate(&site, &["pause", "probe"]).await.expect("it pauses");
    loop {
        let line = lines.next_line().await.expect("a line").expect("more");
        if line.contains("\"paused\"") {
            break;
        }
    }
    // It ends with its gateway.
    gateway.signal(Signal::SIGTERM);
    let status = tokio::time::timeout(SOON, child.wait()).await.expect("it ends").expect("status");
    assert!(status.code().is_some(), "{status:?}");
}
