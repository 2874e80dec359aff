//! Writes `protocol/vectors/`: `cargo run -p nylon-protocol --example vectors`.
//!
//! The files are committed and judge this crate as much as any other, so a change of them is a change of the
//! protocol: look at the diff before committing it. The same input always gives the same bytes.

#![allow(clippy::cast_possible_truncation, reason = "lengths that are written out here")]
#![allow(clippy::cloned_ref_to_slice_refs, reason = "records are concatenated from owned parts")]

#[path = "../../tests/support/mod.rs"]
mod support;

mod frame;
mod handshake;
mod record;
mod reject;
mod ring;
mod websocket;

use serde_json::Value;

fn main() {
    for (folder, vectors) in [
        ("frame", frame::all()),
        ("ring", ring::all()),
        ("record", record::all()),
        ("handshake", handshake::all()),
        ("reject", [reject::all(), websocket::all()].concat()),
    ] {
        let folder = support::root().join(folder);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("protocol/vectors can be written");
        println!("{:4} {}", vectors.len(), folder.display());
        for (name, vector) in vectors {
            let file = folder.join(format!("{name}.json"));
            assert!(!file.exists(), "{name} twice");
            std::fs::write(file, layout(&vector)).expect("protocol/vectors can be written");
        }
    }
}

/// One field a line; lists of lists one item a line.
fn layout(vector: &Value) -> String {
    let fields = vector.as_object().expect("an object");
    let lines: Vec<String> = fields
        .iter()
        .map(|(key, value)| match value.as_array() {
            Some(items) if items.iter().any(|i| i.is_array() || i.is_object()) => {
                let items: Vec<String> = items.iter().map(|i| format!("    {i}")).collect();
                format!("  \"{key}\": [\n{}\n  ]", items.join(",\n"))
            }
            _ => format!("  \"{key}\": {value}"),
        })
        .collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}
