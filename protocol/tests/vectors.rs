//! Every file of protocol/vectors: decoded, compared, encoded back. vectors/README.md is the instruction this follows.

mod support;

use std::collections::BTreeSet;
use std::fs;

use nylon_protocol::check::{
    FrameContext, Issued, Messages, Side, Verdict, Window, check_arena_head, check_frame,
    check_head, check_seq, check_token, cost, next_apos,
};
use nylon_protocol::handshake::Control;
use nylon_protocol::segment::Header;
use nylon_protocol::{Frame, Geometry, Slot, Violation, wire};
use serde_json::{Value, json};
use support::ring::Ring;
use support::{FOLDERS, control, hex, image, number, record, root, string, text, versions};

/// Least number of files a folder has.
const LEAST: [usize; 5] = [25, 15, 15, 8, 40];

#[test]
fn every_vector() {
    let mut ran = 0;
    let mut failed = Vec::new();
    for (folder, least) in FOLDERS.into_iter().zip(LEAST) {
        let names = names(folder);
        assert!(names.len() >= least, "{folder}: {} files, not {least}", names.len());
        for name in names {
            let path = root().join(folder).join(format!("{name}.json"));
            let file = fs::read_to_string(path).unwrap();
            let vector: Value = serde_json::from_str(&file).expect(&name);
            let result = std::panic::catch_unwind(|| run(folder, &vector));
            if result.is_err() {
                failed.push(format!("{folder}/{name}"));
            }
            ran += 1;
        }
    }
    println!("vectors: {ran} files");
    assert!(ran > 0 && failed.is_empty(), "failed: {failed:?}");
}

fn names(folder: &str) -> BTreeSet<String> {
    let list = fs::read_dir(root().join(folder)).unwrap_or_else(|e| panic!("{folder}: {e}"));
    let name = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".json").expect("only .json files").to_owned()
    };
    list.map(name).collect()
}

fn run(folder: &str, vector: &Value) {
    match folder {
        "frame" => run_frame(vector),
        "ring" => run_ring(vector),
        "record" => run_record(vector),
        "handshake" => run_handshake(vector),
        _ => run_reject(vector),
    }
}

fn side(vector: &Value, name: &str) -> Side {
    match text(&vector[name]) {
        "host" => Side::Host,
        "worker" => Side::Worker,
        other => panic!("{other} is no side"),
    }
}

fn slot(vector: &Value) -> Slot {
    let bytes = image(&vector["slot"]);
    bytemuck::pod_read_unaligned(&bytes)
}

fn context(vector: &Value) -> FrameContext {
    FrameContext {
        arena: number(&vector["arena"]),
        apos: number(&vector["apos"]),
        host_calls: vector["host_calls"] == true,
        handler_time: vector["handler_time"] == true,
        websocket: vector["websocket"] == true,
    }
}

fn run_frame(vector: &Value) {
    let found = slot(vector);
    let fields = support::slot(&vector["frame"]);
    assert_eq!(found, fields);
    assert_eq!(json!(hex(bytemuck::bytes_of(&fields))), vector["slot"]);
    let ctx = context(vector);
    assert_eq!(check_frame(&found.frame, side(vector, "from"), &ctx), Ok(()));
    assert_eq!(json!(next_apos(&found.frame, &ctx)), vector["next_apos"]);
}

fn run_ring(vector: &Value) {
    let geometry =
        Geometry { lanes: 1, slots: number(&vector["slots"]), arena: number(&vector["arena"]) };
    let start = &vector["start"];
    let (pos, apos) = (number(&start["pos"]), number(&start["apos"]));
    let mut ring = Ring::new(geometry, side(vector, "writer"), pos, apos);
    put_runs(&mut ring.producer, vector.get("preset_producer"));
    put_runs(&mut ring.consumer, vector.get("preset_consumer"));
    let mut popped = Vec::new();
    for op in vector["ops"].as_array().unwrap() {
        match text(&op["op"]) {
            "push" => {
                let payload = string(&op["payload"]);
                let done = ring.push(support::slot(&op["frame"]).frame, &payload).unwrap();
                assert_eq!(text(&op["result"]), if done { "ok" } else { "full" });
            }
            "pop" => match ring.pop().unwrap() {
                Some(found) => {
                    assert_eq!(text(&op["result"]), "frame");
                    popped.push((op, found));
                }
                None => assert_eq!(text(&op["result"]), "empty"),
            },
            "release" => ring.release(),
            other => panic!("unknown op {other}"),
        }
    }
    for (op, (slot, payload)) in popped {
        assert_eq!(slot, support::slot(&op["frame"]));
        assert_eq!(payload, string(&op["payload"]));
    }
    for (lane, name) in [(&ring.producer, "producer_lane"), (&ring.consumer, "consumer_lane")] {
        let mut expected = vec![0; lane.len()];
        put_runs(&mut expected, vector.get(name));
        let wrong = lane.iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!(wrong, None, "first wrong byte of {name}");
    }
}

