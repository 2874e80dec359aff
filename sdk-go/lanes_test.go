package sdk_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/internal/bridge"
	"github.com/nylon-rs/nylon/sdk-go/internal/testhost"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// local starts a plugin under a host at the level of frames.
func local(t testing.TB, opt testhost.Options, setup func(*sdk.NylonPlugin)) *testhost.Local {
	t.Helper()
	watchdog(t)
	plugin := bridge.New().(*sdk.NylonPlugin)
	setup(plugin)
	opt.Fault = func(err error) { t.Errorf("violation: %v", err) }
	l, err := testhost.NewLocal(plugin, opt, func(msg string, kv ...any) { t.Log(append([]any{msg}, kv...)...) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Stop)
	return l
}

// filter registers one entry with one request filter.
func filter(f func(*sdk.PhaseRequestFilter)) func(*sdk.NylonPlugin) {
	return func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("filter", func(phase *sdk.PhaseHandler) { phase.RequestFilter(f) })
	}
}

// static registers one entry with one request filter, once for all requests.
func static(f func(*sdk.PhaseRequestFilter)) func(*sdk.NylonPlugin) {
	return func(p *sdk.NylonPlugin) { p.AddStaticHandler("filter", sdk.Handlers{RequestFilter: f}) }
}

func procs(t *testing.T, n int) {
	old := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(old) })
}

func handovers(l *testhost.Local) (n uint64) {
	for _, w := range l.Worker.Lanes {
		n += w.Stats().Handovers
	}
	return n
}

// 64 handlers of one worker that wait for each other all finish, with one processor too.
func TestBarrier(t *testing.T) {
	for _, n := range []int{1, runtime.GOMAXPROCS(0)} {
		t.Run(fmt.Sprintf("procs=%d", n), func(t *testing.T) {
			procs(t, n)
			const handlers = 64
			var barrier sync.WaitGroup
			barrier.Add(handlers)
			l := local(t, testhost.Options{}, filter(func(ctx *sdk.PhaseRequestFilter) {
				barrier.Done()
				barrier.Wait()
				ctx.Next()
			}))
			var all []*testhost.Invocation
			for range handlers {
				all = append(all, l.Begin(&testhost.Step{Sid: testhost.NewSid(), Open: true, Phase: 1, Record: step(t, 0, "/")}))
			}
			for _, inv := range all {
				if final := inv.Wait(); final.Fault != nil {
					t.Fatal(final.Fault)
				}
			}
			t.Logf("hand-overs: %d", handovers(l))
		})
	}
}

// 10 000 handlers that do not block cause no hand-over.
func TestNoHandoverWithoutBlocking(t *testing.T) {
	// The rescue bell judges by the clock; a test machine that stops for a moment is not what is tested here.
	l := local(t, testhost.Options{Rescue: 5 * time.Second}, filter(func(ctx *sdk.PhaseRequestFilter) {
		ctx.Response().SetHeader("x", ctx.Request().Path())
		ctx.Next()
	}))
	rec := step(t, 0, "/path")
	for range 100 {
		var batch []*testhost.Invocation
		for range 100 {
			batch = append(batch, l.Begin(&testhost.Step{Sid: testhost.NewSid(), Open: true, Phase: 1, Record: rec}))
		}
		for _, inv := range batch {
			if final := inv.Wait(); final.Fault != nil {
				t.Fatal(final.Fault)
			}
		}
	}
	if n := handovers(l); n != 0 {
		t.Fatalf("%d hand-overs", n)
	}
	if n := l.Worker.Lanes[0].Stats().Calls; n != 10_000 {
		t.Fatalf("%d handlers ran", n)
	}
}

// A handler that blocks unseen loses the lane; from then on its class runs off the leader.
func TestRescue(t *testing.T) {
	procs(t, 1)
	release := make(chan struct{})
	l := local(t, testhost.Options{}, func(p *sdk.NylonPlugin) {
		filter(func(ctx *sdk.PhaseRequestFilter) {
			<-release
			ctx.Next()
		})(p)
		p.AddPhaseHandler("quick", func(phase *sdk.PhaseHandler) {
			phase.RequestFilter(func(ctx *sdk.PhaseRequestFilter) { ctx.Next() })
		})
	})
	stuck := l.Begin(&testhost.Step{Sid: testhost.NewSid(), Open: true, Phase: 1, Record: step(t, 0, "/")})
	for range 100 {
		if final := open(t, l.Host, 1, "/"); final.Fault != nil {
			t.Fatal(final.Fault)
		}
	}
	if n := handovers(l); n != 1 {
		t.Fatalf("%d hand-overs, not 1", n)
	}
	second := l.Begin(&testhost.Step{Sid: testhost.NewSid(), Open: true, Phase: 1, Record: step(t, 0, "/")})
	if final := open(t, l.Host, 1, "/"); final.Fault != nil {
		t.Fatal(final.Fault)
	}
	close(release)
	stuck.Wait()
	second.Wait()
	if n := handovers(l); n > 2 { // 2: the machine stopped for a moment
		t.Fatalf("%d hand-overs: the class was not learned", n)
	}
}

