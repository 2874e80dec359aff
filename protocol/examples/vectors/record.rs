//! record/: payloads by field and by byte.

use nylon_protocol::record::Names;
use nylon_protocol::wire;
use serde_json::{Value, json};

use crate::support::{hex, record};

pub(crate) fn all() -> Vec<(&'static str, Value)> {
    let mut out = Vec::new();
    let mut add = |name, kind: &str, about: &str, fields: Value| {
        let bytes = record::encode(kind, &fields, Names::Spelled);
        let vector = json!({
            "description": about,
            "type": kind,
            "fields": fields,
            "bytes": hex(&bytes),
        });
        out.push((name, vector));
    };

    add(
        "request-smallest",
        "request",
        "nothing but numbers",
        json!({
            "timestamp_ms": 0, "bytes": 0, "port": 0, "tls": false, "version": 10,
            "method": "", "path": "", "query": "", "host": "", "client_ip": "", "request_id": "",
            "headers": [], "params": [],
        }),
    );
    add("request-full", "request", "every field, repeated and empty headers, params", request());
    add(
        "request-before-1970",
        "request",
        "timestamp_ms is signed",
        with(request(), "timestamp_ms", json!(-1)),
    );
    add(
        "request-not-utf8",
        "request",
        "names and values that are not UTF-8 are carried as they are",
        with(request(), "headers", json!([[{ "hex": "782dff" }, { "hex": "00fe" }]])),
    );

    add(
        "head-empty",
        "response_head",
        "no headers",
        json!({ "status": 204, "flags": 0, "headers": [] }),
    );
    add(
        "head-full",
        "response_head",
        "headers in order, repeated names kept, a body set before",
        head(),
    );
    add(
        "head-unknown-flags",
        "response_head",
        "flags of a later minor are left alone",
        json!({ "status": 200, "flags": 0x8000_0000u32, "headers": [] }),
    );

    add(
        "step-open",
        "step",
        "the first CALL of a session",
        json!({
            "open": true, "entry": 3, "request": request(), "payload": "{\"role\":\"admin\"}",
        }),
    );
    add(
        "step-open-request-of",
        "step",
        "a second session of the same request",
        json!({
            "open": true, "entry": 4, "request_of": 7, "payload_id": 2,
        }),
    );
    add(
        "step-open-lazy",
        "step",
        "a session opened by Logging, with everything Logging may ask",
        json!({
            "open": true, "entry": 0, "request_of": 1, "payload_call": true, "response": head(),
            "stats": { "bytes": 1024, "duration_ms": 12, "error": "connection refused" },
        }),
    );
    add("step-empty", "step", "nothing to say", json!({ "open": false }));
    add("step-response", "step", "ResponseFilter", json!({ "open": false, "response": head() }));
    add(
        "step-piece",
        "step",
        "ResponseBodyFilter, more follows; 5 bytes are padded to 8",
        json!({
            "open": false, "payload": "{}", "response": head(), "piece": { "bytes": "12345", "last": false },
        }),
    );
    add(
        "step-piece-last-empty",
        "step",
        "the end of a body without a last piece",
        json!({
            "open": false, "piece": { "bytes": "", "last": true },
        }),
    );
    add(
        "step-stats",
        "step",
        "Logging without an error",
        json!({
            "open": false, "stats": { "bytes": 0, "duration_ms": 0, "error": "" },
        }),
    );
    add(
        "step-response-kept",
        "step",
        "Logging of a response whose head the session has",
        json!({
            "open": false, "stats": { "bytes": 9, "duration_ms": 1, "error": "" },
            "response_kept": true,
        }),
    );

    add("mutation-none", "mutation", "a record without entries", json!({ "ops": [] }));
    add(
        "mutation-response",
        "mutation",
        "every response op, in order",
        json!({ "ops": [
        { "op": 100, "name": "x-a", "value": "1" },
        { "op": 113, "name": "Set-Cookie", "value": "a=b; Path=/" },
        { "op": 101, "name": "server" },
        { "op": 102, "status": 418 },
        { "op": 103, "value": "short and stout" },
    ] }),
    );
    add(
        "mutation-request",
        "mutation",
        "every request op, since 1.1",
        json!({ "ops": [
        { "op": 220, "value": "PUT" },
        { "op": 221, "value": "/v2/a%20b" },
        { "op": 222, "value": "q=1" },
        { "op": 223, "name": "x-user", "value": "42" },
        { "op": 224, "name": "cookie" },
        { "op": 225, "value": "{}" },
    ] }),
    );
    add(
        "mutation-staged",
        "mutation",
        "bodies that came before as DATA",
        json!({ "ops": [
        { "op": 103, "staged": true },
        { "op": 225, "staged": true },
    ] }),
    );
    add(
        "mutation-empty-body",
        "mutation",
        "an empty body is a body",
        json!({ "ops": [
        { "op": 103, "value": "" },
        { "op": 100, "name": "x-empty", "value": "" },
    ] }),
    );
    add(
        "mutation-not-checked",
        "mutation",
        "what names and values hold is not the record's business",
        json!({ "ops": [
        { "op": 100, "name": "bad name", "value": "a\r\nb" },
        { "op": 100, "name": "", "value": { "hex": "00ff" } },
        { "op": 102, "status": 65535 },
    ] }),
    );

    add("error-text", "error", "a code and a text", json!({ "code": 1, "text": "boom: ünïcode" }));
    add(
        "error-unknown-code",
        "error",
        "a code of a later minor reads like `internal`",
        json!({ "code": 9999, "text": "" }),
    );
    add("window-total", "window", "more than 32 bits", json!({ "total": 1u64 << 33 }));
    add(
        "header-list",
        "headers",
        "the original's header list; flatbuffers are not compared by byte",
        json!({
            "headers": [["content-type", "text/plain"], ["set-cookie", "a"], ["set-cookie", ""]],
        }),
    );
    add(
        "header-page-default",
        "header_page",
        "one lane, 256 slots, 1 MiB",
        json!({
            "geometry": { "lanes": 1, "slots": 256, "arena": 1 << 20 },
            "epoch": 0x1122_3344_5566_7788u64, "abi_minor": 1, "features": 7,
        }),
    );
    add(
        "header-page-largest",
        "header_page",
        "the largest geometry",
        json!({
            "geometry": { "lanes": 64, "slots": 4096, "arena": 64 << 20 },
            "epoch": u64::MAX, "abi_minor": 2, "features": 1u64 << 63,
        }),
    );
    add(
        "header-page-smallest",
        "header_page",
        "the smallest geometry",
        json!({
            "geometry": { "lanes": 1, "slots": 64, "arena": 1 << 18 },
            "epoch": 1, "abi_minor": 0, "features": 0,
        }),
    );
    out.extend(named());
    out.extend(websocket());
    out
}

