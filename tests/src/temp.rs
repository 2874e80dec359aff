//! A folder that goes away with its test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Removed when dropped, unless NYLON_KEEP is set.
#[derive(Debug)]
pub struct Temp(PathBuf);

impl Temp {
    /// A new empty folder.
    pub fn new() -> Temp {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("nylon-test-{}-{n}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        Temp(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it, folders included, and says where.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.0.join(name);
        std::fs::create_dir_all(file.parent().expect("inside the folder")).expect("folder");
        std::fs::write(&file, text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        file
    }
}

impl Default for Temp {
    fn default() -> Temp {
        Temp::new()
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if std::env::var_os("NYLON_KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
