//! `cargo xtask gen`: protocol/wire.toml → the constants of Rust, Go and C; flatc → the schema code.
//!
//! In: the table and the two schemas.  Out: committed files, byte for byte the same for the same table.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use toml::{Table, Value};

type Result<T> = std::result::Result<T, String>;

/// One constant of the table.
struct Entry {
    key: String,
    value: u64,
    doc: String,
}

/// One `[group.NAME]`.
struct Group {
    name: String,
    ty: String,
    frozen: bool,
    /// Its docs are strings, to be found by id and by text.
    table: bool,
    /// Its keys are what people are shown of a value.
    names: bool,
    doc: String,
    entries: Vec<Entry>,
}

/// The whole table.
struct Wire {
    magic: [u8; 8],
    major: u16,
    minor: u16,
    minor_min: u16,
    groups: Vec<Group>,
}

/// Writes the generated files below `root`; with `check` compares instead and fails on a difference.
pub(crate) fn run(root: &Path, check: bool) -> Result<()> {
    let wire = parse(&root.join("protocol/wire.toml"))?;
    let outputs = [
        ("protocol/src/wire.rs", rust(&wire)),
        ("sdk-go/internal/wire/wire_gen.go", go(&wire)),
        ("sdk-c/include/nylon/wire.h", c(&wire)),
    ];
    for (path, text) in outputs {
        let file = root.join(path);
        if check {
            let committed = fs::read_to_string(&file).unwrap_or_default();
            if committed != text {
                return Err(format!(
                    "{path} differs from protocol/wire.toml: run `cargo xtask gen`"
                ));
            }
        } else {
            fs::create_dir_all(file.parent().expect("has a parent")).map_err(|e| e.to_string())?;
            fs::write(&file, text).map_err(|e| format!("{path}: {e}"))?;
        }
    }
    Ok(())
}

fn parse(path: &Path) -> Result<Wire> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let table: Table = text.parse().map_err(|e| format!("{}: {e}", path.display()))?;
    let abi = table["abi"].as_table().ok_or("wire.toml: [abi] is missing")?;
    let number = |key: &str| -> Result<u16> {
        let n = abi.get(key).and_then(Value::as_integer).ok_or(format!("abi.{key} is missing"))?;
        u16::try_from(n).map_err(|e| format!("abi.{key}: {e}"))
    };
    let magic = abi["magic"].as_str().ok_or("abi.magic is missing")?.as_bytes();
    let groups = table["group"].as_table().ok_or("wire.toml: no groups")?;
    Ok(Wire {
        magic: magic.try_into().map_err(|_| "abi.magic has 8 bytes")?,
        major: number("major")?,
        minor: number("minor")?,
        minor_min: number("minor_min")?,
        groups: groups.iter().map(|(name, g)| group(name, g)).collect::<Result<_>>()?,
    })
}

fn group(name: &str, value: &Value) -> Result<Group> {
    let table = value.as_table().ok_or(format!("group.{name} is not a table"))?;
    let text = |key: &str| table.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut entries = Vec::new();
    for (key, v) in table {
        let Some(pair) = v.as_array() else { continue };
        let (Some(n), Some(doc)) =
            (pair.first().and_then(Value::as_integer), pair.get(1).and_then(Value::as_str))
        else {
            return Err(format!("group.{name}.{key}: expected [number, \"doc\"]"));
        };
        let value = u64::try_from(n).map_err(|e| format!("group.{name}.{key}: {e}"))?;
        entries.push(Entry { key: key.clone(), value, doc: doc.to_owned() });
    }
    let is = |key: &str| table.get(key).and_then(Value::as_bool).unwrap_or(false);
    let (frozen, table) = (is("frozen"), is("table"));
    if table
        && !entries.iter().zip(1..).all(|(e, id)| e.value == id && e.key == e.doc.replace('-', "_"))
    {
        return Err(format!(
            "group.{name}: a table counts from 1, and its keys follow from its strings"
        ));
    }
    let (names, doc) = (is("names"), text("doc"));
    Ok(Group { name: name.to_owned(), ty: text("type"), frozen, table, names, doc, entries })
}

