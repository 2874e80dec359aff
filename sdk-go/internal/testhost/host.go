package testhost

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Options of a host; zero values are the wire's defaults.
type Options struct {
	Geometry wire.Geometry
	Window   uint32
	Staged   uint64        // largest staged body
	RawBody  int           // largest body of MethodReadRequestFullBody
	Features uint64        // 0 = all
	Rescue   time.Duration // how long frames stay untaken before the rescue bell; 0 = 1 ms
	Config   []byte
	Payloads [][]byte
	Plugin   string
	Fault    func(error) // a violation by the worker
}

// Bells are how a host wakes a worker, and sleeps until the worker wakes it.
type Bells struct {
	Worker func(lane int) // wakes the leader of a lane
	Rescue func()
	Space  lane.SpaceWaiter
	Own    lane.Parker // where the host's pump sleeps
}

// Host is the host's side of one worker.
type Host struct {
	Hello wire.Hello

	opt    Options
	bells  Bells
	h, p   *shm.Segment
	lanes  []*hostLane
	closed atomic.Bool
	done   chan struct{}

	mu       sync.Mutex
	cond     *sync.Cond
	slab     []*Invocation // nil = free
	gens     []uint32
	flying   int
	late     int
	watching bool

	sockets    []*Socket // nil = free
	socketGens []uint32
	rooms      rooms
}

type hostLane struct {
	prod   *lane.Producer
	cons   *lane.Consumer
	own    *shm.Lane // in H
	worker *shm.Lane // in P
	frame  lane.Frame
}

// lastSid is shared by all hosts of the process, so that a sid names one session in all of them.
var lastSid atomic.Uint32

// NewSid returns a session id that nobody in this process has.
func NewSid() uint32 { return lastSid.Add(1) }

// Segments makes a segment pair on the heap.
func Segments(opt *Options) (h, p *shm.Segment) {
	fill(opt)
	return shm.New(opt.Geometry), shm.New(opt.Geometry)
}

func fill(opt *Options) {
	if opt.Geometry == (wire.Geometry{}) {
		opt.Geometry = shm.DefaultGeometry()
	}
	if opt.Window == 0 {
		opt.Window = uint32(wire.LimitWindow)
	}
	if opt.Staged == 0 {
		opt.Staged = uint64(wire.LimitStaged)
	}
	if opt.RawBody == 0 {
		opt.RawBody = wire.LimitRawBody
	}
	if opt.Features == 0 {
		opt.Features = wire.FeatureKnown
	}
	if opt.Rescue == 0 {
		opt.Rescue = time.Millisecond
	}
	if opt.Plugin == "" {
		opt.Plugin = "test"
	}
}

// New makes the host's end and writes H's header. Start lets it pump.
func New(opt Options, h, p *shm.Segment, bells Bells) *Host {
	fill(&opt)
	const epoch = 0x6e796c6f6e
	g := h.Geometry()
	h.WriteHeader(&wire.Header{Geometry: g, Epoch: epoch, AbiMinor: wire.AbiMinor, Features: opt.Features})
	host := &Host{
		opt: opt, bells: bells, h: h, p: p, done: make(chan struct{}),
		Hello: wire.Hello{
			Versions: wire.Versions, LayoutHash: wire.LayoutHash, Epoch: epoch, SegLen: g.SegmentLen(), Geometry: g,
			Features: opt.Features, Window: opt.Window, StagedMax: opt.Staged, Generation: 1,
			Plugin: opt.Plugin, Config: opt.Config, Payloads: opt.Payloads,
		},
	}
	host.cond = sync.NewCond(&host.mu)
	fault := func(err error) {
		host.closed.Store(true)
		opt.Fault(err)
	}
	for i := range int(g.Lanes) {
		l := &hostLane{own: h.Lane(i), worker: p.Lane(i)}
		l.prod = lane.NewProducer(wire.SideHost, l.own, l.worker, func() { bells.Worker(i) }, bells.Space, fault)
		l.cons = lane.NewConsumer(wire.SideWorker, l.own, l.worker, func() { bells.Space.Wake(l.own.SpaceBell) }, fault)
		l.cons.WebSocket = opt.Features&wire.FeatureWebsocket != 0
		host.lanes = append(host.lanes, l)
	}
	return host
}

// Start pumps the worker's frames, and rings the rescue bell when a lane stands still.
func (h *Host) Start() {
	atomic.StoreUint32(h.h.U32(wire.HeaderState), wire.StateReady)
	go h.pump()
}

