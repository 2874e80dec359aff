package wire

import "encoding/binary"

// HeaderPrefix is how much of the header page is fixed after the handshake; the words that change come behind it.
const HeaderPrefix = 128

// Geometry is how many lanes, slots and arena bytes a segment has; both segments of a worker share one.
type Geometry struct {
	Lanes uint32 // 1..=64
	Slots uint32 // N, slots per ring: a power of two, 64..=4096
	Arena uint64 // A, arena bytes per ring: a power of two, 256 KiB..=64 MiB
}

// Check holds g to the bounds of SPEC.md 2.5.
func (g Geometry) Check() error {
	slots, arena := uint64(g.Slots), g.Arena
	switch {
	case g.Lanes < 1 || g.Lanes > uint32(LimitLanesMax):
		return headerRule("lanes")
	case slots&(slots-1) != 0 || slots < uint64(LimitSlotsMin) || slots > uint64(LimitSlotsMax):
		return headerRule("slots")
	case arena&(arena-1) != 0 || arena < uint64(LimitArenaMin) || arena > uint64(LimitArenaMax):
		return headerRule("arena_len")
	}
	return nil
}

// ArenaOffset is where the arena starts, from the lane's start.
func (g Geometry) ArenaOffset() uint64 {
	return uint64(LaneRing) + uint64(g.Slots)*uint64(SizeSlot)
}

// LaneStride is the distance from one lane to the next, a multiple of 4096.
func (g Geometry) LaneStride() uint64 {
	page := uint64(SizePage)
	return (g.ArenaOffset() + g.Arena + page - 1) / page * page
}

// LaneOffset is where lane i starts, from the segment's start.
func (g Geometry) LaneOffset(i uint32) uint64 {
	return uint64(SizeHeader) + uint64(i)*g.LaneStride()
}

// SegmentLen is the length of one segment.
func (g Geometry) SegmentLen() uint64 { return g.LaneOffset(g.Lanes) }

// Header is what a header page says, apart from the words that change (state, spin_ns_peer, policy_seq).
type Header struct {
	Geometry
	Epoch    uint64 // random and not zero, one per process incarnation
	AbiMinor uint16 // highest minor of the segment's owner
	Features uint64 // feature bits of the segment's owner
}

// Encode is the page's first 128 bytes; the rest is zero but for the words that change.
func (h *Header) Encode() (page [HeaderPrefix]byte) {
	le := binary.LittleEndian
	le.PutUint64(page[HeaderMagic:], Magic)
	le.PutUint16(page[HeaderAbiMajor:], AbiMajor)
	le.PutUint16(page[HeaderAbiMinor:], h.AbiMinor)
	le.PutUint32(page[HeaderHeaderLen:], uint32(SizeHeader))
	le.PutUint64(page[HeaderLayoutHash:], LayoutHash)
	le.PutUint64(page[HeaderEpoch:], h.Epoch)
	le.PutUint64(page[HeaderSegLen:], h.SegmentLen())
	le.PutUint32(page[HeaderLanes:], h.Lanes)
	le.PutUint32(page[HeaderSlots:], h.Slots)
	le.PutUint32(page[HeaderSlotSize:], uint32(SizeSlot))
	le.PutUint32(page[HeaderEndian:], ConstEndian)
	le.PutUint64(page[HeaderArenaLen:], h.Arena)
	le.PutUint64(page[HeaderLaneStride:], h.LaneStride())
	le.PutUint64(page[HeaderLane0Off:], uint64(SizeHeader))
	le.PutUint64(page[HeaderFeatures:], h.Features)
	return page
}

// DecodeHeader reads and checks a private copy of a page's first 128 bytes (SPEC.md 2.3, 2.5); a violation's rule
// is the first field that is wrong.
func DecodeHeader(page *[HeaderPrefix]byte) (Header, error) {
	le := binary.LittleEndian
	h := Header{
		Geometry: Geometry{
			Lanes: le.Uint32(page[HeaderLanes:]),
			Slots: le.Uint32(page[HeaderSlots:]),
			Arena: le.Uint64(page[HeaderArenaLen:]),
		},
		Epoch:    le.Uint64(page[HeaderEpoch:]),
		AbiMinor: le.Uint16(page[HeaderAbiMinor:]),
		Features: le.Uint64(page[HeaderFeatures:]),
	}
	switch {
	case le.Uint64(page[HeaderMagic:]) != Magic:
		return Header{}, headerRule("magic")
	case le.Uint32(page[HeaderEndian:]) != ConstEndian:
		return Header{}, headerRule("endian")
	case le.Uint16(page[HeaderAbiMajor:]) != AbiMajor:
		return Header{}, headerRule("abi_major")
	case le.Uint64(page[HeaderLayoutHash:]) != LayoutHash:
		return Header{}, headerRule("layout_hash")
	case le.Uint32(page[HeaderHeaderLen:]) != uint32(SizeHeader):
		return Header{}, headerRule("header_len")
	case le.Uint32(page[HeaderSlotSize:]) != uint32(SizeSlot):
		return Header{}, headerRule("slot_size")
	}
	if err := h.Check(); err != nil {
		return Header{}, err
	}
	switch {
	case le.Uint64(page[HeaderLaneStride:]) != h.LaneStride():
		return Header{}, headerRule("lane_stride")
	case le.Uint64(page[HeaderLane0Off:]) != uint64(SizeHeader):
		return Header{}, headerRule("lane0_off")
	case le.Uint64(page[HeaderSegLen:]) != h.SegmentLen():
		return Header{}, headerRule("seg_len")
	case h.Epoch == 0:
		return Header{}, headerRule("epoch")
	}
	return h, nil
}

// DecodePeerHeader reads the header of a worker's segment and holds it to the host's own: geometry and epoch are the
// same, AbiMinor and Features are the worker's (SPEC.md 2.3).
func DecodePeerHeader(page *[HeaderPrefix]byte, host *Header) (Header, error) {
	peer, err := DecodeHeader(page)
	switch {
	case err != nil:
		return Header{}, err
	case peer.Geometry != host.Geometry:
		return Header{}, headerRule("geometry")
	case peer.Epoch != host.Epoch:
		return Header{}, headerRule("epoch")
	}
	return peer, nil
}
