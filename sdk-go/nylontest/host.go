package nylontest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/internal/bridge"
	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
	"github.com/nylon-rs/nylon/sdk-go/internal/testhost"
)

// Option changes the host.
type Option func(*options)

type options struct {
	host    testhost.Options
	timeout time.Duration
}

// Config is the plugin's `config`; it may be anything that has a JSON form.
func Config(config any) Option {
	return func(o *options) { o.host.Config = mustJSON(config) }
}

// Timeout is the deadline of each phase, 5 s unless set.
func Timeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// Window is how many bytes of a body may be in flight, 512 KiB unless set.
func Window(bytes int) Option { return func(o *options) { o.host.Window = uint32(bytes) } }

// MaxRawBody bounds Request.RawBody, 8 MiB unless set.
func MaxRawBody(bytes int) Option { return func(o *options) { o.host.RawBody = bytes } }

// Lanes is how many lanes host and plugin share, 1 unless set.
func Lanes(n int) Option {
	return func(o *options) {
		o.host.Geometry = shm.DefaultGeometry()
		o.host.Geometry.Lanes = uint32(n)
	}
}

// Rescue is how long a handler may hold a lane before another goroutine takes it over, 1 ms unless set.
func Rescue(d time.Duration) Option { return func(o *options) { o.host.Rescue = d } }

// Host is an in-memory gateway with one plugin.
type Host struct {
	t       testing.TB
	local   *testhost.Local
	timeout time.Duration
}

// New starts a plugin. setup registers its entries; with a nil setup the plugin is that of sdk.NewNylonPlugin, as a
// program's init or main left it. The test ends with the plugin's Shutdown hooks.
func New(t testing.TB, setup func(*sdk.NylonPlugin), opts ...Option) *Host {
	t.Helper()
	h, err := Start(t, setup, opts...)
	if err != nil {
		t.Fatalf("nylontest: the plugin refused to start: %v", err)
	}
	return h
}

// Start is New for a plugin that may refuse to start; it returns why.
func Start(t testing.TB, setup func(*sdk.NylonPlugin), opts ...Option) (*Host, error) {
	t.Helper()
	o := options{timeout: 5 * time.Second}
	for _, opt := range opts {
		opt(&o)
	}
	plugin := sdk.NewNylonPlugin()
	if setup != nil {
		plugin = bridge.New().(*sdk.NylonPlugin)
		setup(plugin)
	}
	o.host.Plugin = t.Name()
	o.host.Fault = func(err error) { t.Errorf("nylontest: protocol violation: %v", err) }
	local, err := testhost.NewLocal(plugin, o.host, func(msg string, kv ...any) { t.Log(append([]any{"nylon: " + msg}, kv...)...) })
	if err != nil {
		return nil, err
	}
	h := &Host{t: t, local: local, timeout: o.timeout}
	t.Cleanup(func() {
		local.Worker.Shutdown()
		local.Stop()
	})
	return h, nil
}

// Entries are the names the plugin registered.
func (h *Host) Entries() []string { return h.local.Worker.Entries }

// Stats are counters of the lanes.
type Stats struct {
	Down, Up  uint64 // frames to the plugin, and from it
	Handovers uint64 // times a lane changed its goroutine
	Sessions  int    // open in the plugin
	InFlight  int    // phases that wait for a verdict
	Late      int    // verdicts that came too late
}

// Stats reads the counters.
func (h *Host) Stats() Stats {
	var s Stats
	s.Down, s.Up = h.local.Frames()
	for _, l := range h.local.Worker.Lanes {
		s.Handovers += l.Stats().Handovers
	}
	s.Sessions = h.local.Worker.Sessions()
	s.InFlight, s.Late = h.local.InFlight()
	return s
}

func (h *Host) entry(name string) uint16 {
	for i, e := range h.local.Worker.Entries {
		if e == name {
			return uint16(i)
		}
	}
	h.t.Fatalf("nylontest: no entry %q, there are %q", name, h.local.Worker.Entries)
	return 0
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("nylontest: %v", err))
	}
	return b
}