// Close stops the pump and fails what is in flight.
func (h *Host) Close() {
	h.closed.Store(true)
	for _, l := range h.lanes {
		l.prod.Close()
	}
	h.bells.Own.Wake()
	<-h.done
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, inv := range h.slab {
		if inv != nil {
			h.finish(inv, Final{Fault: &Fault{wire.ErrorInternal, "the host was closed"}})
		}
	}
	for _, s := range h.sockets {
		if s != nil {
			s.end(&Final{Fault: &Fault{wire.ErrorInternal, "the host was closed"}})
		}
	}
	h.cond.Broadcast()
}

// pump drains all lanes, then sleeps.
func (h *Host) pump() {
	defer close(h.done)
	for !h.closed.Load() {
		h.bells.Own.Park(h.poll)
		for _, l := range h.lanes {
			l.cons.Disarm()
			for !h.closed.Load() && l.cons.Pop(&l.frame) {
				if err := h.frame(l, &l.frame); err != nil {
					h.closed.Store(true)
					h.opt.Fault(err)
				}
			}
			l.cons.Release()
		}
	}
}

// poll arms every lane; true when one has a frame. The worker's bell also says that there is space again.
func (h *Host) poll() bool {
	ready := h.closed.Load()
	for _, l := range h.lanes {
		if atomic.LoadUint32(l.own.SpaceWait)&1 == 1 {
			h.bells.Space.Wake(l.worker.SpaceBell)
		}
		l.cons.Disarm()
		ready = ready || l.cons.Ready()
	}
	for _, l := range h.lanes {
		if ready {
			break
		}
		ready = !l.cons.Arm()
	}
	return ready
}

// Frames is how many frames went down to the worker and came up from it.
func (h *Host) Frames() (down, up uint64) {
	for _, l := range h.lanes {
		down += l.prod.Sent()
		up += l.cons.Taken()
	}
	return down, up
}

// InFlight is how many invocations wait for their final frame; Late counts frames of those given up.
func (h *Host) InFlight() (flying, late int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.flying, h.late
}

// Lane is the lane a session is pinned to.
func (h *Host) lane(sid uint32) *hostLane { return h.lanes[int(sid)%len(h.lanes)] }

// CloseSession ends a session on both sides.
func (h *Host) CloseSession(sid uint32) {
	f := lane.Frame{}
	f.Kind, f.Sid = wire.KindClose, sid
	h.lane(sid).prod.Send(&f, nil)
}

// Ping asks whether the worker is there; the PONG only counts as a frame.
func (h *Host) Ping(nonce uint32) {
	f := lane.Frame{}
	f.Kind, f.Status = wire.KindPing, nonce
	h.lanes[0].prod.Send(&f, nil)
}

// rescueWatch starts watch unless it runs.
func (h *Host) rescueWatch() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.watching {
		h.watching = true
		go h.watch()
	}
}

// watch is the rescue bell: it runs while something is in flight and rings when frames stay untaken though the worker
// is awake (SPEC.md 9.3).
func (h *Host) watch() {
	taken := make([]uint64, len(h.lanes))
	for {
		time.Sleep(h.opt.Rescue)
		h.mu.Lock()
		// A CANCEL may stand untaken when nothing is in flight any more: the handler it is for may hold the lane.
		idle := h.closed.Load() || h.flying == 0 && h.allTaken()
		if idle {
			h.watching = false
		}
		h.mu.Unlock()
		if idle {
			return
		}
		ring := false
		for i, l := range h.lanes {
			now := atomic.LoadUint64(l.worker.Stats[wire.StatTaken])
			if now == taken[i] && l.prod.Sent() > now && atomic.LoadUint32(l.worker.Wait)&1 == 0 {
				atomic.AddUint32(l.own.Rescue, 1)
				ring = true
			}
			taken[i] = now
		}
		if ring {
			h.bells.Rescue()
		}
	}
}

// allTaken says whether the worker has taken every frame.
func (h *Host) allTaken() bool {
	for _, l := range h.lanes {
		if l.prod.Sent() > atomic.LoadUint64(l.worker.Stats[wire.StatTaken]) {
			return false
		}
	}
	return true
}

// violation is what the worker did wrong.
func violation(format string, args ...any) error { return fmt.Errorf(format, args...) }
