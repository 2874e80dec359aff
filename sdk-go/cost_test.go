//go:build unix

package sdk_test

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/internal/bridge"
	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/testhost"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// alone is a lane whose host runs on the leader's own goroutine, whenever the ring is empty: what is timed and counted
// is the worker, and a host that does nothing but publish and look at the answers.
type alone struct {
	t     testing.TB
	prod  *lane.Producer
	cons  *lane.Consumer
	steps []framed // sent time after time, under new names
	close bool     // the host closes sessions once they answered
	sid   uint32
	gen   uint32
	in    lane.Frame
	bells atomic.Int64 // rung by either side, and waits for space
	sent  int
	left  int
	asked chan int
	done  chan struct{}
}

// batch is how many sessions the leader finds each time it looks.
const batch = 16

// newAlone starts the plugin that setup makes; steps are the frames of one session.
func newAlone(t testing.TB, setup func(*sdk.NylonPlugin), steps ...framed) *alone {
	t.Helper()
	var opt testhost.Options
	h, p := testhost.Segments(&opt)
	plugin := bridge.New().(*sdk.NylonPlugin)
	setup(plugin)
	a := &alone{t: t, steps: steps, asked: make(chan int), done: make(chan struct{})}
	fault := func(err error) { t.Error(err) }
	a.prod = lane.NewProducer(wire.SideHost, h.Lane(0), p.Lane(0), a.bell, noSpace{a}, fault)
	a.cons = lane.NewConsumer(wire.SideWorker, h.Lane(0), p.Lane(0), a.bell, fault)
	hello := &wire.Hello{Geometry: opt.Geometry, Window: opt.Window, Features: opt.Features}
	link := bridge.Link{Host: h, Own: p, HostBell: a.bell, Space: noSpace{a}, Fault: fault}
	w, err := bridge.Start(plugin, hello, link, []lane.Parker{a})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return a
}

// run sends n batches and takes the answers.
func (a *alone) run(n int) {
	a.asked <- n
	<-a.done
}

// Park implements lane.Parker: the leader found nothing.
func (a *alone) Park(poll func() bool) {
	for range a.sent {
		for !a.cons.Pop(&a.in) { // its class is long: another goroutine is at it
			runtime.Gosched()
		}
		if a.in.Kind == wire.KindError {
			a.t.Errorf("answered by an error: %q", a.in.Payload)
		}
	}
	a.cons.Release()
	if a.sent > 0 && a.left == 0 {
		a.done <- struct{}{}
	}
	if a.sent = 0; a.left == 0 {
		if a.left = <-a.asked; a.left == 0 {
			poll() // closed
			return
		}
	}
	a.left--
	a.gen++
	for range batch {
		if a.sid++; a.close && a.sid > batch {
			closed := lane.Frame{}
			closed.Kind, closed.Sid = wire.KindClose, a.sid-batch
			a.prod.Send(&closed, nil)
		}
		for i := range a.steps {
			f := a.steps[i]
			f.Sid, f.CallIdx, f.CallGen = a.sid, uint32(a.sent), a.gen
			a.prod.Send(&f.Frame, f.payload)
			a.sent++
		}
	}
	poll()
}

func (a *alone) bell() { a.bells.Add(1) }

// Wake implements lane.Parker.
func (a *alone) Wake() { a.bell() }

// Close implements lane.Parker.
func (a *alone) Close() { close(a.asked) }

// noSpace is where a producer would wait for space.
type noSpace struct{ a *alone }

func (n noSpace) Wait(*uint32, uint32) { n.a.bell() }
func (n noSpace) Wake(*uint32)         { n.a.bell() }

// further is a later phase of the same session.
func further(t testing.TB, phase uint8) (f framed) {
	t.Helper()
	var step wire.StepWriter
	step.Response(200, 0, []wire.Pair{{Name: "content-type", Value: "text/html"}})
	var err error
	if f.payload, err = step.Finish(); err != nil {
		t.Fatal(err)
	}
	f.Kind, f.Phase, f.Status = wire.KindCall, phase, 5000
	return f
}

// bare is a frame without payload.
func bare(kind uint8) (f framed) {
	f.Kind = kind
	return f
}

func next(ctx *sdk.PhaseRequestFilter) { ctx.Next() }

// What the SDK allocates by itself, and that nobody rings while both sides are awake: a ring is a system call. The copy
// of a record is a share of a 64 KiB chunk, at most 1/64 here.
func TestCost(t *testing.T) {
	watchdog(t)
	const chunk = 1.0 / 64
	both := sdk.Handlers{
		RequestFilter:  getters,
		ResponseFilter: func(ctx *sdk.PhaseResponseFilter) { ctx.SetResponseHeader("x-a", "b"); ctx.Next() },
	}
	for _, c := range []struct {
		name  string
		setup func(*sdk.NylonPlugin)
		steps []framed
		most  float64 // allocations per session
	}{
		{"frame", filter(next), []framed{bare(wire.KindPing)}, 0},
		// What the plugin's own function allocates is not the SDK's: these handlers capture nothing.
		{"factory", filter(getters), []framed{browser(t)}, 1 + chunk},
		{"static", static(getters), []framed{browser(t)}, 1.0/16 + chunk},
		{"static phases", func(p *sdk.NylonPlugin) { p.AddStaticHandler("both", both) },
			[]framed{browser(t), further(t, wire.PhaseResponseFilter)}, 2.0/16 + chunk},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAlone(t, c.setup, c.steps...)
			a.close = len(c.steps) > 1
			const batches, runs = 64, 5
			found := 0.0
			for try := range 3 { // a machine that stops for a moment makes a class long, which starts goroutines
				found = testing.AllocsPerRun(runs, func() { a.run(batches) }) / (batches * batch)
				if n := a.bells.Load(); n != 0 {
					t.Errorf("rung %d times", n)
				}
				if want := (try + 1) * (runs + 1) * batches * batch; int(a.sid) != want {
					t.Errorf("%d sessions, not %d", a.sid, want)
				}
				if t.Logf("%.3f allocations", found); found <= c.most+0.002 {
					return
				}
			}
			if !raceEnabled {
				t.Errorf("%.3f allocations, not %.3f", found, c.most)
			}
		})
	}
}

// BenchmarkWorker is what the worker's leader does for one frame, and for one whole session, with nobody to wait for.
func BenchmarkWorker(b *testing.B) {
	for _, c := range []struct {
		name  string
		setup func(*sdk.NylonPlugin)
		step  framed
	}{
		{"frame", filter(next), bare(wire.KindPing)},
		{"next", filter(next), browser(b)}, {"getters", filter(getters), browser(b)},
		{"static-next", static(next), browser(b)}, {"static-getters", static(getters), browser(b)},
	} {
		b.Run(c.name, func(b *testing.B) {
			a := newAlone(b, c.setup, c.step)
			a.run(1)
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu(b)
			a.run((b.N + batch - 1) / batch)
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpu is the processor time of this process, garbage collection included: it says more than the clock does on a machine
// that others use.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
