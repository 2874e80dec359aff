//! Clients that nobody here wrote: github.com/coder/websocket, Python's `websockets`, what Node has built in, and a browser.
//!
//! Each of tests/clients does the same list of cases and prints what it saw, a line of JSON per case; what is right is here,
//! for what the client saw and for what the plugin saw of the same connection.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nylon_tests::{Gateway, Site, eventually, ports, program, watchdog};
use serde_json::{Value, json};
use tokio::process::Command;

const SNOWMAN: &str = "héllo ☃ 😀";

/// What every client sees, beside the ids of its connections and the pings it got.
fn right() -> Value {
    let hex: String = (0..256).map(|n| format!("{:02x}", n % 251)).collect();
    let (join, broadcast) = (r#"text: {"op":"join"}"#, r#"text: {"op":"broadcast"}"#);
    let hello = format!("text: {SNOWMAN}");
    json!({
        "subprotocol": {"client": "chat.v2", "plugin": "chat.v2", "header": "here"},
        "foreign-subprotocol": {"client": "", "plugin": ""},
        "compression": {"extensions": "", "same": true},
        "text": {"text": SNOWMAN},
        "binary": {"hex": hex},
        "empty": {"text": "", "binary": 0},
        // Of 0 to 250, again and again, 1 MiB long.
        "large": {
            "bytes": 1 << 20,
            "sha256": "631b84027d6b9e52b539c4e8373622d23032dfadc64d60af87339c9037e4f769",
        },
        "order": {"in_place": 1000},
        "fragments": {"text": SNOWMAN},
        "ping": {"pongs": 2},
        "pinged": {"alive": true},
        "close-by-client": {"code": 4001, "reason": "bye ☃"},
        "close-by-plugin": {"code": 4002, "reason": "go ☃"},
        "close-without-code": {"code": 1005, "reason": ""},
        "too-large": {"code": 1009},
        "origin": {"evil": 403, "good": "in"},
        "rooms": {
            "size": "2",
            "a": [join, hello, broadcast, "binary: bytes", "text: between us", "text: alone", broadcast],
            "b": [
                join, hello, "binary: bytes", r#"text: {"op":"broadcast-binary"}"#, r#"text: {"op":"send-to"}"#,
                r#"text: {"op":"path","value":"/rooms"}"#,
            ],
        },
        "drop": {"heard": true},
        "exit": {},
    })
}

/// The code and the reason that `OnClose` saw of the connection of a case.
const ENDS: [(&str, &str); 6] = [
    ("close-by-client", "4001 bye ☃"),
    ("close-by-plugin", "4002 go ☃"),
    ("close-without-code", "1005 "),
    ("too-large", "1009 a frame of more than 1048576 bytes"),
    ("drop", "1006 "),
    ("exit", "1006 "),
];

/// What `cargo xtask test websocket_clients` puts below the target folder.
fn tool(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let below = |dir: &Path| dir.join("tools/websocket-clients").join(name);
    let found = own.ancestors().map(below).find(|file| file.exists());
    found.unwrap_or_else(|| panic!("{name}: `cargo xtask test websocket_clients` fetches it"))
}

fn script(name: &str) -> PathBuf {
    program::root().join("tests/clients").join(name)
}

/// What a client printed, which ended well and in time.
async fn output(mut client: Command, within: Duration) -> String {
    client.kill_on_drop(true).stdin(Stdio::null());
    let out = tokio::time::timeout(within, client.output()).await;
    let out = out.expect("the client ends in time").expect("the client starts");
    let (said, wrong) =
        (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{}\n{said}{wrong}", out.status);
    said.into_owned()
}

/// Has a client do its cases, of which it sees `other` differently than most (null: it cannot do that one).
async fn judge(mut client: Command, other: &Value) {
    let policy = |more: Value| json!({ "websocket": more });
    let site = Site::new().plugin("probe");
    let site = site.service("echo", "probe", "ws-echo", Value::Null).path("/echo", "echo", &[]);
    let site = site.service("rooms", "probe", "ws-rooms", Value::Null).path("/rooms", "rooms", &[]);
    let pinged = policy(json!({"ping_interval": "100ms", "ping_timeout": "5s"}));
    let site = site.path_with("/pinged", "rooms", &[], pinged);
    let guarded = policy(json!({"origins": ["http://good.test"]}));
    let site = site.path_with("/guarded", "echo", &[], guarded);
    let gateway = Gateway::start(&site).await;

    client.arg(format!("ws://{}", gateway.addr));
    let said = output(client, Duration::from_secs(45)).await;
    let mut saw = BTreeMap::new();
    for line in said.lines() {
        let mut line: Value = serde_json::from_str(line).expect("a line of JSON");
        let name = line["case"].take().as_str().expect("a case").to_owned();
        assert!(saw.insert(name, line).is_none(), "twice: {said}");
    }
    let text = |case: &str, key: &str| saw[case][key].as_str().unwrap_or_default().to_owned();
    assert!(text("compression", "offered").starts_with("permessage-deflate"), "{said}");
    assert!(saw["pinged"]["pings"].as_u64() >= Some(2), "{said}");

    let mut right = right();
    for (case, other) in other.as_object().expect("cases") {
        right[case] = other.clone();
    }
    let right = right.as_object().expect("cases");
    for (case, right) in right.iter().filter(|(_, right)| !right.is_null()) {
        let mut saw = saw.get(case).unwrap_or_else(|| panic!("no {case} in {said}")).clone();
        let extra = ["case", "id", "pings", "offered"];
        saw.as_object_mut().expect("an object").retain(|key, _| !extra.contains(&key.as_str()));
        assert_eq!(saw, *right, "{case}");
    }
    let impossible = right.values().filter(|right| right.is_null()).count();
    assert_eq!(saw.len(), right.len() - impossible, "{said}");

    // Each connection was opened and closed once, and closed as the client says.
    let of = |word: &str| -> Vec<String> {
        let lines = site.trace().into_iter();
        lines.filter_map(|line| Some(line.strip_prefix(word)?.to_owned())).collect()
    };
    let all = || (of("ws open ").len() == of("ws close ").len()).then_some(());
    eventually("OnClose of each connection", Duration::from_secs(10), all).await;
    let closed = of("ws close ");
    for opened in of("ws open ") {
        let id = opened.split(' ').next().expect("an id");
        let ends = closed.iter().filter(|line| line.split(' ').next() == Some(id)).count();
        assert_eq!(ends, 1, "{id}: {closed:#?}");
    }
    for (case, end) in ENDS {
        let line = format!("{} {end}", text(case, "id"));
        assert!(closed.contains(&line), "{case}: no `{line}` in {closed:#?}");
    }
    assert_eq!(gateway.log_lines(|l| l.contains("ERROR") || l.contains("panic")), [""; 0]);
}

#[tokio::test]
async fn coder_websocket_of_go() {
    let _dog = watchdog(60);
    // It takes the code that comes back for right, and keeps the reason to itself.
    judge(Command::new(tool("go")), &json!({"close-by-client": {"code": 4001}})).await;
}

#[tokio::test]
async fn websockets_of_python() {
    let _dog = watchdog(60);
    let mut client = Command::new(tool("python/bin/python"));
    client.arg(script("python/client.py"));
    judge(client, &json!({})).await;
}

#[tokio::test]
async fn what_node_has_built_in() {
    let _dog = watchdog(60);
    let Some(mut client) = node().await else {
        println!(
            "NOT TESTED: Node's WebSocket, for want of a `node` that has it (22, or 20.10 and newer)"
        );
        return;
    };
    client.arg(script("node/client.mjs"));
    // As in a browser: no head of the 101, no fragments, no pings of its own, and no socket without the subprotocol it asked for.
    let other = json!({
        "subprotocol": {"client": "chat.v2", "plugin": "chat.v2"},
        "foreign-subprotocol": {"client": "refused"},
        "fragments": null,
        "ping": null,
        "close-by-client": {"code": 4001, "reason": "bye ☃", "clean": true},
        "close-by-plugin": {"code": 4002, "reason": "go ☃", "clean": true},
        "close-without-code": {"code": 1005, "reason": "", "clean": true},
    });
    judge(client, &other).await;
}

/// Node with a WebSocket: as it is, or with the option that versions before 22 want for it.
async fn node() -> Option<Command> {
    for option in ["--no-warnings", "--experimental-websocket"] {
        let mut node = Command::new("node");
        node.args(["--no-warnings", option]);
        let mut ask = Command::new("node");
        ask.args(["--no-warnings", option, "-p", "typeof WebSocket"]).stdin(Stdio::null());
        let answer = ask.output().await.ok()?;
        if answer.stdout.starts_with(b"function") {
            return Some(node);
        }
    }
    None
}

#[tokio::test]
#[ignore = "long: a browser on the page of examples/ws-chat"]
async fn chromium() {
    let _dog = watchdog(240);
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut files = names.iter().flat_map(|name| dirs.iter().map(move |dir| dir.join(name)));
    let Some(browser) = files.find(|file| file.is_file()) else {
        println!("NOT TESTED: a browser, for want of one (Debian: apt-get install chromium)");
        return;
    };
    let addr = ports::free();
    let only = json!({"websocket": {"origins": [format!("http://{addr}")]}});
    let site = Site::new().program("ws-chat", &program::plugin("ws-chat"), json!({}));
    let site = site.service("page", "ws-chat", "page", Value::Null).path("/", "page", &[]);
    let site = site.service("chat", "ws-chat", "chat", Value::Null);
    let site = site.path_with("/chat/{room}", "chat", &[], only);
    let mut gateway = Gateway::spawn(&site.write(addr), site.dir(), addr);
    gateway.ready(&["/".to_owned()]).await;

    let mut client = Command::new(tool("python/bin/python"));
    client.arg(script("python/browser.py")).arg(browser).arg(format!("http://{addr}/"));
    client.arg(format!("http://localhost:{}/", addr.port()));
    let said = output(client, Duration::from_secs(180)).await;
    let saw: Value = serde_json::from_str(&said).expect("JSON");
    let talk = ["bob is here", "ada: <b>hello</b>", "bob: héllo ☃ 😀", "ada: once more"];
    let ada = [&["ada is here"], &talk[..], &["bob has left"]].concat();
    let right = json!({
        "ada": ada,
        "bob": talk,
        "here": ["1 here", "2 here", "1 here"],
        // Her page is of another origin.
        "eve": ["connection lost, trying again"],
    });
    assert_eq!(saw, right);
}
