// Package payload is what every contender carries: the number of the call in the first 8 bytes, 7 in all others.
package payload

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Max is the largest payload of the bench, bytes.
const Max = 1 << 20

var sevens = bytes.Repeat([]byte{7}, Max)

// Fresh is a payload of size bytes, 8 to Max, without a number.
func Fresh(size int) []byte { return bytes.Clone(sevens[:size]) }

// Stamp writes the number of a call.
func Stamp(p []byte, number uint64) { binary.LittleEndian.PutUint64(p, number) }

// Check looks at every byte and returns the number.
func Check(p []byte) (uint64, error) {
	if len(p) < 8 || len(p) > Max || !bytes.Equal(p[8:], sevens[8:len(p)]) {
		return 0, fmt.Errorf("%d bytes are not what was sent", len(p))
	}
	return binary.LittleEndian.Uint64(p), nil
}

// CheckAnswer looks for the payload of one call.
func CheckAnswer(p []byte, size int, number uint64) error {
	found, err := Check(p)
	switch {
	case err != nil:
		return err
	case len(p) != size || found != number:
		return fmt.Errorf("call %d came back as %d of %d bytes", number, found, len(p))
	}
	return nil
}

// Size reads the length of a payload, as it stands before one in 8 bytes.
func Size(prefix []byte) (int, error) {
	size := binary.LittleEndian.Uint64(prefix)
	if size > Max {
		return 0, fmt.Errorf("a message of %d bytes", size)
	}
	return int(size), nil
}
