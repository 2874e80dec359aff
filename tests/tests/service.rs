//! `nylon service`: the unit it writes, what it asks systemctl for, and what it says where it cannot.
//!
//! systemctl is a script that writes down what it is asked. The unit is a snapshot, tests/snapshots/service-unit.txt;
//! `NYLON_BLESS=1 cargo xtask test service` writes it anew.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nylon_tests::{Temp, program, watchdog};

const GOOD: &str = "\
http: 127.0.0.1:8080
crash_reports: /usr/lib/nylon-crashes
pingora: {grace_period_seconds: 25}
plugins:
  - {name: slow, type: process, file: /bin/true, start_timeout: 90s, limits: {nofile: 64}}
routes: []
";

/// A machine, as far as `nylon service` looks at it.
struct Machine(Temp);

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Machine {
    /// One that systemd 255 runs.
    fn new() -> Machine {
        let machine = Machine(Temp::new());
        let dir = machine.0.path().display();
        machine.0.write("etc/nylon.yaml", GOOD);
        machine.0.write("state", "running\n");
        machine.0.write("shown", "LoadState=loaded\nActiveState=active\nSubState=running\nMainPID=7\nStatusText=serving\n");
        let script = format!(
            "#!/bin/sh\necho \"$*\" >> {dir}/calls\ncase $1 in\n  --version) echo 'systemd 255 (255.4)';;\n  \
             is-system-running) cat {dir}/state;;\n  show) cat {dir}/shown;;\n  \
             *) [ ! -e {dir}/fails ] || {{ cat {dir}/fails >&2; exit 1; }};;\nesac\n"
        );
        let file = machine.0.write("bin/systemctl", &script);
        fs::set_permissions(file, PermissionsExt::from_mode(0o755)).expect("it can be run");
        fs::create_dir(machine.path("units")).expect("a folder");
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn unit(&self) -> Option<String> {
        fs::read_to_string(self.path("units/nylon.service")).ok()
    }

    /// `nylon service` with these arguments, blanks between them.
    fn service(&self, args: &str) -> Said {
        self.by(&mut Command::new(program::nylon()), args, &self.path("bin"))
    }

    /// `install` of the good configuration.
    fn install(&self, more: &str) -> Said {
        self.service(&format!("install -c etc/nylon.yaml --unit-dir units {more}"))
    }

    fn by(&self, command: &mut Command, args: &str, path: &Path) -> Said {
        command.arg("service").args(args.split_whitespace()).current_dir(self.0.path());
        // `cat` is in one of the others.
        let path = format!("{}:/usr/bin:/bin", path.display());
        let out = command.env("PATH", path).stdin(Stdio::null()).output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { code: out.status.code(), out: text(&out.stdout), err: text(&out.stderr) }
    }

    /// What systemctl was asked to do since the last time.
    fn asked(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.path("calls"));
        let asks = |line: &&str| {
            ["show", "--version", "is-system"].iter().any(|ask| line.starts_with(ask))
        };
        let dir = self.0.path().display().to_string();
        calls.lines().filter(|line| !asks(line)).map(|line| line.replace(&dir, "DIR")).collect()
    }
}

impl Said {
    #[track_caller]
    fn with(self, code: i32) -> Said {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        self
    }

    #[track_caller]
    fn says(&self, parts: &[&str]) {
        let text = format!("{}{}", self.out, self.err);
        parts.iter().for_each(|part| assert!(text.contains(part), "no `{part}` in\n{text}"));
    }
}

