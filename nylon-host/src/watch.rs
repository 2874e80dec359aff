//! `watch: true`: the configuration is read anew when one of its files changes.
//!
//! Directories are watched, not files: editors put a new file in the place of the old one, and a config map of Kubernetes
//! changes by a symbolic link. What happens there is only a reason to look: whether anything changed, the bytes tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{self, Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use nylon_host::config::Inputs;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout_at};

/// Nothing happens for so long: whoever writes is done.
const QUIET: Duration = Duration::from_millis(300);
/// Somebody who writes all the time is not waited for longer than this.
const PATIENCE: Duration = Duration::from_secs(3);

/// The bytes of a configuration's files at some moment, by their hashes; `None` of what cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen(BTreeMap<PathBuf, Option<[u8; 32]>>);

impl Seen {
    /// Those that the runtime file `file` leads to now.
    pub(crate) fn of(file: &Path) -> Self {
        let hash = |file: PathBuf| {
            let bytes = fs::read(&file).ok();
            (file, bytes.map(|bytes| Sha256::digest(bytes).into()))
        };
        Self(Inputs::of(file).files.into_iter().map(hash).collect())
    }

    /// The files in which the two differ, those only one has included.
    fn changed<'s>(&'s self, other: &'s Self) -> impl Iterator<Item = &'s PathBuf> {
        let names: BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        names.into_iter().filter(|name| self.0.get(*name) != other.0.get(*name))
    }
}

/// Calls `reload` each time the files of the configuration that begins with `file` are others than those `seen` last, good
/// or bad. What cannot be watched is a warning in the log. Call it inside the runtime.
pub(crate) fn start(file: PathBuf, seen: Seen, reload: impl Fn() + Send + 'static) {
    let file = path::absolute(&file).unwrap_or(file);
    // One message is as good as many.
    let (tell, told) = channel(1);
    if let Some(watcher) = watcher(&file, &tell) {
        tokio::spawn(follow(file, seen, reload, watcher, (tell, told)));
    }
}

async fn follow(
    file: PathBuf,
    mut seen: Seen,
    reload: impl Fn() + Send + 'static,
    mut watcher: RecommendedWatcher,
    (tell, mut told): (Sender<()>, Receiver<()>),
) {
    loop {
        let (named, before) = (file.clone(), seen);
        let looked = tokio::task::spawn_blocking(move || {
            let now = Seen::of(&named);
            for file in before.changed(&now) {
                tracing::info!(file = %file.display(), "changed");
            }
            (before != now, now)
        });
        let Ok((changed, now)) = looked.await else { return };
        seen = now;
        if changed {
            reload();
        }
        if told.recv().await.is_none() {
            return;
        }
        quiet(&mut told).await;
        // Directories come and go, and links lead elsewhere. The old watcher goes when the new one is there.
        let (named, tell) = (file.clone(), tell.clone());
        let new = tokio::task::spawn_blocking(move || self::watcher(&named, &tell)).await;
        if let Ok(Some(new)) = new {
            drop(std::mem::replace(&mut watcher, new));
        }
    }
}

/// Waits until nothing is told for a while.
async fn quiet(told: &mut Receiver<()>) {
    let end = Instant::now() + PATIENCE;
    while timeout_at(end.min(Instant::now() + QUIET), told.recv()).await.is_ok() {}
}

/// Watches what `file` leads to now, and tells of whatever may have changed it.
fn watcher(file: &Path, tell: &Sender<()>) -> Option<RecommendedWatcher> {
    let places = Places::of(file);
    let (matters, tell) = (places.clone(), tell.clone());
    let made = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.map_or(true, |event| matters.concern(&event)) {
            let _ = tell.try_send(());
        }
    });
    let unwatched = "its changes are not noticed: SIGHUP reloads the configuration";
    let mut watcher = made
        .inspect_err(|error| tracing::warn!(config = %file.display(), %error, "{unwatched}"))
        .ok()?;
    for dir in places.watched() {
        if let Err(error) = watcher.watch(&dir, RecursiveMode::NonRecursive)
            && !is_missing(&error)
        {
            tracing::warn!(directory = %dir.display(), %error, "{unwatched}");
        }
    }
    Some(watcher)
}

/// Whoever makes it is noticed in the directory above.
fn is_missing(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == ErrorKind::NotFound,
        _ => false,
    }
}

/// What may change a configuration; all paths without links, but for their last names.
#[derive(Debug, Clone, Default)]
struct Places {
    /// Directories in which everything counts.
    directories: BTreeSet<PathBuf>,
    /// Names that count where they are: files, and links on the way to them.
    names: BTreeSet<PathBuf>,
}

impl Places {
    fn of(file: &Path) -> Self {
        let Inputs { files, directories } = Inputs::of(file);
        let mut places = Self::default();
        for path in files.iter().chain(&directories) {
            places.add_way(path);
        }
        places.directories = directories.iter().filter_map(|dir| dir.canonicalize().ok()).collect();
        places
    }

