//! What a worker gets at that is not its own, at each level of the sandbox (HARDENING rows 19, 20, 22, 36, 37).
//!
//! The worker tries everything `nylon_tests::escape` knows against this process, which is its host. Errnos are those of
//! Linux 6.12 and later with Landlock ABI 6; nothing here depends on being root but where it says so.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::BodyExt as _;
use nix::errno::Errno::{EACCES, ENOENT, ENOSYS, EPERM};
use nix::sys::signal::Signal;
use nylon_host::{
    Body, Client, Confinement, Host, Item, PluginSpec, Sandbox, SandboxLevel, Sha256, StartError,
};
use nylon_tests::escape::{self, WRITTEN, status};
use nylon_tests::{Gateway, Site, Temp, eventually, proc, program, watchdog};
use serde_json::json;

const WORKER: &str = env!("CARGO_BIN_EXE_nylon-hostile-worker");
/// Of this process, and not on the list of what workers get.
const SECRET: &str = "CARGO_MANIFEST_DIR";
/// Where the worker of every case tries to write to.
static VICTIM: [AtomicU64; 2] = [const { AtomicU64::new(1) }; 2];

/// What came of the attempts of one worker, and what it was then.
struct Escape {
    said: BTreeMap<String, i32>,
    confinement: Confinement,
    /// Lines of /proc/PID/status.
    privileges: String,
    filters: String,
    uid: String,
    groups: String,
    bounding: String,
    victim: [u64; 2],
}

impl Escape {
    fn is(&self, name: &str) -> i32 {
        *self.said.get(name).unwrap_or_else(|| panic!("no `{name}`: {:?}", self.said))
    }

    #[track_caller]
    fn all(&self, names: &[&str], errno: i32) {
        for name in names {
            assert_eq!(self.is(name), errno, "{name}: {:?}", self.said);
        }
    }
}

/// Runs the worker in `sandbox`, in which `listed` may be written to.
async fn escape(mut sandbox: Sandbox) -> Escape {
    let (listed, unlisted) = (Temp::new(), Temp::new());
    if sandbox.user.is_some() {
        for dir in [&listed, &unlisted] {
            let open = std::fs::Permissions::from_mode(0o777);
            std::fs::set_permissions(dir.path(), open).expect("ours");
        }
    }
    if sandbox.level == SandboxLevel::Strict {
        sandbox.write = vec![listed.path().to_owned()];
    }
    // A descriptor that a careless host would hand on: high, and without close-on-exec.
    let open: OwnedFd = std::fs::File::open("/etc/hosts").expect("it is there").into();
    let open = careless(&open);
    let text = |path: &Path| path.display().to_string();
    let mut spec = PluginSpec::new("bad", WORKER);
    spec.args = vec!["escape".into()];
    spec.env = vec![
        (escape::ADDRESS.into(), (VICTIM.as_ptr() as usize).to_string()),
        (escape::DESCRIPTOR.into(), open.as_raw_fd().to_string()),
        (escape::SECRET.into(), SECRET.into()),
        (escape::LISTED.into(), text(listed.path())),
        (escape::UNLISTED.into(), text(unlisted.path())),
    ];
    spec.sandbox = sandbox;
    spec.start_timeout = Duration::from_secs(20);
    VICTIM.iter().for_each(|word| word.store(1, Ordering::Relaxed));
    let host = Host::start(vec![spec]).await.expect("it starts");
    let (code, said) = ask(&host, "bad", "serve", "/attack").await;
    assert_eq!(code, 200, "{said}");
    let parse = |line: &str| {
        let (name, errno) = line.split_once(' ').expect("a name and an errno");
        (name.to_owned(), errno.parse().expect("a number"))
    };
    let of = host.status("bad").expect("it is there");
    let line = |name| status(of.pid, name);
    let escape = Escape {
        said: said.lines().map(parse).collect(),
        privileges: line("NoNewPrivs"),
        filters: line("Seccomp"),
        uid: line("Uid"),
        groups: line("Groups"),
        bounding: line("CapBnd"),
        confinement: of.sandbox,
        victim: [0, 1].map(|i| VICTIM[i].load(Ordering::Relaxed)),
    };
    // The host is none the worse, and the worker does its work.
    assert_eq!(ask(&host, "bad", "serve", "/").await.0, 200);
    host.stop(Duration::from_secs(2)).await;
    println!("{}\n{said}", escape.confinement);
    escape
}