/// FNV-1a64 of the canonical text of the frozen groups (SPEC.md 1.4).
fn layout_hash(wire: &Wire) -> u64 {
    let mut text = String::new();
    for g in wire.groups.iter().filter(|g| g.frozen) {
        let _ = writeln!(text, "group {} {}", g.name, g.ty);
        for e in &g.entries {
            let _ = writeln!(text, "{} {}", e.key, e.value);
        }
    }
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

fn rust(wire: &Wire) -> String {
    let mut out = String::from(
        "//! Generated from wire.toml by `cargo xtask gen`. Do not edit.\n\n\
         /// First eight bytes of a segment.\n",
    );
    let _ = writeln!(out, "pub const MAGIC: u64 = {:#018x};", u64::from_le_bytes(wire.magic));
    let _ = writeln!(out, "/// ABI major.\npub const ABI_MAJOR: u16 = {};", wire.major);
    let _ =
        writeln!(out, "/// Highest ABI minor spoken.\npub const ABI_MINOR: u16 = {};", wire.minor);
    let _ = writeln!(
        out,
        "/// Lowest ABI minor spoken.\npub const ABI_MINOR_MIN: u16 = {};",
        wire.minor_min
    );
    let _ = writeln!(
        out,
        "/// FNV-1a64 of the frozen groups (SPEC.md 1.4).\npub const LAYOUT_HASH: u64 = {:#018x};",
        layout_hash(wire)
    );
    for g in &wire.groups {
        let _ = writeln!(out, "\n// {}", g.doc);
        for e in &g.entries {
            let name = format!("{}_{}", g.name, e.key).to_uppercase();
            let doc = if e.doc.is_empty() { "See the group." } else { &e.doc };
            let doc = doc.replace('[', "\\[").replace(']', "\\]");
            let _ = writeln!(out, "/// {doc}\npub const {name}: {} = {};", g.ty, e.value);
        }
        if g.table {
            rust_table(&mut out, g);
        }
        if g.names {
            rust_names(&mut out, g);
        }
    }
    out
}

/// The keys of a group by value.
fn rust_names(out: &mut String, g: &Group) {
    let upper = g.name.to_uppercase();
    let _ = writeln!(
        out,
        "/// The key of a `{upper}_*`, for people; `None` when there is none.\n\
         pub fn {}_name(value: {}) -> Option<&'static str> {{\n    Some(match value {{",
        g.name, g.ty
    );
    for e in &g.entries {
        let _ = writeln!(out, "        {upper}_{} => \"{}\",", e.key.to_uppercase(), e.key);
    }
    out.push_str("        _ => return None,\n    })\n}\n");
}

/// The strings of a group by id, and the ids by string.
fn rust_table(out: &mut String, g: &Group) {
    let (upper, n) = (g.name.to_uppercase(), g.entries.len());
    let _ = writeln!(out, "/// `{upper}_*` by id - 1.\npub static {upper}S: [&str; {n}] = [");
    for e in &g.entries {
        let _ = writeln!(out, "    \"{}\",", e.doc);
    }
    let _ = writeln!(
        out,
        "];\n/// The `{upper}_*` of a string, 0 when there is none.\n\
         pub fn {}_id(string: &[u8]) -> {} {{\n    match string {{",
        g.name, g.ty
    );
    for e in &g.entries {
        let _ = writeln!(out, "        b\"{}\" => {upper}_{},", e.doc, e.key.to_uppercase());
    }
    out.push_str("        _ => 0,\n    }\n}\n");
}

fn go(wire: &Wire) -> String {
    let mut out = String::from(
        "// Code generated from protocol/wire.toml by `cargo xtask gen`. DO NOT EDIT.\n\npackage wire\n\n",
    );
    let _ =
        writeln!(out, "// Version of the ABI and hash of its frozen layout (SPEC.md 1).\nconst (");
    let _ = writeln!(out, "\tMagic       uint64 = {:#018x}", u64::from_le_bytes(wire.magic));
    let _ = writeln!(out, "\tAbiMajor    uint16 = {}", wire.major);
    let _ = writeln!(out, "\tAbiMinor    uint16 = {}", wire.minor);
    let _ = writeln!(out, "\tAbiMinorMin uint16 = {}", wire.minor_min);
    let _ = writeln!(out, "\tLayoutHash  uint64 = {:#018x}\n)", layout_hash(wire));
    for g in &wire.groups {
        let ty = match g.ty.as_str() {
            "u8" => "uint8",
            "u16" => "uint16",
            "u32" => "uint32",
            "u64" => "uint64",
            "i32" => "int32",
            _ => "int",
        };
        let names: Vec<String> =
            g.entries.iter().map(|e| camel(&g.name) + &camel(&e.key)).collect();
        let width = names.iter().map(String::len).max().unwrap_or(0);
        let values: Vec<String> = g.entries.iter().map(|e| e.value.to_string()).collect();
        let value_width = values.iter().map(String::len).max().unwrap_or(0);
        let _ = writeln!(out, "\n// {}\nconst (", g.doc);
        for ((e, name), value) in g.entries.iter().zip(&names).zip(&values) {
            let _ = if e.doc.is_empty() {
                writeln!(out, "\t{name:width$} {ty} = {value}")
            } else {
                writeln!(out, "\t{name:width$} {ty} = {value:value_width$} // {}", e.doc)
            };
        }
        out.push_str(")\n");
        if g.table {
            go_table(&mut out, g);
        }
    }
    out
}

/// The strings of a group by id, and what finds the id of a string.
fn go_table(out: &mut String, g: &Group) {
    let name = camel(&g.name);
    let _ = writeln!(
        out,
        "\n// {}s has {name}* by id.\nvar {}s = [...][]byte{{\n\tnil,",
        g.name, g.name
    );
    for e in &g.entries {
        let _ = writeln!(out, "\t[]byte(\"{}\"),", e.doc);
    }
    let (factor, slots) = perfect_hash(g);
    let _ = writeln!(
        out,
        "}}\n\n// {0}Slots has the {name}* of a string at {0}Slot, which no two strings share; 0 = none.\n\
         const {0}Factor = {factor:#x}\n\nvar {0}Slots = [256]uint8{{",
        g.name
    );
    for row in slots.chunks(16) {
        let row: Vec<String> = row.iter().map(u8::to_string).collect();
        let _ = writeln!(out, "\t{},", row.join(", "));
    }
    out.push_str("}\n");
}

/// A factor with which [`slot`] gives each string of a group a slot of its own, and the values by slot.
fn perfect_hash(g: &Group) -> (u32, [u8; 256]) {
    let mut factor = 0x9e37_79b1_u32;
    'search: loop {
        let mut slots = [0; 256];
        for e in &g.entries {
            let taken = &mut slots[slot(e.doc.as_bytes(), factor)];
            if *taken != 0 {
                factor = factor.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35e);
                continue 'search;
            }
            *taken = u8::try_from(e.value).expect("a table has at most 255 entries");
        }
        return (factor, slots);
    }
}

