//! Which programs an upgrade may bring into service (HARDENING row 38).

use std::path::{Path, PathBuf};

/// The file that `program` stands for, all links followed: in one of `dirs`, or without those in the directory of
/// `configured`.
///
/// # Errors
/// Why it is refused.
pub(super) fn allowed(
    program: &Path,
    dirs: &[PathBuf],
    configured: &Path,
) -> Result<PathBuf, String> {
    let shown = program.display();
    if !program.is_absolute() {
        return Err(format!("`{shown}` must be absolute"));
    }
    let file = program.canonicalize().map_err(|e| format!("`{shown}`: {e}"))?;
    if !file.is_file() {
        return Err(format!("`{shown}` is not a file"));
    }
    if configured.canonicalize().is_ok_and(|configured| configured == file) {
        return Ok(file);
    }
    let own: Vec<PathBuf> = configured.parent().map(Path::to_owned).into_iter().collect();
    let dirs = if dirs.is_empty() { &own } else { dirs };
    if dirs.iter().filter_map(|dir| dir.canonicalize().ok()).any(|dir| file.starts_with(dir)) {
        return Ok(file);
    }
    let listed: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    Err(format!(
        "`{}` is not in {}: programs of upgrades come from there (admin.programs)",
        file.display(),
        listed.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn programs_come_from_directories_that_were_named() {
        let temp = nylon_tests::Temp::new();
        let (bin, other) = (temp.path().join("bin"), temp.path().join("other"));
        for dir in [&bin, &other] {
            fs::create_dir(dir).unwrap();
            fs::write(dir.join("a"), "x").unwrap();
            fs::write(dir.join("b"), "x").unwrap();
        }
        let configured = bin.join("a");
        let check = |program: &Path, dirs: &[PathBuf]| allowed(program, dirs, &configured).is_ok();
        assert!(check(&bin.join("a"), &[]));
        assert!(check(&bin.join("b"), &[]));
        assert!(check(&bin.join("../bin/b"), &[]));
        assert!(!check(&other.join("a"), &[]));
        assert!(!check(&bin.join("../other/a"), &[]));
        assert!(!check(Path::new("b"), &[]));
        assert!(!check(&bin, &[]));
        assert!(!check(&bin.join("c"), &[]));
        // What is configured may always be taken anew.
        let named = [other.clone()];
        assert!(check(&other.join("a"), &named) && check(&configured, &named));
        assert!(!check(&bin.join("b"), &named));
        std::os::unix::fs::symlink(other.join("a"), bin.join("link")).unwrap();
        assert!(!check(&bin.join("link"), &[]));
    }
}
