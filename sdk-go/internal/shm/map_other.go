//go:build !linux

package shm

import (
	"errors"

	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Map needs Linux; off Linux only heap segments exist, for tests.
func Map(int, wire.Geometry, bool) (*Segment, error) {
	return nil, errors.New("segment: mapping needs linux")
}
