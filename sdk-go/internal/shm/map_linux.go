package shm

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Map maps a sealed memfd. The descriptor may be closed afterwards. A page is mapped when it is touched first.
func Map(fd int, g wire.Geometry, writable bool) (*Segment, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("segment: fstat: %w", err)
	}
	if st.Size != int64(g.SegmentLen()) {
		return nil, fmt.Errorf("segment: %d bytes long, not %d", st.Size, g.SegmentLen())
	}
	prot := unix.PROT_READ
	if writable {
		prot |= unix.PROT_WRITE
	}
	mem, err := unix.Mmap(fd, 0, int(g.SegmentLen()), prot, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("segment: mmap: %w", err)
	}
	_ = unix.Madvise(mem, unix.MADV_DONTDUMP) // a hint for core dumps only
	return &Segment{mem: mem, geo: g, unmap: func() { _ = unix.Munmap(mem) }}, nil
}
