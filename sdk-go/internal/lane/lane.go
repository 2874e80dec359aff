package lane

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// maxSpin bounds what the host may ask for by spin_ns_peer: longer than this a wake-up is cheaper than the CPU.
const maxSpin = 100 * time.Microsecond

// Sink turns taken frames into work. It runs on the leader and must not block; a job it returns is run by the lane.
type Sink interface {
	Frame(l *Lane, f *Frame) (Job, *Class)
}

// Placer is a Sink that says where a payload is to be copied out of the arena, so that it need not be copied again.
type Placer interface {
	// Place returns f.Len bytes, or nil for a copy of its own. f is checked; the frame itself comes next.
	Place(f *Frame) []byte
}

// Config is what a worker's lane is made of.
type Config struct {
	Host, Own *shm.Lane // the lane in H and in P
	SpinNs    *uint32   // the header word spin_ns_peer of H
	HostBell  func()    // wakes the host
	Parker    Parker    // where the leader sleeps
	Space     SpaceWaiter
	Pool      *Pool
	Sink      Sink
	Fault     func(error) // a violation by the host; does not return in a real worker
	WebSocket bool        // whether FeatureWebsocket is on
}

// Lane is the worker's end of one lane.
//
// The token says who leads: LEAD(n) is n<<1, RUNNING(n) is n<<1|1. Only the leader touches the consumer. Around an
// inline handler the leader stores RUNNING and takes LEAD back by CAS; whoever moves the token in between leads from
// then on, and the old leader follows. n only grows, so a stale holder never succeeds.
type Lane struct {
	cfg  Config
	cons *Consumer
	prod *Producer

	token   atomic.Uint64
	running atomic.Pointer[Class] // of the inline run, valid while the token says RUNNING
	frame   Frame
	calls   uint64        // jobs so far: the leader's
	now     time.Duration // of the frame the sink has; 0 = nobody looked at the clock yet
	poll    func() bool
	asleep  bool
	rescued uint32
	closed  atomic.Bool
}

// New makes the lane. Start lets it run.
func New(cfg Config) *Lane {
	l := &Lane{cfg: cfg}
	l.cons = NewConsumer(wire.SideHost, cfg.Own, cfg.Host, cfg.HostBell, l.fault)
	l.cons.WebSocket = cfg.WebSocket
	l.prod = NewProducer(wire.SideWorker, cfg.Own, cfg.Host, cfg.HostBell, cfg.Space, l.fault)
	if p, ok := cfg.Sink.(Placer); ok {
		l.cons.place = p.Place
	}
	l.poll = l.pollOrArm
	return l
}

// Start puts the first leader to work.
func (l *Lane) Start() {
	l.rescued = atomic.LoadUint32(l.cfg.Host.Rescue)
	l.cfg.Pool.give(order{lead: l})
}

// Close stops the leader and drops what is still sent; for hosts in the same process. Pool.Wait waits for the rest.
func (l *Lane) Close() {
	l.closed.Store(true)
	l.prod.Close()
	l.cfg.Parker.Close()
}

// CloseAll closes the lanes of a pool and waits until their goroutines are gone.
func CloseAll(p *Pool, lanes []*Lane) {
	for _, l := range lanes {
		l.Close()
	}
	p.close()
	p.all.Wait()
}

func (l *Lane) fault(err error) {
	l.closed.Store(true)
	l.cfg.Fault(err)
}

// Stats are the counters a lane publishes.
type Stats struct {
	Taken, Sent, Handovers, Wakes, Calls uint64
}

// Stats reads the counters.
func (l *Lane) Stats() Stats {
	of := func(stat int) uint64 { return atomic.LoadUint64(l.cfg.Own.Stats[stat]) }
	return Stats{l.cons.Taken(), l.prod.Sent(), of(wire.StatHandovers), of(wire.StatWakes), of(wire.StatCalls)}
}

// Send publishes a frame. If there is no space and the caller runs on the leader (run != 0), it hands the lane on and
// then waits: the host always drains, so space comes.
func (l *Lane) Send(f *Frame, payload []byte, run uint64) {
	if l.prod.TrySend(f, payload) {
		return
	}
	l.HandOver(run)
	l.prod.Send(f, payload)
}

