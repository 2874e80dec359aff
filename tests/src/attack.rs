//! Every way of breaking the protocol that tests/hostile.rs knows, by name. Each breaks exactly one rule.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nylon_protocol::record::Op;
use nylon_protocol::{Frame, Slot, check, wire};

use crate::worker::{Call, Scribble, Worker, log, monotonic_ns, record, record_of};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Breaks the rule `mode` names while `call` is open. Returns where the worker is to go on serving; a worker that has
/// done what it is killed for waits for that instead.
pub fn attack(mode: &str, worker: &mut Worker, call: &Call) -> Outcome {
    if let Some(edit) = frame_edit(mode) {
        return fatal(raw(worker, call, edit));
    }
    if let Some((frame, payload)) = whole_frame(mode, worker, call) {
        mark();
        worker.send(&frame, &payload)?;
        worker.ring();
        return fatal(Ok(()));
    }
    match mode {
        "seq-ahead" => fatal(seq(worker, |honest| honest + 7)),
        "seq-back" => fatal(seq(worker, |honest| honest - 2)),
        "seq-flip" => fatal(flip_seq(worker)),
        "head-ahead" => {
            poke_head(worker, |pos| pos + 100_000);
            fatal(flood(worker, call, 1))
        }
        "head-back" => {
            flood(worker, call, 1)?;
            drain(worker)?;
            poke_head(worker, |_| 0);
            fatal(flood(worker, call, 1000))
        }
        "arena-head-ahead" => {
            poke_arena_head(worker, 1 << 40);
            fatal(flood(worker, call, 1))
        }
        "arena-head-back" => {
            flood(worker, call, 1)?;
            drain(worker)?;
            poke_arena_head(worker, 0);
            fatal(flood(worker, call, 1000))
        }
        "head-stuck" => {
            flood(worker, call, 1)?;
            thread::sleep(Duration::from_millis(700));
            drain(worker)?;
            Ok(worker.answer(call)?)
        }
        "flip-header" => fatal(flip_header(worker)),
        "flip-payload" => flip_payload(worker, call),
        "header-rewrite" => {
            mark();
            worker.memory.write(0, &[0xa5; wire::SIZE_HEADER]);
            Ok(worker.answer(call)?)
        }
        "hole-ring" => fatal(hole_ring(worker)),
        "hole-arena" => fatal(hole_arena(worker, call)),
        "token-stale" => {
            mark();
            let mut stale = Worker::frame(call, wire::KIND_REPLY).method(wire::METHOD_END);
            stale.call_gen -= 1;
            worker.send(&stale, &record("stale"))?;
            Ok(worker.answer(call)?)
        }
        "other-token" => fatal(other_token(worker)),
        "reply-late" => {
            thread::sleep(Duration::from_millis(450));
            mark();
            let late = Worker::frame(call, wire::KIND_REPLY).method(wire::METHOD_END);
            Ok(worker.send(&late, &record("late"))?)
        }
        "reply-twice" => {
            worker.answer(call)?;
            mark();
            let again = Worker::frame(call, wire::KIND_REPLY).method(wire::METHOD_END);
            Ok(worker.send(&again, &record("again"))?)
        }
        "reply-flood" => {
            worker.answer(call)?;
            let again = Worker::frame(call, wire::KIND_REPLY).method(wire::METHOD_END);
            mark();
            for _ in 0..200 {
                worker.send(&again, &record("again"))?;
            }
            fatal(Ok(()))
        }
        "data-after-end" => {
            worker.answer(call)?;
            mark();
            let data = Worker::frame(call, wire::KIND_DATA);
            let data = data.method(wire::METHOD_SET_RESPONSE_FULL_BODY);
            Ok(worker.send(&data, b"after the end")?)
        }
        "window-exceeded" => {
            stream(worker, call)?;
            let data = Worker::frame(call, wire::KIND_DATA);
            let data = data.method(wire::METHOD_SET_RESPONSE_STREAM_DATA).flags(wire::FLAG_MORE);
            for _ in 0..12 {
                mark();
                worker.send(&data, &[b'x'; wire::LIMIT_DATA])?;
                worker.ring();
            }
            fatal(Ok(()))
        }
        "window-back" => {
            let read = Worker::frame(call, wire::KIND_CALL);
            let read = read.method(wire::METHOD_READ_REQUEST_FULL_BODY).status(1);
            worker.send(&read, &[])?;
            let mut got = 0u64;
            while got == 0 {
                let frame = worker.take(None)?.expect("no timeout was given");
                got = if frame.kind == wire::KIND_DATA { frame.len.into() } else { 0 };
            }
            let window = Worker::frame(call, wire::KIND_WINDOW);
            worker.send(&window, &got.to_le_bytes())?;
            mark();
            worker.send(&window, &(got - 1).to_le_bytes())?;
            fatal(Ok(()))
        }
        "header-crlf" => refused(worker, call, b"x-a", b"b\r\nx-injected: 1"),
        "header-nul" => refused(worker, call, b"x-a", b"b\0c"),
        "header-name" => refused(worker, call, b"x a", b"b"),
        "header-name-crlf" => refused(worker, call, b"x-a: b\r\nx-injected", b"1"),
        "unknown-method" => {
            mark();
            let call = Worker::frame(call, wire::KIND_CALL).method(211).status(1);
            Ok(worker.send(&call, &[])?)
        }
        "untaken" => fatal(flood_untaken(worker, call)),
        "finals-unread" => fatal(finals_unread(worker, call)),
        "pong-flood" => {
            mark();
            let pong = Frame::new(wire::KIND_PONG);
            fatal((0..40_000).try_for_each(|_| Ok(worker.send(&pong, &[])?)))
        }
        "wake-storm" => {
            mark();
            let end = Instant::now() + Duration::from_secs(4);
            while Instant::now() < end {
                worker.ring();
            }
            fatal(Ok(()))
        }
        "inbox-flood" => fatal(inbox_flood(worker, call)),
        "busy-forever" => {
            mark();
            let data = Worker::frame(call, wire::KIND_DATA).flags(wire::FLAG_MORE);
            let end = Instant::now() + Duration::from_secs(2);
            while Instant::now() < end {
                let data = data.method(wire::METHOD_SET_RESPONSE_FULL_BODY);
                worker.send(&data, &[])?;
            }
            drain(worker)
        }
        other => Err(format!("no mode `{other}`").into()),
    }
}

