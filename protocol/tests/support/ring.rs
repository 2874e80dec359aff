//! A ring over two plain byte vectors, from the pure helpers alone: what vectors/ring is judged by here.

use nylon_protocol::check::{
    FrameContext, Side, bump, check_arena_head, check_frame, check_head, check_seq, next_apos,
    seq_of,
};
use nylon_protocol::{Frame, Geometry, Slot, Violation, wire};

/// One direction of a lane, both ends of it.
pub(crate) struct Ring {
    geometry: Geometry,
    writer: Side,
    /// The lane that holds slots and arena.
    pub(crate) producer: Vec<u8>,
    /// The lane that holds the consumer's words.
    pub(crate) consumer: Vec<u8>,
    pos: u64,
    apos: u64,
    head: u64,
    arena_head: u64,
    cpos: u64,
    capos: u64,
    released: u64,
    arena_released: u64,
}

impl Ring {
    /// A ring that has carried `pos` frames and `apos` arena bytes, all of them released.
    pub(crate) fn new(geometry: Geometry, writer: Side, pos: u64, apos: u64) -> Self {
        let lane = vec![0; usize::try_from(geometry.lane_stride()).unwrap()];
        let mut ring = Self {
            geometry,
            writer,
            producer: lane.clone(),
            consumer: lane,
            pos,
            apos,
            head: pos,
            arena_head: apos,
            cpos: pos,
            capos: apos,
            released: pos,
            arena_released: apos,
        };
        for p in pos.saturating_sub(geometry.slots.into())..pos {
            let at = ring.slot(p);
            put(&mut ring.producer, at, &seq_of(p).to_le_bytes());
        }
        ring.store_heads();
        ring
    }

    /// Pushes `frame` with `payload`; false when there is no space for it.
    pub(crate) fn push(&mut self, frame: Frame, payload: &[u8]) -> Result<bool, Violation> {
        let Geometry { slots, arena, .. } = self.geometry;
        let inline = payload.len() <= wire::SIZE_INLINE;
        let len = u32::try_from(payload.len()).unwrap();
        let usable = match self.writer {
            Side::Host if !inline => u64::from(slots - slots / 8),
            _ => slots.into(),
        };
        self.head = check_head(self.pos, self.head, self.word(wire::LANE_HEAD))?;
        let found = u64::from(self.word(wire::LANE_ARENA_HEAD))
            | u64::from(self.word(wire::LANE_ARENA_HEAD + 4)) << 32;
        self.arena_head = check_arena_head(self.apos, self.arena_head, found)?;
        let (arena_pos, next) = bump(self.apos, len, arena);
        if self.pos - self.head >= usable || (!inline && next - self.arena_head > arena) {
            return Ok(false);
        }

        let at = self.slot(self.pos);
        let frame = Frame { seq: seq_of(self.pos), ..frame };
        let slot = if inline {
            Slot::inline(frame, payload)
        } else {
            let at = self.arena(arena_pos);
            put(&mut self.producer, at, payload);
            self.apos = next;
            Frame { len, arena_pos, ..frame }.into()
        };
        let bytes: &[u8] = bytemuck::bytes_of(&slot);
        let lines = if inline && payload.len() > wire::SIZE_INLINE_HEAD { 2 } else { 1 };
        put(&mut self.producer, at, &bytes[..lines * wire::SIZE_LINE]);
        self.pos += 1;
        Ok(true)
    }

    /// Pops the next frame, copies it out, and releases when a quarter is pending.
    pub(crate) fn pop(&mut self) -> Result<Option<(Slot, Vec<u8>)>, Violation> {
        let Geometry { slots, arena, .. } = self.geometry;
        let at = self.slot(self.cpos);
        let seq = u32::from_le_bytes(self.producer[at..at + 4].try_into().unwrap());
        if !check_seq(self.cpos, slots, seq)? {
            return Ok(None);
        }
        let bytes = &self.producer[at..at + wire::SIZE_SLOT];
        let mut slot: Slot = bytemuck::pod_read_unaligned(bytes);
        let frame = slot.frame;
        if !frame.has(wire::FLAG_INLINE) || frame.len as usize <= wire::SIZE_INLINE_HEAD {
            slot.inline[wire::SIZE_INLINE_HEAD..].fill(0); // the tail line was not written
        }
        let ctx = FrameContext {
            arena,
            apos: self.capos,
            host_calls: true,
            handler_time: true,
            websocket: false,
        };
        check_frame(&frame, self.writer, &ctx)?;
        let payload = if frame.has(wire::FLAG_INLINE) {
            slot.payload().to_vec()
        } else {
            let at = self.arena(frame.arena_pos);
            self.producer[at..at + frame.len as usize].to_vec()
        };
        self.cpos += 1;
        self.capos = next_apos(&frame, &ctx);
        let quarter = u64::from(slots / 4);
        if self.cpos - self.released >= quarter || self.capos - self.arena_released >= arena / 4 {
            self.release();
        }
        Ok(Some((slot, payload)))
    }

    /// Releases all that was popped.
    pub(crate) fn release(&mut self) {
        (self.released, self.arena_released) = (self.cpos, self.capos);
        self.store_heads();
    }

    fn store_heads(&mut self) {
        put(&mut self.consumer, wire::LANE_ARENA_HEAD, &self.arena_released.to_le_bytes());
        let head = seq_of(self.released).wrapping_sub(1);
        put(&mut self.consumer, wire::LANE_HEAD, &head.to_le_bytes());
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.consumer[at..at + 4].try_into().unwrap())
    }

    fn slot(&self, pos: u64) -> usize {
        let index = usize::try_from(pos & u64::from(self.geometry.slots - 1)).unwrap();
        wire::LANE_RING + index * wire::SIZE_SLOT
    }

    fn arena(&self, pos: u64) -> usize {
        let at = self.geometry.arena_offset() + (pos & (self.geometry.arena - 1));
        usize::try_from(at).unwrap()
    }
}

fn put(lane: &mut [u8], at: usize, bytes: &[u8]) {
    lane[at..at + bytes.len()].copy_from_slice(bytes);
}
