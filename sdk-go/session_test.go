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
	w := wire.StepWriter{NameIDs: true}
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
	w := wire.StepWriter{NameIDs: true}
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
	w := wire.StepWriter{NameIDs: true}
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

// A response head that still stands is not sent again.
func TestResponseKept(t *testing.T) {
	var seen []string
	see := func(r *sdk.Response) { seen = append(seen, fmt.Sprint(r.Status(), r.Headers())) }
	l := local(t, testhost.Options{}, func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("all", func(phase *sdk.PhaseHandler) {
			phase.RequestFilter(func(ctx *sdk.PhaseRequestFilter) { ctx.Next() })
			phase.ResponseFilter(func(ctx *sdk.PhaseResponseFilter) { see(ctx.Response()); ctx.Next() })
			phase.Logging(func(ctx *sdk.PhaseLogging) { see(ctx.Response()); ctx.Next() })
		})
	})
	sid := testhost.NewSid()
	l.Run(&testhost.Step{Sid: sid, Open: true, Phase: 1, Record: step(t, 0, "/")})
	run := func(phase uint8, build func(*wire.StepWriter)) {
		w := wire.StepWriter{NameIDs: true}
		build(&w)
		rec, err := w.Finish()
		if err != nil {
			t.Fatal(err)
		}
		l.Run(&testhost.Step{Sid: sid, Phase: phase, Record: rec})
	}
	kept := func(w *wire.StepWriter) { w.ResponseKept() }
	head := func(status uint16) func(*wire.StepWriter) {
		return func(w *wire.StepWriter) { w.Response(status, 0, []wire.Pair{{Name: "etag", Value: "v"}}) }
	}
	run(wire.PhaseResponseFilter, head(404))
	run(wire.PhaseResponseFilter, kept)
	run(wire.PhaseResponseFilter, head(410))
	run(wire.PhaseLogging, kept)
	if got := fmt.Sprint(seen); got != "[404 map[etag:v] 404 map[etag:v] 410 map[etag:v] 410 map[etag:v]]" {
		t.Fatal(got)
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
		w := wire.StepWriter{NameIDs: true}
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
		if final.Cancelled != wire.CancelDeadline {
			t.Fatalf("%+v", final)
		}
	}
	l.Stop()
	if w := <-warnings; !strings.Contains(w, "without Next or End") || !strings.Contains(w, "filter") || len(warnings) != 0 {
		t.Fatalf("%s, and %d more", w, len(warnings))
	}
}

// So is one whose handler returns from a stream that has no end.
func TestForgottenStreamEndWarns(t *testing.T) {
	watchdog(t)
	plugin := bridge.New().(*sdk.NylonPlugin)
	streams := make(chan *sdk.ResponseStream, 1)
	filter(func(ctx *sdk.PhaseRequestFilter) {
		stream, err := ctx.Response().Stream()
		if err != nil {
			t.Error(err)
		}
		if ctx.Request().Path() == "/ends" {
			_ = stream.End()
		}
		streams <- stream
	})(plugin)
	warnings := make(chan string, 10)
	l, err := testhost.NewLocal(plugin, testhost.Options{Fault: func(err error) { t.Error(err) }}, func(msg string, kv ...any) {
		warnings <- msg + fmt.Sprint(kv...)
	})
	if err != nil {
		t.Fatal(err)
	}
	begin := func(path string) *testhost.Invocation {
		return l.Begin(&testhost.Step{
			Sid: testhost.NewSid(), Open: true, Phase: 1, Record: step(t, 0, path), Header: func([]wire.Op) error { return nil },
		})
	}
	inv := begin("/ends")
	<-streams
	inv.Wait()
	if len(warnings) != 0 {
		t.Fatal(<-warnings)
	}
	for n := range 2 {
		inv := begin("/")
		stream := <-streams
		if n == 0 {
			if w := <-warnings; !strings.Contains(w, "while streaming") || !strings.Contains(w, "filter") {
				t.Fatal(w)
			}
		}
		_ = stream.End() // of another goroutine: that is allowed
		if final := inv.Wait(); final.Method != wire.MethodSetResponseStreamEnd {
			t.Fatalf("%+v", final)
		}
	}
	l.Stop()
	if len(warnings) != 0 {
		t.Fatal("warned twice: ", <-warnings)
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
