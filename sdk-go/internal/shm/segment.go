package shm

import (
	"unsafe"

	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Segment is one mapped segment, or one of the same layout on the heap.
type Segment struct {
	mem   []byte // exactly geo.SegmentLen() bytes, 128-aligned
	geo   wire.Geometry
	unmap func()
}

// New returns a zeroed segment on the heap: the same layout without another process.
func New(g wire.Geometry) *Segment {
	n := int(g.SegmentLen())
	words := make([]uint64, (n+128)/8)
	// SAFETY: words has at least n+128 bytes, and skip < 128, so the slice stays inside; it keeps words alive.
	base := unsafe.Pointer(unsafe.SliceData(words))
	skip := int(-uintptr(base) & 127)
	mem := unsafe.Slice((*byte)(unsafe.Add(base, skip)), n)
	return &Segment{mem: mem, geo: g}
}

// Geometry is what the segment was made with; nobody reads it from shared memory again.
func (s *Segment) Geometry() wire.Geometry { return s.geo }

// Close unmaps a mapped segment. Nothing handed out may be used after it.
func (s *Segment) Close() {
	if s.unmap != nil {
		s.unmap()
		s.unmap = nil
	}
}

// Bytes are n bytes at off, for tests and tools; slots and arenas go through Lane.
func (s *Segment) Bytes(off, n int) []byte { return s.mem[off : off+n : off+n] }

// U32 is the word at off, for sync/atomic.
func (s *Segment) U32(off int) *uint32 {
	_ = s.mem[off+3]
	// SAFETY: the index above proves off+4 <= len(mem); every offset of the table is 4-aligned and mem is 128-aligned.
	return (*uint32)(unsafe.Pointer(&s.mem[off&^3]))
}

// U64 is the double word at off, for sync/atomic.
func (s *Segment) U64(off int) *uint64 {
	_ = s.mem[off+7]
	// SAFETY: the index above proves off+8 <= len(mem); every 64-bit field of the table is 8-aligned.
	return (*uint64)(unsafe.Pointer(&s.mem[off&^7]))
}

// Lane is one lane of a segment: its words, its slots and its arena.
type Lane struct {
	Bell, Rescue         *uint32
	Head                 *uint32
	ArenaHead            *uint64
	Wait                 *uint32
	SpaceWait, SpaceBell *uint32
	Stats                [16]*uint64
	Arena                []byte
	N                    uint64
	A                    uint64

	slots []byte
}

// Lane returns the view of lane i.
func (s *Segment) Lane(i int) *Lane {
	g := s.geo
	off, arena := int(g.LaneOffset(uint32(i))), int(g.LaneOffset(uint32(i))+g.ArenaOffset())
	l := &Lane{
		Bell: s.U32(off + wire.LaneBell), Rescue: s.U32(off + wire.LaneRescue),
		Head: s.U32(off + wire.LaneHead), ArenaHead: s.U64(off + wire.LaneArenaHead),
		Wait:      s.U32(off + wire.LaneWait),
		SpaceWait: s.U32(off + wire.LaneSpaceWait), SpaceBell: s.U32(off + wire.LaneSpaceBell),
		N: uint64(g.Slots), A: g.Arena,
	}
	for j := range l.Stats {
		l.Stats[j] = s.U64(off + wire.LaneStats + 8*j)
	}
	l.slots = s.mem[off+wire.LaneRing : arena : arena]
	l.Arena = s.mem[arena : arena+int(g.Arena) : arena+int(g.Arena)]
	return l
}

// Seq is the publish word of the slot for pos.
func (l *Lane) Seq(pos uint64) *uint32 {
	at := int(pos&(l.N-1))*wire.SizeSlot + wire.SlotSeq
	// SAFETY: slicing proves at+4 <= len(slots), and reads nothing; slots are 128-aligned and the word 4-aligned in one.
	return (*uint32)(unsafe.Pointer(unsafe.SliceData(l.slots[at : at+4])))
}

// Slot is the 128 bytes of the slot for pos.
func (l *Lane) Slot(pos uint64) []byte {
	at := int(pos&(l.N-1)) * wire.SizeSlot
	return l.slots[at : at+wire.SizeSlot : at+wire.SizeSlot]
}

// String views private bytes as a string.
func String(b []byte) string {
	// SAFETY: callers pass bytes of a record that was copied out of the ring; nobody writes a record after that copy.
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// Bytes views a string as bytes, for those who only read them.
func Bytes(s string) []byte {
	// SAFETY: callers hand them to a Send, which copies them into the arena and writes none.
	return unsafe.Slice(unsafe.StringData(s), len(s))
}

// Addr is the address of a word of a segment, for a futex call.
func Addr(word *uint32) uintptr {
	// SAFETY: the word stands in a mapping, which the garbage collector neither moves nor frees; the caller keeps the
	// segment for as long as it sleeps on it.
	return uintptr(unsafe.Pointer(word))
}