// Keep returns the payload of the frame the sink was given, as bytes to keep.
func (l *Lane) Keep(f *Frame) []byte { return l.cons.Keep(f) }

// HandOver gives the lane to a follower if run is the inline run going on: called before a handler blocks.
func (l *Lane) HandOver(run uint64) {
	if run != 0 {
		l.take(run)
	}
}

// take moves the token from RUNNING(run) to a new leader.
func (l *Lane) take(run uint64) bool {
	class := l.running.Load()
	if !l.token.CompareAndSwap(run<<1|1, (run+1)<<1) {
		return false
	}
	class.Blocked()
	l.count(wire.StatHandovers)
	l.cfg.Pool.give(order{lead: l, n: run + 1})
	return true
}

// Rescue is called when the rescue bell rang: if the host asked for this lane and a handler holds it, a follower
// takes over.
func (l *Lane) Rescue() {
	if asked := atomic.LoadUint32(l.cfg.Host.Rescue); asked != l.rescued {
		l.rescued = asked
		t := l.token.Load()
		if t&1 == 0 {
			return
		}
		runtime.Gosched() // a leader that was merely not scheduled finishes its run first
		if class := l.running.Load(); l.take(t >> 1) {
			class.Stalled(Now())
		}
	}
}

// count counts in this side's own segment, where the host may look.
func (l *Lane) count(stat int) { atomic.AddUint64(l.cfg.Own.Stats[stat], 1) }

// Arrived is when the frame came that the sink was given. A job's run is counted from here, so the sink asks last.
func (l *Lane) Arrived() time.Duration {
	if l.now == 0 {
		l.now = Now()
	}
	return l.now
}

// rung is the time spent ringing the host: a wake-up by the kernel, which says nothing about the handler that answers.
func (l *Lane) rung() time.Duration { return time.Duration(l.prod.rung.Load()) }

// lead polls the ring until the lane is closed or lost. The token is LEAD(n) and this goroutine holds it.
func (l *Lane) lead(n uint64) {
	returned := false
	defer func() {
		if !returned && l.take(n) { // the handler ended this goroutine
			return
		}
	}()
	for !l.closed.Load() {
		if !l.cons.Pop(&l.frame) {
			l.sleep()
			continue
		}
		l.now = 0
		job, class := l.cfg.Sink.Frame(l, &l.frame)
		if job == nil {
			continue
		}
		l.calls++
		publish(l.cfg.Own.Stats[wire.StatCalls], l.calls)
		if class.Long() {
			l.cfg.Pool.give(order{job: job, class: class, of: l})
			continue
		}
		n++
		if l.running.Load() != class {
			l.running.Store(class)
		}
		start, rung := l.Arrived(), l.rung()
		l.token.Store(n<<1 | 1)
		ran := job.Run(n, start)
		if !l.token.CompareAndSwap(n<<1|1, n<<1) {
			break // somebody else leads
		}
		class.ended(l, start, ran, rung)
	}
	returned = true
}

// sleep waits for a frame. What was taken it gives back only before it really sleeps: what is kept while spinning is
// under a quarter of ring and arena (SPEC.md 3.9): a host that lacks space has frames in the ring.
func (l *Lane) sleep() {
	if ns := atomic.LoadUint32(l.cfg.SpinNs); ns != 0 && l.cons.spin(min(time.Duration(ns), maxSpin)) {
		return
	}
	l.cons.Release()
	l.cfg.Parker.Park(l.poll)
	l.asleep = false
	l.cons.Disarm()
}

// pollOrArm is asked by the parker: true ends the sleep.
func (l *Lane) pollOrArm() bool {
	if l.asleep {
		l.count(wire.StatWakes)
		l.asleep = false
	}
	l.cons.Disarm()
	if l.closed.Load() || l.cons.Ready() || !l.cons.Arm() {
		return true
	}
	l.asleep = true
	return false
}
