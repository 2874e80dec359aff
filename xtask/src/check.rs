//! `cargo xtask check`: the whole gate but the tests. Every step runs; the failures come together at the end.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{Result, r#gen, go, process, schema, target, tool};

const LIMIT: Duration = Duration::from_secs(900);
const CARGO_DENY: &str = "0.20.2";

type Step<'a> = (&'a str, Box<dyn Fn() -> Result<()> + 'a>);

pub(crate) fn run(root: &Path, full: bool) -> Result<()> {
    let mut steps = rust_steps(root);
    steps.extend(go_steps(root));
    steps.push(("C header", Box::new(|| c_header(root))));
    if full {
        steps.push(("cargo-deny", Box::new(|| deny(root))));
    }
    let mut failures = Vec::new();
    for (name, step) in steps {
        let start = Instant::now();
        let done = step();
        let seconds = start.elapsed().as_secs_f64();
        println!("{} {name:<28} {seconds:>7.1} s", if done.is_ok() { "ok    " } else { "FAILED" });
        if let Err(e) = done {
            failures.push((name, e));
        }
    }
    for (name, why) in &failures {
        println!("\n--- {name}\n{}", why.trim_end());
    }
    match failures.len() {
        0 => Ok(()),
        n => Err(format!("{n} of the checks failed")),
    }
}

fn rust_steps(root: &Path) -> Vec<Step<'_>> {
    let clippy = "clippy --workspace --all-targets --quiet -- -D warnings";
    vec![
        ("gen --check", Box::new(|| r#gen::run(root, true).and_then(|()| schema::run(root, true)))),
        (
            "cargo fmt",
            Box::new(|| tool::component("fmt").and_then(|()| cargo(root, "fmt --all --check"))),
        ),
        (
            "cargo clippy",
            Box::new(move || tool::component("clippy").and_then(|()| cargo(root, clippy))),
        ),
        ("atomics", Box::new(|| atomics(&root.join("nylon-shm/src")))),
        ("cargo doc", Box::new(|| doc(root))),
    ]
}

fn go_steps(root: &Path) -> Vec<Step<'_>> {
    let sdk = root.join("sdk-go");
    let darwin = sdk.clone();
    vec![
        ("go toolchain", Box::new(|| tool::go(root))),
        ("gofmt", Box::new(|| gofmt(root))),
        ("go vet", Box::new(|| each_module(root, &["vet", "./..."]))),
        ("staticcheck", Box::new(|| staticcheck(root))),
        ("go build linux/arm64", Box::new(move || foreign(&sdk, "linux", "arm64", "build"))),
        ("go vet darwin", Box::new(move || foreign(&darwin, "darwin", "arm64", "vet"))),
    ]
}

fn cargo(root: &Path, args: &str) -> Result<()> {
    passed(Command::new("cargo").args(args.split(' ')).current_dir(root))
}

fn doc(root: &Path) -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(["doc", "--workspace", "--no-deps", "--quiet"]).current_dir(root);
    passed(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// nylon-shm names `sync::atomic` in src/sync.rs alone, so that loom sees every atomic of the ring.
fn atomics(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            atomics(&path)?;
        } else if path.file_name().is_some_and(|name| name != "sync.rs") {
            let text = fs::read_to_string(&path).unwrap_or_default();
            if let Some(line) = text.lines().position(|l| l.contains("sync::atomic")) {
                return Err(format!("{}:{}: take it from crate::sync", path.display(), line + 1));
            }
        }
    }
    Ok(())
}

/// `gofmt -l` prints the files it would change and ends with 0 all the same.
fn gofmt(root: &Path) -> Result<()> {
    let mut command = Command::new("gofmt");
    // Those of benches/peers are looked at for their form alone: what they depend on is large.
    command.arg("-l").args(go::modules(root)).arg("benches/peers/go").current_dir(root);
    let ran = process::capture(&mut command, LIMIT)?;
    if ran.ok() && ran.stdout.is_empty() {
        return Ok(());
    }
    Err(format!(
        "not formatted:
{}",
        ran.text()
    ))
}

