//! What the writers write, the readers read back.

use nylon_protocol::check::{Messages, Side, Window, cost};
use nylon_protocol::handshake::{Control, Hello, HelloOk, Refuse, VersionRange, negotiate};
use nylon_protocol::record::{
    Closing, Head, Mutation, MutationWriter, Names, Op, Payload, Request, RequestFields, Source,
    Step, StepWriter, TooLarge, Value, WebSocketSection, write_head, write_request,
};
use nylon_protocol::{Frame, Geometry, headers, wire};

type Pair = (&'static [u8], &'static [u8]);

const HEADERS: [Pair; 3] = [(b"host", b"a.test"), (b"x-empty", b""), (b"x-empty", b"again")];
const PARAMS: [Pair; 1] = [(b"id", b"42")];

fn fields() -> RequestFields<'static, std::array::IntoIter<Pair, 3>, std::array::IntoIter<Pair, 1>>
{
    RequestFields {
        timestamp_ms: -1,
        bytes: 7,
        port: 8080,
        tls: true,
        version: 11,
        method: b"GET",
        path: b"/users/42",
        query: b"",
        host: b"a.test",
        client_ip: b"192.0.2.1",
        request_id: b"r-1",
        headers: HEADERS.into_iter(),
        params: PARAMS.into_iter(),
    }
}

#[test]
fn step_with_every_section() {
    for names in [Names::Spelled, Names::Ids] {
        every_section(names);
    }
}

fn every_section(names: Names) {
    let mut out = b"before".to_vec();
    let mut writer = StepWriter::new(&mut out);
    writer
        .entry(3)
        .request(fields(), names)
        .payload(b"{}")
        .response(404, wire::HEAD_BODY, HEADERS.into_iter(), names)
        .piece(b"piece", true)
        .stats(9, 12, "connection refused");
    writer.finish().unwrap();

    let step = Step::parse(&out[6..], true, names).unwrap();
    assert_eq!(step.entry, Some(3));
    let Some(Source::Record(request)) = step.request else { panic!("no request") };
    assert_eq!(request.timestamp_ms(), -1);
    assert_eq!((request.bytes(), request.port(), request.tls()), (7, 8080, true));
    assert_eq!((request.method(), request.query()), (&b"GET"[..], &b""[..]));
    assert_eq!(request.headers().collect::<Vec<_>>(), HEADERS);
    assert_eq!(request.params().collect::<Vec<_>>(), PARAMS);
    assert_eq!(step.payload, Some(Payload::Inline(b"{}")));
    let head = step.response.unwrap();
    assert_eq!((head.status, head.has_body()), (404, true));
    assert_eq!(head.headers().collect::<Vec<_>>(), HEADERS);
    assert_eq!(step.piece.map(|p| (p.bytes, p.last)), Some((&b"piece"[..], true)));
    assert_eq!(step.stats.map(|s| s.error), Some(&b"connection refused"[..]));
}

#[test]
fn names_of_the_table_become_ids_and_may_still_be_spelled_out() {
    let (mut spelled, mut ids) = (Vec::new(), Vec::new());
    write_request(&mut spelled, fields(), Names::Spelled).unwrap();
    write_request(&mut ids, fields(), Names::Ids).unwrap();
    let has_host = |record: &[u8]| record.windows(4).any(|bytes| bytes == b"host");
    assert!(has_host(&spelled) && !has_host(&ids));
    for record in [&spelled, &ids] {
        let request = Request::parse(record, Names::Ids).unwrap();
        assert_eq!(request.headers().collect::<Vec<_>>(), HEADERS);
        assert_eq!(request.params().collect::<Vec<_>>(), PARAMS);
    }
    assert!(Request::parse(&ids, Names::Spelled).is_err());

    let all = wire::NAMES.map(|name| (name.as_bytes(), &b"v"[..]));
    let mut head = Vec::new();
    write_head(&mut head, 200, 0, all.into_iter(), Names::Ids).unwrap();
    assert_eq!(head.len(), 8 + all.len() * 17);
    assert!(Head::parse(&head, Names::Ids).unwrap().headers().eq(all));
    for (name, id) in wire::NAMES.iter().zip(1..) {
        assert_eq!(wire::name_id(name.as_bytes()), id);
        assert!(name.bytes().all(|b| b == b'-' || b.is_ascii_lowercase()), "{name}");
    }
    assert_eq!(wire::name_id(b"x-accept"), 0);
}

