//! The lines a user sees when something is wrong: what, where, what to do; 2 for configuration, 1 at run time.
//!
//! The texts are snapshots in tests/snapshots; `NYLON_BLESS=1 cargo xtask test badinput` writes them anew.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nylon_tests::{Temp, ports, program, watchdog};

/// How a gateway ended, and what it said.
struct Said {
    code: Option<i32>,
    text: String,
}

/// A file that works, to be broken: the lines that matter are replaced by a test.
const GOOD: &str = "\
http: 127.0.0.1:@PORT@
plugins:
  - name: probe
    type: process
    file: @PROBE@
    config: {trace: trace}
services:
  - name: hello
    service_type: plugin
    plugin: {name: probe, entry: pid}
routes:
  - name: main
    route: {type: host, value: 127.0.0.1}
    paths: [{path: /, service: {name: hello}}]
";

/// Runs `nylon ARGS -c FILE` on `text` to its end.
fn nylon(args: &[&str], text: &str) -> Said {
    nylon_with(args, text, &[])
}

/// The same with variables in its environment.
fn nylon_with(args: &[&str], text: &str, env: &[(&str, &str)]) -> Said {
    let dir = Temp::new();
    let port = ports::free().port().to_string();
    let probe = program::plugin("probe");
    let probe = probe.to_str().expect("UTF-8");
    let text = text.replace("@PORT@", &port).replace("@PROBE@", probe);
    let config = dir.write("nylon.yaml", &text);
    let mut command = Command::new(program::nylon());
    command.args(args).arg("-c").arg(&config).current_dir(dir.path());
    command.envs(env.iter().copied());
    let said = ended(&mut command, Duration::from_secs(15));
    let text = said.text.replace(&*dir.path().to_string_lossy(), "DIR").replace(&port, "PORT");
    let text = text.replace(probe, "PROBE");
    // The test plugin grows; what its entries are is not the point.
    let text = text.lines().map(|l| without_entries(l).to_owned() + "\n").collect();
    Said { code: said.code, text }
}

fn without_entries(line: &str) -> &str {
    line.find(" pid, nonce,").map_or(line, |at| &line[..at])
}

fn ended(command: &mut Command, limit: Duration) -> Said {
    let dir = Temp::new();
    let output = std::fs::File::create(dir.path().join("output")).expect("a file");
    let both = output.try_clone().expect("a second handle");
    let mut child =
        command.stdin(Stdio::null()).stdout(output).stderr(both).spawn().expect("nylon starts");
    let end = Instant::now() + limit;
    let code = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status.code();
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let text = std::fs::read_to_string(dir.path().join("output")).expect("the output");
    Said { code, text: plain(&text) }
}

/// Without colours and without lines of the log that say nothing is wrong (they carry times and pids).
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut parts = text.split('\u{1b}');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        out.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    let quiet = |line: &&str| !line.contains(" INFO ") && !line.contains(" DEBUG ");
    out.lines().filter(quiet).map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// The exit code, the parts every wording must have, and the wording itself.
fn expect(name: &str, said: &Said, code: i32, parts: &[&str]) {
    let text = &said.text;
    assert_eq!(said.code, Some(code), "{name}:\n{text}");
    assert!(!text.contains("panicked"), "{name}:\n{text}");
    for part in parts {
        assert!(
            text.to_lowercase().contains(&part.to_lowercase()),
            "{name}: no `{part}` in\n{text}"
        );
    }
    snapshot(name, text);
}

fn snapshot(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots").join(format!("{name}.txt"));
    if std::env::var_os("NYLON_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(&file, text).expect("the snapshot");
    }
    let Ok(known) = std::fs::read_to_string(&file) else {
        panic!("{name} has no snapshot yet; NYLON_BLESS=1 writes this one:\n{text}");
    };
    assert_eq!(text, &known, "{name} reads differently now; NYLON_BLESS=1 accepts it");
}

#[test]
fn malformed_yaml() {
    let _dog = watchdog(60);
    let said = nylon(&["run"], &GOOD.replace("  - name: main\n", "  - name: [main\n"));
    expect("malformed-yaml", &said, 2, &["nylon.yaml:", "^"]);
}

#[test]
fn unknown_key() {
    let _dog = watchdog(60);
    let said =
        nylon(&["run"], &GOOD.replace("    type: process\n", "    type: process\n    fiel: x\n"));
    expect("unknown-key", &said, 2, &["nylon.yaml:5", "fiel", "file", "^"]);
}