/// A duplicate from 100 on that is not closed by exec.
fn careless(fd: &OwnedFd) -> OwnedFd {
    let high = rustix::io::fcntl_dupfd_cloexec(fd, 100).expect("a descriptor");
    rustix::io::fcntl_setfd(&high, rustix::io::FdFlags::empty()).expect("its flags");
    high
}

async fn ask(host: &Host, plugin: &str, entry: &str, path: &str) -> (u16, String) {
    let chain = host.chain().service(Item::new(plugin, entry)).expect("it is there").build();
    let request = http::Request::get(format!("http://localhost{path}")).body(Body::empty());
    let client = Client { ip: [127, 0, 0, 1].into(), tls: false };
    let request = request.expect("a request");
    let response =
        chain.call(request, client, vec![], async |_| unreachable!("the plugin answers")).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    (head.status.as_u16(), String::from_utf8_lossy(&body).into_owned())
}

fn at(level: SandboxLevel) -> Sandbox {
    Sandbox { level, enforce: level != SandboxLevel::None, ..Sandbox::default() }
}

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Mistakes in these tests must not look like a sandbox: what is refused below is possible without one.
#[tokio::test]
async fn without_a_sandbox_all_of_it_can_be_done() {
    let _dog = watchdog(60);
    if !root() {
        return; // Another test of this process may have hardened it, which keeps out all but root.
    }
    let escape = escape(at(SandboxLevel::None)).await;
    let could = [
        "kill",
        "pidfd_send_signal",
        "ptrace",
        "process_vm_writev",
        "proc-mem",
        "proc-environ",
        "proc-fd",
        "pidfd_getfd",
        "prlimit",
        "bell-setfl",
        "bell-fionbio",
        "write-listed",
        "write-unlisted",
        "read-unlisted",
        "read-shadow",
        "kill-self",
        "thread",
    ];
    escape.all(&could, 0);
    assert_eq!(escape.victim, WRITTEN, "the host's memory");
    // The clean environment and the closed descriptors are for every worker.
    escape.all(&["inherited-fd", "secret"], ENOENT as i32);
    assert_ne!(escape.is("bpf"), EPERM as i32);
    assert_eq!((&*escape.privileges, &*escape.filters), ("0", "0"));
    assert_eq!(escape.confinement.to_string(), "none");
}

/// Signals: Landlock's scope. ptrace and what asks the same of the kernel: EPERM, or EACCES by way of /proc, because a
/// worker's Landlock domain is not the host's; for root too, whom a host that is not dumpable would not keep out. Limits:
/// the filter. Files stay as they are.
#[tokio::test]
async fn standard_keeps_a_worker_from_its_host() {
    let _dog = watchdog(60);
    nylon_host::harden().expect("a prctl");
    let escape = escape(at(SandboxLevel::Standard)).await;
    assert_eq!(escape.confinement.to_string(), "standard");
    let barred =
        ["kill", "pidfd_send_signal", "ptrace", "process_vm_writev", "pidfd_getfd", "prlimit"];
    escape.all(&barred, EPERM as i32);
    escape.all(&["proc-mem", "proc-environ", "proc-fd"], EACCES as i32);
    escape.all(&["inherited-fd", "secret"], ENOENT as i32);
    // What administers the machine is a matter of capabilities, which are gone.
    escape.all(&["umount", "unshare"], EPERM as i32);
    assert_eq!(escape.victim, [1; 2], "the host's memory");
    escape.all(&["write-listed", "write-unlisted", "read-passwd", "kill-self", "thread"], 0);
    // Known, and said in docs/operations.md.
    escape.all(&["bell-setfl", "bell-fionbio"], 0);
    assert_eq!((&*escape.privileges, &*escape.filters), ("1", "2"));
}

