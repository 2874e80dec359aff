//! Finding and reading configuration files.

use super::diagnostic::Diagnostic;
use super::source::Source;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How far below `config_dir` files are looked for.
const MAX_DEPTH: usize = 10;

/// Reads one file.
pub(super) fn read(path: &Path) -> Result<Arc<Source>, Box<Diagnostic>> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        // A byte order mark is no part of the text that messages count.
        Ok(text) => Ok(Arc::new(Source { name, text: text.replace('\u{feff}', "") })),
        Err(error) => {
            Err(Box::new(Diagnostic::about_file(name, format!("cannot be read: {error}"))))
        }
    }
}

/// What is below a directory.
#[derive(Debug, Default)]
pub(super) struct Below {
    /// Every file, in the order of their names.
    pub(super) files: Vec<PathBuf>,
    /// The directory itself, and every one that was looked into for them.
    pub(super) directories: Vec<PathBuf>,
}

/// Finds every file below `dir`. Names that begin with a dot are left out: they belong to editors, version control and
/// the links of mounted config maps.
pub(super) fn below(dir: &Path) -> io::Result<Below> {
    let mut below = Below::default();
    collect(dir, MAX_DEPTH, &mut below)?;
    Ok(below)
}

fn collect(dir: &Path, depth: usize, below: &mut Below) -> io::Result<()> {
    below.directories.push(dir.to_owned());
    let mut entries = std::fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if !path.is_dir() {
            below.files.push(path);
        } else if depth > 1 {
            collect(&path, depth - 1, below)?;
        }
    }
    Ok(())
}

/// The absolute path of a `file` named in a configuration file in `base`: beside that file, else
/// in the working directory if it is only there.
pub(super) fn locate(file: &str, base: &Path) -> PathBuf {
    let beside = base.join(file);
    let found =
        if !beside.exists() && Path::new(file).exists() { PathBuf::from(file) } else { beside };
    std::path::absolute(&found).unwrap_or(found)
}
