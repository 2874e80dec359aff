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
	stalls  atomic.Uint32 // rescues after the first of late: each doubles the streak that makes it short again
	stalled atomic.Int64  // when the last one was
	lingers atomic.Bool   // its handlers go on after their verdict
}

const (
	slowRun    = 20 * time.Microsecond
	slowOf16   = 3                // so many slow runs of 16 make it long
	lookEvery  = 8                // one of so many runs that gave a verdict is timed to its end
	shortAgain = 64               // so many short runs in a row make it short,
	stallsMax  = 8                // after rescues up to 64 << 8 of them
	stallsPast = 10 * time.Second // without a rescue for so long, those before it are forgotten
)

// Long says whether runs belong off the leader.
func (c *Class) Long() bool { return c.long.Load() }

// Stalled says that the host had to rescue the lane. Each time it takes longer until runs belong on the leader again: a
// rescue costs the others on the lane milliseconds, and a run off the leader hardly anything.
func (c *Class) Stalled(now time.Duration) {
	last := time.Duration(c.stalled.Swap(int64(now)))
	if last == 0 || now-last > stallsPast {
		c.stalls.Store(0)
	} else if n := c.stalls.Load(); n < stallsMax {
		c.stalls.Store(n + 1)
	}
}

// Blocked makes it long at once: a handler waited for the host, or the host had to rescue the lane.
func (c *Class) Blocked() {
	c.streak.Store(0)
	c.history.Store(0)
	c.long.Store(true)
}

// ended learns from a run on l that began at start; ran is how long until its verdict, 0 if that is not known, and rung
// what had been rung until start. Most runs are over with their verdict, so only one of some is timed to its end, until one
// goes on for long.
func (c *Class) ended(l *Lane, start, ran, rung time.Duration) {
	if ran != 0 && start>>10%lookEvery != 0 && !c.lingers.Load() {
		c.ran(ran)
		return
	}
	whole := Now() - start - (l.rung() - rung)
	if lingers := ran != 0 && whole-ran > slowRun; lingers != c.lingers.Load() {
		c.lingers.Store(lingers)
	}
	c.ran(whole)
}

// ran learns from one run. Lost updates between lanes only delay the lesson.
func (c *Class) ran(d time.Duration) {
	slow := d > slowRun
	if c.long.Load() {
		if slow {
			c.streak.Store(0)
		} else if c.streak.Add(1) >= shortAgain<<c.stalls.Load() {
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
