package wire

import "encoding/binary"

// Frame is one slot of a ring: the frame line and the tail line, 128 bytes, in the order of the wire (SPEC.md 3).
// A Frame is always a private copy; the ring writes and reads the shared one.
type Frame struct {
	Seq      uint32 // publish word, low32(pos)+1; written last, by the ring
	Kind     uint8  // one of Kind*
	Phase    uint8  // 0..=5, one of Phase*
	Flags    uint16 // Flag* bits
	Sid      uint32 // session, > 0 on frames of an invocation
	Method   uint32 // one of Method*, 0 when the kind needs none
	CallIdx  uint32 // index into the host's slab
	CallGen  uint32 // count of that slot's reuse, from 1
	ArenaPos uint64 // virtual arena position; 0 when the payload is inline
	Len      uint32 // payload length in bytes
	Status   uint32 // by kind: time in ms, wanted phases, call number, reason or nonce
	Inline   [SizeInline]byte
}

// Token names one invocation: a slot of the host's slab and how often it was used (SPEC.md 5.1).
type Token struct {
	Idx, Gen uint32
}

// Token is the invocation f belongs to.
func (f *Frame) Token() Token { return Token{f.CallIdx, f.CallGen} }

// Has says whether all bits of flags are set.
func (f *Frame) Has(flags uint16) bool { return f.Flags&flags == flags }

// SetInline copies payload, at most SizeInline bytes, into the slot itself and sets FlagInline. It reports whether
// the payload fits.
func (f *Frame) SetInline(payload []byte) bool {
	if len(payload) > SizeInline {
		return false
	}
	f.Flags |= FlagInline
	f.ArenaPos = 0
	f.Len = uint32(len(payload))
	copy(f.Inline[:], payload)
	return true
}

// InlinePayload is a view of the inline payload of a checked frame.
func (f *Frame) InlinePayload() []byte {
	return f.Inline[:min(f.Len, uint32(SizeInline))]
}

// Encode writes the slot, Seq included.
func (f *Frame) Encode(slot *[SizeSlot]byte) {
	le := binary.LittleEndian
	le.PutUint32(slot[SlotSeq:], f.Seq)
	slot[SlotKind] = f.Kind
	slot[SlotPhase] = f.Phase
	le.PutUint16(slot[SlotFlags:], f.Flags)
	le.PutUint32(slot[SlotSid:], f.Sid)
	le.PutUint32(slot[SlotMethod:], f.Method)
	le.PutUint32(slot[SlotCallIdx:], f.CallIdx)
	le.PutUint32(slot[SlotCallGen:], f.CallGen)
	le.PutUint64(slot[SlotArenaPos:], f.ArenaPos)
	le.PutUint32(slot[SlotLen:], f.Len)
	le.PutUint32(slot[SlotStatus:], f.Status)
	copy(slot[SlotInline:], f.Inline[:])
}

// Decode reads the slot; nothing is checked.
func (f *Frame) Decode(slot *[SizeSlot]byte) {
	le := binary.LittleEndian
	f.Seq = le.Uint32(slot[SlotSeq:])
	f.Kind = slot[SlotKind]
	f.Phase = slot[SlotPhase]
	f.Flags = le.Uint16(slot[SlotFlags:])
	f.Sid = le.Uint32(slot[SlotSid:])
	f.Method = le.Uint32(slot[SlotMethod:])
	f.CallIdx = le.Uint32(slot[SlotCallIdx:])
	f.CallGen = le.Uint32(slot[SlotCallGen:])
	f.ArenaPos = le.Uint64(slot[SlotArenaPos:])
	f.Len = le.Uint32(slot[SlotLen:])
	f.Status = le.Uint32(slot[SlotStatus:])
	copy(f.Inline[:], slot[SlotInline:])
}

// The inline payload is one piece: the tail line goes on where the frame line ends.
var _ = [1]struct{}{}[SlotInline+SizeInlineHead-SlotTail]
var _ = [1]struct{}{}[SlotInline+SizeInline-SizeSlot]
