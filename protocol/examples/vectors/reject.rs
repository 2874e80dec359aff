//! reject/: what must be refused, and under which name. The file name is the broken rule.

use nylon_protocol::handshake::Control;
use nylon_protocol::record::Names;
use nylon_protocol::{Frame, Slot, Token, wire};
use serde_json::{Value, json};

use crate::support::{hex, record};

const A: u64 = 1 << 20;
pub(crate) const TOKEN: Token = Token { idx: 5, generation: 9 };

pub(crate) fn all() -> Vec<(&'static str, Value)> {
    let mut out = frames();
    out.extend(tokens());
    out.extend(words());
    out.extend(pages());
    out.extend(requests());
    out.extend(heads());
    out.extend(names());
    out.extend(steps());
    out.extend(mutations());
    out.extend(messages());
    out
}

pub(crate) type Named = (&'static str, Value);

pub(crate) fn reply() -> Frame {
    Frame::of(wire::KIND_REPLY, TOKEN, 7, 1).method(wire::METHOD_NEXT)
}

pub(crate) fn call() -> Frame {
    Frame::of(wire::KIND_CALL, TOKEN, 7, 1).status(1)
}

pub(crate) fn inline(frame: Frame, payload: &[u8]) -> Slot {
    Slot::inline(Frame { seq: 1, ..frame }, payload)
}

/// What an honest writer would not make of it.
fn edited(mut slot: Slot, edit: impl FnOnce(&mut Frame)) -> Slot {
    edit(&mut slot.frame);
    slot
}

/// `worker` or `host` wrote `frame`; the consumer's apos is `apos`.
pub(crate) fn frame_at(
    about: &str,
    from: &str,
    apos: u64,
    slot: impl Into<Slot>,
    violation: &str,
) -> Value {
    json!({
        "description": about,
        "check": "frame",
        "from": from,
        "arena": A,
        "apos": apos,
        "host_calls": true,
        "slot": hex(bytemuck::bytes_of(&slot.into())),
        "violation": violation,
    })
}

pub(crate) fn with(mut value: Value, name: &str, field: impl Into<Value>) -> Value {
    value[name] = field.into();
    value
}

fn frames() -> Vec<Named> {
    use wire::*;
    fn w(about: &str, slot: impl Into<Slot>, violation: &str) -> Value {
        frame_at(about, "worker", 0, slot, violation)
    }
    fn h(about: &str, slot: impl Into<Slot>, violation: &str) -> Value {
        frame_at(about, "host", 0, slot, violation)
    }
    let kind = |kind| inline(Frame::of(kind, TOKEN, 7, 1), b"");
    let at = |about, apos, arena_pos, len| {
        frame_at(about, "worker", apos, Frame { seq: 1, arena_pos, len, ..reply() }, "arena_pos")
    };
    let data = |method| Frame::of(KIND_DATA, TOKEN, 7, 1).method(method);
    let window = |payload: &[u8]| inline(Frame::of(KIND_WINDOW, TOKEN, 7, 1), payload);
    vec![
        (
            "kind-zero",
            w("a hole punched into the segment", Frame { seq: 1, ..Frame::new(0) }, "kind"),
        ),
        ("kind-unknown", w("the first kind nobody has", kind(11), "kind")),
        ("kind-cancel-from-worker", w("only a host cancels", kind(KIND_CANCEL), "kind")),
        ("kind-close-from-worker", w("only a host closes", kind(KIND_CLOSE), "kind")),
        ("kind-ping-from-worker", w("only a host asks", kind(KIND_PING), "kind")),
        ("kind-pong-from-host", h("only a worker answers", kind(KIND_PONG), "kind")),
        (
            "kind-call-not-negotiated",
            with(
                w("the feature host_calls is off", inline(call(), b""), "kind"),
                "host_calls",
                false,
            ),
        ),
        ("flags-unknown", w("bit 5", inline(reply().flags(32), b""), "flags")),
        (
            "flags-keep-from-worker",
            w("only a host keeps a session", inline(call().flags(FLAG_KEEP), b""), "flags"),
        ),
        (
            "flags-open-from-worker",
            w("only a host opens a session", inline(call().flags(FLAG_OPEN), b""), "flags"),
        ),
        (
            "flags-open-on-cancel",
            h(
                "only a CALL opens a session",
                edited(kind(KIND_CANCEL), |f| f.flags |= FLAG_OPEN),
                "flags",
            ),
        ),
        (
            "flags-more-on-reply",
            w("only DATA has more", inline(reply().flags(FLAG_MORE), b""), "flags"),
        ),
        ("phase-range", w("phase 6", inline(Frame { phase: 6, ..reply() }, b""), "phase")),
        (
            "inline-len",
            w("89 bytes in a slot", edited(inline(reply(), &[1; 88]), |f| f.len = 89), "inline"),
        ),
        (
            "inline-len-huge",
            w("4 GiB in a slot", edited(inline(reply(), b""), |f| f.len = u32::MAX), "inline"),
        ),
        (
            "inline-arena-pos",
            w(
                "INLINE and in the arena",
                edited(inline(reply(), b"x"), |f| f.arena_pos = 64),
                "inline",
            ),
        ),
        ("arena-empty", w("no payload, and not INLINE", Frame { seq: 1, ..reply() }, "len")),
        (
            "len-past-quarter",
            w("A/4 + 1", Frame { seq: 1, len: (A / 4 + 1) as u32, ..reply() }, "len"),
        ),
        ("len-huge", w("4 GiB - 1", Frame { seq: 1, len: u32::MAX, ..reply() }, "len")),
        ("arena-pos-behind", at("where the frame before stood", 640, 576, 100)),
        ("arena-pos-ahead", at("one line too far", 640, 704, 100)),
        ("arena-pos-unaligned", at("not at a line", 640, 641, 100)),
        ("arena-pos-no-skip", at("over the end of the arena", A - 64, A - 64, 65)),
        ("arena-pos-skip-not-due", at("skipped though it fits", A - 128, A, 128)),
        ("arena-pos-other-lap", at("the right place, one lap before", A + 640, 640, 100)),
        ("arena-pos-overflow", at("the last line there is", 0, u64::MAX - 63, 100)),
        ("method-range", w("65536", inline(call().method(65_536), b""), "method")),
        (
            "reply-method",
            w(
                "a setter does not finish",
                inline(reply().method(METHOD_SET_RESPONSE_STATUS), b""),
                "method",
            ),
        ),
        ("reply-wants", w("phase 6 wanted", inline(reply().status(0b100_0000), b""), "status")),
        (
            "reply-handler-time-zero-bit",
            with(
                w(
                    "phase 0 wanted, beside a time",
                    inline(reply().status(1 | 7 << 6), b""),
                    "status",
                ),
                "handler_time",
                true,
            ),
        ),
        (
            "reply-handler-time-not-agreed",
            w(
                "a time, and the feature is off",
                inline(reply().status(0b10 | 7 << 6), b""),
                "status",
            ),
        ),
        ("reply-wants-zero-bit", w("phase 0 wanted", inline(reply().status(1), b""), "status")),
        ("call-number-zero", w("the first number is 1", inline(call().status(0), b""), "status")),
        (
            "answer-number-zero",
            h("the answer to no CALL", inline(reply().status(0), b""), "status"),
        ),
        (
            "error-short",
            w("3 bytes", inline(Frame::of(KIND_ERROR, TOKEN, 7, 1), &[1, 0, 0]), "error"),
        ),
        (
            "data-method",
            w(
                "a body only a host sends",
                inline(data(METHOD_READ_REQUEST_FULL_BODY), b"x"),
                "method",
            ),
        ),
        (
            "data-method-from-host",
            h(
                "a body only a worker sends",
                inline(data(METHOD_SET_RESPONSE_FULL_BODY).status(1), b"x"),
                "method",
            ),
        ),
        (
            "data-len",
            with(
                w(
                    "65537 bytes",
                    Frame { seq: 1, len: 65_537, ..data(METHOD_SET_RESPONSE_FULL_BODY) },
                    "window",
                ),
                "rule",
                "data-len",
            ),
        ),
        (
            "data-number-zero",
            h(
                "a stream ahead of its CALL",
                Frame { seq: 1, len: 65_536, ..data(METHOD_STREAM_REQUEST_BODY).flags(FLAG_MORE) },
                "status",
            ),
        ),
        ("window-len", with(w("7 bytes", window(&[0; 7]), "window"), "rule", "len")),
    ]
}

fn tokens() -> Vec<Named> {
    let issued = json!({ "generation": 9, "live": true, "sid": 7, "phase": 1 });
    let token = |about: &str, frame: Frame, issued: Value, violation: &str| {
        json!({
            "description": about,
            "check": "token",
            "issued": issued,
            "slot": hex(bytemuck::bytes_of(&inline(frame, b""))),
            "violation": violation,
        })
    };
    let none = json!({ "generation": 0, "live": false, "sid": 0, "phase": 0 });
    let over = with(issued.clone(), "live", false);
    let late = |about, frame, issued| {
        let mut vector = token(about, frame, issued, "");
        vector.as_object_mut().expect("an object").remove("violation");
        with(vector, "verdict", "late")
    };
    vec![
        (
            "token-index",
            token("past the slab", Frame { call_idx: 64, ..reply() }, Value::Null, "token"),
        ),
        (
            "token-future",
            token(
                "the next generation",
                Frame { call_gen: 10, ..reply() },
                issued.clone(),
                "token",
            ),
        ),
        (
            "token-generation-zero",
            token(
                "generations start at 1",
                Frame { call_gen: 0, ..reply() },
                issued.clone(),
                "token",
            ),
        ),
        (
            "token-never-issued",
            token("a slot that was never used", Frame { call_gen: 1, ..reply() }, none, "token"),
        ),
        (
            "token-late-generation",
            late(
                "an older generation is late: dropped and counted",
                Frame { call_gen: 8, sid: 3, ..reply() },
                issued.clone(),
            ),
        ),
        ("token-late-twice", late("a second final frame is late", reply(), over)),
        (
            "sid-other",
            token(
                "the invocation of another session",
                Frame { sid: 8, ..reply() },
                issued.clone(),
                "sid",
            ),
        ),
        (
            "phase-other",
            token("not the invocation's phase", Frame { phase: 2, ..reply() }, issued, "phase"),
        ),
    ]
}

fn words() -> Vec<Named> {
    let seq = |about: &str, pos: u64, found: u32| json!({ "description": about, "check": "seq", "pos": pos, "slots": 64, "found": found, "violation": "seq" });
    let head = |about: &str, pos: u64, released: u64, found: u32| json!({ "description": about, "check": "head", "pos": pos, "released": released, "found": found, "violation": "head" });
    let arena_head = |about: &str, apos: u64, released: u64, found: u64| json!({ "description": about, "check": "arena_head", "apos": apos, "released": released, "found": found, "violation": "arena_head" });
    let window = |about: &str, ops: Value, rule: &str| json!({ "description": about, "check": "window", "limit": 1000, "ops": ops, "violation": "window", "rule": rule });
    vec![
        ("seq-ahead", seq("one further than published", 100, 102)),
        ("seq-behind", seq("the word before the lap before", 100, 36)),
        ("seq-two-laps-behind", seq("two laps before", 300, 300 + 1 - 128)),
        ("seq-zero-later-lap", seq("0 is \"not yet\" on the first lap only", 64, 0)),
        ("seq-first-lap", seq("something on the first lap that is not the position", 3, 5)),
        ("seq-wrap", seq("one further, past the wrap", (1 << 32) - 1, 1)),
        ("head-back", head("behind the last value", 100, 50, 49)),
        ("head-ahead", head("past what was published", 100, 50, 101)),
        (
            "head-back-wrap",
            head("behind the last value, past the wrap", (1 << 32) + 10, 1 << 32, u32::MAX),
        ),
        ("arena-head-back", arena_head("behind the last value", 8192, 4096, 4032)),
        ("arena-head-ahead", arena_head("past what was used", 8192, 4096, 8256)),
        (
            "window-exceeded",
            window("1001 bytes of 1000", json!([["take", 600], ["take", 401]]), "exceeded"),
        ),
        (
            "window-exceeded-by-cost",
            window(
                "a message costs 64 more than its bytes: 1 is left, 65 are needed",
                json!([["message", 300], ["message", 0], ["message", 507], ["message", 1]]),
                "exceeded",
            ),
        ),
        (
            "window-exceeded-after-total",
            window(
                "100 came back, 101 go out",
                json!([["take", 1000], ["total", 100], ["take", 101]]),
                "exceeded",
            ),
        ),
        (
            "window-back",
            window(
                "less than the last total",
                json!([["take", 500], ["total", 300], ["total", 299]]),
                "back",
            ),
        ),
        (
            "window-ahead",
            window("more than was sent", json!([["take", 500], ["total", 501]]), "ahead"),
        ),
    ]
}

fn pages() -> Vec<Named> {
    let host = json!({ "geometry": { "lanes": 1, "slots": 256, "arena": 1 << 20 }, "epoch": 77 });
    let good = record::page(&host).encode();
    let page = |about: &str, at: usize, bytes: &[u8], rule: &str| {
        let mut page = good;
        page[at..at + bytes.len()].copy_from_slice(bytes);
        json!({ "description": about, "check": "header", "host": host.clone(), "bytes": hex(&page), "violation": "header", "rule": rule })
    };
    let other = record::page(
        &json!({ "geometry": { "lanes": 1, "slots": 512, "arena": 1 << 20 }, "epoch": 77 }),
    );
    let word = |n: u32| n.to_le_bytes();
    vec![
        ("header-magic", page("NYLNSHM2", wire::HEADER_MAGIC, b"NYLNSHM2", "magic")),
        (
            "header-endian",
            page("a big-endian worker", wire::HEADER_ENDIAN, &[1, 2, 3, 4], "endian"),
        ),
        ("header-version", page("major 2", wire::HEADER_ABI_MAJOR, &[2, 0], "abi_major")),
        ("header-hash", page("another table", wire::HEADER_LAYOUT_HASH, &[0; 8], "layout_hash")),
        ("header-len", page("a shorter page", wire::HEADER_HEADER_LEN, &word(2048), "header_len")),
        ("header-slot-size", page("64-byte slots", wire::HEADER_SLOT_SIZE, &word(64), "slot_size")),
        ("header-lanes", page("no lanes", wire::HEADER_LANES, &word(0), "lanes")),
        ("header-lanes-many", page("65 lanes", wire::HEADER_LANES, &word(65), "lanes")),
        ("header-slots", page("100 slots", wire::HEADER_SLOTS, &word(100), "slots")),
        (
            "header-arena",
            page("128 KiB", wire::HEADER_ARENA_LEN, &(1u64 << 17).to_le_bytes(), "arena_len"),
        ),
        ("header-stride", page("lanes apart", wire::HEADER_LANE_STRIDE, &[0; 8], "lane_stride")),
        (
            "header-lane0",
            page("lanes over the header", wire::HEADER_LANE0_OFF, &[0; 8], "lane0_off"),
        ),
        (
            "header-seg-len",
            page("a length that does not follow", wire::HEADER_SEG_LEN, &[0; 8], "seg_len"),
        ),
        ("header-epoch-zero", page("epoch 0", wire::HEADER_EPOCH, &[0; 8], "epoch")),
        ("header-epoch", page("another incarnation", wire::HEADER_EPOCH, &[78], "epoch")),
        (
            "header-geometry",
            with(
                page("sound, but not the host's", 0, b"N", "geometry"),
                "bytes",
                hex(&other.encode()),
            ),
        ),
    ]
}

/// A record whose `bytes` break `rule`.
pub(crate) fn bad(check: &str, about: &str, bytes: &[u8], rule: &str) -> Value {
    json!({ "description": about, "check": check, "bytes": hex(bytes), "violation": "record", "rule": rule })
}

/// `bytes` with `change` at `at`.
fn patch(bytes: &[u8], at: usize, change: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + change.len()].copy_from_slice(change);
    bytes
}

