package session

import (
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Owner is the public side of a session: what the API package wraps around it.
type Owner interface {
	// Open runs the entry's factory.
	Open()
	// NewCall returns the invocation for the next run of a handler.
	NewCall() *Invocation
	// Run runs the handler of the invocation's phase.
	Run(inv *Invocation)
}

// Session is one request, or the part of it that one entry sees.
type Session struct {
	Owner Owner

	w     *Worker
	lane  *lane.Lane
	sid   uint32
	entry *Entry
	req   wire.Request
	head  wire.Head     // the last response head that came; only the lane's leader looks at it
	wants atomic.Uint32 // bit p: a handler for phase p is registered
	over  atomic.Bool

	mu      sync.Mutex
	busy    bool          // a handler runs, or is about to
	inbox   []*Invocation // waiting for it
	current *Invocation   // the one whose handler was started last
	opened  bool          // the factory ran; only the running job looks at it
	broken  string        // why the factory failed

	bodyMu sync.Mutex // one RawBody at a time
	body   []byte
	hasRaw bool
	edits  requestEdits
}

// SID is the session's id.
func (s *Session) SID() uint32 { return s.sid }

// Record is the request record; its views stay good after the session.
func (s *Session) Record() wire.Request { return s.req }

// Plugin is the plugin's name.
func (s *Session) Plugin() string { return s.w.Plugin }

// Entry is the entry's name.
func (s *Session) Entry() string { return s.entry.Name }

// Want registers interest in a phase.
func (s *Session) Want(phase uint8) { s.wants.Or(1 << phase) }

// Current is the invocation whose handler was started last, or nil. One that waits for its turn is not current: a
// verdict that comes late must not reach it.
func (s *Session) Current() *Invocation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// asked is the set of phases the session wants from now on. A session that has only a request filter is over with it,
// unless the host said that another item of the request will run it again.
func (inv *Invocation) asked() uint32 {
	w := inv.Session.wants.Load()
	if w == 1<<wire.PhaseRequestFilter && !inv.keep {
		return 0
	}
	return w
}

// close ends the session on this side.
func (s *Session) close() {
	s.over.Store(true)
	s.w.remove(s)
}

// closeByHost ends the session and voids what is still running in it.
func (s *Session) closeByHost() {
	s.close()
	s.mu.Lock()
	void := append([]*Invocation(nil), s.inbox...)
	if s.current != nil {
		void = append(void, s.current)
	}
	s.mu.Unlock()
	for _, inv := range void {
		inv.void(wire.CancelClientGone)
	}
}

// call starts an invocation; it opens the session first if the frame says so.
func (k *sink) call(l *lane.Lane, f *lane.Frame) (lane.Job, *lane.Class) {
	w, open := k.w, f.Flags&wire.FlagOpen != 0
	step, err := wire.ParseStep(l.Keep(f), open, w.Features&wire.FeatureHeaderNames != 0)
	if err != nil {
		w.Fault(err)
		return nil, nil
	}
	if f.Phase == wire.PhaseNone || int32(f.Sid) <= 0 {
		w.Fault(fmt.Errorf("call of phase %d in session %d", f.Phase, f.Sid))
		return nil, nil
	}
	at, err := k.slot(f.CallIdx)
	if err != nil {
		w.Fault(err)
		return nil, nil
	}
	refuse := func(code uint32, text string) (lane.Job, *lane.Class) {
		answer := newFrame(wire.KindError, f.Phase, f.Sid, f.Token())
		sendError(l, &answer, code, text)
		return nil, nil
	}
	var s *Session
	if open {
		if int(step.Entry) >= len(w.Entries) {
			return refuse(wire.ErrorUnknownEntry, fmt.Sprintf("no entry %d", step.Entry))
		}
		s = w.New(int(step.Entry))
		s.w, s.lane, s.sid, s.entry = w, l, f.Sid, w.Entries[step.Entry]
		if step.HasRequest {
			s.req = step.Request
		} else {
			of := w.Lookup(step.RequestOf)
			if of == nil {
				return refuse(wire.ErrorClosed, notOpen(step.RequestOf).Error())
			}
			s.req = of.req
		}
		if old := w.insert(s); old != nil {
			old.closeByHost()
		}
	} else if s = w.Lookup(f.Sid); s == nil {
		return refuse(wire.ErrorClosed, notOpen(f.Sid).Error())
	}
	if !s.head.Stands(&step) {
		w.Fault(fmt.Errorf("session %d has no response head", s.sid))
		return nil, nil
	}
	inv := s.Owner.NewCall()
	inv.Session, inv.token, inv.Phase, inv.slot, inv.running = s, f.Token(), f.Phase, at, true
	inv.cond.L = &inv.mu
	inv.step, inv.keep = step, f.Flags&wire.FlagKeep != 0
	inv.out, inv.in = wire.NewWindow(w.Window), wire.NewWindow(w.Window)
	if f.Status != 0 {
		inv.budget, inv.start = time.Duration(f.Status)*time.Millisecond, time.Now()
	}
	at.inv.Store(inv)
	s.mu.Lock()
	if s.busy {
		full := len(s.inbox) >= wire.LimitInbox
		if !full {
			s.inbox = append(s.inbox, inv)
		}
		s.mu.Unlock()
		if full {
			w.Fault(fmt.Errorf("session %d: more than %d events waiting", s.sid, wire.LimitInbox))
		}
		return nil, nil
	}
	s.busy, s.current = true, inv
	s.mu.Unlock()
	return inv, &s.entry.classes[f.Phase]
}

// Run implements lane.Job: it runs the handler, and then whatever waited for this session meanwhile.
func (inv *Invocation) Run(run uint64) {
	s := inv.Session
	for inv != nil {
		inv.exec(run)
		inv = s.next()
	}
}

func (s *Session) next() *Invocation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.inbox) == 0 {
		s.busy = false
		return nil
	}
	inv := s.inbox[0]
	s.inbox = s.inbox[1:]
	s.current = inv
	return inv
}

// exec runs the handler of one invocation, and turns a panic or a Goexit into an ERROR frame.
func (inv *Invocation) exec(run uint64) {
	s, ended := inv.Session, false
	inv.run.Store(run)
	defer func() {
		if ended {
			return
		}
		inv.run.Store(0)
		if r := recover(); r != nil {
			s.w.Panicked(s.entry.Name, r, debug.Stack())
			inv.fail(wire.ErrorPanic, fmt.Sprint(r))
			inv.returned()
			return
		}
		inv.fail(wire.ErrorGoexit, "the handler ended its goroutine")
		inv.returned()
		if next := s.next(); next != nil {
			go next.Run(0)
		}
	}()
	if !s.opened {
		s.opened = true
		s.broken = "the entry's factory failed"
		s.Owner.Open()
		s.broken = ""
	}
	switch {
	case inv.cancelled(): // while it waited for its turn
	case s.broken != "":
		inv.fail(wire.ErrorBadState, s.broken)
	case s.wants.Load()&(1<<inv.Phase) == 0:
		inv.Finish(wire.MethodNext)
	default:
		s.Owner.Run(inv)
	}
	ended = true
	inv.run.Store(0)
	inv.returned()
}
