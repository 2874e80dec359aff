//! The machine against a handler made of frames, and a clock made of numbers.

use std::time::{Duration, Instant};

use bytes::Bytes;
use nylon_protocol::record::{MutationWriter, Op, Value, write_fault};
use nylon_protocol::{Frame, Violation, wire};

use super::http::{Action, Event, Machine, Verdict};
use super::{Phase, PhaseSet};
use crate::error::Failure;
use crate::lane::Inbound;
use crate::rope::Rope;

const BUDGET: Duration = Duration::from_millis(500);
const STAGED_MAX: usize = 1000;
const PHASES: [Phase; 5] = [
    Phase::RequestFilter,
    Phase::ResponseFilter,
    Phase::ResponseBodyFilter,
    Phase::Logging,
    Phase::RequestBodyFilter,
];

/// A machine and its clock.
struct Peer {
    machine: Machine,
    now: Instant,
}

impl Peer {
    fn new(phase: Phase) -> Peer {
        let now = Instant::now();
        Peer { machine: Machine::new(phase, BUDGET, STAGED_MAX, now), now }
    }

    fn request() -> Peer {
        Peer::new(Phase::RequestFilter)
    }

    fn after(&mut self, millis: u64) -> &mut Peer {
        self.now += Duration::from_millis(millis);
        self
    }

    fn frame(&mut self, frame: Frame, payload: &[u8]) -> Action {
        let (payload, now) = (Bytes::copy_from_slice(payload), self.now);
        self.machine.on_frame(Inbound { frame, payload }, || now)
    }

    fn reply(&mut self, method: u32, payload: &[u8]) -> Action {
        self.frame(Frame::new(wire::KIND_REPLY).method(method), payload)
    }

    fn call(&mut self, method: u32, payload: &[u8]) -> Action {
        self.frame(Frame::new(wire::KIND_CALL).method(method).status(1), payload)
    }

    fn data(&mut self, method: u32, payload: &[u8]) -> Action {
        self.frame(Frame::new(wire::KIND_DATA).method(method), payload)
    }

    /// ms until the deadline; `None` while the clock stands.
    fn left(&self) -> Option<u128> {
        let at = self.machine.deadline()?;
        Some(at.saturating_duration_since(self.now).as_millis())
    }
}