#[test]
fn mutation_with_every_op() {
    let ops = [
        Op::SetHeader { name: b"a", value: b"1" },
        Op::AddHeader { name: b"a", value: b"" },
        Op::RemoveHeader { name: b"b" },
        Op::Status(418),
        Op::Body(Value::Inline(b"")),
        Op::Body(Value::Staged),
        Op::SetMethod(b"PUT"),
        Op::SetPath(b"/p"),
        Op::SetQuery(b"q=1"),
        Op::SetRequestHeader { name: b"c", value: b"2" },
        Op::RemoveRequestHeader { name: b"d" },
        Op::RequestBody(Value::Inline(b"body")),
    ];
    let mut out = Vec::new();
    let mut writer = MutationWriter::new(&mut out);
    for op in ops {
        writer.op(op);
    }
    writer.finish().unwrap();
    let mutation = Mutation::parse(&out).unwrap();
    assert_eq!(mutation.len(), ops.len());
    assert!(mutation.ops().eq(ops));
    assert!(Mutation::parse(b"").unwrap().is_empty());
}

#[test]
fn a_record_too_large_leaves_nothing() {
    let big = vec![b'x'; wire::LIMIT_RECORD];
    let mut out = b"kept".to_vec();
    let mut writer = MutationWriter::new(&mut out);
    writer.op(Op::Status(200)).op(Op::Body(Value::Inline(&big))).op(Op::Status(201));
    assert_eq!(writer.finish(), Err(TooLarge));
    let mut writer = StepWriter::new(&mut out);
    writer.payload(b"{}").piece(&big, true);
    assert_eq!(writer.finish(), Err(TooLarge));
    let mut writer = StepWriter::new(&mut out);
    let huge = [(&b"n"[..], &big[..])].into_iter();
    writer.entry(1).response(200, 0, huge, Names::Spelled).piece(b"x", true);
    assert_eq!(writer.finish(), Err(TooLarge));
    assert_eq!(out, b"kept");
}

fn hello() -> Hello {
    let geometry = Geometry::default();
    Hello {
        versions: VersionRange::OURS,
        layout_hash: wire::LAYOUT_HASH,
        epoch: 77,
        seg_len: geometry.segment_len(),
        geometry,
        features: wire::FEATURE_KNOWN,
        window: 262_144,
        staged_max: 8 << 20,
        spin_ns: 0,
        generation: 1,
        plugin: "authz".into(),
        config: br#"{"key":"value"}"#.to_vec(),
        payloads: vec![b"{}".to_vec(), Vec::new()],
    }
}

#[test]
fn control_messages() {
    let ok = HelloOk {
        versions: VersionRange { major: 1, min: 0, max: 0 },
        layout_hash: wire::LAYOUT_HASH,
        epoch: 77,
        features: wire::FEATURE_HOST_CALLS,
        cpus: 2,
        doorbell: wire::DOORBELL_EVENTFD,
        sdk: "go 0.1.0".into(),
        entries: (0..500).map(|i| format!("entry-{i}")).collect(),
    };
    assert_eq!(hello().check(ok.versions), Ok(0));
    assert_eq!(ok.check(&hello()), Ok(0));
    let refuse =
        Refuse { code: wire::REFUSE_CONFIG, versions: ok.versions, message: "no key".into() };
    for control in [
        Control::Hello(hello()),
        Control::HelloOk(ok),
        Control::Refuse(refuse),
        Control::Shutdown { grace_ms: 0 },
        Control::Shutdown { grace_ms: 5000 },
        Control::Bye,
    ] {
        let bytes = control.encode();
        assert_eq!(Control::decode(&bytes), Ok(control));
        for cut in 0..bytes.len().min(64) {
            let _ = Control::decode(&bytes[..cut]);
        }
    }
}