#[tokio::test]
async fn strict_keeps_it_from_the_machine_as_well() {
    let _dog = watchdog(60);
    nylon_host::harden().expect("a prctl");
    let escape = escape(at(SandboxLevel::Strict)).await;
    assert_eq!(escape.confinement.to_string(), "strict");
    let barred = [
        "kill",
        "pidfd_send_signal",
        "ptrace",
        "process_vm_writev",
        "pidfd_getfd",
        "prlimit",
        "umount",
        "unshare",
        "bpf",
        "keyctl",
        "perf_event_open",
        "io_uring_setup",
        "mount",
        "init_module",
        "tkill",
        "bell-setfl",
        "bell-fionbio",
    ];
    escape.all(&barred, EPERM as i32);
    // No filter sees its flags, which are in memory: a libc takes `clone` instead.
    escape.all(&["clone3"], ENOSYS as i32);
    escape.all(&["proc-mem", "proc-environ", "proc-fd"], EACCES as i32);
    escape.all(&["write-unlisted", "read-unlisted", "read-shadow"], EACCES as i32);
    escape.all(&["inherited-fd", "secret"], ENOENT as i32);
    escape.all(&["write-listed", "read-passwd", "kill-self", "thread"], 0);
    assert_eq!(escape.victim, [1; 2], "the host's memory");
    assert_eq!((&*escape.privileges, &*escape.filters), ("1", "2"));
    if root() {
        assert_eq!(escape.bounding.trim_start_matches('0'), "");
    }
}

#[tokio::test]
async fn a_worker_runs_as_the_user_it_is_given() {
    let _dog = watchdog(60);
    let user = |user, group| Sandbox { user, group, ..at(SandboxLevel::None) };
    if !root() {
        let spec = PluginSpec { sandbox: user(Some(1), None), ..PluginSpec::new("bad", WORKER) };
        let refused = Host::start(vec![spec]).await.expect_err("it may not");
        assert!(refused.as_slice()[0].is_permanent(), "{refused}");
        return;
    }
    let escape = escape(user(Some(65_534), Some(65_533))).await;
    assert_eq!(escape.uid, "65534\t65534\t65534\t65534");
    assert_eq!(escape.groups.trim(), "");
    escape.all(&["write-listed", "kill-self"], 0);
    escape.all(&["kill", "ptrace", "process_vm_writev", "pidfd_getfd", "prlimit"], EPERM as i32);
    escape.all(&["proc-mem", "proc-environ", "read-shadow"], EACCES as i32);
}

/// Go's runtime signals its threads, makes some, asks the kernel for this and that: all of it must be let in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go_runs_at_every_level() {
    let _dog = watchdog(120);
    nylon_host::harden().expect("a prctl");
    for level in [SandboxLevel::None, SandboxLevel::Standard, SandboxLevel::Strict] {
        let sandbox = Sandbox { user: root().then_some(65_534), ..at(level) };
        let config = br#"{"greeting": "hello"}"#.to_vec();
        let hello = program::plugin("hello");
        let spec = PluginSpec { config, sandbox, ..PluginSpec::new("hello", &hello) };
        let host = Host::start(vec![spec]).await.expect("it starts");
        for _ in 0..200 {
            let (code, body) = ask(&host, "hello", "hello", "/greeting").await;
            assert_eq!(code, 200, "{level}: {body}");
        }
        let of = host.status("hello").expect("it is there");
        assert_eq!((of.crashes, of.sandbox.reached), (0, level));
        host.stop(Duration::from_secs(5)).await;
        let ended = host.status("hello").expect("it is there");
        assert_eq!(ended.crashes, 0, "{level}: {}", ended.last_end);
    }
}