/// The slot of a string of two bytes or more, by its length, its first and its last two bytes: `nameSlot` in Go.
fn slot(s: &[u8], factor: u32) -> usize {
    let word = [s[s.len() - 1], s[s.len() - 2], s[0], s.len().to_le_bytes()[0]];
    (u32::from_le_bytes(word).wrapping_mul(factor) >> 24) as usize
}

fn c(wire: &Wire) -> String {
    let mut out = String::from(
        "/* Generated from protocol/wire.toml by `cargo xtask gen`. Do not edit. */\n\
         #ifndef NYLON_WIRE_H\n#define NYLON_WIRE_H\n\n#include <stdint.h>\n\n",
    );
    let _ = writeln!(out, "#define NYLON_MAGIC UINT64_C({:#018x})", u64::from_le_bytes(wire.magic));
    let _ = writeln!(out, "#define NYLON_ABI_MAJOR {}", wire.major);
    let _ = writeln!(out, "#define NYLON_ABI_MINOR {}", wire.minor);
    let _ = writeln!(out, "#define NYLON_ABI_MINOR_MIN {}", wire.minor_min);
    let _ = writeln!(out, "#define NYLON_LAYOUT_HASH UINT64_C({:#018x})", layout_hash(wire));
    for g in &wire.groups {
        let _ = writeln!(out, "\n/* {} */", g.doc);
        for e in &g.entries {
            let name = format!("NYLON_{}_{}", g.name, e.key).to_uppercase();
            let _ = if e.doc.is_empty() {
                writeln!(out, "#define {name} {}", e.value)
            } else {
                writeln!(out, "#define {name} {} /* {} */", e.value, e.doc)
            };
        }
        if g.table {
            let name = g.name.to_uppercase();
            let strings: Vec<String> = g.entries.iter().map(|e| format!("\"{}\"", e.doc)).collect();
            let _ = writeln!(out, "/* NYLON_{name}_* by id - 1, as an initialiser. */");
            let _ = writeln!(out, "#define NYLON_{name}S {{ \\\n  {} }}", strings.join(", \\\n  "));
        }
    }
    out.push_str("\n#endif\n");
    out
}

fn camel(snake: &str) -> String {
    snake
        .split('_')
        .map(|word| {
            let mut chars = word.chars();
            chars
                .next()
                .map(|c| c.to_ascii_uppercase().to_string() + chars.as_str())
                .unwrap_or_default()
        })
        .collect()
}
