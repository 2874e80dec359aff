//! reject/ of conversations, since 1.2.

use nylon_protocol::{Frame, Slot, wire};
use serde_json::{Value, json};

use crate::reject::{Named, TOKEN, bad, call, frame_at, inline, reply, section, with};

pub(crate) fn all() -> Vec<Named> {
    let mut out = frames();
    out.extend(records());
    out
}

/// Frames of upgrades and conversations.
fn frames() -> Vec<Named> {
    use wire::*;
    let talk = |kind, method| Frame::of(kind, TOKEN, 7, PHASE_NONE).method(method);
    let data = |method| talk(KIND_DATA, method);
    let agreed = |about: &str, from: &str, slot: Slot, violation: &str| {
        with(frame_at(about, from, 0, slot, violation), "websocket", true)
    };
    let w = |about, slot: Slot, violation| agreed(about, "worker", slot, violation);
    let h = |about, slot: Slot, violation| agreed(about, "host", slot, violation);
    let off = |about, from, frame| frame_at(about, from, 0, inline(frame, b"x"), "method");
    let open = || talk(KIND_CALL, METHOD_WEBSOCKET_ON_OPEN);
    vec![
        (
            "websocket-not-agreed-reply",
            off("the feature is off", "worker", reply().method(METHOD_WEBSOCKET_UPGRADE)),
        ),
        (
            "websocket-not-agreed-data",
            off("the feature is off", "worker", data(METHOD_WEBSOCKET_SEND_TEXT)),
        ),
        (
            "websocket-not-agreed-question",
            off(
                "the feature is off",
                "worker",
                talk(KIND_CALL, METHOD_WEBSOCKET_ROOM_SIZE).status(1),
            ),
        ),
        ("websocket-not-agreed-call", off("the feature is off", "host", open())),
        (
            "websocket-phase",
            w(
                "a message in RequestFilter",
                inline(Frame { phase: 1, ..data(METHOD_WEBSOCKET_SEND_TEXT) }, b"x"),
                "method",
            ),
        ),
        (
            "websocket-question-phase",
            w(
                "a question of conversations in RequestFilter",
                inline(call().method(METHOD_WEBSOCKET_ROOM_SIZE), b"r"),
                "phase",
            ),
        ),
        (
            "upgrade-phase",
            w(
                "an upgrade in ResponseFilter",
                inline(Frame { phase: 2, ..reply().method(METHOD_WEBSOCKET_UPGRADE) }, b""),
                "phase",
            ),
        ),
        (
            "conversation-end-phase",
            w(
                "RequestFilter ends as a conversation does",
                inline(reply().method(METHOD_WEBSOCKET_ON_CLOSE), b""),
                "phase",
            ),
        ),
        (
            "conversation-end-method",
            w(
                "a conversation ends as RequestFilter does",
                inline(talk(KIND_REPLY, METHOD_NEXT), b""),
                "method",
            ),
        ),
        (
            "conversation-data-method",
            w(
                "a piece of a streamed response in a conversation",
                inline(data(METHOD_SET_RESPONSE_STREAM_DATA), b"x"),
                "method",
            ),
        ),
        (
            "conversation-data-method-from-host",
            h(
                "only a worker sends to the client",
                inline(data(METHOD_WEBSOCKET_SEND_TEXT), b"x"),
                "method",
            ),
        ),
        (
            "conversation-event-from-worker",
            w(
                "only a host says what the client said",
                inline(data(METHOD_WEBSOCKET_ON_MESSAGE_TEXT), b"x"),
                "method",
            ),
        ),
        (
            "conversation-call-method",
            h("a CALL of phase 0 that begins none", inline(talk(KIND_CALL, 0), b""), "method"),
        ),
        (
            "conversation-call-phase",
            h("a conversation in phase 1", inline(Frame { phase: 1, ..open() }, b""), "phase"),
        ),
        (
            "conversation-call-open",
            h("its session is open", inline(open().flags(FLAG_OPEN), b""), "flags"),
        ),
        (
            "ping-long",
            with(
                agreed(
                    "126 bytes",
                    "worker",
                    Frame { seq: 1, len: 126, ..data(METHOD_WEBSOCKET_PING) }.into(),
                    "window",
                ),
                "rule",
                "data-len",
            ),
        ),
        (
            "room-name-long",
            with(
                agreed(
                    "129 bytes",
                    "worker",
                    Frame { seq: 1, len: 129, ..data(METHOD_WEBSOCKET_JOIN_ROOM) }.into(),
                    "window",
                ),
                "rule",
                "data-len",
            ),
        ),
        (
            "handover-payload",
            with(
                h("it says nothing", inline(data(METHOD_WEBSOCKET_HAND_OVER), b"x"), "window"),
                "rule",
                "data-len",
            ),
        ),
        (
            "close-more",
            w(
                "only messages come in pieces",
                inline(data(METHOD_WEBSOCKET_CLOSE).flags(FLAG_MORE), b""),
                "flags",
            ),
        ),
    ]
}

