package sdk_test

import (
	"sync/atomic"
	"testing"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/internal/bridge"
	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/testhost"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// BenchmarkSession is one whole session over the lane, both sides polling: 12 headers in, three fields read, one
// header set, Next. The host's end here does nothing but publish and look for the answer.
func BenchmarkSession(b *testing.B) {
	opt := testhost.Options{}
	h, p := testhost.Segments(&opt)
	atomic.StoreUint32(h.U32(wire.HeaderSpinNsPeer), 100_000)
	plugin := bridge.New().(*sdk.NylonPlugin)
	filter(getters)(plugin)
	hello := &wire.Hello{Geometry: opt.Geometry, Window: uint32(wire.LimitWindow), Features: wire.FeatureKnown}
	parker := lane.NewChanParker()
	space := lane.NewMonitor()
	fault := func(err error) { b.Error(err) }
	w, err := bridge.Start(plugin, hello, bridge.Link{
		Host: h, Own: p, HostBell: func() {}, Space: space, Fault: fault,
	}, []lane.Parker{parker})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Stop()
	prod := lane.NewProducer(wire.SideHost, h.Lane(0), p.Lane(0), parker.Wake, space, fault)
	cons := lane.NewConsumer(wire.SideWorker, h.Lane(0), p.Lane(0), func() {}, fault)
	out, sid, in := browser(b), uint32(0), lane.Frame{}
	b.ReportAllocs()
	for b.Loop() {
		sid++
		f := out.Frame
		f.Sid, f.CallGen = sid, sid
		prod.Send(&f, out.payload)
		for !cons.Pop(&in) {
		}
		if in.Kind != wire.KindReply {
			b.Fatal(in.Kind)
		}
	}
}

// framed is a frame with its payload.
type framed struct {
	lane.Frame
	payload []byte
}

// browser is a request as a browser sends it: 12 headers.
func browser(t testing.TB) (f framed) {
	t.Helper()
	fields := wire.RequestFields{Method: "GET", Path: "/path", Host: "example.com", ClientIP: "192.0.2.1", RequestID: "id"}
	for _, name := range []string{
		"accept", "accept-encoding", "accept-language", "authorization", "cache-control", "cookie",
		"dnt", "origin", "referer", "user-agent", "x-forwarded-for", "x-request-id",
	} {
		fields.Headers = append(fields.Headers, wire.Pair{Name: name, Value: "some value of " + name})
	}
	step := wire.StepWriter{NameIDs: true}
	step.Entry(0)
	step.Request(&fields)
	var err error
	if f.payload, err = step.Finish(); err != nil {
		t.Fatal(err)
	}
	f.Kind, f.Phase, f.Flags, f.Status = wire.KindCall, wire.PhaseRequestFilter, wire.FlagOpen, 5000
	return f
}

// getters reads three fields, sets a header and goes on.
func getters(ctx *sdk.PhaseRequestFilter) {
	r := ctx.Request()
	if r.Path() == "" || r.Host() == "" || r.Header("accept") == "" {
		panic("empty")
	}
	ctx.Response().SetHeader("x-a", "b")
	ctx.Next()
}