#[tokio::test]
async fn what_cannot_be_had_is_said() {
    let _dog = watchdog(60);
    let hello = program::plugin("hello");
    let refused = async |change: &dyn Fn(&mut PluginSpec)| {
        let mut spec = PluginSpec::new("hello", &hello);
        spec.config = br#"{"greeting": "hello"}"#.to_vec();
        change(&mut spec);
        Host::start(vec![spec]).await.err()
    };
    let pin: Sha256 = "1f".repeat(32).parse().expect("64 digits");
    let other = refused(&|spec| spec.sha256 = Some(pin)).await.expect("another program");
    let [error @ StartError::Refused { why, .. }] = other.as_slice() else { panic!("{other}") };
    assert!(error.is_permanent() && why.contains(&pin.to_string()), "{why}");
    let found = why.split(|c: char| !c.is_ascii_hexdigit()).find(|w| w.len() == 64);
    let found: Sha256 = found.expect("the other hash").parse().expect("64 digits");
    assert!(refused(&|spec| spec.sha256 = Some(found)).await.is_none(), "the right pin");
    let path = "/not/there".to_owned();
    let nowhere = refused(&|spec| spec.sandbox.read = vec![path.clone().into()]).await;
    let nowhere = nowhere.expect("no such path").to_string();
    assert!(nowhere.contains(&path), "{nowhere}");
}

/// A program that others may write to runs from a sealed copy; the file may then be overwritten, which the kernel refuses
/// for one that runs from its file.
#[tokio::test]
async fn a_program_others_may_write_to_is_copied() {
    let _dog = watchdog(60);
    let temp = Temp::new();
    for (mode, copied) in [(0o777, true), (0o755, false)] {
        let path = temp.path().join(format!("worker-{mode:o}"));
        std::fs::copy(WORKER, &path).expect("a copy");
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, permissions).expect("ours");
        let mut spec = PluginSpec::new("w", &path);
        spec.start_timeout = Duration::from_secs(20);
        let host = Host::start(vec![spec]).await.expect("it starts");
        let pid = host.status("w").expect("it is there").pid;
        let exe = std::fs::read_link(format!("/proc/{pid}/exe")).expect("it runs");
        assert_eq!(exe.to_string_lossy().starts_with("/memfd:"), copied, "{}", exe.display());
        let name = std::fs::read(format!("/proc/{pid}/cmdline")).expect("it runs");
        assert!(name.starts_with(path.as_os_str().as_encoded_bytes()), "argv[0] is the path");
        let written = std::fs::OpenOptions::new().write(true).open(&path);
        assert_eq!(written.is_ok(), copied, "ETXTBSY: {written:?}");
        assert_eq!(ask(&host, "w", "serve", "/").await.0, 200);
        host.stop(Duration::from_secs(2)).await;
    }
}

/// The gateway hardens itself, and its workers are confined unless told otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_confines_its_workers() {
    let _dog = watchdog(60);
    let site = Site::new();
    // The trace file of each is in there.
    // As /tmp is: others make files of their own there.
    let open = std::fs::Permissions::from_mode(0o1777);
    std::fs::set_permissions(site.dir(), open).expect("ours");
    std::fs::write(site.trace_file(), "").expect("ours");
    let all = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(site.trace_file(), all).expect("ours");
    let mut strict = json!({"level": "strict", "enforce": true, "write": site.dir()});
    if root() {
        strict["user"] = json!(65_534);
    }
    let site = site
        .plugin_with("usual", "probe", json!({}))
        .plugin_with("free", "probe", json!({"sandbox": "none"}))
        .plugin_with("tight", "probe", json!({"sandbox": strict}));
    let gateway = Gateway::start(&site).await;
    let workers = gateway.workers();
    let line = |pid, name| status(pid, name);
    let mut found: Vec<_> =
        workers.iter().map(|w| (line(w.pid, "NoNewPrivs"), line(w.pid, "Seccomp"))).collect();
    found.sort();
    let of = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(found, [of("0", "0"), of("1", "2"), of("1", "2")]);
    assert!(gateway.log_lines(|line| line.contains("confined less")).is_empty());
    // Its files in /proc are root's, whoever runs it.
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(format!("/proc/{}/environ", gateway.pid())).expect("it runs");
    assert_eq!(meta.uid(), 0);
    for worker in &workers {
        let adjusted = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", worker.pid));
        assert_eq!(adjusted.expect("it runs").trim(), "500");
    }
    // None outlives it, whoever runs it and whatever it may signal.
    gateway.signal(Signal::SIGKILL);
    let dead = || (!workers.iter().any(|w| proc::alive(w.pid))).then_some(());
    eventually("all workers are dead", Duration::from_secs(5), dead).await;
}
