//! The rules a consumer holds a private copy to, as small pure functions (SPEC.md 3 and 5).
//!
//! The ring calls [`check_seq`], [`check_head`], [`check_arena_head`] and [`bump`]; whoever pops a frame calls
//! [`check_frame`] before it touches the payload; whoever knows the invocations calls [`check_token`] and keeps a
//! [`Window`] per direction. All positions are private, 64 bits wide and free-running; only their low halves travel.

mod data;

pub use data::{Messages, Window, cost, window_total};

use crate::frame::Frame;
use crate::violation::Violation;
use crate::wire;

/// Who wrote a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The host.
    Host,
    /// The worker.
    Worker,
}

/// What the consumer knows when it looks at a frame.
#[derive(Clone, Copy, Debug)]
pub struct FrameContext {
    /// A, arena bytes of the ring.
    pub arena: u64,
    /// The consumer's own arena position, before this frame.
    pub apos: u64,
    /// Whether the feature `host_calls` is on.
    pub host_calls: bool,
    /// Whether the feature `handler_time` is on.
    pub handler_time: bool,
    /// Whether the feature `websocket` is on.
    pub websocket: bool,
}

/// Checks everything about a frame that the frame alone can tell (SPEC.md 3.2 to 3.6, 5.4 to 5.8, 5.11, 6, 7), `from`
/// being its writer. Tokens, phases of invocations, windows and the order of messages are [`check_token`]'s,
/// [`Window`]'s and [`Messages`]'.
///
/// # Errors
/// The rule that is broken.
pub fn check_frame(frame: &Frame, from: Side, ctx: &FrameContext) -> Result<(), Violation> {
    check_kind(frame.kind, from, ctx.host_calls)?;
    check_flags(frame, from)?;
    if frame.phase > wire::PHASE_REQUEST_BODY_FILTER {
        return Err(Violation::Phase(frame.phase));
    }
    check_payload(frame, ctx)?;
    if frame.method > u32::from(u16::MAX) {
        return Err(Violation::Method(frame.method));
    }
    match from {
        Side::Worker => check_from_worker(frame, ctx),
        Side::Host => check_from_host(frame, ctx),
    }
}

/// Where the frame after this one starts in the arena: the next `apos` of a consumer that has checked `frame`.
pub fn next_apos(frame: &Frame, ctx: &FrameContext) -> u64 {
    if frame.has(wire::FLAG_INLINE) { ctx.apos } else { bump(ctx.apos, frame.len, ctx.arena).1 }
}

/// Where a payload of `len` bytes stands, and the `apos` after it (SPEC.md 3.6). `arena` is a power of two.
pub fn bump(apos: u64, len: u32, arena: u64) -> (u64, u64) {
    let need = round_line(len);
    let offset = apos & arena.wrapping_sub(1);
    let skip = if offset + need > arena { arena - offset } else { 0 };
    let pos = apos.wrapping_add(skip);
    (pos, pos.wrapping_add(need))
}

/// Bytes of arena a payload of `len` takes: whole lines.
pub fn round_line(len: u32) -> u64 {
    u64::from(len).next_multiple_of(wire::SIZE_LINE as u64)
}

/// The publish word of position `pos` (SPEC.md 3.7).
pub fn seq_of(pos: u64) -> u32 {
    low32(pos).wrapping_add(1)
}

/// Whether the slot of position `pos` is published, `found` being its publish word (SPEC.md 3.7).
///
/// # Errors
/// `Violation::Seq` when it is neither published nor "not yet".
pub fn check_seq(pos: u64, slots: u32, found: u32) -> Result<bool, Violation> {
    let published = seq_of(pos);
    let not_yet = if pos < u64::from(slots) { 0 } else { published.wrapping_sub(slots) };
    match found {
        _ if found == published => Ok(true),
        _ if found == not_yet => Ok(false),
        _ => Err(Violation::Seq { found, pos }),
    }
}

