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

	conversation atomic.Pointer[Conversation] // of the WebSocket it turned into

	shared bool // its memory, and that of its invocations, is other sessions' as well

	state   atomic.Uint32              // idle, busy or queued
	current atomic.Pointer[Invocation] // the one whose handler was started last
	mu      sync.Mutex
	inbox   []*Invocation // waiting for the handler that runs; not empty while queued
	opened  bool          // the factory ran; only the running job looks at it
	broken  bool          // the factory failed

	bodyMu sync.Mutex // one RawBody at a time
	body   []byte
	hasRaw bool
	edits  requestEdits
}

// States of a session. A handler that finds nobody waiting leaves without a lock: busy to idle by CAS.
const (
	idle   = iota
	busy   // a handler runs, or is about to
	queued // and others wait in the inbox
)

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

// Share makes it a session whose memory is that of others as well, and which wants these phases from the beginning.
func (s *Session) Share(wants uint32) {
	s.shared = true
	s.wants.Store(wants)
}

// Current is the invocation whose handler was started last, or nil. One that waits for its turn is not current: a
// verdict that comes late must not reach it.
func (s *Session) Current() *Invocation { return s.current.Load() }

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
	s.w.open.remove(s)
	s.forget()
}

// forget drops the body of a shared session that is over, or whoever keeps another one of that memory would keep it as
// well. It is called after each step towards that end: the session is over, and no handler runs.
func (s *Session) forget() {
	if !s.shared || !s.over.Load() || s.state.Load() != idle {
		return
	}
	s.current.Store(nil)
	if s.bodyMu.TryLock() {
		s.body, s.hasRaw = nil, false
		s.bodyMu.Unlock()
	}
}

// forget is the same for an invocation: its final frame is claimed, and its handler has returned.
func (inv *Invocation) forget() {
	if !inv.Session.shared || !inv.heavy.Load() {
		return
	}
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if inv.sent.Load() && !inv.running {
		inv.request.b, inv.response.b = nil, nil
		if inv.traffic != nil {
			inv.traffic.streams, inv.traffic.ahead = nil, nil
		}
	}
}

// closeByHost ends the session and voids what is still running in it. It returns a job if that leaves one.
func (s *Session) closeByHost() (job lane.Job, class *lane.Class) {
	defer s.forget()
	s.over.Store(true)
	s.w.open.remove(s)
	s.mu.Lock()
	void := append([]*Invocation(nil), s.inbox...)
	if current := s.current.Load(); current != nil {
		void = append(void, current)
	}
	s.mu.Unlock()
	for _, inv := range void {
		inv.void(wire.CancelClientGone)
	}
	if c := s.conversation.Load(); c != nil {
		return c.lost()
	}
	return nil, nil
}

// call starts an invocation; it opens the session first if the frame says so.
func (k *sink) call(l *lane.Lane, f *lane.Frame) (lane.Job, *lane.Class) {
	if f.Phase == wire.PhaseNone && f.Method == wire.MethodWebsocketOnOpen {
		return k.converse(l, f)
	}
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
		s = k.open(int(step.Entry))
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
		if old := w.open.insert(s); old != nil {
			if job, _ := old.closeByHost(); job != nil {
				go job.Run(0, lane.Now())
			}
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
	inv.step, inv.keep = step, f.Flags&wire.FlagKeep != 0
	inv.budget, inv.arrived = f.Status, l.Arrived()
	at.inv.Store(inv)
	if !s.state.CompareAndSwap(idle, busy) && s.wait(inv) {
		return nil, nil
	}
	s.current.Store(inv)
	return inv, &s.entry.classes[f.Phase]
}

// wait puts inv into the inbox, unless the handler that ran has just left: then inv is the one to run.
func (s *Session) wait(inv *Invocation) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.state.CompareAndSwap(busy, queued) && s.state.CompareAndSwap(idle, busy) {
		return false
	}
	if len(s.inbox) >= wire.LimitInbox {
		s.w.Fault(fmt.Errorf("session %d: more than %d events waiting", s.sid, wire.LimitInbox))
		return true
	}
	s.inbox = append(s.inbox, inv)
	return true
}

// Run implements lane.Job: it runs the handler, and then whatever waited for this session meanwhile.
func (inv *Invocation) Run(run uint64, start time.Duration) time.Duration {
	s := inv.Session
	for {
		ran := inv.exec(run, start)
		if inv = s.next(); inv == nil {
			return ran
		}
		start = lane.Now()
	}
}

// next is the invocation that waited longest, or nil: then the session is idle.
func (s *Session) next() *Invocation {
	if s.state.CompareAndSwap(busy, idle) {
		s.forget()
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	inv := s.inbox[0]
	if s.inbox = s.inbox[1:]; len(s.inbox) == 0 {
		s.state.Store(busy)
	}
	s.current.Store(inv)
	return inv
}

// exec runs the handler of one invocation, and turns a panic or a Goexit into an ERROR frame. It returns how
// long the handler ran until its verdict, if that is known: else 0.
func (inv *Invocation) exec(run uint64, start time.Duration) time.Duration {
	s, ended := inv.Session, false
	if queued := (start - inv.arrived) / time.Microsecond; queued > 0 {
		inv.queued.Store(uint32(queued))
	}
	if run != 0 {
		inv.run.Store(run) // never taken back: a run that is over moves no token
	}
	defer func() {
		if ended {
			return
		}
		if r := recover(); r != nil {
			s.w.Panicked(s.entry.Name, r, debug.Stack())
			inv.fail(wire.ErrorPanic, fmt.Sprint(r))
			inv.returned()
			return
		}
		inv.fail(wire.ErrorGoexit, "the handler ended its goroutine")
		inv.returned()
		if next := s.next(); next != nil {
			go next.Run(0, lane.Now())
		}
	}()
	if !s.opened {
		s.opened = true
		s.broken = true
		s.Owner.Open()
		s.broken = false
	}
	switch {
	case inv.voided.Load() != 0: // cancelled while it waited for its turn
	case s.broken:
		inv.fail(wire.ErrorBadState, "the entry's factory failed")
	case s.wants.Load()&(1<<inv.Phase) == 0:
		inv.Finish(wire.MethodNext)
	default:
		s.Owner.Run(inv)
	}
	ended = true
	return inv.returned()
}
