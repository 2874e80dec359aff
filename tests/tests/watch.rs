//! `watch: true`: a change of the configuration's files is a reload, however they are changed, and only if they are.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nylon_tests::{Client, Gateway, Site, Temp, Upstream, eventually, ports, program, watchdog};
use serde_json::json;

const SOON: Duration = Duration::from_secs(15);
/// Longer than the gateway waits for somebody who writes.
const A_WHILE: Duration = Duration::from_millis(1200);

/// A static site with one file at each of `paths`, and nothing that takes long to start.
fn proxy(dir: &Path, paths: &[&str]) -> String {
    let paths = paths.iter().map(|path| json!({"path": path, "service": {"name": "files"}}));
    let proxy = json!({
        "services": [{"name": "files", "service_type": "static", "static": {"root": dir}}],
        "routes": [{
            "name": "main", "route": {"type": "host", "value": "127.0.0.1"},
            "paths": paths.collect::<Vec<_>>(),
        }],
    });
    format!("{proxy:#}\n")
}

/// A gateway that watches its files.
struct Watching {
    gateway: Gateway,
    client: Client,
    dir: Temp,
}

impl Watching {
    /// One in whose folder `lay` has put its proxy files, below `conf.d`.
    async fn start(lay: impl FnOnce(&Temp)) -> Watching {
        let dir = Temp::new();
        for file in ["a", "b", "c"] {
            dir.write(&format!("www/{file}"), file);
        }
        lay(&dir);
        let addr = ports::free();
        let runtime = json!({"http": [addr.to_string()], "config_dir": "conf.d", "watch": true});
        let config = dir.write("nylon.yaml", &runtime.to_string());
        let mut gateway = Gateway::spawn(&config, dir.path(), addr);
        gateway.ready(&["/a".to_owned()]).await;
        Watching { client: Client::new(addr), gateway, dir }
    }

    fn proxy(&self, paths: &[&str]) -> String {
        proxy(&self.dir.path().join("www"), paths)
    }

