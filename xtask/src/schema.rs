//! The FlatBuffers half of `gen`: protocol/schema/*.fbs → Rust and Go, by flatc, and only when a schema changed.
//!
//! flatc 25.12.19 is built from the Go module's archive, which holds the C++ tree; protocol/schema/.hash remembers the
//! schemas the committed code was made from, so that most machines never need cmake.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, go, process, target, tool};

const MODULE: &str = "github.com/google/flatbuffers@v25.12.19+incompatible";

/// One schema and the Go package it becomes.
const SCHEMAS: [(&str, &str); 2] = [("nylon", "fb"), ("headers", "fbheaders")];

/// Regenerates what a changed schema asks for; with `check` only compares the hash.
pub(crate) fn run(root: &Path, check: bool) -> Result<()> {
    let folder = root.join("protocol/schema");
    let (hash_file, hash) = (folder.join(".hash"), hash(&folder)?);
    if fs::read_to_string(&hash_file).unwrap_or_default() == hash {
        return Ok(());
    }
    if check {
        return Err("protocol/schema changed after its code was made: run `cargo xtask gen`".into());
    }
    let flatc = flatc(root)?;
    for (schema, package) in SCHEMAS {
        rust(root, &flatc, schema)?;
        go_code(root, &flatc, schema, package)?;
    }
    fs::write(&hash_file, hash).map_err(|e| e.to_string())
}

/// FNV-1a64 over all schemas, one line each.
fn hash(folder: &Path) -> Result<String> {
    let mut out = String::new();
    for (schema, _) in SCHEMAS {
        let bytes = fs::read(folder.join(format!("{schema}.fbs"))).map_err(|e| e.to_string())?;
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| {
            (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
        });
        out.push_str(&format!("{schema}.fbs {hash:016x}\n"));
    }
    Ok(out)
}

fn rust(root: &Path, flatc: &Path, schema: &str) -> Result<()> {
    let mut command = Command::new(flatc);
    command.args(["--rust", "-o", "protocol/src/generated"]);
    process::show(command.arg(format!("protocol/schema/{schema}.fbs")).current_dir(root))
}

/// flatc names the Go folder after the namespace; ours is named after the package.
fn go_code(root: &Path, flatc: &Path, schema: &str, package: &str) -> Result<()> {
    let scratch = target(root).join("flatc").join(package);
    let _ = fs::remove_dir_all(&scratch);
    let mut command = Command::new(flatc);
    command.args(["--go", "-o"]).arg(&scratch).arg(format!("protocol/schema/{schema}.fbs"));
    process::show(command.current_dir(root))?;
    let into = root.join("sdk-go/internal/wire").join(package);
    let _ = fs::remove_dir_all(&into);
    fs::create_dir_all(&into).map_err(|e| e.to_string())?;
    for file in files(&scratch) {
        let text = fs::read_to_string(&file).map_err(|e| e.to_string())?;
        let text: String = text
            .lines()
            .map(|line| match line.strip_prefix("package ") {
                Some(_) => format!("package {package}\n"),
                None => format!("{line}\n"),
            })
            .collect();
        let name = file.file_name().expect("a file has a name");
        fs::write(into.join(name), text).map_err(|e| e.to_string())?;
    }
    process::show(Command::new("gofmt").arg("-w").arg(&into))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    entries.flat_map(|p| if p.is_dir() { files(&p) } else { vec![p] }).collect()
}

/// Builds flatc once; about a hundred CPU seconds.
fn flatc(root: &Path) -> Result<PathBuf> {
    let build = target(root).join("flatc/build");
    let flatc = build.join("flatc");
    if flatc.exists() {
        return Ok(flatc);
    }
    tool::go(root)?;
    tool::cmake()?;
    let out = go::command(&root.join("sdk-go"), &["mod", "download", "-json", MODULE])
        .output()
        .map_err(|e| e.to_string())?;
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).map_err(|e| e.to_string())?;
    let source = json["Dir"].as_str().ok_or(format!("go mod download {MODULE}: {json}"))?;
    eprintln!("building flatc, which takes a minute or two");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(source).arg("-B").arg(&build);
    configure.args(["-DFLATBUFFERS_BUILD_TESTS=OFF", "-DFLATBUFFERS_BUILD_FLATHASH=OFF"]);
    process::show(
        configure.args(["-DFLATBUFFERS_BUILD_FLATLIB=OFF", "-DCMAKE_BUILD_TYPE=Release"]),
    )?;
    process::show(Command::new("cmake").arg("--build").arg(&build).args(["--target", "flatc"]))?;
    Ok(flatc)
}
