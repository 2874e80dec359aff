//! What the vectors' generator and their runner share: the notation of vectors/README.md and the reference ring.
#![allow(dead_code, reason = "each of the two uses its half")]

pub(crate) mod record;
pub(crate) mod ring;

use nylon_protocol::handshake::{Control, Hello, HelloOk, Refuse, VersionRange};
use nylon_protocol::{Frame, Geometry, Slot, wire};
use serde_json::{Value, json};

pub(crate) type Pair<'a> = (&'a [u8], &'a [u8]);

/// The folders, in the order they are run.
pub(crate) const FOLDERS: [&str; 5] = ["frame", "ring", "record", "handshake", "reject"];

pub(crate) fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(digits).collect()
}

/// Bytes of a message: hex, or pieces `[hex, times]`.
pub(crate) fn image(value: &Value) -> Vec<u8> {
    if let Some(text) = value.as_str() {
        return unhex(text);
    }
    let pieces = value.as_array().expect("hex or pieces");
    pieces.iter().flat_map(|p| unhex(text(&p[0])).repeat(number(&p[1]))).collect()
}

/// Bytes of a string: text, `{"hex": …}` or `{"hex": …, "times": n}`.
pub(crate) fn string(value: &Value) -> Vec<u8> {
    match value.as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => {
            let times = value.get("times").map_or(1, number);
            unhex(text(&value["hex"])).repeat(times)
        }
    }
}

/// The notation `string` reads.
pub(crate) fn of_string(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "hex": hex(bytes) }),
    }
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

/// A number of any width the field has.
pub(crate) fn number<T: TryFrom<u64>>(value: &Value) -> T {
    let number = value.as_u64().and_then(|n| T::try_from(n).ok());
    number.unwrap_or_else(|| panic!("{value} is not a number in range"))
}

/// The slot of `value`: absent fields are zero. `inline` sets the bytes only; `flags` and `len` stand by themselves.
pub(crate) fn slot(value: &Value) -> Slot {
    let payload = value.get("inline").map(string).unwrap_or_default();
    let mut slot = Slot::inline(Frame::new(number(&value["kind"])), &payload);
    let frame = &mut slot.frame;
    let field = |name: &str| value.get(name).map_or(0, number::<u32>);
    let narrow = |name: &str| value.get(name).map_or(0, number::<u16>);
    frame.seq = field("seq");
    frame.phase = value.get("phase").map_or(0, number);
    frame.flags = narrow("flags");
    frame.sid = field("sid");
    frame.method = field("method");
    frame.call_idx = field("call_idx");
    frame.call_gen = field("call_gen");
    frame.arena_pos = value.get("arena_pos").map_or(0, number);
    frame.len = field("len");
    frame.status = field("status");
    slot
}

/// The notation `slot` reads; zero fields are left out, but for `kind`.
pub(crate) fn of_slot(slot: &Slot) -> Value {
    let frame = &slot.frame;
    let mut value = json!({ "kind": frame.kind });
    let mut put = |name: &str, n: u64| {
        if n != 0 {
            value[name] = json!(n);
        }
    };
    put("seq", frame.seq.into());
    put("phase", frame.phase.into());
    put("flags", frame.flags.into());
    put("sid", frame.sid.into());
    put("method", frame.method.into());
    put("call_idx", frame.call_idx.into());
    put("call_gen", frame.call_gen.into());
    put("arena_pos", frame.arena_pos);
    put("len", frame.len.into());
    put("status", frame.status.into());
    if frame.has(wire::FLAG_INLINE) && frame.len > 0 {
        value["inline"] = json!({ "hex": hex(slot.payload()) });
    }
    value
}

pub(crate) fn geometry(value: &Value) -> Geometry {
    Geometry {
        lanes: number(&value["lanes"]),
        slots: number(&value["slots"]),
        arena: number(&value["arena"]),
    }
}

pub(crate) fn of_geometry(g: Geometry) -> Value {
    json!({ "lanes": g.lanes, "slots": g.slots, "arena": g.arena })
}

pub(crate) fn versions(value: &Value) -> VersionRange {
    VersionRange { major: number(&value[0]), min: number(&value[1]), max: number(&value[2]) }
}

pub(crate) fn of_versions(v: VersionRange) -> Value {
    json!([v.major, v.min, v.max])
}

fn owned(value: &Value) -> String {
    text(value).to_owned()
}

/// A control message.
pub(crate) fn control(value: &Value) -> Control {
    let items = |name: &str| value[name].as_array().expect("a list").iter();
    match text(&value["type"]) {
        "hello" => Control::Hello(Hello {
            versions: versions(&value["versions"]),
            layout_hash: number(&value["layout_hash"]),
            epoch: number(&value["epoch"]),
            seg_len: number(&value["seg_len"]),
            geometry: geometry(&value["geometry"]),
            features: number(&value["features"]),
            window: number(&value["window"]),
            staged_max: number(&value["staged_max"]),
            spin_ns: number(&value["spin_ns"]),
            generation: number(&value["generation"]),
            plugin: owned(&value["plugin"]),
            config: string(&value["config"]),
            payloads: items("payloads").map(string).collect(),
        }),
        "hello_ok" => Control::HelloOk(HelloOk {
            versions: versions(&value["versions"]),
            layout_hash: number(&value["layout_hash"]),
            epoch: number(&value["epoch"]),
            features: number(&value["features"]),
            cpus: number(&value["cpus"]),
            doorbell: number(&value["doorbell"]),
            sdk: owned(&value["sdk"]),
            entries: items("entries").map(owned).collect(),
        }),
        "refuse" => Control::Refuse(Refuse {
            code: number(&value["code"]),
            versions: versions(&value["versions"]),
            message: owned(&value["message"]),
        }),
        "shutdown" => Control::Shutdown { grace_ms: number(&value["grace_ms"]) },
        "bye" => Control::Bye,
        other => panic!("unknown message {other}"),
    }
}

/// The notation `control` reads, with the message's bytes.
pub(crate) fn of_control(control: &Control) -> Value {
    let mut value = match control {
        Control::Hello(h) => json!({
            "type": "hello",
            "versions": of_versions(h.versions),
            "layout_hash": h.layout_hash,
            "epoch": h.epoch,
            "seg_len": h.seg_len,
            "geometry": of_geometry(h.geometry),
            "features": h.features,
            "window": h.window,
            "staged_max": h.staged_max,
            "spin_ns": h.spin_ns,
            "generation": h.generation,
            "plugin": h.plugin,
            "config": of_string(&h.config),
            "payloads": h.payloads.iter().map(|p| of_string(p)).collect::<Vec<_>>(),
        }),
        Control::HelloOk(ok) => json!({
            "type": "hello_ok",
            "versions": of_versions(ok.versions),
            "layout_hash": ok.layout_hash,
            "epoch": ok.epoch,
            "features": ok.features,
            "cpus": ok.cpus,
            "doorbell": ok.doorbell,
            "sdk": ok.sdk,
            "entries": ok.entries,
        }),
        Control::Refuse(r) => json!({
            "type": "refuse",
            "code": r.code,
            "versions": of_versions(r.versions),
            "message": r.message,
        }),
        Control::Shutdown { grace_ms } => json!({ "type": "shutdown", "grace_ms": grace_ms }),
        Control::Bye => json!({ "type": "bye" }),
    };
    value["bytes"] = json!(hex(&control.encode()));
    value
}