// A host call hands the lane over by itself, once; then the class is long and nothing is handed over any more.
func TestHostCallHandsOver(t *testing.T) {
	l := local(t, testhost.Options{Rescue: 5 * time.Second}, filter(func(ctx *sdk.PhaseRequestFilter) {
		if string(ctx.Request().RawBody()) == "body" {
			ctx.Next()
		}
	}))
	for range 50 {
		final := l.Run(&testhost.Step{
			Sid: testhost.NewSid(), Open: true, Phase: 1, Record: step(t, 0, "/"),
			Body: func() [][]byte { return [][]byte{[]byte("bo"), []byte("dy")} },
		})
		if final.Fault != nil {
			t.Fatal(final.Fault)
		}
	}
	if n := handovers(l); n != 1 {
		t.Fatalf("%d hand-overs, not 1", n)
	}
}

// A Goexit in a handler is an ERROR, and another goroutine leads the lane; the same for panics, inline and off it.
func TestGoexitAndPanic(t *testing.T) {
	for _, long := range []bool{false, true} {
		l := local(t, testhost.Options{}, filter(func(ctx *sdk.PhaseRequestFilter) {
			if long {
				ctx.Request().RawBody() // makes the class long
			}
			switch ctx.Request().Path() {
			case "/exit":
				runtime.Goexit()
			case "/panic":
				panic(fmt.Errorf("no luck"))
			case "/panic-after":
				ctx.Next()
				panic("too late to matter")
			}
			ctx.Next()
		}))
		for range 20 {
			for path, code := range map[string]uint32{"/exit": wire.ErrorGoexit, "/panic": wire.ErrorPanic, "/": 0, "/panic-after": 0} {
				final := open(t, l.Host, 0, path)
				if (final.Fault == nil) != (code == 0) || code != 0 && final.Fault.Code != code {
					t.Fatalf("%s: %+v", path, final.Fault)
				}
			}
		}
		l.Close()
		if flying, late := l.InFlight(); flying != 0 || late != 0 {
			t.Fatalf("%d in flight, %d late", flying, late)
		}
	}
}

// Nothing is left after many sessions of every kind: no goroutine, no session.
func TestNoLeaks(t *testing.T) {
	watchdog(t)
	before := goroutines()
	func() {
		plugin := bridge.New().(*sdk.NylonPlugin)
		filter(func(ctx *sdk.PhaseRequestFilter) {
			switch ctx.Request().Path() {
			case "/later":
				go func() {
					time.Sleep(time.Millisecond)
					ctx.Next()
				}()
			case "/never":
			case "/panic":
				panic("x")
			default:
				ctx.Request().RawBody()
				<-ctx.Context().Done()
			}
		})(plugin)
		l, err := testhost.NewLocal(plugin, testhost.Options{Fault: func(err error) { t.Error(err) }}, func(string, ...any) {})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				sid := testhost.NewSid()
				path := []string{"/later", "/never", "/panic", "/wait"}[i%4]
				l.Run(&testhost.Step{Sid: sid, Open: true, Phase: 1, Budget: 20 * time.Millisecond, Record: step(t, 0, path)})
				l.CloseSession(sid)
			}()
		}
		wg.Wait()
		for end := time.Now().Add(10 * time.Second); l.Worker.Sessions() != 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d sessions left", l.Worker.Sessions())
			}
		}
		l.Stop()
	}()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		left := goroutines() - before
		if left <= 0 {
			return
		}
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines left:\n%s", left, buf[:runtime.Stack(buf, true)])
		}
	}
}

func goroutines() int {
	buf := make([]byte, 1<<20)
	n := 0
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "sdk-go/internal/") {
			n++
		}
	}
	return n
}

// Rings and arenas full in both directions: everything arrives.
func TestFullRings(t *testing.T) {
	opt := testhost.Options{Geometry: wire.Geometry{Lanes: 2, Slots: 64, Arena: 256 << 10}}
	l := local(t, opt, filter(func(ctx *sdk.PhaseRequestFilter) {
		ctx.Response().BodyRaw(append([]byte(ctx.Request().Header("x")), make([]byte, 20_000)...))
		ctx.End()
	}))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 50 {
				nonce := fmt.Sprintf("%d.%d", g, i)
				var w wire.StepWriter
				w.Entry(0)
				w.Request(&wire.RequestFields{
					Method: "GET", Path: "/" + strings.Repeat("x", 30_000), Headers: []wire.Pair{{Name: "x", Value: nonce}},
				})
				rec, err := w.Finish()
				if err != nil {
					t.Error(err)
					return
				}
				final := l.Run(&testhost.Step{Sid: testhost.NewSid(), Open: true, Phase: 1, Record: rec})
				if final.Fault != nil || !strings.HasPrefix(string(final.Ops[0].Value), nonce+"\x00") {
					t.Errorf("%s: %+v", nonce, final.Fault)
					return
				}
			}
		}()
	}
	wg.Wait()
}