#[test]
fn unknown_plugin() {
    let _dog = watchdog(60);
    let said = nylon(&["run"], &GOOD.replace("plugin: {name: probe,", "plugin: {name: prob,"));
    expect("unknown-plugin", &said, 2, &["nylon.yaml:10", "prob", "^"]);
}

#[test]
fn unknown_entry() {
    let _dog = watchdog(60);
    let said = nylon(&["run"], &GOOD.replace("entry: pid", "entry: pidd"));
    expect("unknown-entry", &said, 2, &["nylon.yaml:10", "pidd", "pid", "^"]);
}

#[test]
fn missing_program() {
    let _dog = watchdog(60);
    let said = nylon(&["run"], &GOOD.replace("@PROBE@", "./not-there"));
    expect("missing-program", &said, 2, &["nylon.yaml:5", "not-there", "^"]);
}

#[test]
fn a_template_that_does_not_parse() {
    let _dog = watchdog(60);
    let broken = "entry: pid, payload: {a: \"${header(\"}}";
    let said = nylon(&["run"], &GOOD.replace("entry: pid}", broken));
    expect("broken-template", &said, 2, &["nylon.yaml:10", "^"]);
}

#[test]
fn no_such_file() {
    let _dog = watchdog(60);
    let dir = Temp::new();
    let mut command = Command::new(program::nylon());
    command.args(["run", "-c", "missing.yaml"]).current_dir(dir.path());
    let said = ended(&mut command, Duration::from_secs(15));
    expect("no-such-file", &said, 2, &["missing.yaml"]);
}

#[test]
fn a_program_that_is_no_worker() {
    let _dog = watchdog(60);
    let said = nylon(&["run"], &GOOD.replace("@PROBE@", "/bin/true"));
    expect("no-worker", &said, 1, &["nylon.yaml:3", "/bin/true", "Serve", "^"]);
    let checked = nylon(&["check"], &GOOD.replace("@PROBE@", "/bin/true"));
    assert_eq!((checked.code, &checked.text), (said.code, &said.text));
}

#[test]
fn an_original_plugin_without_serve() {
    let _dog = watchdog(60);
    let mute = program::plugin("mute");
    let mute = mute.to_str().expect("UTF-8");
    let mut said = nylon(&["run"], &GOOD.replace("@PROBE@", mute));
    said.text = said.text.replace(mute, "MUTE");
    expect("without-serve", &said, 1, &["MUTE", "sdk.Serve()"]);
}

/// Runs a plugin whose program is this text, in a file of this name.
fn nylon_with_program(name: &str, text: &str) -> Said {
    let dir = Temp::new();
    let file = dir.write(name, text);
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&file, executable).expect("it may be run");
    let file = file.to_str().expect("UTF-8");
    let mut said = nylon(&["run"], &GOOD.replace("@PROBE@", file));
    // The caret line is as long as the path.
    said.text = said.text.replace(file, "PROGRAM").replace(&"^".repeat(file.len()), "^");
    said
}

#[test]
fn a_script_without_its_interpreter() {
    let _dog = watchdog(60);
    let said = nylon_with_program("script", "#!/opt/not-there/python3\nprint()\n");
    expect("no-interpreter", &said, 2, &["nylon.yaml:5", "/opt/not-there/python3", "^"]);
}

#[test]
fn a_shared_library_as_a_program() {
    let _dog = watchdog(60);
    let said = nylon_with_program("plugin.so", "");
    expect("shared-library", &said, 2, &["nylon.yaml:5", "sdk.Serve()", "^"]);
}

#[test]
fn a_config_that_is_no_map() {
    let _dog = watchdog(60);
    let said = nylon(&["run"], &GOOD.replace("config: {trace: trace}", "config: [trace]"));
    expect("config-list", &said, 2, &["nylon.yaml:6", "map", "^"]);
}

#[test]
fn a_modifier_of_framing() {
    let _dog = watchdog(60);
    let modifier = "{plugin: ResponseHeaderModifier, payload: {remove: content-length}}";
    let path = format!("service: {{name: hello}}, middleware: [{modifier}]}}]");
    let said = nylon(&["run"], &GOOD.replace("service: {name: hello}}]", &path));
    expect("framing-modifier", &said, 2, &["nylon.yaml:14", "frames messages by itself", "^"]);
}

