//! What a configuration means once it is read. Messages are tested by `tests/config_snapshots.rs`.

use super::{
    Config, Middleware, Mode, OnFailure, OnWorkerLoss, Refused, ServiceKind, Severity, SlowClient,
    WebSockets, load,
};
use crate::dispatch::route::Found;
use crate::lane::WaitPolicy;
use crate::supervisor::Limits;
use crate::websocket::Origins;
use http::Method;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

const BASE: &str = "
http: 127.0.0.1:8080
plugins:
  - {name: authz, type: process, file: ./authz, timeout: 2s, phases: {logging: {timeout: 9s}}}
services:
  - {name: app, service_type: plugin, plugin: {name: authz, entry: app}}
  - {name: files, service_type: static, static: {root: ./public}}
middleware_groups:
  inner: [{plugin: authz, entry: check, timeout: 10ms, on_failure: open}]
  outer: [{group: inner}, {plugin: RequestHeaderModifier, payload: {remove: [x-a]}}]
routes:
  - name: main
    route: {type: host, value: a.example.com|b.example.com}
    middleware: [{group: outer}, {plugin: authz, entry: log}]
    paths:
      - {path: /app, service: {name: app}}
      - {path: '/{*rest}', service: {name: files}}
  - name: open
    route: {type: header, value: open}
    paths:
      - {path: /app, service: {name: app}}
      - {path: '/{*rest}', service: {name: files, rewrite: /v2}, methods: [GET]}
";