/// What is said in conversations, and its records.
fn records() -> Vec<Named> {
    use wire::*;
    let messages = |about: &str, ops: Value| json!({ "description": about, "check": "messages", "ops": ops, "violation": "method" });
    let closing = |about: &str, from: &str, bytes: &[u8], rule: &str| {
        with(bad("closing", about, bytes, rule), "from", from)
    };
    let socket = |about: &str, body: &[u8], rule: &str| {
        with(bad("step", about, &section(SECTION_WEBSOCKET, 0, body), rule), "open", false)
    };
    let long = [&129u16.to_le_bytes()[..], &[b'r'; 129]].concat();
    vec![
        (
            "message-interleaved",
            messages(
                "a binary message between the pieces of a text",
                json!([[301, "more"], [301, "more"], [302, "last"]]),
            ),
        ),
        (
            "message-interleaved-event",
            messages(
                "a ping between the pieces of a broadcast",
                json!([[312, "last"], [312, "more"], [304, "last"]]),
            ),
        ),
        (
            "message-after-close",
            messages(
                "a message after ON_CLOSE",
                json!([[351, "more"], [353, "last"], [351, "last"]]),
            ),
        ),
        (
            "message-after-error",
            messages("only ON_CLOSE follows", json!([[354, "last"], [352, "last"]])),
        ),
        (
            "message-after-handover",
            messages("ON_CLOSE after HAND_OVER", json!([[355, "last"], [353, "last"]])),
        ),
        (
            "close-twice",
            messages(
                "a worker may broadcast after its CLOSE, and not CLOSE again",
                json!([[303, "last"], [312, "last"], [303, "last"]]),
            ),
        ),
        ("addressed-short", bad("addressed", "ends in the name", &[2, 0, b'r'], "addressed-short")),
        ("addressed-empty", bad("addressed", "no name at all", &[0], "addressed-short")),
        (
            "addressed-name-empty",
            bad("addressed", "a name of no bytes", &[0, 0, b'x'], "name-empty"),
        ),
        ("addressed-name-long", bad("addressed", "129 bytes", &long, "name-long")),
        (
            "addressed-name-utf8",
            bad("addressed", "half a character", &[1, 0, 0xc3, b'x'], "name-utf8"),
        ),
        ("name-control", bad("name", "a line break", b"a\nb", "name-control")),
        ("closing-one-byte", closing("half a code", "worker", &[0xe8], "closing-one-byte")),
        (
            "closing-long",
            closing("126 bytes", "host", &[&[0xe8, 3][..], &[b'x'; 124]].concat(), "closing-long"),
        ),
        (
            "closing-code",
            closing("1004 is reserved", "host", &1004u16.to_le_bytes(), "closing-code"),
        ),
        (
            "closing-code-not-sent",
            closing(
                "1006 never stands in a close frame",
                "worker",
                &1006u16.to_le_bytes(),
                "closing-code",
            ),
        ),
        ("closing-code-range", closing("5000", "worker", &5000u16.to_le_bytes(), "closing-code")),
        ("closing-utf8", closing("half a character", "worker", &[0xe8, 3, 0xc3], "closing-utf8")),
        ("step-websocket-short", socket("7 bytes", &[0; 7], "step-websocket-len")),
        (
            "step-websocket-past-end",
            socket(
                "an id of 3 bytes, 1 is there",
                &[0, 0, 0, 0, 3, 0, 0, 0, b'a'],
                "step-websocket-len",
            ),
        ),
        (
            "step-websocket-left-over",
            socket(
                "a byte after the subprotocol",
                &[0, 0, 0, 0, 1, 0, 1, 0, b'a', b'p', 0],
                "step-websocket-len",
            ),
        ),
        ("step-websocket-id", socket("no id", &[0; 8], "step-websocket-id")),
        (
            "step-websocket-protocol",
            socket(
                "a subprotocol that is not UTF-8",
                &[0, 0, 0, 0, 1, 0, 1, 0, b'a', 0xff],
                "step-websocket-protocol",
            ),
        ),
        (
            "step-websocket-open",
            with(
                bad(
                    "step",
                    "a session that has no upgrade yet",
                    &[
                        section(SECTION_ENTRY, 1, b""),
                        section(SECTION_REQUEST_OF, 0, &7u32.to_le_bytes()),
                        section(SECTION_WEBSOCKET, 0, &[0, 0, 0, 0, 1, 0, 0, 0, b'a']),
                    ]
                    .concat(),
                    "step-websocket-open",
                ),
                "open",
                true,
            ),
        ),
    ]
}
