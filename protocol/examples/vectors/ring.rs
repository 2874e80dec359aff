//! ring/: operations on a small ring, and the exact bytes of both lanes after them.

use nylon_protocol::check::Side;
use nylon_protocol::{Frame, Geometry, Token, wire};
use serde_json::{Value, json};

use crate::support::ring::Ring;
use crate::support::{hex, of_slot};

const N: u64 = 64;
const A: u64 = 1 << 18;
const QUARTER: usize = 1 << 16;

pub(crate) fn all() -> Vec<(&'static str, Value)> {
    let mut out = slots();
    out.extend(arena());
    out.extend(hints());
    out
}

/// Runs operations as it records them.
struct Script {
    ring: Ring,
    vector: Value,
    ops: Vec<Value>,
    sent: u32,
}

impl Script {
    fn new(about: &str, writer: Side) -> Self {
        Self::at(about, writer, 0, 0)
    }

    fn at(about: &str, writer: Side, pos: u64, apos: u64) -> Self {
        let geometry = Geometry { lanes: 1, slots: 64, arena: A };
        let vector = json!({
            "description": about,
            "writer": if writer == Side::Host { "host" } else { "worker" },
            "slots": N,
            "arena": A,
            "start": { "pos": pos, "apos": apos },
        });
        Self { ring: Ring::new(geometry, writer, pos, apos), vector, ops: Vec::new(), sent: 0 }
    }

    /// Sets bytes of one lane that the ring must not care for.
    fn preset(&mut self, name: &str, at: usize, bytes: &[u8]) {
        let lane = match name {
            "preset_producer" => &mut self.ring.producer,
            _ => &mut self.ring.consumer,
        };
        lane[at..at + bytes.len()].copy_from_slice(bytes);
        self.vector[name] = json!([[at, hex(bytes)]]);
    }

    /// Pushes a frame of both sides' REPLY, or a GOAWAY when `payload` is empty.
    fn push(&mut self, byte: u8, len: usize) {
        self.sent += 1;
        let frame = if len == 0 {
            Frame::new(wire::KIND_GOAWAY)
        } else {
            let token = Token { idx: self.sent, generation: 1 };
            let frame = Frame::of(wire::KIND_REPLY, token, 1, wire::PHASE_REQUEST_FILTER);
            frame.method(wire::METHOD_NEXT).status(2)
        };
        let payload = vec![byte; len];
        let done = self.ring.push(frame, &payload).expect("an honest ring");
        self.ops.push(json!({
            "op": "push",
            "frame": of_slot(&frame.into()),
            "payload": { "hex": hex(&[byte]), "times": len },
            "result": if done { "ok" } else { "full" },
        }));
    }

    fn pop(&mut self) {
        self.ops.push(match self.ring.pop().expect("an honest ring") {
            None => json!({ "op": "pop", "result": "empty" }),
            Some((slot, payload)) => json!({
                "op": "pop",
                "result": "frame",
                "frame": of_slot(&slot),
                "payload": { "hex": hex(&payload[..payload.len().min(1)]), "times": payload.len() },
            }),
        });
    }

    fn pops(&mut self, n: u64) {
        (0..n).for_each(|_| self.pop());
    }

    fn release(&mut self) {
        self.ring.release();
        self.ops.push(json!({ "op": "release" }));
    }

    fn end(mut self) -> Value {
        self.vector["ops"] = json!(self.ops);
        self.vector["producer_lane"] = runs(&self.ring.producer);
        self.vector["consumer_lane"] = runs(&self.ring.consumer);
        self.vector
    }
}