/// A directory that is removed with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nylon-{test}-{}", std::process::id()));
        fs::create_dir_all(path.join("public")).unwrap();
        Self(path)
    }

    fn load(&self, text: &str, mode: Mode) -> Result<Config, Refused> {
        let file = self.0.join("nylon.yaml");
        fs::write(&file, text).unwrap();
        load(&file, mode).map(|loaded| loaded.config)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The faults of every path, by route.
fn faults(config: &Config) -> Vec<Vec<Option<String>>> {
    let fault = |path: &super::Path| path.service.as_ref().err().cloned();
    config.routes.iter().map(|route| route.paths.iter().map(fault).collect()).collect()
}

#[test]
fn groups_are_expanded_in_place() {
    let directory = Directory::new("groups");
    let config = directory.load(BASE, Mode::Strict).unwrap();
    let [Middleware::Plugin(check), Middleware::RequestHeaders(headers), Middleware::Plugin(log)] =
        config.routes[0].middleware.as_slice()
    else {
        panic!("{:?}", config.routes[0].middleware)
    };
    assert_eq!((check.entry.as_str(), log.entry.as_str()), ("check", "log"));
    assert_ne!(check.id, log.id);
    assert_eq!(headers.remove, ["x-a"]);
}

#[test]
fn policies_go_from_item_to_phase_to_plugin() {
    let directory = Directory::new("policies");
    let config = directory.load(BASE, Mode::Strict).unwrap();
    let policies = |index: usize| match &config.routes[0].middleware[index] {
        Middleware::Plugin(call) => call.policies,
        other => panic!("{other:?}"),
    };
    let (check, log) = (policies(0), policies(2));
    assert_eq!(check.logging.timeout, Duration::from_millis(10));
    assert_eq!(check.request_filter.on_failure, OnFailure::Open);
    assert_eq!(log.request_filter.timeout, Duration::from_secs(2));
    assert_eq!(log.request_filter.on_failure, OnFailure::Closed);
    assert_eq!(log.logging.timeout, Duration::from_secs(9));
    assert_eq!(log.logging.on_failure, OnFailure::Open);
}

#[test]
fn a_plugin_says_how_it_is_woken() {
    let directory = Directory::new("wake");
    let wake = |key: &str| {
        let text = BASE.replace("file: ./authz", &format!("file: ./authz{key}"));
        directory.load(&text, Mode::Strict).unwrap().plugins[0].wake
    };
    assert_eq!(wake(""), WaitPolicy::Balanced);
    assert_eq!(wake(", wake: balanced"), WaitPolicy::Balanced);
    assert_eq!(wake(", wake: latency"), WaitPolicy::Latency);
    assert_eq!(wake(", wake: cpu"), WaitPolicy::Cpu);
}

#[test]
fn a_plugin_says_what_it_may_take() {
    let directory = Directory::new("limits");
    let limits = |key: &str| {
        let text = BASE.replace("file: ./authz", &format!("file: ./authz{key}"));
        directory.load(&text, Mode::Strict).unwrap().plugins[0].limits.clone()
    };
    assert_eq!(limits(""), Limits::default());
    let all = "{concurrency: 2, websockets: 7, queue: 0, queue_wait: 20ms, arena: 256KiB, log_rate: 1024, \
               log_burst: 64 KiB, memory: 1GiB, nofile: 64}";
    let expected = Limits {
        concurrency: Some(2),
        websockets: 7,
        queue: 0,
        queue_wait: Duration::from_millis(20),
        arena: 256 << 10,
        log_rate: 1024,
        log_burst: 64 << 10,
        memory: Some(1 << 30),
        nofile: Some(64),
    };
    assert_eq!(limits(&format!(", limits: {all}")), expected);
    let one = Limits { memory: Some(256 << 20), ..Limits::default() };
    assert_eq!(limits(", limits: {memory: 256MiB}"), one);
}

#[test]
fn requests_find_their_service() {
    let directory = Directory::new("requests");
    let config = directory.load(BASE, Mode::Strict).unwrap();
    let find = |selector, host, path| match config.router.find(selector, host, &Method::GET, path) {
        Found::Matched(matched) => {
            let route = &config.routes[matched.target.route];
            let path = &route.paths[matched.target.path];
            Some((route.name.as_str(), path.service.as_ref().unwrap().name.as_str()))
        }
        _ => None,
    };
    assert_eq!(find(None, "b.example.com:80", "/app"), Some(("main", "app")));
    assert_eq!(find(Some("open"), "b.example.com", "/x/y"), Some(("open", "files")));
    assert_eq!(find(None, "c.example.com", "/app"), None);
    let service = config.routes[0].paths[1].service.as_ref().unwrap();
    let ServiceKind::Static(files) = &service.kind else { panic!("{service:?}") };
    assert_eq!(files.root, directory.0.join("./public"));
}

#[test]
fn entry_uses_point_at_their_entries() {
    let directory = Directory::new("entries");
    let config = directory.load(BASE, Mode::Strict).unwrap();
    let uses: Vec<_> = config.entry_uses().collect();
    let entries: Vec<_> = uses.iter().map(|entry_use| entry_use.entry).collect();
    assert_eq!(entries, ["check", "app", "log"]);
    let message = uses[0].unknown(Severity::Error, &["chekc", "log"]);
    let snippet = message.snippet.as_ref().unwrap();
    assert_eq!((snippet.line, snippet.column, snippet.length), (9, 34, 5));
    assert_eq!(message.message, "plugin `authz` has no entry `check`");
    let help = "did you mean `chekc`? entries of `authz`: chekc, log";
    assert_eq!(message.help.as_deref(), Some(help));
    assert!(serde_json::to_string(&message).unwrap().contains(r#""severity":"error""#));
}

#[test]
fn broken_uses_answer_500_and_nothing_else_does() {
    let directory = Directory::new("broken");
    let mut config = directory.load(BASE, Mode::Strict).unwrap();
    config.break_uses("authz", Some("app"), "gone");
    let gone = || Some("gone".to_owned());
    assert_eq!(faults(&config), [[gone(), None], [gone(), None]]);
    config.break_uses("authz", Some("check"), "gone");
    assert_eq!(faults(&config), [[gone(), gone()], [gone(), None]]);
}

#[test]
fn lenient_mode_breaks_what_an_unknown_name_belongs_to() {
    let directory = Directory::new("lenient");
    let broken = |from: &str, to: &str| {
        assert!(BASE.contains(from));
        let text = BASE.replace(from, to);
        assert!(directory.load(&text, Mode::Strict).is_err(), "{to}");
        let config = directory.load(&text, Mode::Lenient).unwrap();
        let routes = faults(&config);
        routes.into_iter().map(|paths| paths.iter().map(Option::is_some).collect()).collect()
    };
    let expected = |paths: [[bool; 2]; 2]| paths.map(Vec::from).to_vec();
    let check = |from, to, paths| {
        let found: Vec<Vec<bool>> = broken(from, to);
        assert_eq!(found, expected(paths), "{to}");
    };
    // In a path; in a group two levels down; in a route; in a service; in a plugin; a service; a root.
    check("rewrite: /v2", "rewrit: /v2", [[false, false], [false, true]]);
    check("{plugin: authz, entry: check", "{plugin: nope, entry: check", [[true; 2], [false; 2]]);
    check("entry: log}", "entry: log, paylod: {}}", [[true; 2], [false; 2]]);
    check("{group: outer}", "{group: nope}", [[true; 2], [false; 2]]);
    check("static: {root: ./public}", "static: {root: ., idx: a}", [[false, true], [false, true]]);
    check("root: ./public", "root: ./missing", [[false, true], [false, true]]);
    check("timeout: 2s", "timeot: 2s", [[true, true], [true, false]]);
    check(
        "{path: /app, service: {name: app}}",
        "{path: /app, service: {name: nope}}",
        [[true, false], [true, false]],
    );
    check("http: 127", "debug: true\nhttp: 127", [[false; 2], [false; 2]]);
}

#[test]
fn lenient_mode_says_where_the_fault_is() {
    let directory = Directory::new("fault");
    let text = BASE.replace("group: outer", "group: nope");
    let config = directory.load(&text, Mode::Lenient).unwrap();
    let fault = faults(&config)[0][0].clone().unwrap();
    assert!(fault.starts_with("unknown middleware group `nope` ("), "{fault}");
    assert!(fault.ends_with("nylon.yaml:14)"), "{fault}");
}

#[test]
fn damaged_files_are_reported_whatever_is_missing() {
    let directory = Directory::new("damaged");
    let lines: Vec<&str> = BASE.lines().collect();
    for skipped in 0..lines.len() {
        let text = [&lines[..skipped], &lines[skipped + 1..]].concat().join("\n");
        let _ = directory.load(&text, Mode::Strict);
    }
    let wide = BASE.replace("./", "ąę/");
    for (end, _) in wide.char_indices().step_by(3) {
        if let Err(refused) = directory.load(&wide[..end], Mode::Strict) {
            assert!(refused.to_string().starts_with("error: "), "{refused}");
        }
    }
}

#[test]
fn the_directory_may_hold_the_runtime_file_and_hidden_files() {
    let directory = Directory::new("directory");
    fs::write(directory.0.join(".hidden.yaml.swp"), "no: yaml: here").unwrap();
    fs::create_dir_all(directory.0.join("more")).unwrap();
    let group = "middleware_groups: {extra: []}\nheader_selector: x-more\n";
    fs::write(directory.0.join("more/extra"), group).unwrap();
    let text = format!("{BASE}\nconfig_dir: .\nheader_selector: x-first\n");
    let config = directory.load(&text, Mode::Strict).unwrap();
    assert_eq!(config.header_selector, "x-more");
    assert_eq!(config.plugins.len(), 1);
}

#[test]
fn a_program_must_be_there_and_executable_to_start() {
    let directory = Directory::new("program");
    let config = directory.load(BASE, Mode::Strict).unwrap();
    let problem = || config.plugins[0].start_problem().map(|problem| problem.message);
    assert!(problem().unwrap().contains("is not there"));
    let program = directory.0.join("authz");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(problem().unwrap().contains("may not be run"));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(problem(), None);
    fs::write(&program, "#!/not/there -x\n").unwrap();
    assert!(problem().unwrap().contains("is run by `/not/there`, which is not there"));
    let library = directory.load(&BASE.replace("./authz", "./public.so"), Mode::Strict).unwrap();
    fs::write(directory.0.join("public.so"), "").unwrap();
    assert!(library.plugins[0].start_problem().unwrap().message.contains("is a shared library"));
}

#[test]
fn libraries_and_modules_are_refused_at_start() {
    let directory = Directory::new("ffi");
    for (kind, named) in [("ffi", ".so plugins"), ("wasm", "wasm plugins")] {
        let text = BASE.replace("type: process", &format!("type: {kind}"));
        let config = directory.load(&text, Mode::Strict).unwrap();
        let problem = config.plugins[0].start_problem().unwrap();
        assert!(problem.message.contains(named), "{problem}");
        assert_eq!(problem.snippet.unwrap().line, 4);
    }
}

#[test]
fn a_path_says_more_of_its_websockets_than_its_route() {
    let directory = Directory::new("websockets");
    let policies = |route: &str, path: &str| {
        let text = BASE
            .replacen("    middleware: [", &format!("{route}    middleware: ["), 1)
            .replacen("{path: /app,", &format!("{{path: /app,{path}"), 1);
        let config = directory.load(&text, Mode::Strict).unwrap();
        let paths = &config.routes[0].paths;
        [0, 1].map(|path| paths[path].websocket.clone())
    };
    let default = WebSockets::default;
    assert_eq!(policies("", ""), [default(), default()]);
    let route =
        "    websocket: {origins: 'https://a.test', max_message: 2MiB, slow_client: close}\n";
    let path = " websocket: {max_message: 64KiB, on_worker_loss: resume, ping_timeout: 1s},";
    let of_route = WebSockets {
        origins: Origins::new(["https://a.test"]).unwrap(),
        max_message: 2 << 20,
        max_frame: 2 << 20,
        slow_client: SlowClient::Close,
        ..default()
    };
    let of_path = WebSockets {
        max_message: 64 << 10,
        max_frame: 64 << 10,
        on_worker_loss: OnWorkerLoss::Resume,
        ping_timeout: Duration::from_secs(1),
        ..of_route.clone()
    };
    assert_eq!(policies(route, path), [of_path, of_route]);
}