fn span(off: u32, len: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&off.to_le_bytes());
    bytes[4..].copy_from_slice(&len.to_le_bytes());
    bytes
}

fn request() -> Vec<u8> {
    record::encode(
        "request",
        &json!({
            "timestamp_ms": 1, "bytes": 0, "port": 0, "tls": false, "version": 11,
            "method": "GET", "path": "/", "query": "", "host": "a.test", "client_ip": "", "request_id": "",
            "headers": [["host", "a.test"]], "params": [],
        }),
        Names::Spelled,
    )
}

fn requests() -> Vec<Named> {
    let good = request();
    let len = good.len() as u32;
    let r = |name, about, bytes: &[u8]| (name, bad("request", about, bytes, name));
    let changed = |name, about, at, change: &[u8]| r(name, about, &patch(&good, at, change));
    let path = wire::REQUEST_PATH;
    vec![
        changed(
            "request-len",
            "longer than the section",
            wire::REQUEST_LEN,
            &(len + 8).to_le_bytes(),
        ),
        ("request-len-short", bad("request", "95 bytes", &good[..95], "request-len")),
        (
            "request-len-odd",
            bad(
                "request",
                "not a multiple of 8",
                &patch(&good[..good.len() - 1], 0, &(len - 1).to_le_bytes()),
                "request-len",
            ),
        ),
        changed("request-pairs-past-end", "65535 headers", wire::REQUEST_HEADERS, &[0xff; 2]),
        changed("request-reserved", "a byte of the reserved word", wire::REQUEST_RESERVED, &[1]),
        (
            "request-spare",
            bad(
                "request",
                "a byte of the spare spans",
                &patch(&good, wire::REQUEST_SPARE + 15, &[1]),
                "request-reserved",
            ),
        ),
        changed(
            "request-span-past-end",
            "the path ends one past the record",
            path,
            &span(len - 1, 2),
        ),
        changed("request-span-in-header", "the path lies in the pairs", path, &span(96, 1)),
        changed("request-span-overflow", "off + len wraps", path, &span(u32::MAX, 2)),
        changed("request-span-empty", "an empty span has offset 0", path, &span(112, 0)),
        (
            "request-pair-past-end",
            bad(
                "request",
                "a header value past the end",
                &patch(&good, 104, &span(len, 1)),
                "request-span-past-end",
            ),
        ),
    ]
}

