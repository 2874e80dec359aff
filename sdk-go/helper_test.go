package sdk_test

import (
	"os"
	"runtime"
	"testing"
	"time"
)

// watchdog ends the test binary with all stacks if a test hangs.
func watchdog(t testing.TB) {
	t.Helper()
	timer := time.AfterFunc(60*time.Second, func() {
		buf := make([]byte, 1<<20)
		os.Stderr.Write(buf[:runtime.Stack(buf, true)])
		os.Stderr.WriteString("\nwatchdog: " + t.Name() + " hangs\n")
		os.Exit(3)
	})
	t.Cleanup(func() { timer.Stop() })
}
