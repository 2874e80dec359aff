//! Records in the notation of vectors/README.md, both ways.

use nylon_protocol::check::Side;
use nylon_protocol::record::{
    self, Addressed, Closing, Fault, Head, Mutation, MutationWriter, Names, Op, Pairs, Payload,
    Request, RequestFields, Source, Step, StepWriter, Value as Body, WebSocketSection, write_fault,
    write_head, write_request,
};
use nylon_protocol::segment::Header;
use nylon_protocol::{Violation, check, headers};
use serde_json::{Value, json};

use super::{Pair, geometry, number, of_geometry, of_string, string, text};

type Owned = Vec<(Vec<u8>, Vec<u8>)>;

/// The bytes of a record of `kind` with these `fields`.
pub(crate) fn encode(kind: &str, fields: &Value, names: Names) -> Vec<u8> {
    let mut out = Vec::new();
    match kind {
        "request" => request(fields, |f| write_request(&mut out, f, names).unwrap()),
        "response_head" => head(fields, |status, flags, headers| {
            write_head(&mut out, status, flags, headers.iter().copied(), names).unwrap();
        }),
        "step" => step(fields, &mut out, names),
        "mutation" => mutation(fields, &mut out),
        "error" => write_fault(&mut out, number(&fields["code"]), text(&fields["text"])),
        "addressed" => {
            let bytes = string(&fields["bytes"]);
            Addressed { name: text(&fields["name"]), bytes: &bytes }.write(&mut out);
        }
        "name" => out = string(&fields["name"]),
        "closing" => {
            let code = fields.get("code").map(number);
            Closing { code, reason: text(&fields["reason"]) }.write(&mut out);
        }
        "window" => out = number::<u64>(&fields["total"]).to_le_bytes().to_vec(),
        "headers" => {
            let list = pairs(&fields["headers"]);
            let utf8 = |b| std::str::from_utf8(b).unwrap();
            out = headers::encode(list.iter().map(|(n, v)| (utf8(n), utf8(v))));
        }
        "header_page" => out = page(fields).encode().to_vec(),
        other => panic!("unknown record {other}"),
    }
    out
}

/// The fields of a record of `kind`, or the rule it breaks; `expected` says what the bytes do not: the step's flag
/// `open`, and whom a closing record is `from`.
pub(crate) fn decode(
    kind: &str,
    bytes: &[u8],
    expected: &Value,
    names: Names,
) -> Result<Value, Violation> {
    let open = expected["open"] == true;
    Ok(match kind {
        "request" => of_request(&Request::parse(bytes, names)?),
        "response_head" => of_head(&Head::parse(bytes, names)?),
        "step" => of_step(&Step::parse(bytes, open, names)?, open),
        "mutation" => {
            json!({ "ops": Mutation::parse(bytes)?.ops().map(of_op).collect::<Vec<_>>() })
        }
        "error" => {
            let fault = Fault::parse(bytes)?;
            json!({ "code": fault.code, "text": of_string(fault.text) })
        }
        "addressed" => {
            let addressed = Addressed::parse(bytes)?;
            json!({ "name": addressed.name, "bytes": of_string(addressed.bytes) })
        }
        "name" => json!({ "name": record::name(bytes)? }),
        "closing" => of_closing(bytes, text(&expected["from"]))?,
        "window" => json!({ "total": check::window_total(bytes)? }),
        "headers" => json!({ "headers": headers::decode(bytes)? }),
        "header_page" => {
            let page = bytes.try_into().map_err(|_| Violation::Header("header_len"))?;
            let header = Header::decode(page)?;
            json!({
                "geometry": of_geometry(header.geometry),
                "epoch": header.epoch,
                "abi_minor": header.abi_minor,
                "features": header.features,
            })
        }
        other => panic!("unknown record {other}"),
    })
}

fn of_closing(bytes: &[u8], from: &str) -> Result<Value, Violation> {
    let side = if from == "host" { Side::Host } else { Side::Worker };
    let Closing { code, reason } = Closing::parse(bytes, side)?;
    let mut value = json!({ "from": from, "reason": reason });
    if let Some(code) = code {
        value["code"] = json!(code);
    }
    Ok(value)
}

