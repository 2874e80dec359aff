//! The toolchains the project needs: found, or named with a package and version that work.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Result, process};

/// A Go toolchain at least as new as sdk-go/go.mod asks.
pub(crate) fn go(root: &Path) -> Result<()> {
    let module = std::fs::read_to_string(root.join("sdk-go/go.mod")).unwrap_or_default();
    let wanted = module.lines().find_map(|l| l.strip_prefix("go ")).unwrap_or("1.26.0").trim();
    let hint = format!(
        "go >= {wanted} is needed: unpack go1.26.8.linux-amd64.tar.gz (or linux-arm64) from https://go.dev/dl/ into \
         /usr/local and put /usr/local/go/bin into PATH; Debian 12's package golang-go is 1.19, too old"
    );
    let out = Command::new("go").args(["env", "GOVERSION"]).output();
    let Ok(out) = out else { return Err(hint) };
    let text = String::from_utf8_lossy(&out.stdout);
    let found = text.trim().trim_start_matches("go");
    if numbers(found) >= numbers(wanted) {
        Ok(())
    } else {
        Err(format!("found go {found}; {hint}"))
    }
}

/// A C compiler, for the header check and for Go's race detector.
pub(crate) fn cc() -> Result<()> {
    present("cc", "cc is needed: package `gcc` (12 or newer) of Debian and Ubuntu")
}

/// cmake, to build flatc when the schema changed.
pub(crate) fn cmake() -> Result<()> {
    present("cmake", "cmake is needed to build flatc: package `cmake` (3.16 or newer) and `g++`")
}

/// Python in an environment of its own at `dir`, with the packages that the file `requirements` names: fetched by pip when
/// that changed. The interpreter.
pub(crate) fn venv(dir: &Path, requirements: &Path) -> Result<PathBuf> {
    let hint = "python3 with venv is needed: packages `python3` (3.11 or newer) and `python3-venv`";
    let (python, installed) = (dir.join("bin/python"), dir.join("installed.txt"));
    let wanted =
        fs::read_to_string(requirements).map_err(|e| format!("{}: {e}", requirements.display()))?;
    if fs::read_to_string(&installed).unwrap_or_default() != wanted {
        present("python3", hint)?;
        process::show(Command::new("python3").args(["-m", "venv", "--clear"]).arg(dir))?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
        process::show(pip.arg(requirements))?;
        fs::write(&installed, wanted).map_err(|e| format!("{}: {e}", installed.display()))?;
    }
    Ok(python)
}

/// The clients of tests/clients that need something, below `target`: the one in Go built, Python for the other.
pub(crate) fn websocket_clients(root: &Path, target: &Path) -> Result<()> {
    go(root)?;
    let (from, into) = (root.join("tests/clients"), target.join("tools/websocket-clients"));
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(into.join("go")).arg(".").env("CGO_ENABLED", "0");
    process::show(build.current_dir(from.join("go")))?;
    venv(&into.join("python"), &from.join("python/requirements.txt")).map(|_| ())
}

/// The version of Autobahn's tests that is asked; it runs under Python 2.7 only.
const AUTOBAHN: &str = "autobahntestsuite==25.10.1";

/// Autobahn's `wstest` as a program below `target`: fetched by pip once.
pub(crate) fn autobahn(target: &Path) -> Result<PathBuf> {
    let hint = format!(
        "python2.7 with pip is needed, for {AUTOBAHN}: `pyenv install 2.7.18`, or https://www.python.org/downloads/release/python-2718/"
    );
    let python = || {
        let mut python = Command::new("python2.7");
        python.env("PYENV_VERSION", "2.7.18"); // where pyenv hides it
        python
    };
    let dir = target.join("tools/autobahn");
    let (packages, program, installed) =
        (dir.join("packages"), dir.join("wstest"), dir.join("installed.txt"));
    if fs::read_to_string(&installed).is_ok_and(|text| text == AUTOBAHN) {
        return Ok(program);
    }
    let found = python().args(["-c", "import pip, sys; print(sys.executable)"]).output();
    let Some(found) = found.ok().filter(|out| out.status.success()) else { return Err(hint) };
    let _ = fs::remove_dir_all(&dir);
    let mut pip = python();
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]);
    process::show(pip.arg(&packages).arg(AUTOBAHN))?;
    // Its packages need a site folder of their own: some are found by a .pth file only.
    let script = format!(
        "#!/bin/sh\nexec '{}' -c 'import site; site.addsitedir(\"{}\")\nfrom autobahntestsuite.wstest import run\nrun()' \"$@\"\n",
        String::from_utf8_lossy(&found.stdout).trim(),
        packages.display(),
    );
    let write = |file: &Path, text: &str| {
        fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))
    };
    write(&program, &script)?;
    let runs = fs::set_permissions(&program, Permissions::from_mode(0o755));
    runs.map_err(|e| format!("{}: {e}", program.display()))?;
    write(&installed, AUTOBAHN)?;
    Ok(program)
}

/// A component of the Rust toolchain that `rustup` adds.
pub(crate) fn component(name: &str) -> Result<()> {
    let found = Command::new("cargo")
        .args([name, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success());
    let package = if name == "fmt" { "rustfmt" } else { name };
    if found {
        Ok(())
    } else {
        Err(format!("cargo {name} is needed: `rustup component add {package}` (Rust 1.95)"))
    }
}

fn present(program: &str, hint: &str) -> Result<()> {
    let found =
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|s| s.success()) { Ok(()) } else { Err(hint.to_owned()) }
}

/// "1.26.8" as numbers, so that 1.9 is before 1.26.
fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map(|part| {
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().unwrap_or(0)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn versions_compare_by_number() {
        assert!(numbers("1.26.8") >= numbers("1.26.0"));
        assert!(numbers("1.9") < numbers("1.26.0"));
        assert!(numbers("1.27rc1") > numbers("1.26.8"));
    }
}
