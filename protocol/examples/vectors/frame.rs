//! frame/: slots as they stand, that pass every check.

use nylon_protocol::check::{FrameContext, Side, check_frame, next_apos};
use nylon_protocol::{Frame, Slot, Token, wire};
use serde_json::{Value, json};

use crate::reject::with;
use crate::support::{hex, of_slot};

const A: u64 = 1 << 20;
const SID: u32 = 7;
const TOKEN: Token = Token { idx: 5, generation: 9 };

pub(crate) fn all() -> Vec<(&'static str, Value)> {
    let mut out = host();
    out.extend(worker());
    out.extend(conversation());
    out.extend(arena());
    out
}

/// A frame of the invocation in `phase`.
fn of(kind: u8, phase: u8) -> Frame {
    Frame::of(kind, TOKEN, SID, phase)
}

fn inline(frame: Frame, payload: &[u8]) -> Slot {
    Slot::inline(frame, payload)
}

fn in_arena(frame: Frame, len: u32) -> Frame {
    Frame { len, ..frame }
}

fn counting(len: u8) -> Vec<u8> {
    (1..=len).collect()
}

fn vector(about: &str, from: Side, apos: u64, slot: impl Into<Slot>) -> Value {
    let ctx =
        FrameContext { arena: A, apos, host_calls: true, handler_time: true, websocket: true };
    let mut slot = slot.into();
    let frame = &mut slot.frame;
    if frame.seq == 0 {
        frame.seq = 1;
    }
    check_frame(frame, from, &ctx).expect(about);
    json!({
        "description": about,
        "from": if from == Side::Host { "host" } else { "worker" },
        "arena": A,
        "apos": apos,
        "host_calls": true,
        "frame": of_slot(&slot),
        "slot": hex(bytemuck::bytes_of(&slot)),
        "next_apos": next_apos(&slot.frame, &ctx),
    })
}

fn host() -> Vec<(&'static str, Value)> {
    use wire::*;
    fn v(about: &str, slot: impl Into<Slot>) -> Value {
        vector(about, Side::Host, 0, slot)
    }
    let call = |phase| of(KIND_CALL, phase).status(5000);
    let answer = |kind, method| of(kind, 1).method(method).status(1);
    vec![
        (
            "call-open-arena",
            v("opens a session, record in the arena", in_arena(call(1), 640).flags(FLAG_OPEN)),
        ),
        (
            "call-open-inline",
            v(
                "opens a session, record in the slot",
                inline(call(1).flags(FLAG_OPEN), &counting(88)),
            ),
        ),
        ("call-response-filter", v("phase 2 of an open session", inline(call(2), &counting(16)))),
        ("call-response-body-filter", v("phase 3, a piece", in_arena(call(3), 49_176))),
        (
            "call-logging-no-limit",
            v("phase 4 without a time limit", inline(call(4).status(0), &counting(24))),
        ),
        ("call-request-body-filter", v("phase 5, since 1.1", inline(call(5), &counting(8)))),
        (
            "call-without-record",
            v("a CALL without payload is INLINE with len 0", inline(call(2), b"")),
        ),
        (
            "answer-inline",
            v("the answer to GET_PAYLOAD", inline(answer(KIND_REPLY, METHOD_GET_PAYLOAD), b"{}")),
        ),
        (
            "answer-arena",
            v(
                "the answer to GET_PAYLOAD, large",
                in_arena(answer(KIND_REPLY, METHOD_GET_PAYLOAD), 20_000),
            ),
        ),
        (
            "answer-error",
            v(
                "a method the host does not know",
                inline(answer(KIND_ERROR, 999), b"\x03\0\0\0no such method"),
            ),
        ),
        (
            "cancel-deadline",
            v("its time is used up", inline(of(KIND_CANCEL, 1).status(CANCEL_DEADLINE), b"")),
        ),
        (
            "cancel-client-gone",
            v("the client left", inline(of(KIND_CANCEL, 3).status(CANCEL_CLIENT_GONE), b"")),
        ),
        (
            "cancel-unknown-reason",
            v(
                "a reason of a later minor is no violation",
                inline(of(KIND_CANCEL, 3).status(77), b""),
            ),
        ),
        ("ping", v("are you there", inline(Frame::new(KIND_PING).status(0xdead_beef), b""))),
        ("goaway-host", v("no new invocation will come", inline(Frame::new(KIND_GOAWAY), b""))),
        (
            "close",
            v("the session is over", inline(Frame { sid: SID, ..Frame::new(KIND_CLOSE) }, b"")),
        ),
        (
            "data-request-body-more",
            v(
                "a piece of the request body, more follow",
                in_arena(answer(KIND_DATA, METHOD_READ_REQUEST_FULL_BODY).flags(FLAG_MORE), 65_536),
            ),
        ),
        (
            "data-request-body-ahead",
            v(
                "a piece of the request body ahead of the CALL, more follow",
                in_arena(
                    of(KIND_DATA, 1).method(METHOD_READ_REQUEST_FULL_BODY).flags(FLAG_MORE),
                    65_536,
                ),
            ),
        ),
        (
            "data-request-body-last",
            v("the last piece, empty", inline(answer(KIND_DATA, METHOD_STREAM_REQUEST_BODY), b"")),
        ),
        (
            "window-host",
            v("the host took 262144 bytes", inline(of(KIND_WINDOW, 1), &262_144u64.to_le_bytes())),
        ),
    ]
}

