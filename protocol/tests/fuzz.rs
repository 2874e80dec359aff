//! Any bytes a peer can write are read or refused, never a panic; and what is accepted keeps what its reader promises.
//!
//! Each target is a function of bytes. They are run on random bytes and on the vectors with bytes changed, cut and
//! added; a failure prints the smallest input that shows it.

mod support;

use std::time::{Duration, Instant};

use nylon_protocol::check::{
    FrameContext, Messages, Side, Window, bump, check_arena_head, check_frame, check_head,
    check_seq, cost, next_apos,
};
use nylon_protocol::handshake::Control;
use nylon_protocol::record::{
    Addressed, Closing, Fault, Head, Mutation, MutationWriter, Names, Request, Source, Step,
    WebSocketSection, close_code, name,
};
use nylon_protocol::segment::Header;
use nylon_protocol::{Frame, Geometry, Slot, headers, wire};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use support::ring::Ring;
use support::{FOLDERS, image, root};

type Target = fn(&[u8]);

/// The targets by name.
const TARGETS: [(&str, Target); 13] = [
    ("request", request),
    ("head", head),
    ("step", step),
    ("mutation", mutation),
    ("error", error),
    ("websocket", websocket),
    ("addressed", addressed),
    ("closing", closing),
    ("control", control),
    ("headers", header_list),
    ("page", page),
    ("frame", frame),
    ("words", words),
];

const NAMES: [Names; 2] = [Names::Spelled, Names::Ids];

fn request(bytes: &[u8]) {
    for names in NAMES {
        if let Ok(request) = Request::parse(bytes, names) {
            walk_request(&request);
        }
    }
}

fn walk_request(request: &Request<'_>) {
    let pairs = request.headers().chain(request.params()).count();
    assert!(request.as_bytes().len() >= wire::REQUEST_PAIRS + 16 * pairs);
    let strings = [request.method(), request.path(), request.query(), request.host()];
    assert!(strings.iter().all(|s| s.len() <= request.as_bytes().len()));
    let _ = (request.client_ip(), request.request_id(), request.timestamp_ms(), request.tls());
}

fn head(bytes: &[u8]) {
    for names in NAMES {
        let Ok(head) = Head::parse(bytes, names) else { continue };
        let longest = bytes.len().max(32);
        assert!(head.headers().all(|(name, value)| name.len().max(value.len()) <= longest));
    }
}

fn step(bytes: &[u8]) {
    for (open, names) in [(false, Names::Spelled), (true, Names::Spelled), (true, Names::Ids)] {
        let Ok(step) = Step::parse(bytes, open, names) else { continue };
        assert_eq!(step.entry.is_some() && step.request.is_some(), open);
        if let Some(Source::Record(request)) = step.request {
            walk_request(&request);
        }
        assert!(!(step.response_kept && (open || step.response.is_some())));
        assert!(!(open && step.websocket.is_some()));
        if let Some(head) = step.response {
            assert_eq!(head.headers().count(), head.headers().len());
        }
    }
}

fn mutation(bytes: &[u8]) {
    let Ok(mutation) = Mutation::parse(bytes) else { return };
    if bytes.is_empty() {
        return;
    }
    // There is one way to write a record.
    let mut again = Vec::new();
    let mut writer = MutationWriter::new(&mut again);
    for op in mutation {
        writer.op(op);
    }
    writer.finish().expect("as long as what was read");
    assert_eq!(again, bytes);
}

fn error(bytes: &[u8]) {
    if let Ok(fault) = Fault::parse(bytes) {
        assert!(fault.text.len() <= wire::LIMIT_ERROR_TEXT);
    }
}

fn websocket(bytes: &[u8]) {
    let Ok(socket) = WebSocketSection::parse(bytes) else { return };
    assert!(name(socket.id.as_bytes()).is_ok());
    let mut again = Vec::new();
    socket.write(&mut again).expect("as long as what was read");
    assert_eq!(again, bytes);
}

fn addressed(bytes: &[u8]) {
    let Ok(addressed) = Addressed::parse(bytes) else { return };
    assert!(!addressed.name.chars().any(|c| c.is_ascii_control()));
    let mut again = Vec::new();
    addressed.write(&mut again);
    assert_eq!(again, bytes);
}

fn closing(bytes: &[u8]) {
    for from in [Side::Host, Side::Worker] {
        let Ok(closing) = Closing::parse(bytes, from) else { continue };
        assert!(closing.code.is_none_or(|code| close_code(code, from)));
        let mut again = Vec::new();
        closing.write(&mut again);
        assert_eq!(again, bytes);
    }
}

fn control(bytes: &[u8]) {
    if let Ok(control) = Control::decode(bytes) {
        assert_eq!(Control::decode(&control.encode()), Ok(control));
    }
}

fn header_list(bytes: &[u8]) {
    if let Ok(list) = headers::decode(bytes) {
        let unfolded: usize = list.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(unfolded <= 2 * bytes.len() + 256);
    }
}

fn page(bytes: &[u8]) {
    let Some(page) = bytes.first_chunk() else { return };
    if let Ok(header) = Header::decode(page) {
        assert_eq!(header.geometry.check(), Ok(header.geometry));
        let last = header.geometry.lane_offset(header.geometry.lanes);
        assert_eq!(last, header.geometry.segment_len());
    }
}

