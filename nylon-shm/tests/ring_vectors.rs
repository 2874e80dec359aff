//! protocol/vectors/ring on the shipped ring: operations, then every byte of both lanes (vectors/README.md).
//!
//! Each file runs over heap memory; those that start at position 0 run over a mapped pair of segments as well, which
//! holds the mapped ring's offsets to the same bytes.
#![cfg(not(loom))]

mod heap;

use std::fs;
use std::path::Path;

use bytes::BytesMut;
use heap::Heap;
use nylon_protocol::check::Side;
use nylon_protocol::segment::Header;
use nylon_protocol::{Frame, Geometry, wire};
use nylon_shm::{Consumer, Memory, Producer, PushError, Segments};
use serde_json::Value;

/// As in vectors/README.md.
const MINIMUM: usize = 15;

#[test]
fn every_ring_vector() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/vectors/ring");
    let (mut files, mut mapped) = (0, 0);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|p| p.extension().is_some_and(|e| e == "json")) {
        println!("{}", path.display());
        let vector: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        over_heap(&vector);
        mapped += usize::from(over_segments(&vector));
        files += 1;
    }
    println!("vectors: {files} files, {mapped} of them over segments too");
    assert!(files >= MINIMUM && mapped >= MINIMUM, "{files} and {mapped} of at least {MINIMUM}");
}

fn over_heap(vector: &Value) {
    let (slots, arena): (u32, u64) = (number(&vector["slots"]), number(&vector["arena"]));
    let (pos, apos) = (number(&vector["start"]["pos"]), number(&vector["start"]["apos"]));
    let ring = Heap::at(slots, arena, pos, apos);
    for (at, bytes) in runs(vector.get("preset_producer")) {
        ring.write_producer(at, &bytes);
    }
    for (at, bytes) in runs(vector.get("preset_consumer")) {
        ring.write_consumer(at, &bytes);
    }
    let (producer, consumer) = ring.ends(writer(vector), pos, apos);
    replay(vector, producer, consumer);
    compare(vector, "producer_lane", &ring.producer_bytes());
    compare(vector, "consumer_lane", &ring.consumer_bytes());
}

/// Whether it could: a mapped ring starts at 0, and nobody can forge words in H.
fn over_segments(vector: &Value) -> bool {
    let fresh = number::<u64>(&vector["start"]["pos"]) == 0
        && number::<u64>(&vector["start"]["apos"]) == 0
        && vector.get("preset_producer").is_none()
        && vector.get("preset_consumer").is_none();
    if !fresh {
        return false;
    }
    let geometry =
        Geometry { lanes: 2, slots: number(&vector["slots"]), arena: number(&vector["arena"]) };
    let header = Header { geometry, epoch: 1, abi_minor: wire::ABI_MINOR, features: 0 };
    let (host, fds) = Segments::create(header).unwrap();
    let worker = Segments::attach(&fds, &header).unwrap();
    // The second lane, so that its offset counts too.
    let from = writer(vector);
    let (near, far, producer_fd, consumer_fd) = match from {
        Side::Host => (host.down(1), worker.down(1), &fds.host, &fds.worker),
        Side::Worker => (worker.up(1), host.up(1), &fds.worker, &fds.host),
    };
    replay(vector, Producer::new(near), Consumer::new(far, from, true));
    for (fd, name) in [(producer_fd, "producer_lane"), (consumer_fd, "consumer_lane")] {
        let mut lane = vec![0; usize::try_from(geometry.lane_stride()).unwrap()];
        let read = rustix::io::pread(fd, &mut lane, geometry.lane_offset(1)).unwrap();
        assert_eq!(read, lane.len());
        compare(vector, name, &lane);
    }
    true
}

fn replay<M: Memory>(vector: &Value, producer: Producer<M>, mut consumer: Consumer<M>) {
    let slots: u32 = number(&vector["slots"]);
    let mut producer = match writer(vector) {
        Side::Host => producer.keeping(slots / 8),
        Side::Worker => producer,
    };
    let mut popped = Vec::new();
    for (i, op) in vector["ops"].as_array().unwrap().iter().enumerate() {
        match text(&op["op"]) {
            "push" => {
                let result = match producer.push(&frame(&op["frame"]), &string(&op["payload"])) {
                    Ok(()) => "ok",
                    Err(PushError::Full) => "full",
                    Err(e) => panic!("op {i}: {e}"),
                };
                assert_eq!(result, text(&op["result"]), "op {i}");
            }
            "pop" => {
                let mut payload = BytesMut::new();
                let found = consumer.pop(&mut payload).unwrap();
                let result = if found.is_some() { "frame" } else { "empty" };
                assert_eq!(result, text(&op["result"]), "op {i}");
                popped.extend(found.map(|found| (i, op, found, payload)));
            }
            "release" => consumer.release(),
            other => panic!("op {i}: unknown op {other}"),
        }
    }
    for (i, op, found, payload) in popped {
        assert_eq!(found, frame(&op["frame"]), "op {i}");
        assert!(payload == string(&op["payload"]), "op {i}: another payload");
    }
}

fn compare(vector: &Value, name: &str, lane: &[u8]) {
    let mut expected = vec![0; lane.len()];
    for (at, bytes) in runs(vector.get(name)) {
        expected[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    let wrong = lane.iter().zip(&expected).position(|(a, b)| a != b);
    assert_eq!(wrong, None, "first wrong byte of {name}");
}

fn writer(vector: &Value) -> Side {
    match text(&vector["writer"]) {
        "host" => Side::Host,
        "worker" => Side::Worker,
        other => panic!("writer {other}"),
    }
}

/// The frame of `value`; what is not there is 0. Its payload the operation says as well.
fn frame(value: &Value) -> Frame {
    let field = |name| value.get(name).map_or(0, number::<u32>);
    Frame {
        kind: number(&value["kind"]),
        seq: field("seq"),
        phase: value.get("phase").map_or(0, number),
        flags: value.get("flags").map_or(0, number),
        sid: field("sid"),
        method: field("method"),
        call_idx: field("call_idx"),
        call_gen: field("call_gen"),
        arena_pos: value.get("arena_pos").map_or(0, number),
        len: field("len"),
        status: field("status"),
    }
}

/// `[offset, hex]` or `[offset, hex, times]`.
fn runs(value: Option<&Value>) -> Vec<(usize, Vec<u8>)> {
    let runs = value.and_then(Value::as_array).into_iter().flatten();
    runs.map(|run| {
        let times = run.get(2).map_or(1, number);
        (number(&run[0]), unhex(text(&run[1])).repeat(times))
    })
    .collect()
}

/// Text, `{"hex": …}` or `{"hex": …, "times": n}`.
fn string(value: &Value) -> Vec<u8> {
    match value.as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => unhex(text(&value["hex"])).repeat(value.get("times").map_or(1, number)),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn number<T: TryFrom<u64>>(value: &Value) -> T {
    let number = value.as_u64().and_then(|n| T::try_from(n).ok());
    number.unwrap_or_else(|| panic!("{value} is not a number in range"))
}