/// Says when the rule was broken: what is published from now on is against it.
fn mark() {
    log("attack", monotonic_ns());
}

/// Waits to be killed for what was done.
fn fatal(done: Outcome) -> Outcome {
    done?;
    thread::sleep(Duration::from_secs(5));
    log("survived", 1);
    std::process::exit(3);
}

type Edit = fn(&mut Frame, &Scribble);

/// Attacks that are one wrong field of an otherwise honest END without payload.
fn frame_edit(mode: &str) -> Option<Edit> {
    Some(match mode {
        "arena-pos-wild" => |f, _| arena(f, 100, 1 << 40),
        "arena-pos-unaligned" => |f, _| arena(f, 100, f.arena_pos + 1),
        "arena-pos-overflow" => |f, _| arena(f, 100, u64::MAX - 63),
        "arena-len" => |f, m| {
            let over = u32::try_from(m.arena_len() / 4 + 1).expect("a quarter of the arena");
            arena(f, over, 0);
        },
        "arena-len-overflow" => |f, _| arena(f, u32::MAX, f.arena_pos),
        "arena-empty" => |f, _| arena(f, 0, f.arena_pos),
        "inline-len" => |f, _| f.len = 89,
        "inline-len-overflow" => |f, _| f.len = u32::MAX,
        "inline-arena-pos" => |f, _| f.arena_pos = 64,
        "frame-zero" => |f, _| *f = Frame { seq: f.seq, ..Frame::new(0) },
        "token-future" => |f, _| f.call_gen += 5,
        "token-zero" => |f, _| f.call_gen = 0,
        "token-index" => |f, _| f.call_idx = 100_000,
        "sid-spoofed" => |f, _| f.sid += 1,
        "kind-unknown" => |f, _| f.kind = 77,
        "kind-cancel" => |f, _| f.kind = wire::KIND_CANCEL,
        "kind-close" => |f, _| f.kind = wire::KIND_CLOSE,
        "kind-ping" => |f, _| f.kind = wire::KIND_PING,
        "flags-unknown" => |f, _| f.flags |= 0x8000,
        "flags-open" => |f, _| f.flags |= wire::FLAG_OPEN,
        "flags-more" => |f, _| f.flags |= wire::FLAG_MORE,
        "phase-range" => |f, _| f.phase = 9,
        "phase-other" => |f, _| f.phase = wire::PHASE_LOGGING,
        "method-final" => |f, _| f.method = wire::METHOD_SET_RESPONSE_HEADER,
        "method-range" => |f, _| f.method = 70_000,
        "wants-range" => |f, _| f.status = 1,
        "call-number" => |f, _| (f.kind, f.method, f.status) = (wire::KIND_CALL, 3, 0),
        "data-method" => |f, _| (f.kind, f.method) = (wire::KIND_DATA, 200),
        "error-short" => |f, _| f.kind = wire::KIND_ERROR,
        "upgrade-not-agreed" => |f, _| f.method = wire::METHOD_WEBSOCKET_UPGRADE,
        "message-not-agreed" => |f, _| {
            (f.kind, f.method) = (wire::KIND_DATA, wire::METHOD_WEBSOCKET_SEND_TEXT);
            f.phase = wire::PHASE_NONE;
        },
        "socket-never-opened" => |f, _| {
            f.method = wire::METHOD_WEBSOCKET_ON_CLOSE;
            (f.phase, f.call_idx) = (wire::PHASE_NONE, 128);
        },
        "window-len" => |f, _| f.kind = wire::KIND_WINDOW,
        _ => return None,
    })
}