#[test]
fn a_message_that_unfolds_to_more_than_its_size_is_refused() {
    use flatbuffers::FlatBufferBuilder;
    let mut fbb = FlatBufferBuilder::new();
    // NylonHttpHeaders whose 200 pairs are the same table: vector of equal offsets.
    let text = fbb.create_string(&"x".repeat(1000));
    let table = fbb.start_table();
    fbb.push_slot_always(4, text);
    fbb.push_slot_always(6, text);
    let pair = fbb.end_table(table);
    let pairs = fbb.create_vector(&[pair; 200]);
    let table = fbb.start_table();
    fbb.push_slot_always(4, pairs);
    let root = fbb.end_table(table);
    fbb.finish(root, None);
    assert!(headers::decode(fbb.finished_data()).is_err());
}

#[test]
fn header_lists() {
    let list = [("content-type", "text/plain"), ("set-cookie", "a"), ("set-cookie", "")];
    let bytes = headers::encode(list.into_iter());
    assert_eq!(headers::decode(&bytes).unwrap(), list);
    assert_eq!(headers::decode(&headers::encode([].into_iter())).unwrap(), []);
    assert!(headers::decode(b"junk").is_err());
}

#[test]
fn a_mismatch_names_both_ranges() {
    let range = |major, min, max| VersionRange { major, min, max };
    let error = negotiate(range(1, 0, 1), range(2, 0, 0)).unwrap_err();
    assert_eq!(error.to_string(), "the host speaks ABI 1.0–1.1, the worker 2.0–2.0");
    assert_eq!(negotiate(range(1, 0, 1), range(1, 0, 0)), Ok(0));
    assert_eq!(negotiate(range(1, 0, 1), range(1, 1, 2)), Ok(1));
    assert!(negotiate(range(1, 0, 1), range(1, 2, 3)).is_err());
}

#[test]
fn a_reason_too_long_is_cut_between_two_characters() {
    let reason = "ü".repeat(80);
    let mut out = Vec::new();
    Closing { code: Some(4000), reason: &reason }.write(&mut out);
    assert_eq!(out.len(), 124);
    let closing = Closing::parse(&out, Side::Worker).unwrap();
    assert_eq!((closing.code, closing.reason), (Some(4000), &reason[..122]));
    out.clear();
    Closing { code: None, reason: "lost" }.write(&mut out);
    assert_eq!(Closing::parse(&out, Side::Host), Ok(Closing::default()));
}

#[test]
fn an_id_too_long_for_its_section_is_too_large() {
    let id = "i".repeat(70_000);
    let mut out = b"before".to_vec();
    let mut writer = StepWriter::new(&mut out);
    writer.websocket(&WebSocketSection { flags: 0, id: &id, protocol: "" });
    assert_eq!(writer.finish(), Err(TooLarge));
    assert_eq!(out, b"before");
}

/// A close passes a full window, and voids what is half sent.
#[test]
fn a_conversation_ends_though_its_window_is_full() {
    let data = |method, len| Frame { len, ..Frame::new(wire::KIND_DATA).method(method) };
    let limit = u32::try_from(wire::LIMIT_CONVERSATION).unwrap();
    let (mut window, mut messages) = (Window::new(limit), Messages::default());
    let piece = data(wire::METHOD_WEBSOCKET_ON_MESSAGE_TEXT, 65_472).flags(wire::FLAG_MORE);
    for first in [true, false] {
        assert_eq!(window.take(cost(&piece)), Ok(()));
        assert_eq!(messages.take(&piece), Ok(first));
    }
    assert_eq!(window.room(), 0);
    for method in [wire::METHOD_WEBSOCKET_ON_ERROR, wire::METHOD_WEBSOCKET_ON_CLOSE] {
        let end = data(method, 20);
        assert_eq!(window.take(cost(&end)), Ok(()));
        assert_eq!(messages.take(&end), Ok(true));
    }
    assert!(messages.take(&piece).is_err());
    // Of an invocation, bytes are counted and nothing else.
    let body = Frame { phase: 1, ..data(wire::METHOD_SET_RESPONSE_FULL_BODY, 100) };
    assert_eq!(cost(&body), 100);
}
