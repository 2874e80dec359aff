//! Frames in words, and those of both directions in one order: what people are shown of a lane.

use std::collections::VecDeque;

use nylon_protocol::record::Fault;
use nylon_protocol::{Frame, Slot, wire};
use nylon_shm::Past;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::printable::printable;

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the host to the worker.
    Down,
    /// From the worker to the host.
    Up,
}

/// A frame in words. Up it is what the worker wrote, true or not. Payloads are not shown: they are other people's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FrameDump {
    /// Which way it goes.
    pub direction: Direction,
    /// Frames published before it in its direction.
    pub position: u64,
    /// Whether the other side took it; of frames down, as the worker says.
    pub taken: bool,
    /// Its kind, `call` say, or `kind 77`.
    pub kind: String,
    /// Its phase; `none` for traffic of no phase.
    pub phase: String,
    /// Its method; `none` where the kind needs none.
    pub method: String,
    /// Its flags.
    pub flags: Vec<String>,
    /// Session id, 0 for none.
    pub session: u32,
    /// Its invocation: slot and generation, 0 and 0 for none.
    pub token: (u32, u32),
    /// Bytes of payload.
    pub len: u32,
    /// The number beside it.
    pub status: u32,
    /// What that number, or the payload of an error, says; may be empty.
    pub meaning: String,
}

/// Bytes of an error's text that are shown.
const TEXT_SHOWN: usize = 80;

impl FrameDump {
    fn of(direction: Direction, past: &Past, taken: u64) -> Self {
        let frame = &past.slot.frame;
        Self {
            direction,
            position: past.pos,
            taken: past.pos < taken,
            kind: named(wire::kind_name(frame.kind), "kind", frame.kind.into()),
            phase: named(wire::phase_name(frame.phase), "phase", frame.phase.into()),
            method: named(wire::method_name(frame.method), "method", frame.method),
            flags: flags(frame.flags),
            session: frame.sid,
            token: (frame.call_idx, frame.call_gen),
            len: frame.len,
            status: frame.status,
            meaning: meaning(direction, &past.slot),
        }
    }
}

fn named(name: Option<&str>, what: &str, value: u32) -> String {
    name.map_or_else(|| format!("{what} {value}"), str::to_owned)
}

fn flags(bits: u16) -> Vec<String> {
    let set = (0..u16::BITS).map(|bit| 1 << bit).filter(|flag| bits & flag != 0);
    set.map(|flag| named(wire::flag_name(flag), "flag", flag.into())).collect()
}

/// What `status`, and what little payload the protocol itself gave a meaning, say (SPEC.md 3.2).
fn meaning(direction: Direction, slot: &Slot) -> String {
    let Frame { kind, status, .. } = slot.frame;
    match (kind, direction) {
        (wire::KIND_CALL, Direction::Down) if matches!(status, 0 | u32::MAX) => {
            "no time limit".into()
        }
        (wire::KIND_CALL, Direction::Down) => format!("has {status} ms"),
        (wire::KIND_DATA, Direction::Down) if slot.frame.phase == wire::PHASE_NONE => String::new(),
        (wire::KIND_CALL, Direction::Up) | (wire::KIND_DATA, Direction::Down) => {
            format!("question {status}")
        }
        (wire::KIND_REPLY, Direction::Down) => format!("answers question {status}"),
        (wire::KIND_REPLY, Direction::Up) => wants(status),
        (wire::KIND_ERROR, Direction::Down) => {
            format!("answers question {status}: {}", error(slot))
        }
        (wire::KIND_ERROR, Direction::Up) => error(slot),
        (wire::KIND_CANCEL, _) => named(wire::cancel_name(status), "reason", status),
        (wire::KIND_PING | wire::KIND_PONG, _) => format!("nonce {status}"),
        (wire::KIND_WINDOW, _) => match slot.payload().first_chunk() {
            Some(total) => format!("{} bytes taken in all", u64::from_le_bytes(*total)),
            None => String::new(),
        },
        _ => String::new(),
    }
}

/// The phases a session still wants, bits by phase.
fn wants(bits: u32) -> String {
    let phases = (1..8u8).filter(|phase| bits & (1 << phase) != 0);
    let names: Vec<_> = phases.map(|p| named(wire::phase_name(p), "phase", p.into())).collect();
    if names.is_empty() { "session over".into() } else { format!("wants {}", names.join(", ")) }
}

fn error(slot: &Slot) -> String {
    if !slot.frame.has(wire::FLAG_INLINE) {
        return String::new();
    }
    let Ok(Fault { code, text }) = Fault::parse(slot.payload()) else { return String::new() };
    let text = printable(&String::from_utf8_lossy(text), TEXT_SHOWN);
    format!("{}: {text}", named(wire::error_name(code), "code", code))
}

/// The frames of both directions, oldest first; `taken` of each direction were taken. Each direction is in its own order.
/// Across them, an answer stands behind what it answers; where nothing else is known, what came up stands first.
pub(super) fn in_order(down: (Vec<Past>, u64), up: (Vec<Past>, u64)) -> Vec<FrameDump> {
    let ((down, down_taken), (up, up_taken)) = (down, up);
    let (mut down, mut up) = (VecDeque::from(down), VecDeque::from(up));
    let mut all = Vec::with_capacity(down.len() + up.len());
    loop {
        let waits = up.front().is_none_or(|next| down.iter().any(|d| precedes(d, next)));
        let next = if waits { down.pop_front() } else { None };
        all.push(match next {
            Some(past) => FrameDump::of(Direction::Down, &past, down_taken),
            None => match up.pop_front() {
                Some(past) => FrameDump::of(Direction::Up, &past, up_taken),
                None => return all,
            },
        });
    }
}