/// The peer's `head` as a full position (SPEC.md 3.9): `pos` is the producer's, `released` the last value taken.
///
/// # Errors
/// `Violation::Head` when it went back or is past `pos`.
pub fn check_head(pos: u64, released: u64, found: u32) -> Result<u64, Violation> {
    let step = u64::from(found.wrapping_sub(low32(released)));
    if step > pos.wrapping_sub(released) {
        return Err(Violation::Head { found, released, pos });
    }
    Ok(released + step)
}

/// The peer's `arena_head` (SPEC.md 3.9): `apos` is the producer's position, `released` the last value taken.
///
/// # Errors
/// `Violation::ArenaHead` when it went back or is past `apos`.
pub fn check_arena_head(apos: u64, released: u64, found: u64) -> Result<u64, Violation> {
    if (released..=apos).contains(&found) {
        Ok(found)
    } else {
        Err(Violation::ArenaHead { found, released, pos: apos })
    }
}

/// One slot of the host's slab, as far as a frame's token is held to it (SPEC.md 5.1, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The last generation issued; 0 = none yet. Wraps from `u32::MAX` to 1.
    pub generation: u32,
    /// Whether that invocation still waits for its final frame.
    pub live: bool,
    /// Its session.
    pub sid: u32,
    /// Its phase.
    pub phase: u8,
}

/// What an honest token means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The invocation is open.
    Current,
    /// It was issued and is over: drop the frame and count it.
    Late,
}

/// Holds a frame of an invocation to what was issued. `issued` is the slab's slot `frame.call_idx`, `None` when the
/// index is past the slab: `check_token(&frame, slab.get(frame.call_idx as usize).map(…))`.
///
/// # Errors
/// `Violation::Token` for a token never issued; `Sid` or `Phase` for a current one that is not its invocation's.
pub fn check_token(frame: &Frame, issued: Option<Issued>) -> Result<Verdict, Violation> {
    let never = Violation::Token { idx: frame.call_idx, generation: frame.call_gen };
    let issued = issued.ok_or(never)?;
    // Serial numbers: less than half the circle behind is older, the rest is ahead and never issued.
    let age = issued.generation.wrapping_sub(frame.call_gen);
    if frame.call_gen == 0 || issued.generation == 0 || age > u32::MAX / 2 {
        return Err(never);
    }
    if age > 0 || !issued.live {
        return Ok(Verdict::Late);
    }
    if frame.sid != issued.sid {
        return Err(Violation::Sid(frame.sid));
    }
    if frame.phase != issued.phase {
        return Err(Violation::Phase(frame.phase));
    }
    Ok(Verdict::Current)
}

/// How long a handler ran, in microseconds, by the `status` of its final frame (SPEC.md 5.4); the largest value stands
/// for all above it. Only a worker's claim.
pub fn handler_time(status: u32) -> u32 {
    status >> wire::FINAL_TIME_SHIFT
}