fn put_runs(lane: &mut [u8], runs: Option<&Value>) {
    for run in runs.and_then(Value::as_array).into_iter().flatten() {
        let at: usize = number(&run[0]);
        let bytes = support::unhex(text(&run[1])).repeat(run.get(2).map_or(1, number));
        lane[at..at + bytes.len()].copy_from_slice(&bytes);
    }
}

fn run_record(vector: &Value) {
    let (kind, fields) = (text(&vector["type"]), &vector["fields"]);
    let bytes = image(&vector["bytes"]);
    let names = record::names(vector);
    assert_eq!(&record::decode(kind, &bytes, fields, names).unwrap(), fields);
    let encoded = record::encode(kind, fields, names);
    if kind == "headers" {
        assert_eq!(&record::decode(kind, &encoded, fields, names).unwrap(), fields);
    } else {
        assert_eq!(hex(&encoded), hex(&bytes));
    }
}

fn run_handshake(vector: &Value) {
    let messages: Vec<Control> = vector["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| {
            let fields = control(message);
            assert_eq!(Control::decode(&image(&message["bytes"])).as_ref(), Ok(&fields));
            assert_eq!(Control::decode(&fields.encode()).as_ref(), Ok(&fields));
            fields
        })
        .collect();
    let result = match (&messages[..], vector.get("worker")) {
        ([Control::Hello(hello), Control::HelloOk(ok)], None) => ok.check(hello),
        ([Control::Hello(hello)], Some(worker)) => hello.check(versions(worker)),
        ([_], None) => return,
        _ => panic!("unknown exchange"),
    };
    let found = match result {
        Ok(minor) => json!({ "minor": minor }),
        Err(reason) => json!({ "code": reason.code(), "message": reason.to_string() }),
    };
    assert_eq!(found, vector["expect"]);
}

fn run_reject(vector: &Value) {
    let violation = refusal(vector);
    if vector.get("verdict").is_some() {
        assert_eq!(violation, Ok(Some(Verdict::Late)));
        return;
    }
    let violation = violation.expect_err("was accepted");
    assert_eq!(violation.name(), text(&vector["violation"]));
    if let Some(rule) = vector.get("rule") {
        assert_eq!(violation.rule(), rule.as_str());
    }
}

/// What the vector's check says; a verdict only for tokens.
fn refusal(vector: &Value) -> Result<Option<Verdict>, Violation> {
    let n = |name: &str| number::<u64>(&vector[name]);
    let word = |name: &str| number::<u32>(&vector[name]);
    match text(&vector["check"]) {
        "frame" => check_frame(&slot(vector).frame, side(vector, "from"), &context(vector))?,
        "token" => return check_token(&slot(vector).frame, issued(&vector["issued"])).map(Some),
        "seq" => drop(check_seq(n("pos"), word("slots"), word("found"))?),
        "head" => drop(check_head(n("pos"), n("released"), word("found"))?),
        "arena_head" => drop(check_arena_head(n("apos"), n("released"), n("found"))?),
        "window" => run_window(vector)?,
        "messages" => run_messages(vector)?,
        "header" => {
            let page: [u8; 128] = image(&vector["bytes"]).try_into().unwrap();
            Header::decode_peer(&page, &record::page(&vector["host"]))?;
        }
        "control" => drop(Control::decode(&image(&vector["bytes"]))?),
        kind => {
            drop(record::decode(kind, &image(&vector["bytes"]), vector, record::names(vector))?);
        }
    }
    Ok(None)
}

fn issued(value: &Value) -> Option<Issued> {
    value.is_object().then(|| Issued {
        generation: number(&value["generation"]),
        live: value["live"] == true,
        sid: number(&value["sid"]),
        phase: number(&value["phase"]),
    })
}

