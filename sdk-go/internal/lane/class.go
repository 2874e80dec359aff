package lane

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Class learns whether the handlers of one entry and phase are short enough to run on the lane's leader.
type Class struct {
	long    atomic.Bool
	history atomic.Uint32 // one bit per inline run, 1 = slow
	streak  atomic.Uint32 // short runs in a row while long
}

const (
	slowRun    = 20 * time.Microsecond
	slowOf16   = 3  // so many slow runs of 16 make it long
	shortAgain = 64 // so many short runs in a row make it short
)

// Long says whether runs belong off the leader.
func (c *Class) Long() bool { return c.long.Load() }

// Blocked makes it long at once: a handler waited for the host, or the host had to rescue the lane.
func (c *Class) Blocked() {
	c.streak.Store(0)
	c.history.Store(0)
	c.long.Store(true)
}

// ran learns from one run. Lost updates between lanes only delay the lesson.
func (c *Class) ran(d time.Duration) {
	slow := d > slowRun
	if c.long.Load() {
		if slow {
			c.streak.Store(0)
		} else if c.streak.Add(1) >= shortAgain {
			c.history.Store(0)
			c.long.Store(false)
		}
		return
	}
	h := c.history.Load()
	if h == 0 && !slow {
		return
	}
	h = (h << 1) & 0xffff
	if slow {
		h |= 1
	}
	c.history.Store(h)
	if bits.OnesCount32(h) >= slowOf16 {
		c.Blocked()
	}
}