fn arena(frame: &mut Frame, len: u32, at: u64) {
    frame.flags &= !wire::FLAG_INLINE;
    (frame.len, frame.arena_pos) = (len, at);
}

/// Publishes END of `call` after `edit` had its way, past the honest producer.
fn raw(worker: &mut Worker, call: &Call, edit: Edit) -> Outcome {
    let mut frame = Worker::frame(call, wire::KIND_REPLY).method(wire::METHOD_END);
    frame.flags = wire::FLAG_INLINE;
    frame.seq = check::seq_of(worker.pos());
    let keep = frame.arena_pos;
    frame.arena_pos = worker.arena_pos(100);
    edit(&mut frame, &worker.memory);
    if frame.has(wire::FLAG_INLINE) && frame.arena_pos == worker.arena_pos(100) {
        frame.arena_pos = keep;
    }
    let at = worker.memory.slot(worker.pos());
    let slot_of = Slot::from(frame);
    let bytes = bytemuck::bytes_of(&slot_of);
    worker.memory.write(at + 4, &bytes[4..]);
    mark();
    worker.memory.write(at, &bytes[..4]);
    worker.ring();
    Ok(())
}

/// Attacks that an honest producer can send: what the frame means is wrong.
fn whole_frame(mode: &str, worker: &Worker, call: &Call) -> Option<(Frame, Vec<u8>)> {
    let end = Worker::frame(call, wire::KIND_REPLY).method(wire::METHOD_END);
    let honest = || record(&call.nonce);
    let patched = |at: usize, bytes: &[u8]| {
        let mut record = honest();
        record[at..at + bytes.len()].copy_from_slice(bytes);
        record
    };
    let _ = worker;
    Some(match mode {
        "window-ahead" => (Worker::frame(call, wire::KIND_WINDOW), 1000u64.to_le_bytes().to_vec()),
        "data-len" => {
            let data = Worker::frame(call, wire::KIND_DATA);
            let data = data.method(wire::METHOD_SET_RESPONSE_FULL_BODY);
            (data, vec![0; wire::LIMIT_DATA + 1])
        }
        "record-len" => (end, patched(0, &1_000_000u32.to_le_bytes())),
        "record-count" => (end, patched(4, &1_000_000u32.to_le_bytes())),
        "record-op" => (end, patched(8, &999u16.to_le_bytes())),
        "record-flags" => (end, patched(10, &0x80u16.to_le_bytes())),
        "record-overflow" => (end, patched(12, &[0xff; 8])),
        "record-junk" => (end, vec![0x5a; 500]),
        "record-large" => (end, vec![0; wire::LIMIT_RECORD + 8]),
        _ => return None,
    })
}

