package sdk_test

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/nylon-rs/nylon/sdk-go/internal/testhost"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// watchdog ends the test binary with all stacks if a test hangs.
func watchdog(t testing.TB) {
	t.Helper()
	timer := time.AfterFunc(25*time.Second, func() {
		buf := make([]byte, 1<<20)
		os.Stderr.Write(buf[:runtime.Stack(buf, true)])
		os.Stderr.WriteString("\nwatchdog: " + t.Name() + " hangs\n")
		os.Exit(3)
	})
	t.Cleanup(func() { timer.Stop() })
}

type testConfig struct {
	Greeting string `json:"greeting"`
	Count    int    `json:"count"`
}

// step is the record of a session's first step.
func step(t testing.TB, entry uint16, path string) []byte {
	t.Helper()
	var w wire.StepWriter
	w.Entry(entry)
	w.Request(&wire.RequestFields{Method: "GET", Path: path, Host: "example.com", Version: 11})
	rec, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func open(t testing.TB, h *testhost.Host, entry uint16, path string) testhost.Final {
	t.Helper()
	return h.Run(&testhost.Step{
		Sid: testhost.NewSid(), Open: true, Phase: wire.PhaseRequestFilter, Budget: 10 * time.Second, Record: step(t, entry, path),
	})
}