fn heads() -> Vec<Named> {
    let good = record::encode(
        "response_head",
        &json!({ "status": 200, "flags": 0, "headers": [["a", "b"]] }),
        Names::Spelled,
    );
    let h = |name, about, bytes: &[u8]| (name, bad("response_head", about, bytes, name));
    vec![
        h("head-pairs-past-end", "two headers, room for one", &patch(&good, 2, &[2, 0])),
        ("head-short", bad("response_head", "7 bytes", &good[..7], "head-pairs-past-end")),
        h("head-span-past-end", "the value ends past the head", &patch(&good, 16, &span(25, 2))),
        h("head-span-in-header", "the name lies in the pairs", &patch(&good, 8, &span(8, 1))),
        h("head-span-overflow", "off + len wraps", &patch(&good, 8, &span(u32::MAX, u32::MAX))),
        h("head-span-empty", "an empty span has offset 0", &patch(&good, 8, &span(24, 0))),
    ]
}

/// Ids where no name of the table may stand.
fn names() -> Vec<Named> {
    let id = |n: u32| span(n, 0);
    let after = wire::NAMES.len() as u32 + 1;
    let (name, value) = (wire::REQUEST_PAIRS, wire::REQUEST_PAIRS + 8);
    let request = request();
    let mut param = request.clone();
    (param[wire::REQUEST_HEADERS], param[wire::REQUEST_PARAMS]) = (0, 1);
    let head = record::encode(
        "response_head",
        &json!({ "status": 200, "flags": 0, "headers": [["a", "b"]] }),
        Names::Spelled,
    );
    let agreed =
        |check, about, bytes: &[u8], rule| with(bad(check, about, bytes, rule), "names", true);
    vec![
        (
            "request-name-id",
            agreed(
                "request",
                "the first id past the table",
                &patch(&request, name, &id(after)),
                "request-name-id",
            ),
        ),
        (
            "request-name-not-agreed",
            bad(
                "request",
                "an id, and the feature is off",
                &patch(&request, name, &id(1)),
                "request-span-empty",
            ),
        ),
        (
            "request-value-id",
            agreed(
                "request",
                "an id for a value",
                &patch(&request, value, &id(1)),
                "request-span-empty",
            ),
        ),
        (
            "request-param-id",
            agreed(
                "request",
                "an id for the name of a parameter",
                &patch(&param, name, &id(1)),
                "request-span-empty",
            ),
        ),
        (
            "head-name-id",
            agreed(
                "response_head",
                "an id of 32 bits",
                &patch(&head, 8, &id(u32::MAX)),
                "head-name-id",
            ),
        ),
        (
            "head-name-not-agreed",
            bad(
                "response_head",
                "an id, and the feature is off",
                &patch(&head, 8, &id(1)),
                "head-span-empty",
            ),
        ),
    ]
}

