//! TEMP
#![allow(missing_docs, clippy::cast_possible_truncation)]
use crate::{Frame, Violation, wire};
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Host,
    Worker,
}
#[derive(Clone, Copy, Debug)]
pub struct FrameContext {
    pub arena: u64,
    pub expected_arena: u64,
    pub host_calls: bool,
}
pub fn bump(apos: u64, len: u64, arena: u64) -> (u64, u64) {
    let need = len.next_multiple_of(64);
    let at = if (apos & (arena - 1)) + need > arena { apos.next_multiple_of(arena) } else { apos };
    (at, at + need)
}
pub fn check_seq(pos: u64, slots: u32, found: u32) -> Result<bool, Violation> {
    let want = (pos as u32).wrapping_add(1);
    if found == want {
        return Ok(true);
    }
    let not_yet = if pos < u64::from(slots) { 0 } else { want.wrapping_sub(slots) };
    if found == not_yet { Ok(false) } else { Err(Violation::Seq { found, pos }) }
}
pub fn check_head(pos: u64, released: u64, found: u32) -> Result<u64, Violation> {
    let step = found.wrapping_sub(released as u32);
    let head = released + u64::from(step);
    if head > pos { Err(Violation::Head { found, released, pos }) } else { Ok(head) }
}
pub fn check_arena_head(apos: u64, released: u64, found: u64) -> Result<u64, Violation> {
    if found < released || found > apos {
        Err(Violation::ArenaHead { found, released, pos: apos })
    } else {
        Ok(found)
    }
}
pub fn check_frame(frame: &Frame, _from: Side, ctx: &FrameContext) -> Result<(), Violation> {
    if frame.kind == 0 || frame.kind > 10 {
        return Err(Violation::Kind(frame.kind));
    }
    if frame.flags & !wire::FLAG_KNOWN != 0 {
        return Err(Violation::Flags(frame.flags));
    }
    if frame.has(wire::FLAG_INLINE) {
        if frame.len > 88 || frame.arena_pos != 0 {
            return Err(Violation::Inline { len: frame.len, arena_pos: frame.arena_pos });
        }
    } else {
        if frame.len == 0 || u64::from(frame.len) > ctx.arena / 4 {
            return Err(Violation::Len(frame.len));
        }
        let expected = bump(ctx.expected_arena, frame.len.into(), ctx.arena).0;
        if frame.arena_pos != expected {
            return Err(Violation::ArenaPos { found: frame.arena_pos, expected });
        }
    }
    Ok(())
}
pub fn check_payload(_frame: &Frame, _from: Side, _payload: &[u8]) -> Result<(), Violation> {
    Ok(())
}
