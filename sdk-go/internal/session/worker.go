package session

import (
	"fmt"
	"sync/atomic"

	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Classes of handlers beside those of the phases.
const (
	classSocket  = iota + wire.PhaseRequestBodyFilter + 1 // a WebSocket's OnOpen, OnClose and OnError
	classMessage                                          // its OnMessageText and OnMessageBinary
	classes
)

// Entry is a named handler set of the plugin.
type Entry struct {
	Name    string
	classes [classes]lane.Class // by phase, and of WebSockets

	warned         atomic.Bool // of a handler without a verdict
	warnedOfStream atomic.Bool // of a stream without an end
}

// warn tells the author, once, that a handler returned and its request is still open: another goroutine may finish
// it, or nobody.
func (e *Entry) warn(w *Worker, phase uint8, streamed bool) {
	warned, msg := &e.warned, "handler returned without Next or End; the request waits until another goroutine calls one "+
		"of them, or until the phase's timeout"
	if streamed {
		warned, msg = &e.warnedOfStream, "handler returned while streaming, without End of the stream; it goes on until "+
			"another goroutine calls End, or until nothing was written for the gateway's idle limit"
	}
	if warned.CompareAndSwap(false, true) {
		w.Warn(msg, "entry", e.Name, "phase", int(phase))
	}
}

// Worker is what the sessions of one plugin share.
type Worker struct {
	Plugin   string
	Entries  []*Entry
	Payloads [][]byte                        // Hello.payloads
	Window   uint32                          // bytes of DATA in flight per invocation and direction
	Features uint64                          // agreed in the handshake
	Opener   func() func(entry int) *Session // for one lane: what its leader, and nobody else, makes sessions with
	Fault    func(error)                     // a violation by the host; does not return in a real worker
	Warn     func(msg string, kv ...any)     // for the plugin's author
	Panicked func(entry string, value any, stack []byte)

	open table
}

// Lookup finds an open session.
func (w *Worker) Lookup(sid uint32) *Session { return w.open.lookup(sid) }

// Open is how many sessions are open.
func (w *Worker) Open() int { return int(w.open.size.Load()) }

// Sink is the worker's side of one lane: it finds the invocation a frame belongs to.
func (w *Worker) Sink() lane.Sink { return &sink{w: w, open: w.Opener()} }

// maxSlab bounds the host's slab as far as the SDK mirrors it; credits keep it far below.
const maxSlab = 1 << 16

// slot holds the invocation or the conversation of one call_idx. Finishing clears it by CAS, so that a later one is
// never lost.
type slot struct {
	inv          atomic.Pointer[Invocation]
	conversation atomic.Pointer[Conversation]
}

type sink struct {
	w    *Worker
	open func(entry int) *Session
	slab []*slot // by call_idx; only the leader grows it
}

// Frame implements lane.Sink.
func (k *sink) Frame(l *lane.Lane, f *lane.Frame) (lane.Job, *lane.Class) {
	switch f.Kind {
	case wire.KindCall:
		return k.call(l, f)
	case wire.KindPing:
		pong := newFrame(wire.KindPong, wire.PhaseNone, 0, wire.Token{})
		pong.Status = f.Status
		l.Send(&pong, nil, 0)
	case wire.KindClose:
		if s := k.w.Lookup(f.Sid); s != nil {
			return s.closeByHost()
		}
	case wire.KindGoaway: // no new invocation will come; the control socket says when to stop
	default:
		return k.further(l, f)
	}
	return nil, nil
}

// further takes a frame of what is open already. One that crossed our final frame is late.
func (k *sink) further(l *lane.Lane, f *lane.Frame) (job lane.Job, class *lane.Class) {
	var err error
	if inv := k.find(f.Token()); inv != nil {
		err = inv.frame(l, f)
	} else if c := k.findConversation(f.Token()); c != nil {
		job, class, err = c.frame(f)
	}
	if err != nil {
		k.w.Fault(err)
	}
	return job, class
}

// Place implements lane.Placer: a piece of a body goes where its call collects it.
func (k *sink) Place(f *lane.Frame) []byte {
	if f.Kind == wire.KindData {
		if inv := k.find(f.Token()); inv != nil {
			return inv.place(f)
		}
		if c := k.findConversation(f.Token()); c != nil {
			return c.place(f)
		}
	}
	return nil
}

func (k *sink) find(t wire.Token) *Invocation {
	if int64(t.Idx) >= int64(len(k.slab)) || k.slab[t.Idx] == nil {
		return nil
	}
	inv := k.slab[t.Idx].inv.Load()
	if inv == nil || inv.token != t {
		return nil
	}
	return inv
}

func (k *sink) findConversation(t wire.Token) *Conversation {
	if int64(t.Idx) >= int64(len(k.slab)) || k.slab[t.Idx] == nil {
		return nil
	}
	c := k.slab[t.Idx].conversation.Load()
	if c == nil || c.token != t {
		return nil
	}
	return c
}

func (k *sink) slot(idx uint32) (*slot, error) {
	if idx >= maxSlab {
		return nil, fmt.Errorf("token %d is out of range", idx)
	}
	for int(idx) >= len(k.slab) {
		k.slab = append(k.slab, nil)
	}
	if k.slab[idx] == nil {
		k.slab[idx] = &slot{}
	}
	return k.slab[idx], nil
}