fn seq(worker: &mut Worker, edit: fn(u32) -> u32) -> Outcome {
    let at = worker.memory.slot(worker.pos());
    mark();
    worker.memory.write(at, &edit(check::seq_of(worker.pos())).to_le_bytes());
    worker.ring();
    Ok(())
}

/// The publish word changes while the host looks.
fn flip_seq(worker: &mut Worker) -> Outcome {
    let at = worker.memory.slot(worker.pos());
    let honest = if worker.pos() < worker.memory.slots() {
        0
    } else {
        check::seq_of(worker.pos()).wrapping_sub(256)
    };
    let end = Instant::now() + Duration::from_secs(3);
    let memory = worker.memory.clone();
    thread::spawn(move || {
        while Instant::now() < end {
            memory.write(at, &0xdead_beef_u32.to_le_bytes());
            memory.write(at, &honest.to_le_bytes());
        }
    });
    mark();
    while Instant::now() < end {
        worker.ring();
        thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}

/// Asks `rounds` times for 40 answers of 60 KiB without taking one: more than H's arena holds.
fn flood(worker: &mut Worker, call: &Call, rounds: u32) -> Outcome {
    let ask = Worker::frame(call, wire::KIND_CALL).method(wire::METHOD_GET_PAYLOAD);
    mark();
    for round in 0..rounds {
        for n in 1..=40 {
            worker.send(&ask.status(round * 40 + n), &[])?;
        }
        thread::sleep(Duration::from_millis(5));
    }
    // The host answers, fills its ring, and looks at our words.
    thread::sleep(Duration::from_millis(50));
    Ok(())
}

fn drain(worker: &mut Worker) -> Outcome {
    while worker.take(Some(Duration::from_millis(50)))?.is_some() {}
    Ok(())
}

fn poke_head(worker: &mut Worker, edit: fn(u64) -> u64) {
    let head = edit(worker.end.down.pos());
    let low = &head.to_le_bytes()[..4];
    worker.memory.write(worker.memory.lane(wire::LANE_HEAD), low);
}

fn poke_arena_head(worker: &mut Worker, value: u64) {
    worker.memory.write(worker.memory.lane(wire::LANE_ARENA_HEAD), &value.to_le_bytes());
}

/// Slots change while the host reads frames.
fn flip_header(worker: &mut Worker) -> Outcome {
    let end = Instant::now() + Duration::from_secs(3);
    let memory = worker.memory.clone();
    let pos = Arc::new(AtomicU64::new(worker.pos()));
    let seen = pos.clone();
    thread::spawn(move || {
        let len = wire::SLOT_LEN as u64;
        while Instant::now() < end {
            let at = memory.slot(seen.load(Ordering::Relaxed).saturating_sub(1)) + len;
            memory.write(at, &2000u32.to_le_bytes());
            memory.write(at, &8u32.to_le_bytes());
        }
    });
    mark();
    while Instant::now() < end {
        worker.send(&Frame::new(wire::KIND_PONG), b"12345678")?;
        pos.store(worker.pos(), Ordering::Relaxed);
    }
    Ok(())
}

/// The record changes while the host reads it: right, or caught, and nothing between.
fn flip_payload(worker: &mut Worker, call: &Call) -> Outcome {
    let record = record(&call.nonce);
    let len = u32::try_from(record.len()).expect("a small record");
    // `op_reserved` of the first entry.
    let word = wire::MUTATION_ENTRIES + wire::MUTATION_OP_RESERVED;
    let at = worker.memory.arena(worker.arena_pos(len)) + word as u64;
    let (memory, done) = (worker.memory.clone(), Arc::new(AtomicBool::new(false)));
    let stop = done.clone();
    let flipper = thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            memory.write(at, &7u32.to_le_bytes());
            memory.write(at, &0u32.to_le_bytes());
        }
    });
    thread::sleep(Duration::from_millis(5));
    mark();
    worker.answer(call)?;
    thread::sleep(Duration::from_millis(10));
    done.store(true, Ordering::Relaxed);
    flipper.join().map_err(|_| "the flipper panicked")?;
    Ok(())
}