/// What a vector says of header names.
pub(crate) fn names(vector: &Value) -> Names {
    if vector["names"] == true { Names::Ids } else { Names::Spelled }
}

/// The header page of these `fields`.
pub(crate) fn page(fields: &Value) -> Header {
    Header {
        geometry: geometry(&fields["geometry"]),
        epoch: number(&fields["epoch"]),
        abi_minor: fields.get("abi_minor").map_or(0, number),
        features: fields.get("features").map_or(0, number),
    }
}

fn pairs(value: &Value) -> Owned {
    let list = value.as_array().expect("pairs");
    list.iter().map(|p| (string(&p[0]), string(&p[1]))).collect()
}

fn borrowed(pairs: &Owned) -> Vec<Pair<'_>> {
    pairs.iter().map(|(n, v)| (&n[..], &v[..])).collect()
}

fn of_pairs(pairs: Pairs<'_>) -> Vec<Value> {
    pairs.map(|(n, v)| json!([of_string(n), of_string(v)])).collect()
}

type Iter<'a> = std::vec::IntoIter<Pair<'a>>;

fn request(v: &Value, write: impl FnOnce(RequestFields<'_, Iter<'_>, Iter<'_>>)) {
    let s = |name: &str| string(&v[name]);
    let (method, path, query) = (s("method"), s("path"), s("query"));
    let (host, client_ip, request_id) = (s("host"), s("client_ip"), s("request_id"));
    let (headers, params) = (pairs(&v["headers"]), pairs(&v["params"]));
    write(RequestFields {
        timestamp_ms: v["timestamp_ms"].as_i64().expect("a number"),
        bytes: number(&v["bytes"]),
        port: number(&v["port"]),
        tls: v["tls"].as_bool().expect("a truth value"),
        version: number(&v["version"]),
        method: &method,
        path: &path,
        query: &query,
        host: &host,
        client_ip: &client_ip,
        request_id: &request_id,
        headers: borrowed(&headers).into_iter(),
        params: borrowed(&params).into_iter(),
    });
}

fn of_request(r: &Request<'_>) -> Value {
    json!({
        "timestamp_ms": r.timestamp_ms(),
        "bytes": r.bytes(),
        "port": r.port(),
        "tls": r.tls(),
        "version": r.version(),
        "method": of_string(r.method()),
        "path": of_string(r.path()),
        "query": of_string(r.query()),
        "host": of_string(r.host()),
        "client_ip": of_string(r.client_ip()),
        "request_id": of_string(r.request_id()),
        "headers": of_pairs(r.headers()),
        "params": of_pairs(r.params()),
    })
}

fn head(v: &Value, write: impl FnOnce(u16, u32, &[Pair<'_>])) {
    let headers = pairs(&v["headers"]);
    write(number(&v["status"]), number(&v["flags"]), &borrowed(&headers));
}

fn of_head(head: &Head<'_>) -> Value {
    json!({ "status": head.status, "flags": head.flags, "headers": of_pairs(head.headers()) })
}

fn step(v: &Value, out: &mut Vec<u8>, names: Names) {
    let mut w = StepWriter::new(out);
    let get = |name: &str| v.get(name);
    if let Some(index) = get("entry") {
        w.entry(number(index));
    }
    if let Some(fields) = get("request") {
        request(fields, |f| {
            w.request(f, names);
        });
    }
    if let Some(sid) = get("request_of") {
        w.request_of(number(sid));
    }
    if let Some(json) = get("payload") {
        w.payload(&string(json));
    }
    if let Some(index) = get("payload_id") {
        w.payload_id(number(index));
    }
    if get("payload_call").is_some() {
        w.payload_call();
    }
    if let Some(fields) = get("response") {
        head(fields, |status, flags, headers| {
            w.response(status, flags, headers.iter().copied(), names);
        });
    }
    if let Some(piece) = get("piece") {
        w.piece(&string(&piece["bytes"]), piece["last"] == true);
    }
    if let Some(stats) = get("stats") {
        let (bytes, duration) = (number(&stats["bytes"]), number(&stats["duration_ms"]));
        w.stats(bytes, duration, text(&stats["error"]));
    }
    if get("response_kept").is_some() {
        w.response_kept();
    }
    if let Some(socket) = get("websocket") {
        let (id, protocol) = (text(&socket["id"]), text(&socket["protocol"]));
        w.websocket(&WebSocketSection { flags: number(&socket["flags"]), id, protocol });
    }
    w.finish().unwrap();
}

fn of_step(step: &Step<'_>, open: bool) -> Value {
    let mut v = json!({ "open": open });
    if let Some(index) = step.entry {
        v["entry"] = json!(index);
    }
    match &step.request {
        Some(Source::Record(request)) => v["request"] = of_request(request),
        Some(Source::Session(sid)) => v["request_of"] = json!(sid),
        None => {}
    }
    match step.payload {
        Some(Payload::Inline(json)) => v["payload"] = of_string(json),
        Some(Payload::Id(index)) => v["payload_id"] = json!(index),
        Some(Payload::Call) => v["payload_call"] = json!(true),
        None => {}
    }
    if let Some(head) = &step.response {
        v["response"] = of_head(head);
    }
    if let Some(piece) = step.piece {
        v["piece"] = json!({ "bytes": of_string(piece.bytes), "last": piece.last });
    }
    if let Some(stats) = step.stats {
        v["stats"] = json!({
            "bytes": stats.bytes,
            "duration_ms": stats.duration_ms,
            "error": of_string(stats.error),
        });
    }
    if step.response_kept {
        v["response_kept"] = json!(true);
    }
    if let Some(socket) = step.websocket {
        v["websocket"] =
            json!({ "flags": socket.flags, "id": socket.id, "protocol": socket.protocol });
    }
    v
}

fn mutation(v: &Value, out: &mut Vec<u8>) {
    let mut w = MutationWriter::new(out);
    for op in v["ops"].as_array().expect("ops") {
        let bytes = |name: &str| op.get(name).map(string).unwrap_or_default();
        let (name, value) = (&bytes("name")[..], &bytes("value")[..]);
        let body = if op.get("staged").is_some() { Body::Staged } else { Body::Inline(value) };
        w.op(match number::<u16>(&op["op"]) {
            100 => Op::SetHeader { name, value },
            101 => Op::RemoveHeader { name },
            102 => Op::Status(number(&op["status"])),
            103 => Op::Body(body),
            113 => Op::AddHeader { name, value },
            220 => Op::SetMethod(value),
            221 => Op::SetPath(value),
            222 => Op::SetQuery(value),
            223 => Op::SetRequestHeader { name, value },
            224 => Op::RemoveRequestHeader { name },
            225 => Op::RequestBody(body),
            other => panic!("unknown op {other}"),
        });
    }
    w.finish().unwrap();
}

fn of_op(op: Op<'_>) -> Value {
    let named = |op: u16, name, value| json!({ "op": op, "name": of_string(name), "value": of_string(value) });
    let name = |op: u16, name| json!({ "op": op, "name": of_string(name) });
    let value = |op: u16, value| json!({ "op": op, "value": of_string(value) });
    let body = |op: u16, body| match body {
        Body::Inline(bytes) => value(op, bytes),
        Body::Staged => json!({ "op": op, "staged": true }),
    };
    match op {
        Op::SetHeader { name, value } => named(100, name, value),
        Op::RemoveHeader { name: n } => name(101, n),
        Op::Status(status) => json!({ "op": 102, "status": status }),
        Op::Body(b) => body(103, b),
        Op::AddHeader { name, value } => named(113, name, value),
        Op::SetMethod(v) => value(220, v),
        Op::SetPath(v) => value(221, v),
        Op::SetQuery(v) => value(222, v),
        Op::SetRequestHeader { name, value } => named(223, name, value),
        Op::RemoveRequestHeader { name: n } => name(224, n),
        Op::RequestBody(b) => body(225, b),
    }
}
