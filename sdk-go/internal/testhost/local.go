package testhost

import (
	"github.com/nylon-rs/nylon/sdk-go/internal/bridge"
	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
)

// Local is a host and a plugin in one process, over memory on the heap.
type Local struct {
	*Host
	Worker *bridge.Worker
}

// NewLocal starts plugin, a *sdk.NylonPlugin, under a host.
func NewLocal(plugin any, opt Options, warn func(msg string, kv ...any)) (*Local, error) {
	h, p := Segments(&opt)
	parkers := make([]lane.Parker, opt.Geometry.Lanes)
	for i := range parkers {
		parkers[i] = lane.NewChanParker()
	}
	space, own := lane.NewMonitor(), lane.NewChanParker()
	local := &Local{}
	local.Host = New(opt, h, p, Bells{
		Worker: func(i int) { parkers[i].Wake() },
		Rescue: func() {
			for _, l := range local.Worker.Lanes {
				l.Rescue()
			}
		},
		Space: space, Own: own,
	})
	var err error
	local.Worker, err = bridge.Start(plugin, &local.Hello, bridge.Link{
		Host: h, Own: p, HostBell: own.Wake, Space: space, Fault: opt.Fault, Warn: warn,
	}, parkers)
	if err != nil {
		return nil, err
	}
	local.Start()
	return local, nil
}

// Stop stops the host, then the worker, and waits for their goroutines.
func (l *Local) Stop() {
	l.Close()
	l.Worker.Stop()
}