/// What is not zero in `lane`, as `[offset, hex]` or `[offset, hex, times]`, in lines of 64 bytes.
fn runs(lane: &[u8]) -> Value {
    let mut out: Vec<(usize, &[u8], usize)> = Vec::new();
    for (i, line) in lane.chunks(wire::SIZE_LINE).enumerate() {
        if line.iter().all(|&b| b == 0) {
            continue;
        }
        let at = i * wire::SIZE_LINE;
        match out.last_mut() {
            Some((start, bytes, times)) if *bytes == line && *start + *times * 64 == at => {
                *times += 1
            }
            _ => out.push((at, line, 1)),
        }
    }
    let run = |(at, bytes, times): (usize, &[u8], usize)| match times {
        1 => json!([at, hex(bytes)]),
        _ => json!([at, hex(bytes), times]),
    };
    out.into_iter().map(run).collect()
}

fn slots() -> Vec<(&'static str, Value)> {
    let mut out = Vec::new();
    let mut add = |name, script: Script| out.push((name, script.end()));

    let s = Script::new("nothing happened", Side::Host);
    add("untouched", s);

    let mut s = Script::new("one frame without payload", Side::Host);
    s.push(0, 0);
    add("push-empty", s);

    let mut s =
        Script::new("one inline payload in the frame line; popped, not yet released", Side::Worker);
    s.push(0xaa, 24);
    s.pop();
    s.pop();
    add("push-pop-inline", s);

    let mut s = Script::new("an inline payload that reaches into the tail line", Side::Worker);
    s.push(0xaa, 88);
    s.pop();
    s.release();
    add("push-pop-tail", s);

    let mut s = Script::new(
        "a tail line is written only for more than 24 bytes: the lap before stays in it",
        Side::Worker,
    );
    s.push(0xaa, 88);
    for _ in 1..N {
        s.push(0, 0);
    }
    s.pops(N);
    s.push(0xbb, 1);
    s.pop();
    add("tail-keeps-last-lap", s);

    let mut s = Script::new("the slots wrap around: position 64 stands in slot 0", Side::Worker);
    for i in 0..48 {
        s.push(i, 8);
    }
    s.pops(48);
    for i in 48..72 {
        s.push(i, 8);
    }
    s.pops(24);
    s.pop();
    add("wrap-around", s);

    let mut s = Script::new(
        "the worker's ring is full after N frames, and has space after a release",
        Side::Worker,
    );
    for i in 0..=64 {
        s.push(i, 4);
    }
    s.pop();
    s.push(0xee, 4);
    s.release();
    s.push(0xee, 4);
    add("slots-full", s);

    let mut s =
        Script::new("the last N/8 slots of the host's ring take no arena payload", Side::Host);
    for i in 0..56 {
        s.push(i, 1);
    }
    s.push(0xcc, 89);
    for i in 56..65 {
        s.push(i, 1);
    }
    add("slots-reserved", s);

    let mut s = Script::new("the worker's ring has no reserved slots", Side::Worker);
    for i in 0..63 {
        s.push(i, 1);
    }
    s.push(0xcc, 89);
    add("slots-not-reserved", s);

    let mut s = Script::new("15 frames popped: nothing released", Side::Host);
    for i in 0..16 {
        s.push(i, 2);
    }
    s.pops(15);
    add("release-lazy-slots-before", s);

    let mut s = Script::new("the 16th pop releases a quarter of the slots", Side::Host);
    for i in 0..16 {
        s.push(i, 2);
    }
    s.pops(16);
    add("release-lazy-slots", s);

    let mut s = Script::at(
        "the publish word wraps: position 2^32-1 publishes 0",
        Side::Worker,
        (1 << 32) - 2,
        0,
    );
    for i in 1..=4 {
        s.push(i, 8);
    }
    s.pops(5);
    s.release();
    add("seq-wrap", s);

    let mut s = Script::at("head wraps in a full ring", Side::Worker, (1 << 32) - 32, 0);
    for i in 0..=64 {
        s.push(i, 8);
    }
    s.pops(64);
    s.push(0xee, 8);
    add("head-wrap-full", s);
    out
}

