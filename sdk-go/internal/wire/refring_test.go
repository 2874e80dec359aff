package wire

import "encoding/binary"

// refRing is a ring over two plain byte slices, from the pure helpers alone: what vectors/ring is judged by here.
type refRing struct {
	g                  Geometry
	writer             Side
	producer, consumer []byte // lanes: slots and arena; the consumer's words

	pos, apos, head, arenaHead           uint64 // the producer's
	cpos, capos, released, arenaReleased uint64 // the consumer's
}

// newRefRing is a ring that has carried pos frames and apos arena bytes, all of them released.
func newRefRing(g Geometry, writer Side, pos, apos uint64) *refRing {
	r := &refRing{
		g: g, writer: writer,
		producer: make([]byte, g.LaneStride()), consumer: make([]byte, g.LaneStride()),
		pos: pos, apos: apos, head: pos, arenaHead: apos,
		cpos: pos, capos: apos,
	}
	for p := pos - min(pos, uint64(g.Slots)); p < pos; p++ {
		binary.LittleEndian.PutUint32(r.slot(p)[SlotSeq:], SeqOf(p))
	}
	r.release()
	return r
}

// push reports false when there is no space.
func (r *refRing) push(f Frame, payload []byte) (bool, error) {
	inline := len(payload) <= SizeInline
	usable := uint64(r.g.Slots)
	if r.writer == SideHost && !inline {
		usable -= usable / 8
	}
	var err error
	if r.head, err = CheckHead(r.pos, r.head, binary.LittleEndian.Uint32(r.consumer[LaneHead:])); err != nil {
		return false, err
	}
	found := binary.LittleEndian.Uint64(r.consumer[LaneArenaHead:])
	if r.arenaHead, err = CheckArenaHead(r.apos, r.arenaHead, found); err != nil {
		return false, err
	}
	arenaPos, next := Bump(r.apos, uint32(len(payload)), r.g.Arena)
	if r.pos-r.head >= usable || !inline && next-r.arenaHead > r.g.Arena {
		return false, nil
	}
	f.Seq = SeqOf(r.pos)
	lines := 1
	if inline {
		f.SetInline(payload)
		if len(payload) > SizeInlineHead {
			lines = 2
		}
	} else {
		f.Len, f.ArenaPos = uint32(len(payload)), arenaPos
		copy(r.arena(arenaPos), payload)
		r.apos = next
	}
	var slot [SizeSlot]byte
	f.Encode(&slot)
	copy(r.slot(r.pos), slot[:lines*SizeLine])
	r.pos++
	return true, nil
}

// pop copies the next frame out, and releases when a quarter is pending.
func (r *refRing) pop() (f Frame, payload []byte, ok bool, err error) {
	slot := r.slot(r.cpos)
	ready, err := CheckSeq(r.cpos, r.g.Slots, binary.LittleEndian.Uint32(slot[SlotSeq:]))
	if !ready {
		return Frame{}, nil, false, err
	}
	f.Decode((*[SizeSlot]byte)(slot))
	if !f.Has(FlagInline) || f.Len <= uint32(SizeInlineHead) {
		clear(f.Inline[SizeInlineHead:]) // the tail line was not written
	}
	ctx := FrameContext{r.g.Arena, r.capos, true, true, false}
	if err := CheckFrame(&f, r.writer, ctx); err != nil {
		return Frame{}, nil, false, err
	}
	source := f.InlinePayload()
	if !f.Has(FlagInline) {
		source = r.arena(f.ArenaPos)[:f.Len]
	}
	payload = append(payload, source...)
	r.cpos++
	r.capos = NextApos(&f, ctx)
	if r.cpos-r.released >= uint64(r.g.Slots)/4 || r.capos-r.arenaReleased >= r.g.Arena/4 {
		r.release()
	}
	return f, payload, true, nil
}

func (r *refRing) release() {
	r.released, r.arenaReleased = r.cpos, r.capos
	binary.LittleEndian.PutUint64(r.consumer[LaneArenaHead:], r.arenaReleased)
	binary.LittleEndian.PutUint32(r.consumer[LaneHead:], uint32(r.released))
}

func (r *refRing) slot(pos uint64) []byte {
	at := uint64(LaneRing) + pos%uint64(r.g.Slots)*uint64(SizeSlot)
	return r.producer[at : at+uint64(SizeSlot)]
}

func (r *refRing) arena(pos uint64) []byte {
	return r.producer[r.g.ArenaOffset()+pos&(r.g.Arena-1):]
}