fn worker() -> Vec<(&'static str, Value)> {
    use wire::*;
    fn v(about: &str, slot: impl Into<Slot>) -> Value {
        vector(about, Side::Worker, 0, slot)
    }
    let reply = |method, wants| of(KIND_REPLY, 1).method(method).status(wants);
    let data = |method| of(KIND_DATA, 1).method(method);
    let timed = |about, slot| with(v(about, slot), "handler_time", true);
    vec![
        (
            "reply-next-empty",
            v("nothing changed, no other phase wanted", inline(reply(METHOD_NEXT, 0), b"")),
        ),
        (
            "reply-next-24",
            v("a payload that fills the frame line", inline(reply(METHOD_NEXT, 0), &counting(24))),
        ),
        (
            "reply-next-25",
            v("one byte in the tail line", inline(reply(METHOD_NEXT, 0), &counting(25))),
        ),
        (
            "reply-next-88",
            v("a payload that fills the slot", inline(reply(METHOD_NEXT, 0), &counting(88))),
        ),
        (
            "reply-next-89",
            v(
                "the smallest payload that must stand in the arena",
                in_arena(reply(METHOD_NEXT, 0), 89),
            ),
        ),
        (
            "reply-small-in-arena",
            v("a small payload may stand in the arena", in_arena(reply(METHOD_NEXT, 0), 1)),
        ),
        (
            "reply-end",
            v("answer now, Logging wanted", inline(reply(METHOD_END, 0b1_0000), &counting(40))),
        ),
        (
            "reply-stream-end",
            v(
                "a streamed response is complete",
                inline(reply(METHOD_SET_RESPONSE_STREAM_END, 0b1_0000), b""),
            ),
        ),
        ("reply-wants-all", v("phases 1 to 5 wanted", inline(reply(METHOD_NEXT, 0b11_1110), b""))),
        (
            "reply-handler-time",
            timed(
                "Logging wanted, the handler ran 1500 us",
                inline(reply(METHOD_END, 0b1_0000 | 1500 << FINAL_TIME_SHIFT), b""),
            ),
        ),
        (
            "reply-handler-time-max",
            timed(
                "no phase wanted, the handler ran 67 s or longer",
                inline(reply(METHOD_NEXT, FINAL_TIME_MAX << FINAL_TIME_SHIFT), b""),
            ),
        ),
        (
            "error-handler-time",
            timed(
                "the handler panicked after 20 us",
                inline(
                    of(KIND_ERROR, 1).status(20 << FINAL_TIME_SHIFT),
                    &ERROR_PANIC.to_le_bytes(),
                ),
            ),
        ),
        ("error-panic", v("the handler panicked", inline(of(KIND_ERROR, 1), b"\x01\0\0\0boom"))),
        (
            "error-code-only",
            v("an error without text", inline(of(KIND_ERROR, 4), &ERROR_GOEXIT.to_le_bytes())),
        ),
        (
            "call-read-body",
            v(
                "asks for the request body, call 1",
                inline(of(KIND_CALL, 1).method(METHOD_READ_REQUEST_FULL_BODY).status(1), b""),
            ),
        ),
        (
            "call-stream-header",
            v(
                "commits the response head, call 2",
                in_arena(of(KIND_CALL, 1).method(METHOD_SET_RESPONSE_STREAM_HEADER).status(2), 200),
            ),
        ),
        (
            "call-method-unknown",
            v(
                "the largest method: unknown, but no violation",
                inline(of(KIND_CALL, 1).method(65_535).status(3), b""),
            ),
        ),
        ("pong", v("echo of PING", inline(Frame::new(KIND_PONG).status(0xdead_beef), b""))),
        ("goaway-worker", v("please drain me", inline(Frame::new(KIND_GOAWAY), b""))),
        (
            "data-staged-body",
            v(
                "a staged response body, more follows",
                in_arena(data(METHOD_SET_RESPONSE_FULL_BODY).flags(FLAG_MORE), 65_536),
            ),
        ),
        (
            "data-stream",
            v(
                "a piece of a streamed response",
                inline(data(METHOD_SET_RESPONSE_STREAM_DATA).flags(FLAG_MORE), b"data: 1\n\n"),
            ),
        ),
        (
            "data-staged-request-body",
            v("a staged request body, last piece", in_arena(data(METHOD_SET_REQUEST_BODY), 100)),
        ),
        (
            "window-worker",
            v("the worker took 1 byte", inline(of(KIND_WINDOW, 1), &1u64.to_le_bytes())),
        ),
        (
            "largest-fields",
            v(
                "every field at its largest",
                inline(
                    Frame {
                        seq: u32::MAX,
                        sid: i32::MAX as u32,
                        call_idx: u32::MAX,
                        call_gen: u32::MAX,
                        ..Frame::new(KIND_CALL).method(65_535).status(u32::MAX)
                    },
                    &[0xff; 88],
                ),
            ),
        ),
    ]
}

