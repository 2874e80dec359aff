// Package shm maps the two segments of a worker and hands out checked views of them.
//
// In: descriptors and a geometry from the handshake, or a geometry alone for a segment on the heap.
// Out: words (*uint32, *uint64) for sync/atomic, and byte slices of slots and arenas.
// Never: what a frame means, or when to sleep.
//
// It is the only package of the SDK that imports unsafe; each use states the fact that makes it sound.
package shm