fn each_module(root: &Path, args: &[&str]) -> Result<()> {
    let failed: Vec<String> = go::modules(root)
        .iter()
        .filter_map(|dir| {
            let e = passed(&mut go::command(dir, args)).err()?;
            Some(format!("{}:\n{e}", dir.display()))
        })
        .collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

fn staticcheck(root: &Path) -> Result<()> {
    each_module(root, &["run", go::STATICCHECK, "./..."])
}

fn foreign(sdk: &Path, os: &str, arch: &str, verb: &str) -> Result<()> {
    let mut command = go::command(sdk, &[verb, "./..."]);
    passed(command.env("GOOS", os).env("GOARCH", arch).env("CGO_ENABLED", "0"))
}

/// The generated header alone, and what an SDK in C relies on, asserted.
fn c_header(root: &Path) -> Result<()> {
    tool::cc()?;
    let source = target(root).join("wire_check.c");
    fs::write(&source, C_ASSERTS).map_err(|e| format!("{}: {e}", source.display()))?;
    let mut command = Command::new("cc");
    command.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I"]);
    passed(command.arg(root.join("sdk-c/include")).arg(&source))
}

const C_ASSERTS: &str = r#"
#include <nylon/wire.h>
struct slot { uint32_t seq; uint8_t kind; uint8_t phase; uint16_t flags; uint32_t sid; uint32_t method;
  uint32_t call_idx; uint32_t call_gen; uint64_t arena_pos; uint32_t len; uint32_t status; uint8_t head[24];
  uint8_t tail[64]; };
#define AT(field, offset) _Static_assert(__builtin_offsetof(struct slot, field) == (offset), #field)
AT(seq, NYLON_SLOT_SEQ); AT(kind, NYLON_SLOT_KIND); AT(phase, NYLON_SLOT_PHASE); AT(flags, NYLON_SLOT_FLAGS);
AT(sid, NYLON_SLOT_SID); AT(method, NYLON_SLOT_METHOD); AT(call_idx, NYLON_SLOT_CALL_IDX);
AT(call_gen, NYLON_SLOT_CALL_GEN); AT(arena_pos, NYLON_SLOT_ARENA_POS); AT(len, NYLON_SLOT_LEN);
AT(status, NYLON_SLOT_STATUS); AT(head, NYLON_SLOT_INLINE); AT(tail, NYLON_SLOT_TAIL);
_Static_assert(sizeof(struct slot) == NYLON_SIZE_SLOT, "a slot is one frame line and one tail line");
_Static_assert(NYLON_ABI_MINOR_MIN <= NYLON_ABI_MINOR, "the range of minors is not empty");
_Static_assert(NYLON_SIZE_INLINE == NYLON_SIZE_INLINE_HEAD + 64, "inline bytes fill the rest of both lines");
static const char *const names[] = NYLON_NAMES;
_Static_assert(sizeof names / sizeof *names == NYLON_NAME_X_REQUESTED_WITH, "the last name has the last id");
_Static_assert(NYLON_FEATURE_KNOWN & NYLON_FEATURE_HEADER_NAMES, "the names are agreed by a feature");
_Static_assert(NYLON_FD_CONTROL == 3, "the control socket follows the standard three");
"#;

/// Bans, licences and sources; advisories need a database copy and are not asked.
fn deny(root: &Path) -> Result<()> {
    let tools = target(root).join("tools");
    let program = tools.join("bin/cargo-deny");
    if !program.exists() {
        let mut install = Command::new("cargo");
        install.args(["install", "cargo-deny", "--locked", "--version", CARGO_DENY, "--root"]);
        passed(install.arg(&tools))?;
    }
    let mut command = Command::new(program);
    command.args(["--all-features", "check", "bans", "licenses", "sources"]).current_dir(root);
    passed(&mut command)
}

fn passed(command: &mut Command) -> Result<()> {
    let ran = process::capture(command, LIMIT)?;
    if ran.ok() { Ok(()) } else { Err(format!("{}\n{}", ran.how(), ran.text())) }
}
