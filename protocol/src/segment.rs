//! The geometry of a segment pair and its 4096-byte header page (SPEC.md 2).

use crate::violation::Violation;
use crate::wire;

/// How many lanes, slots and arena bytes a segment has. Both segments of a worker share one geometry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// 1 ..= 64.
    pub lanes: u32,
    /// N, slots per ring: a power of two, 64 ..= 4096.
    pub slots: u32,
    /// A, arena bytes per ring: a power of two, 256 KiB ..= 64 MiB.
    pub arena: u64,
}

impl Default for Geometry {
    fn default() -> Self {
        Self { lanes: 1, slots: 256, arena: 1 << 20 }
    }
}

impl Geometry {
    /// Checks the bounds of SPEC.md 2.5.
    ///
    /// # Errors
    /// `Violation::Header` naming the field that is out of bounds.
    pub fn check(self) -> Result<Self, Violation> {
        let within = |v: u64, lo: usize, hi: usize| v >= lo as u64 && v <= hi as u64;
        if !within(self.lanes.into(), 1, wire::LIMIT_LANES_MAX) {
            return Err(Violation::Header("lanes"));
        }
        let slots = self.slots.into();
        if !(self.slots.is_power_of_two()
            && within(slots, wire::LIMIT_SLOTS_MIN, wire::LIMIT_SLOTS_MAX))
        {
            return Err(Violation::Header("slots"));
        }
        if !(self.arena.is_power_of_two()
            && within(self.arena, wire::LIMIT_ARENA_MIN, wire::LIMIT_ARENA_MAX))
        {
            return Err(Violation::Header("arena_len"));
        }
        Ok(self)
    }

    /// Bytes from one lane to the next, a multiple of 4096.
    pub fn lane_stride(self) -> u64 {
        let raw = (wire::LANE_RING + self.slots as usize * wire::SIZE_SLOT) as u64 + self.arena;
        raw.next_multiple_of(wire::SIZE_PAGE as u64)
    }

    /// Length of one segment in bytes.
    pub fn segment_len(self) -> u64 {
        wire::SIZE_HEADER as u64 + u64::from(self.lanes) * self.lane_stride()
    }

    /// Offset of lane `i` from the segment's start.
    pub fn lane_offset(self, i: u32) -> u64 {
        wire::SIZE_HEADER as u64 + u64::from(i) * self.lane_stride()
    }

    /// Offset of the arena from the lane's start.
    pub fn arena_offset(self) -> u64 {
        (wire::LANE_RING + self.slots as usize * wire::SIZE_SLOT) as u64
    }
}

/// What a header page says, apart from the words that change (`state`, `spin_ns_peer`, `policy_seq`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Lanes, slots, arena.
    pub geometry: Geometry,
    /// Random and not zero, one per process incarnation.
    pub epoch: u64,
    /// Highest minor the segment's owner speaks.
    pub abi_minor: u16,
    /// Feature bits of the segment's owner.
    pub features: u64,
}

impl Header {
    /// The page's first 128 bytes; the rest of the page is zero but for the words that change.
    pub fn encode(&self) -> [u8; 128] {
        let g = self.geometry;
        let mut page = [0; 128];
        let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
        put(wire::HEADER_MAGIC, &wire::MAGIC.to_le_bytes());
        put(wire::HEADER_ABI_MAJOR, &wire::ABI_MAJOR.to_le_bytes());
        put(wire::HEADER_ABI_MINOR, &self.abi_minor.to_le_bytes());
        put(wire::HEADER_HEADER_LEN, &4096u32.to_le_bytes());
        put(wire::HEADER_LAYOUT_HASH, &wire::LAYOUT_HASH.to_le_bytes());
        put(wire::HEADER_EPOCH, &self.epoch.to_le_bytes());
        put(wire::HEADER_SEG_LEN, &g.segment_len().to_le_bytes());
        put(wire::HEADER_LANES, &g.lanes.to_le_bytes());
        put(wire::HEADER_SLOTS, &g.slots.to_le_bytes());
        put(wire::HEADER_SLOT_SIZE, &128u32.to_le_bytes());
        put(wire::HEADER_ENDIAN, &wire::CONST_ENDIAN.to_le_bytes());
        put(wire::HEADER_ARENA_LEN, &g.arena.to_le_bytes());
        put(wire::HEADER_LANE_STRIDE, &g.lane_stride().to_le_bytes());
        put(wire::HEADER_LANE0_OFF, &(wire::SIZE_HEADER as u64).to_le_bytes());
        put(wire::HEADER_FEATURES, &self.features.to_le_bytes());
        page
    }

    /// Reads and checks a private copy of a page's first 128 bytes (SPEC.md 2.3, 2.5).
    ///
    /// # Errors
    /// `Violation::Header` naming the first field that is wrong.
    pub fn decode(page: &[u8; 128]) -> Result<Self, Violation> {
        let u16_at = |at: usize| u16::from_le_bytes([page[at], page[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let same = |found: u64, expected: u64, field| {
            if found == expected { Ok(()) } else { Err(Violation::Header(field)) }
        };
        same(u64_at(wire::HEADER_MAGIC), wire::MAGIC, "magic")?;
        same(u32_at(wire::HEADER_ENDIAN).into(), wire::CONST_ENDIAN.into(), "endian")?;
        same(u16_at(wire::HEADER_ABI_MAJOR).into(), wire::ABI_MAJOR.into(), "abi_major")?;
        same(u64_at(wire::HEADER_LAYOUT_HASH), wire::LAYOUT_HASH, "layout_hash")?;
        same(u32_at(wire::HEADER_HEADER_LEN).into(), 4096, "header_len")?;
        same(u32_at(wire::HEADER_SLOT_SIZE).into(), 128, "slot_size")?;
        let geometry = Geometry {
            lanes: u32_at(wire::HEADER_LANES),
            slots: u32_at(wire::HEADER_SLOTS),
            arena: u64_at(wire::HEADER_ARENA_LEN),
        }
        .check()?;
        same(u64_at(wire::HEADER_LANE_STRIDE), geometry.lane_stride(), "lane_stride")?;
        same(u64_at(wire::HEADER_LANE0_OFF), 0x1000, "lane0_off")?;
        same(u64_at(wire::HEADER_SEG_LEN), geometry.segment_len(), "seg_len")?;
        let epoch = u64_at(wire::HEADER_EPOCH);
        if epoch == 0 {
            return Err(Violation::Header("epoch"));
        }
        let abi_minor = u16_at(wire::HEADER_ABI_MINOR);
        Ok(Self { geometry, epoch, abi_minor, features: u64_at(wire::HEADER_FEATURES) })
    }

    /// Reads the header of a worker's segment and holds it to the host's own: geometry and epoch are the same,
    /// `abi_minor` and `features` are the worker's (SPEC.md 2.3).
    ///
    /// # Errors
    /// `Violation::Header` naming the first field that is wrong.
    pub fn decode_peer(page: &[u8; 128], host: &Self) -> Result<Self, Violation> {
        let peer = Self::decode(page)?;
        if peer.geometry != host.geometry {
            return Err(Violation::Header("geometry"));
        }
        if peer.epoch != host.epoch {
            return Err(Violation::Header("epoch"));
        }
        Ok(peer)
    }
}
