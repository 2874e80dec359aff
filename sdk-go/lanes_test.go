package sdk_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
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

// A session with 20 getters, one SetHeader and Next is exactly one frame down and one up.
func TestZeroRoundTrips(t *testing.T) {
	var got []string
	l := local(t, testhost.Options{}, filter(func(ctx *sdk.PhaseRequestFilter) {
		r, res := ctx.Request(), ctx.Response()
		got = []string{
			r.Method(), r.URL(), r.Path(), r.Query(), r.Host(), r.ClientIP(), r.Header("accept"), r.Header("none"),
			fmt.Sprint(r.Headers().GetAll()), fmt.Sprint(r.Params()), fmt.Sprint(r.Bytes()), fmt.Sprint(r.Timestamp()),
			fmt.Sprint(res.Status()), fmt.Sprint(res.Headers()), fmt.Sprint(res.Bytes()), res.Error(), string(res.ReadBody()),
			fmt.Sprint(res.Duration() >= 0), fmt.Sprint(ctx.GetPayload()), r.Headers().Get("Accept"),
		}
		res.SetHeader("x-seen", "1")
		ctx.Next()
	}))
	var w wire.StepWriter
	w.Entry(0)
	w.Request(&wire.RequestFields{
		Method: "GET", Path: "/p", Query: "a=1", Host: "h", ClientIP: "1.2.3.4", Port: 8080, TLS: true, TimestampMs: 5, Bytes: 7,
		Headers: []wire.Pair{{Name: "accept", Value: "*/*"}}, Params: []wire.Pair{{Name: "id", Value: "9"}},
	})
	w.Payload([]byte(`{"k":"v"}`))
	rec, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	final := l.Run(&testhost.Step{Sid: testhost.NewSid(), Open: true, Phase: 1, Record: rec})
	if final.Fault != nil || final.Wants != 0 || len(final.Ops) != 1 || string(final.Ops[0].Name) != "x-seen" {
		t.Fatalf("%+v", final)
	}
	want := "GET|https://h:8080/p?a=1|/p|a=1|h|1.2.3.4|*/*||map[accept:*/*]|map[id:9]|7|5|200|map[]|0|||true|map[k:v]|*/*"
	if s := strings.Join(got, "|"); s != want {
		t.Fatalf("got  %s\nwant %s", s, want)
	}
	if down, up := l.Frames(); down != 1 || up != 1 {
		t.Fatalf("%d frames down, %d up", down, up)
	}
	if n := l.Worker.Sessions(); n != 0 {
		t.Fatalf("%d sessions left open", n)
	}
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

// The factory is the handler's business too.
func TestFactoryPanics(t *testing.T) {
	l := local(t, testhost.Options{}, func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("bad", func(*sdk.PhaseHandler) { panic("factory") })
	})
	sid := testhost.NewSid()
	final := l.Run(&testhost.Step{Sid: sid, Open: true, Phase: 1, Record: step(t, 0, "/")})
	if final.Fault == nil || final.Fault.Code != wire.ErrorPanic {
		t.Fatalf("%+v", final)
	}
	// A later phase of that session fails closed, it does not pass as "nothing registered".
	final = l.Run(&testhost.Step{Sid: sid, Phase: wire.PhaseResponseFilter})
	if final.Fault == nil {
		t.Fatalf("%+v", final)
	}
}

// A step of a session that is gone, a borrowed record that is gone, an entry that is not there: ERROR, not silence.
func TestUnknownNames(t *testing.T) {
	l := local(t, testhost.Options{}, filter(func(ctx *sdk.PhaseRequestFilter) { ctx.Next() }))
	if final := l.Run(&testhost.Step{Sid: testhost.NewSid(), Phase: 2}); final.Fault == nil || final.Fault.Code != wire.ErrorClosed {
		t.Fatalf("%+v", final)
	}
	if final := open(t, l.Host, 7, "/"); final.Fault == nil || final.Fault.Code != wire.ErrorUnknownEntry {
		t.Fatalf("%+v", final)
	}
	var w wire.StepWriter
	w.Entry(0)
	w.RequestOf(1 << 30)
	rec, _ := w.Finish()
	final := l.Run(&testhost.Step{Sid: testhost.NewSid(), Open: true, Phase: 1, Record: rec})
	if final.Fault == nil || final.Fault.Code != wire.ErrorClosed {
		t.Fatalf("%+v", final)
	}
}

// One record serves every session of a request.
func TestRequestOf(t *testing.T) {
	var paths []string
	l := local(t, testhost.Options{}, func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("both", func(phase *sdk.PhaseHandler) {
			phase.RequestFilter(func(ctx *sdk.PhaseRequestFilter) {
				paths = append(paths, ctx.Request().Path())
				ctx.Next()
			})
			phase.Logging(func(ctx *sdk.PhaseLogging) { ctx.Next() })
		})
	})
	first := testhost.NewSid()
	final := l.Run(&testhost.Step{Sid: first, Open: true, Phase: 1, Record: step(t, 0, "/shared")})
	if final.Wants != 1<<wire.PhaseRequestFilter|1<<wire.PhaseLogging {
		t.Fatalf("wants %b", final.Wants)
	}
	var w wire.StepWriter
	w.Entry(0)
	w.RequestOf(first)
	rec, _ := w.Finish()
	second := testhost.NewSid()
	l.Run(&testhost.Step{Sid: second, Open: true, Phase: 1, Record: rec})
	if fmt.Sprint(paths) != "[/shared /shared]" {
		t.Fatal(paths)
	}
	if n := l.Worker.Sessions(); n != 2 {
		t.Fatalf("%d sessions", n)
	}
	l.CloseSession(first)
	l.CloseSession(second)
	open(t, l.Host, 0, "/") // in order: both are closed once this one answers
	if n := l.Worker.Sessions(); n != 1 {
		t.Fatalf("%d sessions", n)
	}
}

