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
	f.Payload = f.InlinePayload()
	words(f.Inline[:], slot[wire.SlotInline:], len(f.Payload))
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
	n, end := len(inline), wire.SlotTail
	if n > wire.SizeInlineHead {
		end = wire.SizeSlot
	}
	at := wire.SlotInline + words(slot[wire.SlotInline:], inline, n&^7)
	if rest := inline[n&^7:]; len(rest) > 0 {
		var last [8]byte
		copy(last[:], rest)
		at += words(slot[at:], last[:], len(last))
	}
	for ; at < end; at += 8 {
		le.PutUint64(slot[at:], 0)
	}
}

// words copies n bytes, rounded up to words of 8, of which both have enough, and returns how many it copied. One by
// one: a wider load of what was just written in words waits until they have reached the cache.
func words(to, from []byte, n int) int {
	at := 0
	for ; at < n; at += 8 {
		binary.LittleEndian.PutUint64(to[at:], binary.LittleEndian.Uint64(from[at:]))
	}
	return at
}
