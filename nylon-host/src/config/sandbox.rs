//! `sandbox` and `sha256` of a plugin: what its workers may do, and which program it must be.

use super::diagnostic::Report;
use super::fields::{Fields, Located};
use super::files::locate;
use super::yaml::Value;
use crate::supervisor::{Sandbox, SandboxLevel, Sha256};
use nix::unistd::{Group, User};
use std::path::{Path, PathBuf};

const LEVELS: [(&str, SandboxLevel); 3] = [
    ("none", SandboxLevel::None),
    ("standard", SandboxLevel::Standard),
    ("strict", SandboxLevel::Strict),
];

/// Reads the key `sandbox`: a level, or a map with the level and more.
pub(super) fn read(fields: &mut Fields<'_>, base: &Path, report: &mut Report) -> Sandbox {
    if !matches!(fields.get("sandbox"), Some(node) if matches!(node.value, Value::Map(_))) {
        let level = fields.choice("sandbox", &LEVELS, report).map(|found| found.value);
        return Sandbox { level: level.unwrap_or_default(), ..Sandbox::default() };
    }
    let Some(mut map) = fields.map("sandbox", "sandbox", report) else { return Sandbox::default() };
    let level = map.choice("level", &LEVELS, report).map(|found| found.value).unwrap_or_default();
    let enforce = map.boolean("enforce", report).unwrap_or(false);
    let (user, own_group) = user(map.text("user", report), report);
    let group = group(map.text("group", report), report).or(own_group);
    let read = paths("read", &mut map, base, report);
    let write = paths("write", &mut map, base, report);
    if level == SandboxLevel::None {
        for key in ["enforce", "read", "write"] {
            if let Some(at) = map.place(key) {
                report.warning(at, format!("`{key}` has no effect with `level: none`"));
            }
        }
    }
    map.finish(report);
    Sandbox { level, enforce, user, group, read, write }
}

/// Reads the key `sha256`.
pub(super) fn sha256(fields: &mut Fields<'_>, report: &mut Report) -> Option<Sha256> {
    let found = fields.text("sha256", report)?;
    let hash = found.value.parse();
    if hash.is_err() {
        report.error(&found.at, "`sha256` must be 64 hexadecimal digits".to_owned()).help =
            Some("write what `sha256sum FILE` prints, in quotes".to_owned());
    }
    hash.ok()
}

/// The ids of a user, by name or number, and of its group.
fn user(named: Option<Located<String>>, report: &mut Report) -> (Option<u32>, Option<u32>) {
    let Some(named) = named else { return (None, None) };
    let number = named.value.parse::<u32>().ok();
    let known = match number {
        Some(id) => User::from_uid(id.into()),
        None => User::from_name(&named.value),
    };
    match (known.ok().flatten(), number) {
        (Some(user), _) => (Some(user.uid.as_raw()), Some(user.gid.as_raw())),
        (None, Some(id)) => (Some(id), None),
        (None, None) => {
            report.error(&named.at, format!("there is no user `{}`", named.value)).help =
                Some("make it with `useradd --system`, or give a number".to_owned());
            (None, None)
        }
    }
}

/// The id of a group, by name or number.
fn group(named: Option<Located<String>>, report: &mut Report) -> Option<u32> {
    let named = named?;
    if let Ok(id) = named.value.parse() {
        return Some(id);
    }
    let known = Group::from_name(&named.value).ok().flatten();
    if known.is_none() {
        report.error(&named.at, format!("there is no group `{}`", named.value)).help =
            Some("make it with `groupadd --system`, or give a number".to_owned());
    }
    known.map(|group| group.gid.as_raw())
}

fn paths(
    key: &'static str,
    map: &mut Fields<'_>,
    base: &Path,
    report: &mut Report,
) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for Located { value, at } in map.texts(key, report) {
        let path = locate(&value, base);
        if !path.exists() {
            let message = format!("`{key}` names what is not there: {}", path.display());
            report.error(&at, message).help =
                Some("make it before the gateway starts; a plugin cannot".to_owned());
        }
        found.push(path);
    }
    found
}
