package lane

import (
	"encoding/binary"

	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Frame is a private copy of one slot with its payload.
type Frame struct {
	wire.Frame

	// Payload is a private copy for the taker to keep when it came through the arena, and a view of the frame, good
	// until the next Pop, when it travelled inline.
	Payload []byte
}

// read copies the frame line, and the tail line only when it is used: wire.Frame.Decode without the second line.
func (f *Frame) read(slot []byte) {
	le := binary.LittleEndian
	_ = slot[wire.SizeSlot-1]
	f.Kind, f.Phase, f.Flags = slot[wire.SlotKind], slot[wire.SlotPhase], le.Uint16(slot[wire.SlotFlags:])
	f.Sid, f.Method = le.Uint32(slot[wire.SlotSid:]), le.Uint32(slot[wire.SlotMethod:])
	f.CallIdx, f.CallGen = le.Uint32(slot[wire.SlotCallIdx:]), le.Uint32(slot[wire.SlotCallGen:])
	f.ArenaPos = le.Uint64(slot[wire.SlotArenaPos:])
	f.Len, f.Status = le.Uint32(slot[wire.SlotLen:]), le.Uint32(slot[wire.SlotStatus:])
	f.Payload = nil
	if !f.Has(wire.FlagInline) {
		return
	}
	copy(f.Inline[:wire.SizeInlineHead], slot[wire.SlotInline:])
	if f.Len > uint32(wire.SizeInlineHead) {
		copy(f.Inline[wire.SizeInlineHead:], slot[wire.SlotTail:])
	}
	f.Payload = f.InlinePayload()
}

// write stores all of the frame but its publish word, and inline, which is nil for a payload in the arena. The tail
// line is left alone unless it is used.
func (f *Frame) write(slot, inline []byte) {
	le := binary.LittleEndian
	_ = slot[wire.SizeSlot-1]
	slot[wire.SlotKind], slot[wire.SlotPhase] = f.Kind, f.Phase
	le.PutUint16(slot[wire.SlotFlags:], f.Flags)
	le.PutUint32(slot[wire.SlotSid:], f.Sid)
	le.PutUint32(slot[wire.SlotMethod:], f.Method)
	le.PutUint32(slot[wire.SlotCallIdx:], f.CallIdx)
	le.PutUint32(slot[wire.SlotCallGen:], f.CallGen)
	le.PutUint64(slot[wire.SlotArenaPos:], f.ArenaPos)
	le.PutUint32(slot[wire.SlotLen:], f.Len)
	le.PutUint32(slot[wire.SlotStatus:], f.Status)
	n := copy(slot[wire.SlotInline:wire.SlotTail], inline)
	clear(slot[wire.SlotInline+n : wire.SlotTail])
	if len(inline) > n {
		m := copy(slot[wire.SlotTail:wire.SizeSlot], inline[n:])
		clear(slot[wire.SlotTail+m : wire.SizeSlot])
	}
}