/// Records whose header names are ids where the table has them.
fn named() -> Vec<(&'static str, Value)> {
    let vector = |kind: &str, about: &str, fields: Value| {
        let bytes = record::encode(kind, &fields, Names::Ids);
        let (fields, bytes) = (fields, hex(&bytes));
        json!({ "description": about, "type": kind, "names": true, "fields": fields, "bytes": bytes })
    };
    let all: Vec<_> = wire::NAMES.iter().map(|name| json!([name, ""])).collect();
    vec![
        (
            "names-request",
            vector("request", "names of the table and others; params are spelled out", {
                let mixed = json!([["host", "a.test"], ["x-own", "1"], ["cookie", ""], ["", "v"]]);
                with(with(request(), "headers", mixed), "params", json!([["host", "42"]]))
            }),
        ),
        (
            "names-head",
            vector(
                "response_head",
                "every name of the table, by id",
                json!({ "status": 200, "flags": 0, "headers": all }),
            ),
        ),
        (
            "names-step",
            vector(
                "step",
                "the request and the head of one step",
                json!({ "open": true, "entry": 0, "request": request(), "response": head() }),
            ),
        ),
    ]
}

/// What conversations are about, since 1.2.
fn websocket() -> Vec<(&'static str, Value)> {
    let vector = |kind: &str, about: &str, fields: Value| {
        let bytes = hex(&record::encode(kind, &fields, Names::Spelled));
        json!({ "description": about, "type": kind, "fields": fields, "bytes": bytes })
    };
    let step = |flags: u32, id: &str, protocol: &str| {
        let socket = json!({ "flags": flags, "id": id, "protocol": protocol });
        json!({ "open": false, "websocket": socket })
    };
    let id = "0199f1a2-7b3c-7def-8123-456789abcdef:7";
    vec![
        ("step-websocket", vector("step", "a conversation begins", step(0, id, "chat.v2"))),
        (
            "step-websocket-resumed",
            vector(
                "step",
                "an earlier worker had the socket; no subprotocol, a flag of a later minor",
                step(wire::SOCKET_RESUMED | 1 << 31, id, ""),
            ),
        ),
        (
            "addressed",
            vector(
                "addressed",
                "to a room, the first piece",
                json!({ "name": "größe", "bytes": { "hex": "00ff" } }),
            ),
        ),
        (
            "addressed-empty",
            vector(
                "addressed",
                "an empty message to the longest name",
                json!({ "name": "r".repeat(wire::LIMIT_ROOM_NAME), "bytes": "" }),
            ),
        ),
        ("name", vector("name", "the payload of JOIN_ROOM", json!({ "name": "lobby 1" }))),
        (
            "closing",
            vector(
                "closing",
                "a code of an application's own, and a reason",
                json!({ "from": "worker", "code": 4999, "reason": "tschüß" }),
            ),
        ),
        (
            "closing-empty",
            vector("closing", "a close without a code", json!({ "from": "worker", "reason": "" })),
        ),
        (
            "closing-longest",
            vector(
                "closing",
                "125 bytes",
                json!({ "from": "worker", "code": 1000, "reason": "x".repeat(wire::LIMIT_PING - 2) }),
            ),
        ),
        (
            "closing-gone",
            vector(
                "closing",
                "a host may say that no close frame came",
                json!({ "from": "host", "code": 1006, "reason": "no pong" }),
            ),
        ),
        (
            "closing-no-status",
            vector(
                "closing",
                "a host may say that the close frame had no code",
                json!({ "from": "host", "code": 1005, "reason": "" }),
            ),
        ),
    ]
}

fn with(mut fields: Value, name: &str, value: Value) -> Value {
    fields[name] = value;
    fields
}

fn request() -> Value {
    json!({
        "timestamp_ms": 1_760_918_400_123i64, "bytes": 17, "port": 8080, "tls": true, "version": 11,
        "method": "POST", "path": "/users/42", "query": "a=1&b=%20", "host": "api.test",
        "client_ip": "2001:db8::1", "request_id": "0199f1a2",
        "headers": [["host", "api.test:8080"], ["accept", "*/*"], ["accept", "text/html"], ["x-empty", ""]],
        "params": [["id", "42"]],
    })
}

fn head() -> Value {
    json!({
        "status": 200, "flags": 1,
        "headers": [["content-type", "text/html"], ["set-cookie", "a=1"], ["set-cookie", "b=2"]],
    })
}
