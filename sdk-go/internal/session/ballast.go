package session

import (
	"math"
	"runtime/debug"
	"sync"
)

// ballast is never touched, so that it takes addresses and no memory. The garbage collector sets its pace by it: with the
// few MB that a small plugin has it would run at every third body of 1 MiB (RATIONALE.md).
var ballast []byte

const (
	ballastSize = 12 << 20
	largeBody   = 64 << 10 // worth a ballast
)

// takeBallast is called when the first large body comes. Who limits the memory of the process has said how to pace it.
var takeBallast = sync.OnceFunc(func() {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		ballast = make([]byte, ballastSize)
	}
})