#[test]
fn a_root_that_is_not_there() {
    let _dog = watchdog(60);
    let files = "service_type: static\n    static: {root: ./missing}";
    let text = GOOD.replace("service_type: plugin\n    plugin: {name: probe, entry: pid}", files);
    for args in [&["run"][..], &["check"], &["check", "--static"]] {
        expect("missing-root", &nylon(args, &text), 2, &["nylon.yaml:10", "root", "^"]);
    }
    let said = nylon(&["check", "--static", "--lenient"], &text);
    assert!(
        said.code == Some(0) && said.text.contains("warning: the root `./missing`"),
        "{}",
        said.text
    );
}

#[test]
fn check_says_what_a_lenient_run_would() {
    let _dog = watchdog(60);
    let said = nylon(&["check", "--lenient"], &GOOD.replace("entry: pid", "entry: pidd"));
    expect("check-lenient-entry", &said, 0, &["warning", "nylon.yaml:10", "pidd"]);
    let said = nylon(&["check", "--lenient"], &GOOD.replace("@PROBE@", "/bin/true"));
    expect("check-lenient-no-worker", &said, 0, &["warning", "nylon.yaml:3", "/bin/true"]);
    let said = nylon(&["check", "--lenient"], &GOOD.replace("@PROBE@", "./not-there"));
    expect("check-lenient-no-program", &said, 0, &["warning", "nylon.yaml:5"]);
    let said =
        nylon(&["check", "--lenient"], &GOOD.replace("paths: [{path: /,", "paths: [{path: x,"));
    assert_eq!(said.code, Some(2), "other errors stay errors:\n{}", said.text);
}

#[test]
fn a_worker_of_another_major() {
    let _dog = watchdog(60);
    let other = program::plugin("otherabi");
    let other = other.to_str().expect("UTF-8");
    let mut said = nylon(&["run"], &GOOD.replace("@PROBE@", other));
    said.text = said.text.replace(other, "OTHERABI");
    expect("other-major", &said, 1, &["1.0", "1.2", "2.0", "2.3"]);
}

#[test]
fn a_port_in_use() {
    let _dog = watchdog(60);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let mut said = nylon(&["run"], &GOOD.replace("@PORT@", &port));
    said.text = said.text.replace(&port, "PORT");
    expect("port-in-use", &said, 1, &["127.0.0.1:PORT", "in use"]);
}

#[test]
fn check_accepts_what_run_accepts() {
    let _dog = watchdog(60);
    let said = nylon(&["check"], GOOD);
    expect("check-good", &said, 0, &["probe"]);
    let said = nylon(&["check", "--static"], &GOOD.replace("entry: pid", "entry: pidd"));
    assert_eq!(said.code, Some(0), "--static starts nothing and knows no entries:\n{}", said.text);
    let said = nylon(&["check"], &GOOD.replace("entry: pid", "entry: pidd"));
    assert_eq!(said.code, Some(2), "{}", said.text);
    // The gateway starts without it.
    let optional = "file: ./not-there\n    required: false";
    let said = nylon(&["check"], &GOOD.replace("file: @PROBE@", optional));
    assert_eq!(said.code, Some(0), "{}", said.text);
    assert!(said.text.contains("warning: ") && said.text.contains("./not-there"), "{}", said.text);
}

#[test]
fn a_log_level_that_is_none() {
    let _dog = watchdog(60);
    let verbose = [("NYLON_LOG", "verbose")];
    let said = nylon_with(&["run"], &GOOD.replace("@PROBE@", "/bin/true"), &verbose);
    expect("log-level", &said, 1, &["`verbose` in NYLON_LOG", "`info`", "debug"]);
}

#[test]
fn version_names_the_protocol() {
    let _dog = watchdog(60);
    let said = ended(Command::new(program::nylon()).arg("--version"), Duration::from_secs(15));
    assert_eq!(said.code, Some(0), "{}", said.text);
    assert!(said.text.starts_with("nylon ") && said.text.contains("1.0"), "{}", said.text);
}

#[test]
fn an_unknown_command_is_2() {
    let _dog = watchdog(60);
    let said = ended(Command::new(program::nylon()).arg("fly"), Duration::from_secs(15));
    assert_eq!(said.code, Some(2), "{}", said.text);
}