/// Whether frames of `kind` carry the token of an invocation (SPEC.md 5.1).
pub fn has_token(kind: u8) -> bool {
    matches!(
        kind,
        wire::KIND_CALL
            | wire::KIND_REPLY
            | wire::KIND_ERROR
            | wire::KIND_CANCEL
            | wire::KIND_DATA
            | wire::KIND_WINDOW
    )
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what travels")]
fn low32(pos: u64) -> u32 {
    pos as u32
}

fn check_kind(kind: u8, from: Side, host_calls: bool) -> Result<(), Violation> {
    let allowed = match kind {
        wire::KIND_CALL => from == Side::Host || host_calls,
        wire::KIND_REPLY
        | wire::KIND_ERROR
        | wire::KIND_GOAWAY
        | wire::KIND_DATA
        | wire::KIND_WINDOW => true,
        wire::KIND_CANCEL | wire::KIND_PING | wire::KIND_CLOSE => from == Side::Host,
        wire::KIND_PONG => from == Side::Worker,
        _ => false,
    };
    if allowed { Ok(()) } else { Err(Violation::Kind(kind)) }
}

fn check_flags(frame: &Frame, from: Side) -> Result<(), Violation> {
    let unknown = frame.flags & !wire::FLAG_KNOWN != 0;
    let session = frame.flags & (wire::FLAG_OPEN | wire::FLAG_KEEP) != 0;
    let open = session && !(from == Side::Host && frame.kind == wire::KIND_CALL);
    let more = frame.has(wire::FLAG_MORE) && frame.kind != wire::KIND_DATA;
    if unknown || open || more { Err(Violation::Flags(frame.flags)) } else { Ok(()) }
}

fn check_payload(frame: &Frame, ctx: &FrameContext) -> Result<(), Violation> {
    let Frame { len, arena_pos, .. } = *frame;
    if frame.has(wire::FLAG_INLINE) {
        let fits = len as usize <= wire::SIZE_INLINE && arena_pos == 0;
        return if fits { Ok(()) } else { Err(Violation::Inline { len, arena_pos }) };
    }
    if len == 0 || u64::from(len) > ctx.arena / 4 {
        return Err(Violation::Len(len));
    }
    let (expected, _) = bump(ctx.apos, len, ctx.arena);
    if arena_pos != expected {
        return Err(Violation::ArenaPos { found: arena_pos, expected });
    }
    Ok(())
}

fn check_from_worker(frame: &Frame, ctx: &FrameContext) -> Result<(), Violation> {
    match frame.kind {
        wire::KIND_CALL => {
            if frame.method == wire::METHOD_WEBSOCKET_ROOM_SIZE {
                conversing(frame, ctx)?;
            }
            call_number(frame)
        }
        wire::KIND_REPLY => {
            check_final(frame, ctx)?;
            let phases = 0b11_1110; // 1..=5
            let time = if ctx.handler_time { u32::MAX << wire::FINAL_TIME_SHIFT } else { 0 };
            let known = frame.status & !(phases | time) == 0;
            if known { Ok(()) } else { Err(Violation::Status(frame.status)) }
        }
        wire::KIND_ERROR => error_len(frame),
        wire::KIND_DATA => {
            if in_conversation(frame, ctx) {
                return check_said(frame, Side::Worker);
            }
            let bodies = [
                wire::METHOD_SET_RESPONSE_FULL_BODY,
                wire::METHOD_SET_RESPONSE_STREAM_DATA,
                wire::METHOD_SET_REQUEST_BODY,
            ];
            one_of(frame.method, &bodies)?;
            data_len(frame, wire::LIMIT_DATA)
        }
        wire::KIND_WINDOW => window_len(frame),
        _ => Ok(()),
    }
}

fn check_from_host(frame: &Frame, ctx: &FrameContext) -> Result<(), Violation> {
    match frame.kind {
        wire::KIND_CALL => check_open(frame, ctx),
        wire::KIND_REPLY => call_number(frame),
        wire::KIND_ERROR => {
            call_number(frame)?;
            error_len(frame)
        }
        wire::KIND_DATA => {
            if in_conversation(frame, ctx) {
                return check_said(frame, Side::Host);
            }
            let bodies = [
                wire::METHOD_GET_PAYLOAD,
                wire::METHOD_READ_RESPONSE_FULL_BODY,
                wire::METHOD_READ_REQUEST_FULL_BODY,
                wire::METHOD_STREAM_REQUEST_BODY,
            ];
            one_of(frame.method, &bodies)?;
            if frame.method != wire::METHOD_READ_REQUEST_FULL_BODY {
                call_number(frame)?;
            }
            data_len(frame, wire::LIMIT_DATA)
        }
        wire::KIND_WINDOW => window_len(frame),
        _ => Ok(()),
    }
}

/// Whether a frame belongs to a conversation (SPEC.md 5.11).
fn in_conversation(frame: &Frame, ctx: &FrameContext) -> bool {
    ctx.websocket && frame.phase == wire::PHASE_NONE
}

/// What only a frame of a conversation may say.
fn conversing(frame: &Frame, ctx: &FrameContext) -> Result<(), Violation> {
    if !ctx.websocket {
        return Err(Violation::Method(frame.method));
    }
    if in_conversation(frame, ctx) { Ok(()) } else { Err(Violation::Phase(frame.phase)) }
}

/// The method of a final REPLY (SPEC.md 5.4).
fn check_final(frame: &Frame, ctx: &FrameContext) -> Result<(), Violation> {
    match frame.method {
        wire::METHOD_WEBSOCKET_ON_CLOSE => conversing(frame, ctx),
        method if in_conversation(frame, ctx) => Err(Violation::Method(method)),
        wire::METHOD_NEXT | wire::METHOD_END | wire::METHOD_SET_RESPONSE_STREAM_END => Ok(()),
        wire::METHOD_WEBSOCKET_UPGRADE if ctx.websocket => match frame.phase {
            wire::PHASE_REQUEST_FILTER => Ok(()),
            phase => Err(Violation::Phase(phase)),
        },
        method => Err(Violation::Method(method)),
    }
}

/// A host's CALL: one of method ON_OPEN begins a conversation, and nothing else does (SPEC.md 5.11).
fn check_open(frame: &Frame, ctx: &FrameContext) -> Result<(), Violation> {
    if frame.method == wire::METHOD_WEBSOCKET_ON_OPEN {
        let session = frame.flags & (wire::FLAG_OPEN | wire::FLAG_KEEP) != 0;
        return if session { Err(Violation::Flags(frame.flags)) } else { conversing(frame, ctx) };
    }
    if in_conversation(frame, ctx) { Err(Violation::Method(frame.method)) } else { Ok(()) }
}

/// DATA of a conversation: which methods `from` may use, how long they are, and which come in pieces (SPEC.md 5.11).
fn check_said(frame: &Frame, from: Side) -> Result<(), Violation> {
    use wire::*;
    let (pieces, longest) = match (from, frame.method) {
        (Side::Worker, METHOD_WEBSOCKET_SEND_TEXT | METHOD_WEBSOCKET_SEND_BINARY)
        | (
            Side::Worker,
            METHOD_WEBSOCKET_BROADCAST_ROOM_TEXT
            | METHOD_WEBSOCKET_BROADCAST_ROOM_BINARY
            | METHOD_WEBSOCKET_SEND_TEXT_TO
            | METHOD_WEBSOCKET_SEND_BINARY_TO,
        )
        | (Side::Host, METHOD_WEBSOCKET_ON_MESSAGE_TEXT | METHOD_WEBSOCKET_ON_MESSAGE_BINARY) => {
            (true, LIMIT_DATA)
        }
        (Side::Worker, METHOD_WEBSOCKET_CLOSE | METHOD_WEBSOCKET_PING)
        | (Side::Host, METHOD_WEBSOCKET_ON_CLOSE) => (false, LIMIT_PING),
        (Side::Worker, METHOD_WEBSOCKET_JOIN_ROOM | METHOD_WEBSOCKET_LEAVE_ROOM) => {
            (false, LIMIT_ROOM_NAME)
        }
        (Side::Host, METHOD_WEBSOCKET_ON_ERROR) => (false, LIMIT_ERROR_TEXT),
        (Side::Host, METHOD_WEBSOCKET_HAND_OVER) => (false, 0),
        (_, method) => return Err(Violation::Method(method)),
    };
    if frame.has(FLAG_MORE) && !pieces {
        return Err(Violation::Flags(frame.flags));
    }
    data_len(frame, longest)
}

fn one_of(method: u32, allowed: &[u32]) -> Result<(), Violation> {
    if allowed.contains(&method) { Ok(()) } else { Err(Violation::Method(method)) }
}

fn call_number(frame: &Frame) -> Result<(), Violation> {
    if frame.status == 0 { Err(Violation::Status(0)) } else { Ok(()) }
}

fn error_len(frame: &Frame) -> Result<(), Violation> {
    if frame.len < 4 { Err(Violation::Error(frame.len as usize)) } else { Ok(()) }
}

fn data_len(frame: &Frame, longest: usize) -> Result<(), Violation> {
    if frame.len as usize > longest { Err(Violation::Window("data-len")) } else { Ok(()) }
}

fn window_len(frame: &Frame) -> Result<(), Violation> {
    if frame.len == 8 { Ok(()) } else { Err(Violation::Window("len")) }
}
