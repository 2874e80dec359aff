package shm

import (
	"fmt"

	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// DefaultGeometry is one lane of default size.
func DefaultGeometry() wire.Geometry {
	return wire.Geometry{Lanes: 1, Slots: uint32(wire.LimitSlots), Arena: uint64(wire.LimitArena)}
}

// WriteHeader writes the fixed part of the header page.
func (s *Segment) WriteHeader(h *wire.Header) {
	page := h.Encode()
	copy(s.mem, page[:])
}

// Header reads and checks the fixed part of the header page, once: it must have the segment's own geometry.
func (s *Segment) Header() (wire.Header, error) {
	var page [wire.HeaderPrefix]byte
	copy(page[:], s.mem)
	h, err := wire.DecodeHeader(&page)
	if err == nil && h.Geometry != s.geo {
		err = fmt.Errorf("header: geometry %+v, not %+v", h.Geometry, s.geo)
	}
	return h, err
}