    /// Adds what decides where `path` leads: its own name, and every link on the way.
    fn add_way(&mut self, path: &Path) {
        let mut ways = vec![path.to_owned()];
        while let Some(way) = ways.pop() {
            for part in way.ancestors() {
                let link = fs::read_link(part).ok();
                let (Some(parent), Some(name)) = (part.parent(), part.file_name()) else {
                    continue;
                };
                if link.is_none() && part != way {
                    continue;
                }
                let Ok(dir) = parent.canonicalize() else { continue };
                let is_new = self.names.insert(dir.join(name));
                if let Some(link) = link.filter(|_| is_new) {
                    let rest = way.strip_prefix(part).unwrap_or(Path::new(""));
                    ways.push(parent.join(link).join(rest));
                }
            }
        }
    }

    /// The directories to watch.
    fn watched(&self) -> BTreeSet<PathBuf> {
        let parents = self.names.iter().filter_map(|name| name.parent());
        parents.chain(self.directories.iter().map(PathBuf::as_path)).map(Path::to_owned).collect()
    }

    /// Whether `event` may have changed something. Reading changes nothing, and is what a look does.
    fn concern(&self, event: &Event) -> bool {
        let written = AccessKind::Close(AccessMode::Write);
        if matches!(event.kind, EventKind::Access(access) if access != written) {
            return false;
        }
        let counts = |path: &PathBuf| {
            self.names.contains(path)
                || self.directories.contains(path)
                || path.parent().is_some_and(|dir| self.directories.contains(dir))
        };
        event.need_rescan() || event.paths.iter().any(counts)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use notify::event::{CreateKind, DataChange, ModifyKind};
    use nylon_tests::Temp;

    use super::*;

    fn event(kind: EventKind, path: &Path) -> Event {
        Event::new(kind).add_path(path.to_owned())
    }

    #[test]
    fn every_link_on_the_way_counts_and_neighbours_do_not() {
        let temp = Temp::new();
        let root = temp.path().canonicalize().expect("a folder");
        temp.write("releases/1/nylon.yaml", "http: 127.0.0.1:1\nconfig_dir: conf.d\n");
        temp.write("releases/1/conf.d/..v1/a.yaml", "routes: []\n");
        let link = |to: &str, name: &str| symlink(to, root.join(name)).expect("a link");
        link("..v1", "releases/1/conf.d/..data");
        link("..data/a.yaml", "releases/1/conf.d/a.yaml");
        link("releases/1", "current");
        let file = root.join("current/nylon.yaml");
        let places = Places::of(&file);
        let made = EventKind::Create(CreateKind::Any);
        for path in [
            "current",
            "releases/1/nylon.yaml",
            "releases/1/conf.d/..data",
            "releases/1/conf.d/new",
        ] {
            assert!(places.concern(&event(made, &root.join(path))), "{path}: {places:?}");
        }
        for path in ["other", "releases/1/other.yaml", "releases/other"] {
            assert!(!places.concern(&event(made, &root.join(path))), "{path}: {places:?}");
        }
        let below = root.join("releases/1/conf.d/..v1/a.yaml");
        let modified = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        assert!(places.concern(&event(modified, &below)), "{places:?}");
        assert!(
            !places.concern(&event(EventKind::Access(AccessKind::Open(AccessMode::Any)), &below))
        );
        let watched: Vec<_> = places.watched().into_iter().collect();
        let expected = ["", "releases/1", "releases/1/conf.d", "releases/1/conf.d/..v1"];
        assert_eq!(watched, expected.map(|dir| root.join(dir)), "{places:?}");
    }

    #[test]
    fn only_bytes_are_a_change() {
        let temp = Temp::new();
        let file = temp.write("nylon.yaml", "config_dir: conf.d\n");
        temp.write("conf.d/a.yaml", "routes: []\n");
        let before = Seen::of(&file);
        temp.write("conf.d/a.yaml", "routes: []\n");
        temp.write("conf.d/.a.yaml.swp", "x");
        assert_eq!(Seen::of(&file), before);
        temp.write("conf.d/b.yaml", "");
        temp.write("conf.d/a.yaml", "routes: [ ]\n");
        let after = Seen::of(&file);
        let changed: Vec<_> = before.changed(&after).filter_map(|file| file.file_name()).collect();
        assert_eq!(changed, ["a.yaml", "b.yaml"]);
    }

    #[test]
    fn links_in_a_circle_have_an_end() {
        let temp = Temp::new();
        let link = |to: &str, name: &str| symlink(to, temp.path().join(name)).expect("a link");
        link("b", "a");
        link("a", "b");
        let places = Places::of(&temp.path().join("a/nylon.yaml"));
        assert!(places.directories.is_empty());
    }
}
