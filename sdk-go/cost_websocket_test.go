//go:build unix

package sdk_test

import (
	"runtime"
	"strings"
	"testing"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/internal/bridge"
	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/testhost"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// talk is a lane with open WebSockets, whose host runs on the leader's own goroutine, as that of alone does: it says
// something on each socket in turn, batch by batch, and takes what comes back.
type talk struct {
	alone
	message string
	sockets int
	next    uint32 // socket
	back    []wire.Window
	up      []uint64 // cost of what came
	waiting int      // for so many frames that answer
}

// newTalk starts the plugin that setup makes and opens sockets on its first entry.
func newTalk(t testing.TB, setup func(*sdk.NylonPlugin), sockets int, message string) *talk {
	t.Helper()
	var opt testhost.Options
	h, p := testhost.Segments(&opt)
	plugin := bridge.New().(*sdk.NylonPlugin)
	setup(plugin)
	k := &talk{alone: alone{t: t, asked: make(chan int), done: make(chan struct{})}, message: message, sockets: sockets}
	k.back, k.up = make([]wire.Window, sockets), make([]uint64, sockets)
	for i := range k.back {
		k.back[i] = wire.NewWindow(uint32(wire.LimitConversation))
	}
	fault := func(err error) { t.Error(err) }
	k.prod = lane.NewProducer(wire.SideHost, h.Lane(0), p.Lane(0), k.bell, noSpace{&k.alone}, fault)
	k.cons = lane.NewConsumer(wire.SideWorker, h.Lane(0), p.Lane(0), k.bell, fault)
	k.cons.WebSocket = true
	hello := &wire.Hello{Geometry: opt.Geometry, Window: opt.Window, Features: opt.Features}
	link := bridge.Link{Host: h, Own: p, HostBell: k.bell, Space: noSpace{&k.alone}, Fault: fault}
	w, err := bridge.Start(plugin, hello, link, []lane.Parker{k})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return k
}

// Park implements lane.Parker.
func (k *talk) Park(poll func() bool) {
	for k.waiting > 0 {
		if k.cons.Pop(&k.in) {
			k.take()
		} else {
			runtime.Gosched() // its class is long: another goroutine is at it
		}
	}
	k.cons.Release()
	if k.left == 0 {
		if k.sent > 0 {
			k.sent = 0
			k.done <- struct{}{}
		}
		if k.left = <-k.asked; k.left == 0 {
			poll() // closed
			return
		}
	}
	k.left--
	k.sent = batch
	for range batch {
		k.say(k.next % uint32(k.sockets))
		k.next++
	}
	poll()
}

// say opens a socket the first time, and then sends the message.
func (k *talk) say(n uint32) {
	var f lane.Frame
	f.Sid = n + 1
	if k.next < uint32(k.sockets) {
		call := browser(k.t)
		call.Sid, call.CallIdx, call.CallGen = f.Sid, 0, f.Sid
		k.prod.Send(&call.Frame, call.payload)
		k.waiting++
		return
	}
	f.CallIdx, f.CallGen = 1000+n, 1
	if k.next < 2*uint32(k.sockets) {
		var step wire.StepWriter
		step.WebSocket(&wire.WebSocketSection{ID: "0b1e2d3c-4f5a-6978-8796-a5b4c3d2e1f0:" + strings.Repeat("7", 5)})
		rec, err := step.Finish()
		if err != nil {
			k.t.Error(err)
		}
		f.Kind, f.Method = wire.KindCall, wire.MethodWebsocketOnOpen
		k.prod.Send(&f, rec)
		return
	}
	f.Kind, f.Method = wire.KindData, wire.MethodWebsocketOnMessageText
	k.prod.Send(&f, []byte(k.message))
	k.waiting++
}

// take takes a frame of the worker.
func (k *talk) take() {
	f := &k.in
	switch f.Kind {
	case wire.KindReply:
		k.waiting--
		if f.Method != wire.MethodWebsocketUpgrade {
			k.t.Errorf("answered with %d", f.Method)
		}
	case wire.KindData:
		k.waiting--
		n := f.Sid - 1
		cost := wire.Cost(&f.Frame)
		if err := k.back[n].Take(cost); err != nil || f.Method != wire.MethodWebsocketSendText || int(f.Len) != len(k.message) {
			k.t.Errorf("%d bytes of %d: %v", f.Len, f.Method, err)
		}
		if k.up[n] += uint64(cost); k.up[n] > uint64(wire.LimitConversation/2) {
			total := k.back[n].Give(k.up[n])
			k.up[n] = 0
			var window lane.Frame
			window.Kind, window.Sid, window.CallIdx, window.CallGen = wire.KindWindow, f.Sid, f.CallIdx, f.CallGen
			k.prod.Send(&window, wire.AppendWindowTotal(nil, total))
		}
	case wire.KindWindow:
	default:
		k.t.Errorf("a frame of kind %d: %q", f.Kind, f.Payload)
	}
}

// open opens the sockets.
func (k *talk) open() { k.run((2*k.sockets + batch - 1) / batch) }

// An echo costs one allocation, the message's own memory.
func TestWebSocketCost(t *testing.T) {
	watchdog(t)
	if raceEnabled {
		t.Skip("the race detector allocates, too")
	}
	for _, c := range []struct {
		name    string
		message string
		most    float64
	}{{"short", "hello", 1}, {"one line", strings.Repeat("x", 500), 1}, {"long", strings.Repeat("x", 20_000), 2}} { // this host's copy

		t.Run(c.name, func(t *testing.T) {
			k := newTalk(t, socket(echo), 64, c.message)
			k.open()
			found := 0.0
			for range 3 {
				const batches = 64
				found = testing.AllocsPerRun(5, func() { k.run(batches) }) / (batches * batch)
				if t.Logf("%.3f allocations", found); found <= c.most+0.1 {
					return
				}
			}
			t.Errorf("%.3f allocations, not %.0f", found, c.most)
		})
	}
}

// An idle socket keeps little: its session, its request and itself, and none of the memory of other requests.
func TestWebSocketMemory(t *testing.T) {
	watchdog(t)
	if raceEnabled {
		t.Skip("the race detector allocates, too")
	}
	const sockets = 2048
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	own := func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("ws", func(phase *sdk.PhaseHandler) {
			phase.RequestFilter(func(p *sdk.PhaseRequestFilter) { _ = p.WebSocketUpgrade(echo) })
		})
	}
	for name, setup := range map[string]func(*sdk.NylonPlugin){"static": socket(echo), "factory": own} {
		t.Run(name, func(t *testing.T) {
			k := newTalk(t, setup, sockets, "hello")
			k.run(1)
			before := heap()
			k.open()
			k.run(sockets / batch) // a message each
			each := (int64(heap()) - int64(before)) / sockets
			t.Logf("%d bytes each", each)
			if each > 4<<10 {
				t.Errorf("%d bytes for an idle socket", each)
			}
		})
	}
}

// BenchmarkWebSocket is what the worker does for one message that it sends back.
func BenchmarkWebSocket(b *testing.B) {
	for name, message := range map[string]string{"5": "hello", "1k": strings.Repeat("x", 1000)} {
		b.Run(name, func(b *testing.B) {
			k := newTalk(b, socket(echo), 64, message)
			k.open()
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu(b)
			k.run((b.N + batch - 1) / batch)
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}