pub(crate) fn section(tag: u16, aux: u16, body: &[u8]) -> Vec<u8> {
    let mut out = [tag.to_le_bytes(), aux.to_le_bytes()].concat();
    out.extend((body.len() as u32).to_le_bytes());
    out.extend(body);
    out.resize(out.len().next_multiple_of(8), 0);
    out
}

fn steps() -> Vec<Named> {
    use wire::*;
    let s = |about: &str, open: bool, sections: &[Vec<u8>], rule: &str| {
        with(bad("step", about, &sections.concat(), rule), "open", open)
    };
    let entry = section(SECTION_ENTRY, 1, b"");
    let request_of = section(SECTION_REQUEST_OF, 0, &7u32.to_le_bytes());
    let payload = section(SECTION_PAYLOAD, 0, b"{}");
    let piece = section(SECTION_PIECE, 0, b"12345");
    let stats = |body: &[u8]| section(SECTION_STATS, 0, body);
    let kept = section(SECTION_RESPONSE_KEPT, 0, b"");
    vec![
        (
            "step-order",
            s(
                "the piece before the payload",
                false,
                &[piece.clone(), payload.clone()],
                "step-order",
            ),
        ),
        ("step-twice", s("two pieces", false, &[piece.clone(), piece.clone()], "step-twice")),
        (
            "step-past-end",
            s("a section of 4 GiB", false, &[patch(&piece, 4, &[0xff; 4])], "step-past-end"),
        ),
        (
            "step-padding-missing",
            s("the padding is cut off", false, &[piece[..13].to_vec()], "step-past-end"),
        ),
        (
            "step-truncated-head",
            s(
                "7 bytes of a section",
                false,
                &[payload.clone(), vec![8, 0, 0, 0, 0, 0, 0]],
                "step-truncated-head",
            ),
        ),
        (
            "step-padding",
            s("padding that is not zero", false, &[patch(&piece, 15, &[1])], "step-padding"),
        ),
        (
            "step-section-len",
            s(
                "an index of 3 bytes",
                false,
                &[section(SECTION_PAYLOAD_ID, 0, &[1, 2, 3])],
                "step-section-len",
            ),
        ),
        (
            "step-entry-len",
            s(
                "an entry with a body",
                true,
                &[section(SECTION_ENTRY, 1, &[0; 4]), request_of.clone()],
                "step-section-len",
            ),
        ),
        (
            "step-open-without-entry",
            s("no entry", true, &[request_of.clone()], "step-open-without-entry"),
        ),
        (
            "step-open-without-request",
            s("no request", true, &[entry.clone()], "step-open-without-request"),
        ),
        (
            "step-open-empty",
            s("an opening CALL without payload", true, &[], "step-open-without-entry"),
        ),
        (
            "step-entry-without-open",
            s("an entry in an open session", false, &[entry.clone()], "step-entry-without-open"),
        ),
        (
            "step-request-without-open",
            s(
                "a request in an open session",
                false,
                &[request_of.clone()],
                "step-request-without-open",
            ),
        ),
        (
            "step-two-requests",
            s(
                "the record and the session that has it",
                true,
                &[entry.clone(), section(SECTION_REQUEST, 0, &request()), request_of.clone()],
                "step-two-requests",
            ),
        ),
        (
            "step-two-responses",
            s(
                "a head, and the one before",
                false,
                &[section(SECTION_RESPONSE, 0, &[0; 8]), kept.clone()],
                "step-two-responses",
            ),
        ),
        (
            "step-response-kept-open",
            s(
                "a session that has no head yet",
                true,
                &[entry.clone(), request_of.clone(), kept],
                "step-response-kept-open",
            ),
        ),
        (
            "step-two-payloads",
            s(
                "the payload and its index",
                false,
                &[payload.clone(), section(SECTION_PAYLOAD_ID, 0, &[0; 4])],
                "step-two-payloads",
            ),
        ),
        (
            "step-request-inside",
            s(
                "a request record that is not as long as its section",
                true,
                &[entry, section(SECTION_REQUEST, 0, &[request(), vec![0; 8]].concat())],
                "request-len",
            ),
        ),
        ("stats-short", s("15 bytes", false, &[stats(&[0; 15])], "stats-short")),
    ]
}