/// Whether `down` was there before `up`, as far as an honest worker goes: the step before all that is said in it, the
/// answers to the worker's questions before its last word.
fn precedes(down: &Past, up: &Past) -> bool {
    let (down, up) = (&down.slot.frame, &up.slot.frame);
    let last = matches!(up.kind, wire::KIND_REPLY | wire::KIND_ERROR);
    down.token() == up.token()
        && match down.kind {
            wire::KIND_CALL => true,
            wire::KIND_REPLY | wire::KIND_ERROR => last,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use nylon_protocol::Token;
    use nylon_protocol::record::write_fault;

    use super::*;

    const T: Token = Token { idx: 3, generation: 7 };

    fn past(pos: u64, frame: Frame, payload: &[u8]) -> Past {
        Past { pos, slot: Slot::inline(frame, payload) }
    }

    fn of(kind: u8, idx: u32) -> Frame {
        Frame::of(kind, Token { idx, generation: 1 }, idx + 1, wire::PHASE_LOGGING)
    }

    fn words(direction: Direction, frame: Frame, payload: &[u8]) -> (String, String) {
        let dump = FrameDump::of(direction, &past(0, frame, payload), 1);
        (dump.kind, dump.meaning)
    }

    #[test]
    fn every_kind_has_words() {
        use Direction::{Down, Up};
        let frame = |kind| Frame::of(kind, T, 12, wire::PHASE_REQUEST_FILTER);
        let mut fault = Vec::new();
        write_fault(&mut fault, wire::ERROR_PANIC, "on\npurpose");
        for (direction, frame, payload, expected) in [
            (Down, frame(wire::KIND_CALL).status(5000), &b""[..], ("call", "has 5000 ms")),
            (Down, frame(wire::KIND_CALL).status(u32::MAX), b"", ("call", "no time limit")),
            (Up, frame(wire::KIND_CALL).status(2), b"", ("call", "question 2")),
            (
                Up,
                frame(wire::KIND_REPLY).status(0b1_0100),
                b"",
                ("reply", "wants response_filter, logging"),
            ),
            (Up, frame(wire::KIND_REPLY), b"", ("reply", "session over")),
            (Down, frame(wire::KIND_REPLY).status(2), b"", ("reply", "answers question 2")),
            (Up, frame(wire::KIND_ERROR), &fault, ("error", "panic: on\\npurpose")),
            (Up, frame(wire::KIND_ERROR), b"x", ("error", "")),
            (Down, frame(wire::KIND_CANCEL).status(2), b"", ("cancel", "client_gone")),
            (Down, frame(wire::KIND_CANCEL).status(9), b"", ("cancel", "reason 9")),
            (Up, frame(wire::KIND_WINDOW), &7u64.to_le_bytes(), ("window", "7 bytes taken in all")),
            (Up, frame(wire::KIND_PONG).status(4), b"", ("pong", "nonce 4")),
            (Down, frame(wire::KIND_CLOSE), b"", ("close", "")),
            (Up, frame(77), b"", ("kind 77", "")),
        ] {
            let (kind, meaning) = words(direction, frame, payload);
            assert_eq!((kind.as_str(), meaning.as_str()), expected, "{direction:?} {frame:?}");
        }
    }

    #[test]
    fn the_fields_of_a_frame() {
        let frame = Frame::of(wire::KIND_CALL, T, 12, 9).method(999).flags(wire::FLAG_OPEN | 256);
        let dump = FrameDump::of(Direction::Up, &past(8, frame, b"x"), 8);
        assert_eq!((dump.position, dump.taken, dump.token, dump.len), (8, false, (3, 7), 1));
        assert_eq!((dump.phase.as_str(), dump.method.as_str()), ("phase 9", "method 999"));
        assert_eq!(dump.flags, ["inline", "open", "flag 256"]);
    }

    #[test]
    fn answers_stand_behind_what_they_answer() {
        let down = vec![
            past(5, of(wire::KIND_CALL, 0), b""),
            past(6, of(wire::KIND_CALL, 1), b""),
            past(7, of(wire::KIND_REPLY, 1).status(1), b""),
            past(8, of(wire::KIND_CALL, 2), b""),
        ];
        let up = vec![
            past(1, of(wire::KIND_REPLY, 9), b""),
            past(2, of(wire::KIND_CALL, 1).status(1), b""),
            past(3, of(wire::KIND_REPLY, 1), b""),
            past(4, of(wire::KIND_REPLY, 0), b""),
        ];
        let order: Vec<_> = in_order((down, 8), (up, 4))
            .into_iter()
            .map(|f| (f.direction == Direction::Down, f.position, f.taken))
            .collect();
        assert_eq!(
            order,
            [
                (false, 1, true),
                (true, 5, true),
                (true, 6, true),
                (false, 2, true),
                (true, 7, true),
                (false, 3, true),
                (false, 4, false),
                (true, 8, false),
            ]
        );
    }
}