/// The ring's pages read as zeros, in the second lap or later: no publish word may be 0 there.
fn hole_ring(worker: &mut Worker) -> Outcome {
    let slots = worker.memory.slots();
    while worker.pos() <= slots + 10 {
        worker.send(&Frame::new(wire::KIND_PONG), &[])?;
    }
    thread::sleep(Duration::from_millis(20));
    // Whole pages only: that of our next slot, and the following.
    let page = wire::SIZE_PAGE as u64;
    let at = worker.memory.slot(worker.pos());
    let first = at / page * page;
    mark();
    worker.memory.punch(first, 2 * page);
    worker.memory.write(at, &0u32.to_le_bytes());
    worker.ring();
    Ok(())
}

/// A record whose page was given back before it was published.
fn hole_arena(worker: &mut Worker, call: &Call) -> Outcome {
    let len = 3 * 4096u32;
    let pos = worker.arena_pos(len);
    let at = worker.memory.arena(pos);
    let page = wire::SIZE_PAGE as u64;
    let first = at.next_multiple_of(page) - page;
    worker.memory.punch(first, 4 * page);
    let mut frame = Worker::frame(call, wire::KIND_REPLY).method(wire::METHOD_END);
    (frame.len, frame.arena_pos) = (len, pos);
    frame.seq = check::seq_of(worker.pos());
    let slot = worker.memory.slot(worker.pos());
    let slot_of = Slot::from(frame);
    let bytes = bytemuck::bytes_of(&slot_of);
    worker.memory.write(slot + 4, &bytes[4..]);
    mark();
    worker.memory.write(slot, &bytes[..4]);
    worker.ring();
    Ok(())
}

/// Answers what another plugin's worker was asked; its token stands in that worker's log.
fn other_token(worker: &mut Worker) -> Outcome {
    let path = std::env::var("NYLON_HOSTILE_PEER")?;
    let end = Instant::now() + Duration::from_secs(3);
    let open = loop {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let line = text.lines().rev().find_map(|l| l.strip_prefix("open ").map(str::to_owned));
        if let Some(open) = line {
            break open;
        }
        if Instant::now() > end {
            return Err("the other worker has nothing open".into());
        }
        thread::sleep(Duration::from_millis(1));
    };
    let fields: Vec<u32> = open.split(':').filter_map(|f| f.parse().ok()).collect();
    let [call_idx, call_gen, sid] = fields[..] else { return Err("a malformed log".into()) };
    let mut frame = Frame::new(wire::KIND_REPLY).method(wire::METHOD_END);
    (frame.call_idx, frame.call_gen, frame.sid) = (call_idx, call_gen, sid);
    frame.phase = wire::PHASE_REQUEST_FILTER;
    mark();
    worker.send(&frame, &record("stolen"))?;
    worker.ring();
    Ok(())
}

