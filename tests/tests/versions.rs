//! Who may be a worker: versions this host speaks and those it does not, and programs that are no worker at all. The
//! texts are what a user reads.

use std::path::Path;
use std::time::{Duration, Instant};

use nylon_host::{Body, Client, Host, Item, PluginSpec, PluginState, StartError};
use nylon_tests::watchdog;

/// What to do about any mismatch.
const REBUILD: &str = ": rebuild the plugin with an SDK of this host's release";
const WORKER: &str = env!("CARGO_BIN_EXE_nylon-hostile-worker");

fn spec(mode: &str) -> PluginSpec {
    let mut spec = PluginSpec::new("p", WORKER);
    spec.args = vec![mode.into()];
    spec.start_timeout = Duration::from_secs(20);
    spec
}

async fn ask(host: &Host, nonce: &str) -> (u16, String) {
    let chain = host.chain().service(Item::new("p", "serve")).expect("it is there").build();
    let request = http::Request::get("http://localhost/").header("x-nonce", nonce);
    let request = request.header("accept", "*/*").body(Body::empty()).expect("a request");
    let client = Client { ip: [127, 0, 0, 1].into(), tls: false };
    let response = chain.call(request, client, vec![], async |_| unreachable!()).await;
    let nonce = response.headers().get("x-nonce").and_then(|v| v.to_str().ok()).unwrap_or("");
    (response.status().as_u16(), nonce.to_owned())
}

/// Serves with a worker of `mode`.
async fn works(mode: &str) {
    let host = Host::start(vec![spec(mode)]).await.unwrap_or_else(|e| panic!("{mode}: {e:?}"));
    assert_eq!(ask(&host, mode).await, (200, mode.to_owned()), "{mode}");
    host.stop(Duration::from_secs(2)).await;
}

/// The error of a plugin that does not start.
async fn error(spec: PluginSpec) -> StartError {
    let errors = match Host::start(vec![spec.clone()]).await {
        Ok(_) => panic!("{:?} starts", spec.args),
        Err(errors) => errors,
    };
    assert_eq!(errors.as_slice().len(), 1, "{errors:?}");
    errors.into_iter().next().expect("one")
}

async fn refused(mode: &str, text: &str, permanent: bool) {
    let error = error(spec(mode)).await;
    assert_eq!(error.to_string(), text, "{mode}");
    assert_eq!(error.is_permanent(), permanent, "{mode}");
}

#[tokio::test]
async fn a_minor_older_and_a_minor_newer_work() {
    let _dog = watchdog(60);
    works("minor-older").await;
    works("minor-newer").await;
}

/// Names of the table are ids for a worker that asked for them, and text for the others.
#[tokio::test]
async fn a_worker_with_header_names_and_one_without_work() {
    let _dog = watchdog(60);
    works("header-names").await;
    works("honest").await;
}

#[tokio::test]
async fn no_common_version_is_refused_with_both_ranges() {
    let _dog = watchdog(60);
    let ranges = &format!("plugin `p`: the host speaks ABI 1.0–1.2, the worker 2.0–2.0{REBUILD}");
    refused("major-newer", ranges, true).await;
    // Whoever of the two says no.
    refused("refuse-version", ranges, true).await;
    let minors = &format!("plugin `p`: the host speaks ABI 1.0–1.2, the worker 1.3–1.3{REBUILD}");
    refused("minor-newer-only", minors, true).await;
}

