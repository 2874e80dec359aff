package sdk_test

import (
	"testing"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/internal/testhost"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// A final frame says how long its handler ran: from its start to its verdict, without what it waited for the host.
func TestHandlerTime(t *testing.T) {
	watchdog(t)
	const nap = 20 * time.Millisecond
	handler := static(func(p *sdk.PhaseRequestFilter) {
		switch p.Request().Path() {
		case "/quick":
			p.Next()
			time.Sleep(nap)
		case "/sleeps":
			time.Sleep(nap)
			p.Next()
		case "/elsewhere":
			go func() {
				time.Sleep(nap)
				p.Next()
			}()
		case "/panics":
			time.Sleep(nap)
			panic("after a nap")
		case "/reads":
			p.Request().RawBody()
			p.Next()
		}
	})
	slow := func() [][]byte {
		time.Sleep(nap)
		return nil
	}
	run := func(h *testhost.Local, path string) time.Duration {
		start := time.Now()
		final := h.Run(&testhost.Step{
			Sid: testhost.NewSid(), Open: true, Phase: wire.PhaseRequestFilter, Budget: 10 * time.Second,
			Record: step(t, 0, path), Body: slow,
		})
		if whole := time.Since(start); final.Ran > whole {
			t.Errorf("%s: %v of %v", path, final.Ran, whole)
		}
		return final.Ran
	}
	h := local(t, testhost.Options{}, handler)
	for _, path := range []string{"/sleeps", "/elsewhere", "/panics"} {
		for range 3 { // on the leader, and off it
			if ran := run(h, path); ran < nap {
				t.Errorf("%s: %v, not %v", path, ran, nap)
			}
		}
	}
	for _, path := range []string{"/quick", "/reads"} {
		best := time.Hour
		for range 5 {
			best = min(best, run(h, path))
		}
		if best >= nap {
			t.Errorf("%s: %v", path, best)
		}
	}
	without := local(t, testhost.Options{Features: wire.FeatureKnown &^ wire.FeatureHandlerTime}, handler)
	if ran := run(without, "/sleeps"); ran != 0 {
		t.Errorf("%v, and nobody wants to know", ran)
	}
}
