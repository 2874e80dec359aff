//! The files a configuration is read from, as they are now: for whoever watches them.

use super::diagnostic::Report;
use super::fields::Fields;
use super::{directory, files, proxy, read_file};
use std::path::{Path, PathBuf};

/// What [`super::load`] reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// The runtime file and then the proxy files, whether they can be read or not.
    pub files: Vec<PathBuf>,
    /// The directories in which a new file would be one more of them: `config_dir`, though it may not be there, and those
    /// below it.
    pub directories: Vec<PathBuf>,
}

impl Inputs {
    /// Those of the runtime file `file`. If that cannot be read it is all there is.
    pub fn of(file: &Path) -> Self {
        let mut inputs = Self { files: vec![file.to_owned()], directories: Vec::new() };
        let Some(dir) = config_dir(file) else { return inputs };
        match files::below(&dir) {
            Ok(below) => {
                inputs.files.extend(below.files);
                inputs.directories = below.directories;
            }
            Err(_) => inputs.directories.push(dir),
        }
        inputs
    }
}

fn config_dir(file: &Path) -> Option<PathBuf> {
    let mut unread = Report::new(true);
    let node = read_file(file, &mut unread)?;
    let mut fields = Fields::of(&node, "runtime file", &mut unread)?;
    let named = fields.text("config_dir", &mut unread);
    let base = file.parent().unwrap_or(Path::new(""));
    directory(base, named.as_ref(), proxy::any_key(&mut fields))
}