fn frame(bytes: &[u8]) {
    let Some(slot) = bytes.get(..wire::SIZE_SLOT) else { return };
    let frame = bytemuck::pod_read_unaligned::<Slot>(slot).frame;
    let apos = u64::from_le_bytes(*bytes.last_chunk().expect("longer than 8"));
    for from in [Side::Host, Side::Worker] {
        for (apos, websocket) in [(0, true), (apos & !63 & !(1 << 63), true), (0, false)] {
            let ctx = FrameContext {
                arena: 1 << 20,
                apos,
                host_calls: true,
                handler_time: true,
                websocket,
            };
            if check_frame(&frame, from, &ctx).is_err() {
                continue;
            }
            let data = frame.kind == wire::KIND_DATA && frame.phase == wire::PHASE_NONE;
            if websocket && data {
                let once =
                    frame.has(wire::FLAG_MORE) || Messages::default().take(&frame) == Ok(true);
                assert!(once && cost(&frame) <= frame.len + 64);
            }
            if frame.has(wire::FLAG_INLINE) {
                assert!(frame.len as usize <= wire::SIZE_INLINE);
            } else {
                let offset = frame.arena_pos & (ctx.arena - 1);
                assert!(offset + u64::from(frame.len) <= ctx.arena);
                assert!(next_apos(&frame, &ctx) - apos <= ctx.arena / 2);
            }
        }
    }
}

fn words(bytes: &[u8]) {
    let mut words = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let mut next = || words.next().unwrap_or_default();
    let released = u64::from(next()) << 16;
    let pos = released + u64::from(next() % 4097);
    let found = next();
    let _ = check_seq(pos, 64, found);
    if let Ok(head) = check_head(pos, released, found) {
        assert!((released..=pos).contains(&head));
    }
    if let Ok(head) = check_arena_head(pos, released, found.into()) {
        assert!((released..=pos).contains(&head));
    }
    let len = next();
    let (at, after) = bump(pos & !63, len % (1 << 16), 1 << 18);
    assert!(at >= pos & !63 && after - at <= 1 << 16);
    let mut window = Window::new(next());
    for _ in 0..8 {
        let _ = window.take(next() % 4096);
        let _ = window.on_total(u64::from(next() % 65_536));
        window.give(u64::from(next()));
        assert!(window.outstanding() <= u64::from(u32::MAX));
    }
}

/// A ring whose lanes hold what a hostile peer wrote: both ends stop with a violation or go on, inside their bytes.
fn ring(patches: &[(usize, u8)]) {
    let geometry = Geometry { lanes: 1, slots: 64, arena: 1 << 18 };
    let mut ring = Ring::new(geometry, Side::Worker, 0, 0);
    let reply = Frame::new(wire::KIND_REPLY).method(wire::METHOD_NEXT);
    for len in [0, 30, 100, 60_000] {
        assert_eq!(ring.push(reply, &vec![7; len]), Ok(true));
    }
    for &(at, byte) in patches {
        let words = [wire::LANE_HEAD, wire::LANE_ARENA_HEAD, wire::LANE_ARENA_HEAD + 4];
        ring.producer[wire::LANE_RING + at % 640] = byte;
        ring.consumer[words[at % 3] + at % 4] = byte;
        if ring.pop().is_err() || ring.push(reply, &[1; 200]).is_err() {
            return;
        }
    }
}

/// The bytes of every vector.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for folder in FOLDERS {
        for file in std::fs::read_dir(root().join(folder)).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let vector: Value = serde_json::from_str(&text).unwrap();
            let messages = vector["messages"].as_array().into_iter().flatten();
            for value in messages.chain([&vector]) {
                seeds.extend(["bytes", "slot"].into_iter().filter_map(|f| value.get(f)).map(image));
            }
        }
    }
    seeds
}

fn run_all(bytes: &[u8]) {
    for (_, target) in TARGETS {
        target(bytes);
    }
}

/// Runs `test` on what `strategy` makes: 256 times, or for `NYLON_FUZZ_SECONDS`.
fn fuzz<S: Strategy>(strategy: S, test: impl Fn(S::Value)) {
    let seconds = std::env::var("NYLON_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    loop {
        let mut runner = TestRunner::new(config.clone());
        let result = runner.run(&strategy, |value| {
            test(value);
            Ok(())
        });
        if let Err(failure) = result {
            panic!("{failure}");
        }
        if Instant::now() >= end {
            return;
        }
    }
}

#[test]
fn random_bytes() {
    fuzz(vec(any::<u8>(), 0..400), |bytes| run_all(&bytes));
}

#[test]
fn changed_vectors() {
    let seeds = seeds();
    let patches = vec((any::<Index>(), any::<u8>()), 0..6);
    let cut = prop::option::of(any::<Index>());
    let more = vec(any::<u8>(), 0..16);
    fuzz((any::<Index>(), patches, cut, more), |(seed, patches, cut, more)| {
        let mut bytes = seed.get(&seeds).clone();
        for (at, byte) in patches {
            if !bytes.is_empty() {
                *at.get_mut(&mut bytes) = byte;
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        bytes.extend(more);
        run_all(&bytes);
    });
}

#[test]
fn hostile_ring() {
    fuzz(vec((any::<usize>(), any::<u8>()), 0..12), |patches| ring(&patches));
}

#[test]
fn every_vector_goes_through_every_target() {
    let seeds = seeds();
    assert!(seeds.len() > 200, "{} seeds", seeds.len());
    seeds.iter().for_each(|bytes| run_all(bytes));
}
