package lane

import "time"

// started is where this process's clock begins.
var started = time.Now()

// Now is the time since the process started: one read of the monotonic clock, where time.Now reads two clocks.
func Now() time.Duration { return time.Since(started) }

// Time is a reading of Now as a point in time.
func Time(now time.Duration) time.Time { return started.Add(now) }