/// Upgrades and conversations, since 1.2.
fn conversation() -> Vec<(&'static str, Value)> {
    use wire::*;
    fn v(about: &str, from: Side, slot: impl Into<Slot>) -> Value {
        with(vector(about, from, 0, slot), "websocket", true)
    }
    let w = |about, slot: Slot| v(about, Side::Worker, slot);
    let h = |about, slot: Slot| v(about, Side::Host, slot);
    let talk = |kind, method| of(kind, PHASE_NONE).method(method);
    let data = |method| talk(KIND_DATA, method);
    vec![
        (
            "reply-upgrade",
            w(
                "the client is to become a WebSocket; Logging wanted",
                inline(of(KIND_REPLY, 1).method(METHOD_WEBSOCKET_UPGRADE).status(0b1_0000), b""),
            ),
        ),
        (
            "call-conversation",
            h(
                "a conversation begins",
                inline(talk(KIND_CALL, METHOD_WEBSOCKET_ON_OPEN), &counting(40)),
            ),
        ),
        (
            "data-message-text",
            v(
                "a piece of a text message of the client, more follow",
                Side::Host,
                in_arena(data(METHOD_WEBSOCKET_ON_MESSAGE_TEXT).flags(FLAG_MORE), 65_536),
            ),
        ),
        (
            "data-message-empty",
            h("an empty message", inline(data(METHOD_WEBSOCKET_ON_MESSAGE_BINARY), b"")),
        ),
        (
            "data-send-text",
            w("a text message to the client", inline(data(METHOD_WEBSOCKET_SEND_TEXT), b"hello")),
        ),
        (
            "data-room",
            w(
                "the first piece of a message to the room `r`, more follow",
                inline(
                    data(METHOD_WEBSOCKET_BROADCAST_ROOM_TEXT).flags(FLAG_MORE),
                    b"\x01\0rhello",
                ),
            ),
        ),
        ("data-join", w("into a room", inline(data(METHOD_WEBSOCKET_JOIN_ROOM), b"room"))),
        (
            "data-ping",
            v(
                "the longest ping",
                Side::Worker,
                in_arena(data(METHOD_WEBSOCKET_PING), LIMIT_PING as u32),
            ),
        ),
        (
            "data-close",
            w("close with 1000 and a reason", inline(data(METHOD_WEBSOCKET_CLOSE), b"\xe8\x03bye")),
        ),
        ("data-close-empty", w("close without a code", inline(data(METHOD_WEBSOCKET_CLOSE), b""))),
        (
            "data-closed",
            h(
                "the client is gone without a close frame: 1006",
                inline(data(METHOD_WEBSOCKET_ON_CLOSE), b"\xee\x03"),
            ),
        ),
        (
            "data-error",
            h("what went wrong", inline(data(METHOD_WEBSOCKET_ON_ERROR), b"a frame without mask")),
        ),
        (
            "data-handover",
            h("another worker takes over", inline(data(METHOD_WEBSOCKET_HAND_OVER), b"")),
        ),
        (
            "call-room-size",
            w(
                "how many are in the room, call 1",
                inline(talk(KIND_CALL, METHOD_WEBSOCKET_ROOM_SIZE).status(1), b"room"),
            ),
        ),
        (
            "answer-room-size",
            h(
                "two",
                inline(talk(KIND_REPLY, METHOD_WEBSOCKET_ROOM_SIZE).status(1), &2u64.to_le_bytes()),
            ),
        ),
        (
            "window-conversation",
            h(
                "an empty message and one of 5 bytes were taken: 64 + 69",
                inline(of(KIND_WINDOW, PHASE_NONE), &133u64.to_le_bytes()),
            ),
        ),
        (
            "reply-websocket-closed",
            w(
                "the conversation is over, Logging wanted",
                inline(talk(KIND_REPLY, METHOD_WEBSOCKET_ON_CLOSE).status(0b1_0000), b""),
            ),
        ),
        (
            "error-conversation",
            w(
                "a callback could not run",
                inline(of(KIND_ERROR, PHASE_NONE), &ERROR_INTERNAL.to_le_bytes()),
            ),
        ),
    ]
}

fn arena() -> Vec<(&'static str, Value)> {
    let reply = || of(wire::KIND_REPLY, 1).method(wire::METHOD_NEXT);
    let at = |about, apos, arena_pos, len| {
        vector(about, Side::Worker, apos, Frame { arena_pos, len, ..reply() })
    };
    vec![
        ("arena-exact-end", at("ends exactly where the arena does", A - 128, A - 128, 128)),
        ("arena-skip", at("does not fit before the end: skips to the next lap", A - 64, A, 65)),
        ("arena-second-lap", at("positions are free-running", 3 * A + 640, 3 * A + 640, 100)),
        ("arena-quarter", at("the largest payload", 64, 64, 1 << 18)),
        ("arena-past-32-bits", at("positions are 64 bits wide", 1 << 40, 1 << 40, 64)),
        (
            "inline-keeps-apos",
            vector("an inline frame takes no arena", Side::Worker, 4096, inline(reply(), b"x")),
        ),
    ]
}
