//! handshake/: messages, and what two sides agree on.

use nylon_protocol::handshake::{Control, Hello, HelloOk, Refuse, RefuseReason, VersionRange};
use nylon_protocol::{Geometry, wire};
use serde_json::{Value, json};

use crate::support::{of_control, of_versions};

pub(crate) fn all() -> Vec<(&'static str, Value)> {
    let mut out = vec![
        ("ok", answered("both speak 1.0 to 1.1", |_, _| {})),
        (
            "older-minor",
            answered("the worker stops at 1.0: 1.0 it is", |_, ok| ok.versions.max = 0),
        ),
        (
            "newer-minor",
            answered("the worker goes on to 1.2: 1.1 it is", |_, ok| ok.versions.max = 2),
        ),
        (
            "older-host",
            answered("the host stops at 1.0: 1.0 it is", |hello, _| hello.versions.max = 0),
        ),
        ("no-features", answered("a worker that takes no feature", |_, ok| ok.features = 0)),
        ("refuse-major", answered("the worker speaks 2.0", |_, ok| ok.versions = range(2, 0, 0))),
        (
            "refuse-minor",
            answered("the worker starts at 1.2", |_, ok| ok.versions = range(1, 2, 3)),
        ),
        (
            "refuse-layout",
            answered("the worker was built from another table", |_, ok| ok.layout_hash ^= 1),
        ),
        ("refuse-epoch", answered("the answer to another Hello", |_, ok| ok.epoch += 1)),
        (
            "refuse-features",
            answered("a feature that was not offered", |hello, _| hello.features = 1),
        ),
        ("worker-ok", greeted("the worker looks at Hello", |_| {})),
        ("worker-older-host", greeted("a host of 1.0", |hello| hello.versions.max = 0)),
        ("worker-refuse-major", greeted("a host of 2.0", |hello| hello.versions = range(2, 0, 4))),
        (
            "worker-refuse-layout",
            greeted("a host built from another table", |hello| hello.layout_hash ^= 1),
        ),
        ("worker-refuse-geometry", greeted("100 slots", |hello| hello.geometry.slots = 100)),
        (
            "worker-refuse-length",
            greeted("a length that does not follow", |hello| hello.seg_len -= 4096),
        ),
        ("worker-refuse-epoch", greeted("epoch 0", |hello| hello.epoch = 0)),
        (
            "hello-full",
            message(
                "config and payloads",
                Control::Hello(Hello {
                    config: br#"{"key":"secret","list":[1,2.5,null]}"#.to_vec(),
                    payloads: vec![br#"{"role":"admin"}"#.to_vec(), Vec::new()],
                    spin_ns: 20_000,
                    generation: 3,
                    ..hello()
                }),
            ),
        ),
        ("shutdown", message("exit within 5 s", Control::Shutdown { grace_ms: 5000 })),
        ("bye", message("the hooks have run", Control::Bye)),
    ];
    for (name, code, text) in [
        ("refuse-message-config", wire::REFUSE_CONFIG, "config: key \"secret\" is missing"),
        ("refuse-message-init", wire::REFUSE_INIT, "cannot reach the database"),
    ] {
        let refuse = Refuse { code, versions: VersionRange::OURS, message: text.into() };
        out.push((name, message("the worker will not serve", Control::Refuse(refuse))));
    }
    out
}

fn range(major: u16, min: u16, max: u16) -> VersionRange {
    VersionRange { major, min, max }
}

/// The versions are written out, so that these files stay what they are when ours grow.
fn hello() -> Hello {
    let geometry = Geometry { lanes: 1, slots: 256, arena: 1 << 20 };
    Hello {
        versions: range(1, 0, 1),
        layout_hash: wire::LAYOUT_HASH,
        epoch: 0x0102_0304_0506_0708,
        seg_len: geometry.segment_len(),
        geometry,
        features: 7,
        window: 262_144,
        staged_max: 8 << 20,
        spin_ns: 0,
        generation: 1,
        plugin: "authz".into(),
        config: Vec::new(),
        payloads: Vec::new(),
    }
}

fn hello_ok() -> HelloOk {
    HelloOk {
        versions: range(1, 0, 1),
        layout_hash: wire::LAYOUT_HASH,
        epoch: 0x0102_0304_0506_0708,
        features: 3,
        cpus: 4,
        doorbell: wire::DOORBELL_EVENTFD,
        sdk: "nylon-go 0.1.0".into(),
        entries: vec!["authz".into(), "log".into()],
    }
}

/// The host looks at the worker's answer.
fn answered(about: &str, change: impl FnOnce(&mut Hello, &mut HelloOk)) -> Value {
    let (mut hello, mut ok) = (hello(), hello_ok());
    change(&mut hello, &mut ok);
    json!({
        "description": about,
        "messages": [of_control(&Control::Hello(hello.clone())), of_control(&Control::HelloOk(ok.clone()))],
        "expect": expect(ok.check(&hello)),
    })
}

/// The worker looks at the host's Hello.
fn greeted(about: &str, change: impl FnOnce(&mut Hello)) -> Value {
    let mut hello = hello();
    change(&mut hello);
    let worker = range(1, 0, 1);
    json!({
        "description": about,
        "messages": [of_control(&Control::Hello(hello.clone()))],
        "worker": of_versions(worker),
        "expect": expect(hello.check(worker)),
    })
}

fn message(about: &str, control: Control) -> Value {
    json!({ "description": about, "messages": [of_control(&control)] })
}

fn expect(result: Result<u16, RefuseReason>) -> Value {
    match result {
        Ok(minor) => json!({ "minor": minor }),
        Err(reason) => json!({ "code": reason.code(), "message": reason.to_string() }),
    }
}
