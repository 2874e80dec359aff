package session

import (
	"math"
	"runtime/debug"
	"sync"
)

const (
	ballastSize = 12 << 20
	largeBody   = 64 << 10 // worth a ballast
)

// ballast is memory that is never touched, so that it takes addresses only; asked for when the first large body comes, and
// kept. The garbage collector sets its pace by it: with the few MB that a small plugin has it would run at every third
// body of 1 MiB (RATIONALE.md). Who limits the memory of the process has said how to pace it.
var ballast = sync.OnceValue(func() []byte {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return nil
	}
	return make([]byte, ballastSize)
})