#[tokio::test]
async fn a_mismatch_is_not_tried_again() {
    let _dog = watchdog(60);
    // The first worker serves; the program was replaced by the time it dies.
    let host = Host::start(vec![spec("major-newer-later")]).await.expect("the first one starts");
    let status = || host.status("p").expect("it is there");
    tokio::time::sleep(Duration::from_millis(350)).await;
    nylon_tests::proc::kill(status().pid, nix::sys::signal::Signal::SIGKILL);
    let end = Instant::now() + Duration::from_secs(10);
    while status().state != PluginState::Failed {
        assert!(Instant::now() < end, "{:?}", status());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let status = status();
    assert_eq!((status.state, status.generation), (PluginState::Failed, 2), "{status:?}");
    let reason = format!("plugin `p`: the host speaks ABI 1.0–1.2, the worker 2.0–2.0{REBUILD}");
    assert_eq!(status.last_end, reason);
    assert_eq!(ask(&host, "n").await.0, 503);
    host.stop(Duration::from_secs(2)).await;
}

#[tokio::test]
async fn another_table_another_hello_another_feature() {
    let _dog = watchdog(60);
    let layout = error(spec("layout")).await;
    let text = layout.to_string();
    assert!(layout.is_permanent(), "{text}");
    let rest = text.strip_prefix("plugin `p`: layout hash 0x").unwrap_or_else(|| panic!("{text}"));
    assert!(
        rest.ends_with(&format!(": built from another wire table{REBUILD}"))
            && rest.contains(", not 0x"),
        "{text}"
    );
    let epoch = error(spec("epoch")).await;
    let text = epoch.to_string();
    assert!(epoch.is_permanent(), "{text}");
    assert!(text.starts_with("plugin `p`: epoch 0x"), "{text}");
    assert!(text.ends_with(&format!(": the answer to another Hello{REBUILD}")), "{text}");
    refused(
        "features",
        &format!("plugin `p`: features 0x10000000000 were not offered{REBUILD}"),
        true,
    )
    .await;
    refused("bad-header", &format!("plugin `p`: segment header: magic{REBUILD}"), true).await;
}

#[tokio::test]
async fn talk_that_is_no_handshake() {
    let _dog = watchdog(60);
    let garbage = "plugin `p`: it does not speak Nylon's handshake (control message: not a Control message): \
                   is it a Nylon worker?";
    refused("garbage", garbage, true).await;
    let bye = "plugin `p`: it does not speak Nylon's handshake (an unexpected message): is it a Nylon worker?";
    refused("bye", bye, true).await;
    let closed = "plugin `p`: it closed the control socket before shaking hands";
    refused("close", closed, false).await;
}

#[tokio::test]
async fn a_refusal_is_quoted_in_one_line() {
    let _dog = watchdog(60);
    let error = error(spec("refuse-init")).await;
    let text = error.to_string();
    assert!(!error.is_permanent());
    let start = "plugin `p`: no database\\u{1b}[31m\\nforged line xxx";
    assert!(text.starts_with(start), "{}", &text[..200]);
    assert!(text.len() < 5000, "{} bytes", text.len());
}

#[tokio::test]
async fn no_answer_in_time() {
    let _dog = watchdog(60);
    let mut silent = spec("silent");
    silent.start_timeout = Duration::from_millis(300);
    let start = Instant::now();
    let error = error(silent).await;
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    let text = format!(
        "plugin `p`: {WORKER} did not shake hands within 300ms: is it a Nylon worker? \
         A Go plugin's main must call sdk.Serve()"
    );
    assert_eq!((error.to_string(), error.is_permanent()), (text, false));
}

/// Programs that end before the handshake, faster than Hello can be sent or slower.
#[tokio::test]
async fn programs_that_are_no_workers() {
    let _dog = watchdog(120);
    let ended = |program: &str| {
        format!(
            "plugin `p`: {program} exited with status 0 before shaking hands: is it a Nylon worker? \
             A Go plugin's main must call sdk.Serve()"
        )
    };
    refused("exit", &ended(WORKER), false).await;
    for program in ["/bin/true", "/bin/cat"] {
        for _ in 0..20 {
            let mut spec = PluginSpec::new("p", program);
            spec.start_timeout = Duration::from_secs(20);
            let error = error(spec).await;
            assert_eq!(
                (error.to_string(), error.is_permanent()),
                (ended(program), false),
                "{program}"
            );
        }
    }
}

#[tokio::test]
async fn programs_that_cannot_be_run() {
    let _dog = watchdog(60);
    let missing = error(PluginSpec::new("p", "/nowhere/plugin")).await;
    let text = "plugin `p`: cannot run /nowhere/plugin: No such file or directory (os error 2)";
    assert_eq!(missing.to_string(), text);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let denied = error(PluginSpec::new("p", &file)).await;
    let text =
        format!("plugin `p`: cannot run {}: Permission denied (os error 13)", file.display());
    assert_eq!(denied.to_string(), text);
}