/// Begins a streamed response.
fn stream(worker: &mut Worker, call: &Call) -> Outcome {
    let begin = Worker::frame(call, wire::KIND_CALL);
    let begin = begin.method(wire::METHOD_SET_RESPONSE_STREAM_HEADER).status(1);
    worker.send(&begin, &record_of(&[Op::Status(200)]))?;
    while worker.take(None)?.is_some_and(|f| f.kind != wire::KIND_REPLY) {}
    Ok(())
}

fn refused(worker: &mut Worker, call: &Call, name: &[u8], value: &[u8]) -> Outcome {
    let record = record_of(&[
        Op::SetHeader { name: b"x-before", value: b"1" },
        Op::SetHeader { name, value },
    ]);
    mark();
    let end = Worker::frame(call, wire::KIND_REPLY).method(wire::METHOD_END);
    Ok(worker.send(&end, &record)?)
}

/// Has the host queue answers without end, and takes none. No more are open at a time than it allows.
fn flood_untaken(worker: &mut Worker, call: &Call) -> Outcome {
    let ask = Worker::frame(call, wire::KIND_CALL).method(wire::METHOD_GET_PAYLOAD);
    for n in 1..=10_000u32 {
        if n.is_multiple_of(50) {
            thread::sleep(Duration::from_millis(2));
            mark();
        }
        worker.send(&ask.status(n), &[])?;
    }
    Ok(())
}

/// Final frames for an invocation whose task waits for a client that reads nothing.
fn finals_unread(worker: &mut Worker, call: &Call) -> Outcome {
    stall_stream(worker, call)?;
    let end = Worker::frame(call, wire::KIND_REPLY).method(wire::METHOD_SET_RESPONSE_STREAM_END);
    mark();
    for _ in 0..2_000 {
        worker.send(&end, &[0; 60_000])?;
    }
    Ok(())
}

/// Empty DATA of two methods in turn: no window counts it.
fn inbox_flood(worker: &mut Worker, call: &Call) -> Outcome {
    stall_stream(worker, call)?;
    let data = Worker::frame(call, wire::KIND_DATA).flags(wire::FLAG_MORE);
    let methods = [wire::METHOD_SET_RESPONSE_STREAM_DATA, wire::METHOD_SET_RESPONSE_FULL_BODY];
    mark();
    for n in 0..1_000_000 {
        worker.send(&data.method(methods[n % 2]), &[])?;
        let window = Worker::frame(call, wire::KIND_WINDOW);
        worker.send(&window, &0u64.to_le_bytes())?;
    }
    Ok(())
}

/// Streams more than the client takes, within the window.
fn stall_stream(worker: &mut Worker, call: &Call) -> Outcome {
    stream(worker, call)?;
    let data = Worker::frame(call, wire::KIND_DATA).flags(wire::FLAG_MORE);
    let data = data.method(wire::METHOD_SET_RESPONSE_STREAM_DATA);
    for _ in 0..4 {
        worker.send(&data, &[b'x'; 10_000])?;
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Random bytes at random places of P, from `after` until the clock reads `until_ns`.
pub fn scribble(memory: Scribble, seed: u64, after: Duration, until_ns: u64) {
    thread::spawn(move || {
        thread::sleep(after);
        let mut random = seed | 1;
        let mut next = move || {
            // xorshift64
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let mut writes = 0u64;
        let small = memory.lane(wire::LANE_RING) + memory.slots() * wire::SIZE_SLOT as u64;
        while monotonic_ns() < until_ns {
            if writes == 0 {
                mark();
            }
            // Half of it where the words and slots are.
            let reach = if next() & 1 == 0 { small } else { memory.len() };
            let at = next() % (reach - 64);
            let bytes: Vec<u8> = (0..=next() % 64).map(|_| next().to_le_bytes()[0]).collect();
            memory.write(at, &bytes);
            writes += 1;
            if writes.is_multiple_of(16) {
                log("writes", 16);
                thread::sleep(Duration::from_millis(1));
            }
        }
    });
}