/// One entry of a mutation record.
fn op(op: u16, flags: u16, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = [op.to_le_bytes(), flags.to_le_bytes()].concat();
    out.extend((key.len() as u32).to_le_bytes());
    out.extend((value.len() as u32).to_le_bytes());
    out.extend([0; 4]);
    out.extend(key);
    out.extend(value);
    out.resize(out.len().next_multiple_of(8), 0);
    out
}

/// A record of `count` entries with these bytes.
fn ops(count: u32, entries: &[u8]) -> Vec<u8> {
    let len = entries.len() as u32 + 8;
    [&len.to_le_bytes()[..], &count.to_le_bytes(), entries].concat()
}

fn mutations() -> Vec<Named> {
    let set = op(100, 0, b"x-a", b"1");
    let good = ops(1, &set);
    let m = |name, about, bytes: &[u8]| (name, bad("mutation", about, bytes, name));
    let one = |name, about, entry: &[u8]| m(name, about, &ops(1, entry));

    vec![
        m("mutation-len", "longer than the payload", &patch(&good, 0, &[0xff; 4])),
        ("mutation-len-short", bad("mutation", "7 bytes", &good[..7], "mutation-len")),
        m(
            "mutation-entry-past-end",
            "the value ends past the record",
            &patch(&good, 8 + 8, &[200]),
        ),
        (
            "mutation-count",
            bad(
                "mutation",
                "2^32-1 entries",
                &patch(&good, 4, &[0xff; 4]),
                "mutation-entry-past-end",
            ),
        ),
        m("mutation-overflow", "key_len + value_len wraps", &patch(&good, 8 + 4, &[0xff; 8])),
        m(
            "mutation-left-over",
            "8 bytes after the last entry",
            &ops(1, &[set.clone(), vec![0; 8]].concat()),
        ),
        m("mutation-padding", "padding that is not zero", &patch(&good, good.len() - 1, &[1])),
        (
            "mutation-padding-missing",
            bad(
                "mutation",
                "the padding is cut off",
                &patch(&good[..good.len() - 1], 0, &[(good.len() - 1) as u8]),
                "mutation-entry-past-end",
            ),
        ),
        m("mutation-reserved", "a byte of the reserved word", &patch(&good, 8 + 12, &[1])),
        one("mutation-op", "an op nobody has", &op(114, 0, b"", b"")),
        (
            "mutation-op-method",
            bad("mutation", "a method that is no op", &ops(1, &op(1, 0, b"", b"")), "mutation-op"),
        ),
        one("mutation-flags", "bit 1", &op(103, 2, b"", b"")),
        (
            "mutation-staged-header",
            bad(
                "mutation",
                "only bodies are staged",
                &ops(1, &op(100, 1, b"x-a", b"")),
                "mutation-flags",
            ),
        ),
        one("mutation-status-len", "one byte", &op(102, 0, b"", &[200])),
        one("mutation-staged-value", "staged, and here", &op(103, 1, b"", b"x")),
        one("mutation-unused", "a status with a name", &op(102, 0, b"x", &[0, 200])),
        (
            "mutation-unused-value",
            bad(
                "mutation",
                "a removed header with a value",
                &ops(1, &op(101, 0, b"x-a", b"1")),
                "mutation-unused",
            ),
        ),
        (
            "mutation-too-large",
            with(
                bad("mutation", "65544 bytes", b"", "mutation-too-large"),
                "bytes",
                json!([
                    [
                        hex(&[
                            &65_544u32.to_le_bytes()[..],
                            &1u32.to_le_bytes(),
                            &[103, 0, 0, 0, 0, 0, 0, 0],
                            &65_520u32.to_le_bytes(),
                            &[0; 4]
                        ]
                        .concat()),
                        1
                    ],
                    ["61", 65_520],
                ]),
            ),
        ),
    ]
}

fn messages() -> Vec<Named> {
    let control = |about: &str, bytes: &[u8]| json!({ "description": about, "check": "control", "bytes": hex(bytes), "violation": "control" });
    let good = Control::Shutdown { grace_ms: 5000 }.encode();
    vec![
        ("control-junk", control("64 bytes of something else", &[0xa5; 64])),
        ("control-zeros", control("64 zeros", &[0; 64])),
        ("control-empty", control("nothing", b"")),
        ("control-truncated", control("the second half is missing", &good[..good.len() / 2])),
        (
            "headers-junk",
            json!({
                "description": "a header list that is none", "check": "headers", "bytes": "ffffffff00000000",
                "violation": "record", "rule": "headers",
            }),
        ),
    ]
}