#[test]
fn a_unit_is_written_enabled_and_left_alone_the_second_time() {
    let _dog = watchdog(60);
    let it = Machine::new();
    it.install("").with(0).says(&["units/nylon.service: written", "nylon service start"]);
    let unit = it.unit().expect("it is there");
    snapshot(
        &unit
            .replace(&*it.0.path().to_string_lossy(), "DIR")
            .replace(&*program::nylon().to_string_lossy(), "NYLON"),
    );
    let mode =
        fs::metadata(it.path("units/nylon.service")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    let enabled = ["daemon-reload", "enable --quiet DIR/units/nylon.service"];
    assert_eq!(it.asked(), enabled);
    it.install("").with(0).says(&["unchanged"]);
    assert_eq!((it.unit().as_ref(), it.asked()), (Some(&unit), enabled.map(String::from).to_vec()));
    it.install("--lenient").with(0).says(&["replaced"]);
    assert!(it.unit().is_some_and(|unit| unit.contains("/etc/nylon.yaml --lenient\n")));
    assert_eq!(
        fs::read_dir(it.path("units")).expect("a folder").count(),
        1,
        "nothing else is left"
    );
}

fn snapshot(text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots/service-unit.txt");
    if std::env::var_os("NYLON_BLESS").is_some() {
        fs::write(&file, text).expect("the snapshot");
    }
    let known = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(text, known, "the unit is another now; NYLON_BLESS=1 accepts it");
}

#[test]
fn systemd_has_nothing_to_say_against_the_unit() {
    let _dog = watchdog(120);
    let it = Machine::new();
    let odd = it.0.write("an \"odd\" 100% $HOME\\dir's/n;y.yaml", GOOD);
    let program = it.path("50% of $x");
    fs::create_dir(&program).expect("a folder");
    let program = program.join("ny lon");
    symlink(program::nylon(), &program).expect("a link");
    let mut command = Command::new(&program);
    command.args(["service", "install", "--print", "--user", "daemon", "-c"]).arg(&odd);
    let out = command.env("PATH", it.path("bin")).output().expect("it runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    // What is installed here may be older than what the script says it is.
    let text = String::from_utf8_lossy(&out.stdout).replace("notify-reload", "notify");
    let unit = it.0.write("nylon-odd.service", &text);
    let mut verify = Command::new("systemd-analyze");
    let Ok(said) = verify.args(["verify", "--man=no"]).arg(&unit).output() else {
        return println!("NOT TESTED: there is no systemd-analyze here");
    };
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    // Of units of this machine it may say what it likes.
    let of_ours: Vec<_> = said.lines().filter(|line| line.contains("nylon-odd")).collect();
    assert!(of_ours.is_empty(), "{said}\n{text}");
    let wrong =
        it.0.write("nylon-wrong.service", &text.replace("WatchdogSec=30", "WatchdogSec=often"));
    let said = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&wrong).output();
    let said = String::from_utf8_lossy(&said.expect("it ran before").stderr).into_owned();
    assert!(said.contains("nylon-wrong.service"), "it looks at the unit: {said}");
    it.0.write("nylon-odd.service", "");
}

#[test]
fn a_unit_of_somebody_else_is_not_touched_unless_forced() {
    let _dog = watchdog(60);
    let it = Machine::new();
    let theirs = "[Service]\nExecStart=/bin/true\n";
    it.0.write("units/nylon.service", theirs);
    it.install("").with(1).says(&["units/nylon.service was not written by", "--force"]);
    it.service("uninstall --unit-dir units").with(1).says(&["was not written by"]);
    assert_eq!((it.unit().as_deref(), it.asked().len()), (Some(theirs), 0));
    it.install("--force").with(0).says(&["replaced"]);
    // Masked.
    fs::remove_file(it.path("units/nylon.service")).expect("it was there");
    symlink("/dev/null", it.path("units/nylon.service")).expect("a link");
    it.install("").with(1).says(&["was not written by"]);
    it.install("--name edge").with(0).says(&["units/edge.service: written"]);
}

#[test]
fn what_is_wrong_is_said_before_anything_is_done() {
    let _dog = watchdog(60);
    let it = Machine::new();
    it.0.write("etc/bad.yaml", &GOOD.replace("pingora:", "pingura:"));
    it.service("install -c etc/bad.yaml --unit-dir units").with(2).says(&["bad.yaml:3", "pingura"]);
    it.install("--user nobody-of-this-name")
        .with(2)
        .says(&["no user `nobody-of-this-name`", "useradd"]);
    it.install("--name a/b").with(2).says(&["a name has letters"]);
    it.0.write("state", "offline\n");
    it.install("").with(1).says(&[
        "systemd does not run this machine",
        "/run/systemd/system",
        "--print",
    ]);
    for verb in ["uninstall", "start", "stop", "restart", "reload", "status"] {
        it.service(verb).with(1).says(&["systemd does not run this machine"]);
    }
    assert_eq!((it.unit(), it.asked().len()), (None, 0), "nothing was done");
    it.install("--print").with(0).says(&["Type=notify-reload", "[Install]"]);

    // No systemctl at all, and one that cannot be reached.
    let nowhere = it.path("nowhere");
    let args = ["service", "start"];
    let out =
        Command::new(program::nylon()).args(args).env("PATH", &nowhere).output().expect("it runs");
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(1) && err.contains("no `systemctl` on PATH"), "{err}");
    let mut print = Command::new(program::nylon());
    print
        .args(["service", "install", "--print", "-c"])
        .arg(it.path("etc/nylon.yaml"))
        .env("PATH", nowhere);
    let out = print.output().expect("it runs");
    let out = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.contains("Type=notify\n") && out.contains("\nExecReload=/bin/kill -HUP $MAINPID\n"),
        "any systemd takes it: {out}"
    );
}

#[test]
fn a_folder_that_cannot_be_written_and_a_systemctl_that_fails_are_told() {
    let _dog = watchdog(60);
    let it = Machine::new();
    it.service("install -c etc/nylon.yaml --unit-dir missing")
        .with(1)
        .says(&["missing/nylon.service cannot be written"]);
    it.0.write("fails", "Job for nylon.service failed.\n");
    it.service("start")
        .with(1)
        .says(&["systemctl start nylon.service: Job for nylon.service failed."]);
    it.install("").with(1).says(&["systemctl daemon-reload: Job for"]);
}

#[test]
fn verbs_drive_the_unit_and_status_says_how_it_is() {
    let _dog = watchdog(60);
    let it = Machine::new();
    for verb in ["start", "stop", "restart", "reload"] {
        it.service(&format!("{verb} --name edge"))
            .with(0)
            .says(&["edge.service active (running): serving"]);
        assert_eq!(it.asked(), [format!("{verb} edge.service")]);
    }
    it.service("status").with(0).says(&["nylon.service active (running): serving", "process   7"]);
    let json = it.service("status --json").with(0).out;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (&json["active"], &json["pid"], &json["says"]),
        (&true.into(), &7.into(), &"serving".into())
    );
    it.0.write("shown", "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainStatus=2\n");
    it.service("status").with(3).says(&[
        "nylon.service failed (failed)",
        "exit-code, exit 2",
        "journalctl",
    ]);
    it.0.write("shown", "LoadState=not-found\nActiveState=inactive\nSubState=dead\n");
    it.service("status").with(3).says(&["nylon.service is not installed"]);
    it.service("start").with(1).says(&["there is no service nylon.service"]);
    assert!(it.asked().is_empty());
}

#[test]
fn uninstall_stops_and_removes_and_twice_is_once() {
    let _dog = watchdog(60);
    let it = Machine::new();
    it.install("").with(0);
    it.asked();
    it.service("uninstall --unit-dir units").with(0).says(&["stopped and removed"]);
    assert_eq!(it.asked(), ["disable --now --quiet nylon.service", "daemon-reload"]);
    assert_eq!(it.unit(), None);
    it.service("uninstall --unit-dir units").with(0).says(&["nothing to do"]);
    assert!(it.asked().is_empty());
}
