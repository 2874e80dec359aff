package sdk

import (
	"github.com/nylon-rs/nylon/sdk-go/internal/bridge"
	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

func init() {
	bridge.New = func() any { return &NylonPlugin{} }
	bridge.Start = startInProcess
}

// startInProcess is attach and start over a link that needs no other process.
func startInProcess(plugin any, hello *wire.Hello, link bridge.Link, parkers []lane.Parker) (*bridge.Worker, error) {
	p := plugin.(*NylonPlugin)
	if err := p.initialize(hello.Config); err != nil {
		return nil, err
	}
	w := newWorker(p, hello)
	if link.Fault != nil {
		w.Fault = link.Fault
	}
	if link.Warn != nil {
		w.Warn = link.Warn
		w.Panicked = func(entry string, value any, _ []byte) {
			link.Warn("handler panicked", "entry", entry, "panic", value)
		}
	}
	pool := &lane.Pool{}
	lanes := make([]*lane.Lane, len(parkers))
	for i := range lanes {
		lanes[i] = lane.New(lane.Config{
			Host: link.Host.Lane(i), Own: link.Own.Lane(i), SpinNs: link.Host.U32(wire.HeaderSpinNsPeer),
			HostBell: link.HostBell, Parker: parkers[i], Space: link.Space,
			Pool: pool, Sink: w.Sink(), Fault: w.Fault, WebSocket: w.Features&wire.FeatureWebsocket != 0,
		})
		lanes[i].Start()
	}
	return &bridge.Worker{
		Lanes: lanes, Entries: entryNames(w), Sessions: w.Open, Shutdown: p.shutdown,
		Stop: func() { lane.CloseAll(pool, lanes); forgetWorker(w) },
	}, nil
}