fn record(ops: &[Op<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = MutationWriter::new(&mut out);
    for op in ops {
        writer.op(*op);
    }
    writer.finish().expect("a small record");
    out
}

fn refused(action: &Action) -> bool {
    matches!(
        action,
        Action::Abort(Failure::Refused(_)) | Action::Finish(Err(Failure::Refused(_)), _)
    )
}

#[test]
fn next_with_what_to_change() {
    let mut peer = Peer::request();
    let changes = record(&[Op::Status(201), Op::SetHeader { name: b"a", value: b"b" }]);
    let Action::Finish(Ok((Verdict::Next, commit)), _) = peer.reply(wire::METHOD_NEXT, &changes)
    else {
        panic!("not NEXT")
    };
    let ops: Vec<_> = commit.ops().collect();
    assert_eq!(ops, [Op::Status(201), Op::SetHeader { name: b"a", value: b"b" }]);
}

#[test]
fn the_final_frame_says_what_is_wanted() {
    let mut peer = Peer::request();
    let end = Frame::new(wire::KIND_REPLY).method(wire::METHOD_END).status(0b1_0100);
    let Action::Finish(Ok((Verdict::End, _)), wants) = peer.frame(end, &[]) else {
        panic!("not END")
    };
    let wanted: Vec<_> = PHASES.into_iter().filter(|p| wants.has(*p)).collect();
    assert_eq!(wanted, [Phase::ResponseFilter, Phase::Logging]);
    assert!(PhaseSet::from_wire(0).is_empty());
}

#[test]
fn an_error_is_a_failure_and_the_session_is_over() {
    for (code, unknown) in
        [(wire::ERROR_PANIC, false), (wire::ERROR_UNKNOWN_ENTRY, true), (999, false)]
    {
        let mut payload = Vec::new();
        write_fault(&mut payload, code, "no\u{7f}more");
        let action = Peer::request().frame(Frame::new(wire::KIND_ERROR), &payload);
        let Action::Finish(Err(failure), wants) = action else { panic!("{action:?}") };
        assert_eq!(matches!(failure, Failure::UnknownEntry(_)), unknown, "{failure:?}");
        assert!(wants.is_empty());
    }
    let short = Peer::request().frame(Frame::new(wire::KIND_ERROR), &[1]);
    assert!(matches!(short, Action::Violation(Violation::Error(1))), "{short:?}");
}

#[test]
fn malformed_records_are_violations_wherever_they_come() {
    let mut broken = record(&[Op::Status(200)]);
    broken[8] = 0xff;
    for method in [wire::METHOD_NEXT, wire::METHOD_END, wire::METHOD_SET_RESPONSE_STREAM_END] {
        let action = Peer::request().reply(method, &broken);
        assert!(matches!(action, Action::Violation(Violation::Record(_))), "{action:?}");
    }
    let action = Peer::request().call(wire::METHOD_SET_RESPONSE_STREAM_HEADER, &broken);
    assert!(matches!(action, Action::Violation(Violation::Record(_))), "{action:?}");
}

#[test]
fn the_clock_stands_while_the_host_works() {
    let mut peer = Peer::request();
    assert_eq!(peer.after(200).left(), Some(300));
    peer.machine.pause(peer.now);
    assert_eq!(peer.after(10_000).left(), None);
    peer.machine.pause(peer.now);
    peer.machine.resume(peer.now);
    assert_eq!(peer.left(), Some(300), "pausing twice is pausing once");
    peer.after(100);
    peer.machine.resume(peer.now);
    assert_eq!(peer.left(), Some(200), "resuming twice gives nothing back");
    assert_eq!(peer.after(1_000).left(), Some(0));
    peer.machine.pause(peer.now);
    peer.machine.resume(peer.now);
    assert_eq!(peer.left(), Some(0), "no time comes back by pausing late");
}

#[test]
fn after_the_deadline_only_an_answer_counts() {
    let mut peer = Peer::request();
    let staged = peer.after(499).data(wire::METHOD_SET_RESPONSE_FULL_BODY, b"x");
    assert!(matches!(staged, Action::Staged(_, 1, _)), "{staged:?}");
    peer.after(1);
    for frame in [wire::KIND_DATA, wire::KIND_CALL, wire::KIND_WINDOW] {
        let frame = Frame::new(frame).method(wire::METHOD_SET_RESPONSE_FULL_BODY).status(1);
        let action = peer.frame(frame, &[]);
        assert!(matches!(action, Action::Late), "{action:?}");
    }
    let answer = peer.reply(wire::METHOD_END, &[]);
    assert!(matches!(answer, Action::Finish(Ok(_), _)), "it is here, so take it: {answer:?}");
}

#[test]
fn staged_bodies_come_with_the_commit() {
    let mut peer = Peer::request();
    for piece in [&b"one "[..], b"two"] {
        let action = peer.data(wire::METHOD_SET_RESPONSE_FULL_BODY, piece);
        assert!(matches!(action, Action::Staged(_, n, _) if n == piece.len()), "{action:?}");
    }
    peer.data(wire::METHOD_SET_REQUEST_BODY, b"up");
    let end = record(&[Op::Body(Value::Staged), Op::RequestBody(Value::Staged)]);
    let Action::Finish(Ok((_, commit)), _) = peer.reply(wire::METHOD_END, &end) else {
        panic!("not END")
    };
    assert_eq!(commit.staged_response.map(Rope::into_bytes).as_deref(), Some(&b"one two"[..]));
    assert_eq!(commit.staged_request.map(Rope::into_bytes).as_deref(), Some(&b"up"[..]));
}

#[test]
fn staged_bodies_have_a_limit_each() {
    let mut peer = Peer::request();
    let full = vec![0; STAGED_MAX];
    for method in [wire::METHOD_SET_RESPONSE_FULL_BODY, wire::METHOD_SET_REQUEST_BODY] {
        assert!(matches!(peer.data(method, &full), Action::Staged(..)), "exactly the limit");
        let over = peer.data(method, b"x");
        assert!(refused(&over), "{over:?}");
    }
}

#[test]
fn a_stream_has_a_beginning_and_an_end() {
    let mut peer = Peer::request();
    let head = peer.call(wire::METHOD_SET_RESPONSE_STREAM_HEADER, &record(&[Op::Status(203)]));
    let Action::Event(Event::StreamHead(call, commit)) = head else { panic!("{head:?}") };
    assert_eq!((call.number, commit.ops().count()), (1, 1));
    let piece = peer.data(wire::METHOD_SET_RESPONSE_STREAM_DATA, b"piece");
    assert!(matches!(&piece, Action::Event(Event::StreamPiece(b)) if b == "piece"), "{piece:?}");
    let end = peer.reply(wire::METHOD_SET_RESPONSE_STREAM_END, &[]);
    assert!(matches!(end, Action::Finish(Ok((Verdict::StreamEnd, _)), _)), "{end:?}");
}

#[test]
fn a_stream_out_of_order_is_refused() {
    let data = Peer::request().data(wire::METHOD_SET_RESPONSE_STREAM_DATA, b"early");
    assert!(refused(&data), "data before the head: {data:?}");
    let end = Peer::request().reply(wire::METHOD_SET_RESPONSE_STREAM_END, &[]);
    assert!(refused(&end), "an end without its begin: {end:?}");
    let mut peer = Peer::request();
    peer.call(wire::METHOD_SET_RESPONSE_STREAM_HEADER, &[]);
    let twice = peer.call(wire::METHOD_SET_RESPONSE_STREAM_HEADER, &[]);
    assert!(refused(&twice), "a second head: {twice:?}");
    let next = peer.reply(wire::METHOD_NEXT, &[]);
    assert!(refused(&next), "NEXT in a stream: {next:?}");
}

#[test]
fn an_upgrade_comes_with_what_goes_with_the_101() {
    let mut peer = Peer::request();
    let headers = record(&[Op::SetHeader { name: b"sec-websocket-protocol", value: b"chat" }]);
    let Action::Finish(Ok((Verdict::Upgrade, commit)), wants) =
        peer.reply(wire::METHOD_WEBSOCKET_UPGRADE, &headers)
    else {
        panic!("not an upgrade")
    };
    assert_eq!((commit.ops().count(), wants.is_empty()), (1, true));
}

#[test]
fn only_a_request_filter_that_does_not_stream_upgrades() {
    for phase in PHASES.into_iter().filter(|p| *p != Phase::RequestFilter) {
        let upgrade = Peer::new(phase).reply(wire::METHOD_WEBSOCKET_UPGRADE, &[]);
        assert!(
            matches!(upgrade, Action::Violation(Violation::Phase(_))),
            "{phase:?}: {upgrade:?}"
        );
    }
    let mut peer = Peer::request();
    peer.call(wire::METHOD_SET_RESPONSE_STREAM_HEADER, &[]);
    let late = peer.reply(wire::METHOD_WEBSOCKET_UPGRADE, &[]);
    assert!(refused(&late), "an upgrade after the head: {late:?}");
}

#[test]
fn only_a_request_filter_streams() {
    for phase in PHASES.into_iter().filter(|p| *p != Phase::RequestFilter) {
        let head = Peer::new(phase).call(wire::METHOD_SET_RESPONSE_STREAM_HEADER, &[]);
        assert!(refused(&head), "{phase:?}: {head:?}");
    }
}

#[test]
fn a_stream_lives_by_its_pieces() {
    let mut peer = Peer::request();
    peer.after(400).call(wire::METHOD_SET_RESPONSE_STREAM_HEADER, &[]);
    assert_eq!(peer.left(), Some(300_000), "the handler's own time no longer counts");
    peer.after(299_000).data(wire::METHOD_SET_RESPONSE_STREAM_DATA, b"x");
    assert_eq!(peer.left(), Some(300_000));
    peer.after(200_000).data(wire::METHOD_SET_RESPONSE_STREAM_DATA, b"");
    assert_eq!(peer.left(), Some(100_000), "nothing is no piece");
    let late = peer.after(100_000).data(wire::METHOD_SET_RESPONSE_STREAM_DATA, b"x");
    assert!(matches!(late, Action::Late), "{late:?}");
}

#[test]
fn calls_the_host_knows_and_calls_it_does_not() {
    for method in [
        wire::METHOD_GET_PAYLOAD,
        wire::METHOD_READ_RESPONSE_FULL_BODY,
        wire::METHOD_READ_REQUEST_FULL_BODY,
        wire::METHOD_STREAM_REQUEST_BODY,
    ] {
        let action = Peer::request().call(method, &[]);
        let Action::Event(Event::Call(call)) = action else { panic!("{action:?}") };
        assert_eq!((call.number, call.method), (1, method));
    }
    for method in [0, wire::METHOD_WEBSOCKET_UPGRADE, 65_535] {
        let action = Peer::request().call(method, &[]);
        let Action::Unknown(call) = action else { panic!("{action:?}") };
        assert_eq!((call.number, call.method), (1, method));
    }
}

#[test]
fn kinds_and_methods_that_cannot_be_are_violations() {
    let mut peer = Peer::request();
    for kind in [0, wire::KIND_CANCEL, wire::KIND_PING, wire::KIND_CLOSE, 255] {
        let action = peer.frame(Frame::new(kind), &[]);
        assert!(matches!(action, Action::Violation(Violation::Kind(k)) if k == kind), "{action:?}");
    }
    let action = peer.reply(wire::METHOD_SET_RESPONSE_HEADER, &[]);
    assert!(matches!(action, Action::Violation(Violation::Method(100))), "{action:?}");
    let room = peer.frame(Frame::new(wire::KIND_WINDOW), &[0; 8]);
    assert!(matches!(room, Action::Event(Event::Room)), "{room:?}");
}