/// Every op but the last one is in order.
fn run_window(vector: &Value) -> Result<(), Violation> {
    let mut window = Window::new(number(&vector["limit"]));
    let ops = vector["ops"].as_array().unwrap();
    for (i, op) in ops.iter().enumerate() {
        let result = match text(&op[0]) {
            "take" => window.take(number(&op[1])),
            "message" => {
                let data = said(wire::METHOD_WEBSOCKET_SEND_TEXT, false);
                window.take(cost(&Frame { len: number(&op[1]), ..data }))
            }
            "total" => window.on_total(number(&op[1])).map(drop),
            other => panic!("unknown op {other}"),
        };
        if i + 1 == ops.len() {
            return result;
        }
        result.expect("an op before the last one");
    }
    Ok(())
}

/// DATA of a conversation.
fn said(method: u32, more: bool) -> Frame {
    let data = Frame::new(wire::KIND_DATA).method(method);
    if more { data.flags(wire::FLAG_MORE) } else { data }
}

/// Every piece but the last one is in order.
fn run_messages(vector: &Value) -> Result<(), Violation> {
    let mut messages = Messages::default();
    let (last, before) = vector["ops"].as_array().unwrap().split_last().unwrap();
    let piece = |op: &Value| said(number(&op[0]), op[1] == "more");
    for op in before {
        messages.take(&piece(op)).expect("a piece before the last one");
    }
    messages.take(&piece(last)).map(drop)
}

/// `folder/name` of every vector a text names in backquotes.
fn cited(text: &str) -> BTreeSet<String> {
    let is_vector = |word: &&str| {
        let folder = word.split_once('/').map(|(folder, _)| folder);
        folder.is_some_and(|f| FOLDERS.contains(&f)) && !word.ends_with('/')
    };
    text.split('`').skip(1).step_by(2).filter(is_vector).map(str::to_owned).collect()
}

fn spec() -> String {
    fs::read_to_string(root().join("../SPEC.md")).unwrap()
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

#[test]
fn every_must_names_its_vector() {
    let spec = spec();
    // A clause or paragraph starts with "- ", "#" or an empty line before it; other lines go on with it.
    let clauses = spec.lines().fold(String::new(), |text, line| {
        let starts = line.is_empty() || line.starts_with("- ") || line.starts_with('#');
        text + if starts { "\n" } else { " " } + line
    });
    let mut bare = Vec::new();
    for clause in clauses.lines() {
        for must in clause.split("MUST").skip(1) {
            if cited(&format!(" {must}")).is_empty() {
                bare.push(clause.to_owned());
            }
        }
    }
    assert!(bare.is_empty(), "MUST without a vector: {bare:#?}");
}

#[test]
fn every_name_in_spec_is_a_file_and_every_reject_file_is_in_spec() {
    let all: BTreeSet<String> = FOLDERS
        .iter()
        .flat_map(|folder| names(folder).into_iter().map(move |name| format!("{folder}/{name}")))
        .collect();
    let cited = cited(&spec());
    let missing: Vec<_> = cited.difference(&all).collect();
    assert!(missing.is_empty(), "named in SPEC.md, no file: {missing:?}");
    let unnamed: Vec<_> =
        all.difference(&cited).filter(|name| name.starts_with("reject/")).collect();
    assert!(unnamed.is_empty(), "not named in SPEC.md: {unnamed:?}");
}

/// The rows of what a host checks of every field a worker writes: each has a line in vectors/README.md.
#[test]
fn every_field_a_worker_writes_is_covered() {
    const ROWS: [&str; 12] = [
        "P header",
        "seq",
        "kind",
        "call_idx/gen",
        "flags",
        "sid/method/phase",
        "arena_pos, len",
        "status",
        "P.head, P.arena_head",
        "P.wait, space_wait",
        "E counter",
        "payload",
    ];
    let readme = readme();
    for row in ROWS {
        let line = readme.lines().find(|line| line.starts_with(&format!("| {row} |")));
        let names = cited(line.unwrap_or_else(|| panic!("no row {row} in vectors/README.md")));
        assert!(!names.is_empty(), "row {row} names no vector");
        for name in names {
            assert!(root().join(format!("{name}.json")).exists(), "{row}: no {name}");
        }
    }
}