fn arena() -> Vec<(&'static str, Value)> {
    let mut out = Vec::new();
    let mut add = |name, script: Script| out.push((name, script.end()));

    let mut s = Script::new("89 bytes take two lines of the arena", Side::Host);
    s.push(0xaa, 89);
    s.push(0xbb, 128);
    s.pops(2);
    s.release();
    add("arena-lines", s);

    let mut s = Script::new("inline frames between arena frames take no arena", Side::Host);
    s.push(0xaa, 100);
    s.push(0xbb, 10);
    s.push(0xcc, 100);
    s.pops(3);
    s.release();
    add("arena-and-inline", s);

    let mut s =
        Script::new("the largest payload, A/4: four of them fill the arena exactly", Side::Worker);
    for i in 1..=4 {
        s.push(i, QUARTER);
    }
    s.push(5, 89);
    s.push(6, 88);
    s.pop();
    s.push(5, 89);
    add("arena-full", s);

    let mut s = Script::new("A/4 bytes popped are released at once", Side::Worker);
    s.push(0xaa, QUARTER - 64);
    s.push(0xbb, 100);
    s.pop();
    s.pop();
    add("release-lazy-arena", s);

    let mut s =
        Script::new("a payload that does not fit before the end skips to the start", Side::Worker);
    for i in 1..=3 {
        s.push(i, QUARTER);
    }
    s.pops(3);
    s.push(4, QUARTER - 64);
    s.push(5, 65);
    s.pops(2);
    s.release();
    add("arena-skip", s);

    let mut s = Script::new("a payload that ends where the arena ends does not skip", Side::Worker);
    for i in 1..=3 {
        s.push(i, QUARTER);
    }
    s.pops(3);
    s.push(4, QUARTER - 128);
    s.push(5, 100);
    s.push(6, 90);
    s.pops(3);
    s.release();
    add("arena-exact-end", s);

    let mut s = Script::at(
        "the bytes skipped count as used until they are released",
        Side::Worker,
        640,
        4 * A - 64,
    );
    s.push(1, QUARTER);
    s.push(2, QUARTER);
    s.push(3, QUARTER);
    s.push(4, QUARTER);
    s.push(5, QUARTER - 64);
    s.pop();
    s.push(6, QUARTER);
    add("arena-skip-counts", s);

    let mut s = Script::at("arena positions past 32 bits", Side::Host, 100, (1 << 33) + 4096);
    s.push(0xaa, 200);
    s.pop();
    s.release();
    add("arena-past-32-bits", s);

    let mut s = Script::new(
        "a push that finds no space changes nothing, not even the arena position",
        Side::Worker,
    );
    for i in 1..=3 {
        s.push(i, QUARTER);
    }
    s.push(4, QUARTER - 128);
    s.push(5, QUARTER);
    s.push(6, 128);
    s.pops(5);
    add("full-changes-nothing", s);

    let mut s = Script::new(
        "what was popped is a copy: writing over the arena does not change it",
        Side::Worker,
    );
    for i in 1..=4 {
        s.push(i, QUARTER);
        s.pop();
    }
    s.push(9, QUARTER);
    s.pop();
    add("pop-is-a-copy", s);
    out
}

/// Words a ring never trusts.
fn hints() -> Vec<(&'static str, Value)> {
    let mut out = Vec::new();
    let mut s = Script::new("any value of wait and space_wait is safe", Side::Host);
    s.preset("preset_consumer", wire::LANE_WAIT, &[0xff; 4]);
    s.push(0xaa, 8);
    s.pop();
    out.push(("forged-wait", s.end()));

    let mut s = Script::new("a rung bell is a hint: the ring says there is nothing", Side::Host);
    s.preset("preset_producer", wire::LANE_BELL, &[1, 0, 0, 0]);
    s.pop();
    s.push(0xaa, 8);
    s.pop();
    out.push(("forged-bell", s.end()));

    let mut s = Script::new("statistics are never trusted", Side::Worker);
    s.preset("preset_consumer", wire::LANE_STATS, &[0xff; 8]);
    s.push(0xaa, 8);
    s.pop();
    out.push(("forged-stats", s.end()));
    out
}