// Events of one session run one at a time, in order.
func TestInboxKeepsOrder(t *testing.T) {
	var running, seen atomic.Int32
	l := local(t, testhost.Options{}, func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("pieces", func(phase *sdk.PhaseHandler) {
			phase.ResponseBodyFilter(func(ctx *sdk.PhaseResponseBodyFilter) {
				if running.Add(1) != 1 {
					t.Error("two handlers of one session at a time")
				}
				if want := fmt.Sprint(seen.Add(1)); string(ctx.Response().ReadBody()) != want {
					t.Errorf("piece %s instead of %s", ctx.Response().ReadBody(), want)
				}
				time.Sleep(time.Millisecond)
				running.Add(-1)
				ctx.Next()
			})
		})
	})
	sid := testhost.NewSid()
	var all []*testhost.Invocation
	for i := range wire.LimitInbox {
		var w wire.StepWriter
		if i == 0 {
			w.Entry(0)
			w.Request(&wire.RequestFields{Method: "GET", Path: "/"})
		}
		w.Piece([]byte(fmt.Sprint(i+1)), false)
		rec, err := w.Finish()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l.Begin(&testhost.Step{Sid: sid, Open: i == 0, Phase: wire.PhaseResponseBodyFilter, Record: rec}))
	}
	for _, inv := range all {
		if final := inv.Wait(); final.Fault != nil {
			t.Fatal(final.Fault)
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

// Allocations of one whole session, host's end and factory included; the figure is in the log.
func TestAllocations(t *testing.T) {
	handler := func(ctx *sdk.PhaseRequestFilter) {
		r := ctx.Request()
		if r.Path() == "" || r.Host() == "" || r.Method() == "" {
			panic("empty")
		}
		ctx.Response().SetHeader("x-a", "b")
		ctx.Next()
	}
	l := local(t, testhost.Options{}, filter(handler))
	rec := step(t, 0, "/path")
	s := &testhost.Step{Open: true, Phase: 1, Record: rec}
	run := func() {
		s.Sid = testhost.NewSid()
		if final := l.Run(s); final.Fault != nil {
			t.Fatal(final.Fault)
		}
	}
	both := testing.AllocsPerRun(2000, run)
	t.Logf("allocations per session, test host and plugin together: %.1f", both)
	if both > 16 {
		t.Errorf("%.1f allocations per session", both)
	}
}

// The author of an entry whose handler forgets its verdict is told so, once.
func TestForgottenVerdictWarns(t *testing.T) {
	watchdog(t)
	plugin := bridge.New().(*sdk.NylonPlugin)
	filter(func(ctx *sdk.PhaseRequestFilter) {})(plugin)
	warnings := make(chan string, 10)
	l, err := testhost.NewLocal(plugin, testhost.Options{Fault: func(err error) { t.Error(err) }}, func(msg string, kv ...any) {
		warnings <- msg + fmt.Sprint(kv...)
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		final := l.Run(&testhost.Step{
			Sid: testhost.NewSid(), Open: true, Phase: 1, Budget: 5 * time.Millisecond, Record: step(t, 0, "/"),
		})
		if !final.Late {
			t.Fatalf("%+v", final)
		}
	}
	l.Stop()
	if w := <-warnings; !strings.Contains(w, "without Next or End") || !strings.Contains(w, "filter") || len(warnings) != 0 {
		t.Fatalf("%s, and %d more", w, len(warnings))
	}
}

// Views of a record outlive the session and the garbage collector.
func TestViewsOutlive(t *testing.T) {
	var mu sync.Mutex
	kept := map[string]*sdk.Request{}
	l := local(t, testhost.Options{}, filter(func(ctx *sdk.PhaseRequestFilter) {
		mu.Lock()
		kept[ctx.Request().Path()] = ctx.Request()
		mu.Unlock()
		ctx.Next()
		ctx.Response().SetHeader("late", "ignored")
		if ctx.Request().RawBody() != nil {
			t.Error("a body after the session closed")
		}
	}))
	for i := range 3000 {
		if final := open(t, l.Host, 0, fmt.Sprintf("/%d", i)); final.Fault != nil || len(final.Ops) != 0 {
			t.Fatalf("%+v", final)
		}
		if i%500 == 0 {
			runtime.GC()
		}
	}
	runtime.GC()
	mu.Lock()
	defer mu.Unlock()
	for path, r := range kept {
		if r.Path() != path || r.Host() != "example.com" {
			t.Fatalf("%q turned into %q", path, r.Path())
		}
	}
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