    /// Waits until `path` is answered with `status`.
    async fn answers(&self, path: &str, status: u16) {
        let end = Instant::now() + SOON;
        loop {
            let found = self.client.get(path).await.status;
            if found == status {
                return;
            }
            assert!(Instant::now() < end, "{path}: {found}, not {status}\n{}", self.gateway.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn count(&self, part: &str) -> usize {
        self.gateway.log_lines(|line| line.contains(part)).len()
    }

    /// Waits until `part` has been logged `times`.
    async fn logged(&self, part: &str, times: usize) {
        let there = || (self.count(part) >= times).then_some(());
        eventually(&format!("`{part}`, {times} times"), SOON, there).await;
    }
}

fn plain(dir: &Temp) {
    dir.write("conf.d/a.yaml", &proxy(&dir.path().join("www"), &["/a"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_served_and_a_bad_one_is_refused_by_name() {
    let _dog = watchdog(60);
    let it = Watching::start(plain).await;
    it.dir.write("conf.d/a.yaml", &it.proxy(&["/a", "/b"]));
    it.answers("/b", 200).await;

    it.dir.write("conf.d/a.yaml", "routes: [{unknown: 1}]\n");
    it.logged("not reloaded", 1).await;
    it.gateway.logged("a.yaml:1", SOON).await;
    it.gateway.logged("unknown key `unknown`", SOON).await;
    it.answers("/b", 200).await;

    it.dir.write("conf.d/a.yaml", &it.proxy(&["/a"]));
    it.answers("/b", 404).await;
    // One more file, and one less.
    let more = it.proxy(&["/c"]).replace("files", "more").replace("main", "other");
    it.dir.write("conf.d/deeper/b.yaml", &more.replace("127.0.0.1", "localhost"));
    it.logged("reloaded", 4).await;
    it.gateway.logged("deeper/b.yaml", SOON).await;
    fs::remove_dir_all(it.dir.path().join("conf.d/deeper")).expect("it was there");
    it.logged("INFO nylon: reloaded", 4).await;
    // The runtime file counts as well.
    let runtime = fs::read_to_string(it.dir.path().join("nylon.yaml")).expect("the file");
    it.dir.write("nylon.yaml", &runtime.replace("conf.d", "other.d"));
    it.logged("not reloaded", 2).await;
    it.dir.write("other.d/a.yaml", &it.proxy(&["/a", "/c"]));
    it.answers("/c", 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_takes_the_place_of_another_is_a_change() {
    let _dog = watchdog(60);
    let it = Watching::start(plain).await;
    for (path, paths) in [("/b", ["/a", "/b"]), ("/c", ["/a", "/c"])] {
        it.dir.write("conf.d/.a.yaml.new", &it.proxy(&paths));
        let name = |name| it.dir.path().join("conf.d").join(name);
        fs::rename(name(".a.yaml.new"), name("a.yaml")).expect("it is there");
        it.answers(path, 200).await;
    }
    it.answers("/b", 404).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_map_changes_by_its_link() {
    let _dog = watchdog(60);
    let it = Watching::start(|dir| {
        dir.write("conf.d/..v1/a.yaml", &proxy(&dir.path().join("www"), &["/a"]));
        symlink("..v1", dir.path().join("conf.d/..data")).expect("a link");
        symlink("..data/a.yaml", dir.path().join("conf.d/a.yaml")).expect("a link");
    })
    .await;
    for (version, path) in [(2, "/b"), (3, "/c")] {
        // As the kubelet does it.
        it.dir.write(&format!("conf.d/..v{version}/a.yaml"), &it.proxy(&["/a", path]));
        let name = |name| it.dir.path().join("conf.d").join(name);
        symlink(format!("..v{version}"), name("..data_tmp")).expect("a link");
        fs::rename(name("..data_tmp"), name("..data")).expect("it is there");
        let old = it.dir.path().join(format!("conf.d/..v{}", version - 1));
        fs::remove_dir_all(old).expect("it was there");
        it.answers(path, 200).await;
    }
    it.answers("/b", 404).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_bytes_are_no_change_and_nor_is_a_change_without_the_key() {
    let _dog = watchdog(60);
    let it = Watching::start(plain).await;
    for _ in 0..3 {
        it.dir.write("conf.d/a.yaml", &it.proxy(&["/a"]));
        it.dir.write("conf.d/.a.yaml.swp", "an editor's");
        it.dir.write("beside", "a neighbour of the runtime file");
        tokio::time::sleep(A_WHILE).await;
    }
    assert_eq!(it.count("reloading"), 0, "{}", it.gateway.log());
    // It was watching all the time.
    it.dir.write("conf.d/a.yaml", &it.proxy(&["/a", "/b"]));
    it.answers("/b", 200).await;

    let (dir, addr) = (Temp::new(), ports::free());
    dir.write("www/a", "a");
    plain(&dir);
    let runtime = json!({"http": [addr.to_string()], "config_dir": "conf.d"});
    let config = dir.write("nylon.yaml", &runtime.to_string());
    let mut gateway = Gateway::spawn(&config, dir.path(), addr);
    gateway.ready(&["/a".to_owned()]).await;
    dir.write("conf.d/a.yaml", &proxy(&dir.path().join("www"), &["/a", "/a/"]));
    tokio::time::sleep(A_WHILE).await;
    assert!(gateway.log_lines(|line| line.contains("reloading")).is_empty());
    gateway.signal(Signal::SIGHUP);
    gateway.logged("reloaded", SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_cannot_watch_serves_and_says_so() {
    let _dog = watchdog(60);
    let none = "echo 0 > /proc/sys/user/max_inotify_instances";
    let unshared = |then: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c", &format!("{none} && {then}"), "sh"]);
        command
    };
    if !unshared("true").output().is_ok_and(|out| out.status.success()) {
        return println!("NOT TESTED: there is no making user namespaces here");
    }
    let up = Upstream::start().await;
    let site = Site::new().upstream("up", up.addr).path("/a", "up", &[]);
    let site = site.runtime(json!({"watch": true}));
    let gateway = Gateway::start_by(&site, |command| {
        let mut instead = unshared("exec \"$@\"");
        instead.arg(program::nylon()).args(command.get_args());
        instead.current_dir(site.dir()).stdin(std::process::Stdio::null());
        instead.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        *command = instead;
    })
    .await;
    gateway.logged("its changes are not noticed", SOON).await;
    assert_eq!(Client::new(gateway.addr).get("/a").await.status, 200);
}
