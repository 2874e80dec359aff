package sdk

import (
	"github.com/nylon-rs/nylon/sdk-go/internal/session"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Handlers are the handlers of an entry, one per phase; nil for a phase that it does not want. They are what
// [PhaseHandler] registers per request and [NylonPlugin.AddStaticHandler] once for all: see there when each runs.
type Handlers struct {
	RequestFilter      func(*PhaseRequestFilter)
	RequestBodyFilter  func(*PhaseRequestBodyFilter)
	ResponseFilter     func(*PhaseResponseFilter)
	ResponseBodyFilter func(*PhaseResponseBodyFilter)
	Logging            func(*PhaseLogging)
}

// AddStaticHandler registers an entry whose handlers are the same for every request: no function runs to make them, and
// a request costs no allocation of its own. They are called by several goroutines at a time, and have no variables of
// one request; an entry that carries state from phase to phase wants [NylonPlugin.AddPhaseHandler]. A name registered
// twice is the last one's.
//
// What a handler is given it may keep, as any other: nothing of one request is used for a later one. A few requests
// share one piece of memory, which is freed when nobody keeps anything of any of them. Bodies are let go earlier:
// ReadBody answers nil once the handler that set the body has returned and given its verdict, and RawBody once the
// request is over here. Bytes that they returned before stay good. A WebSocket keeps what it shares for as long as it is
// open: an entry that turns a few of many requests into one is better off with [NylonPlugin.AddPhaseHandler].
func (p *NylonPlugin) AddStaticHandler(name string, handlers Handlers) {
	p.add(entry{name: name, static: &handlers})
}

// wants is the set of phases that have a handler.
func (h *Handlers) wants() (set uint32) {
	for phase, wanted := range [...]bool{
		wire.PhaseRequestFilter:      h.RequestFilter != nil,
		wire.PhaseRequestBodyFilter:  h.RequestBodyFilter != nil,
		wire.PhaseResponseFilter:     h.ResponseFilter != nil,
		wire.PhaseResponseBodyFilter: h.ResponseBodyFilter != nil,
		wire.PhaseLogging:            h.Logging != nil,
	} {
		if wanted {
			set |= 1 << phase
		}
	}
	return set
}

// run runs the handler of the invocation's phase, which is not nil: the session said what it wants.
func (h *Handlers) run(inv *session.Invocation) {
	c := inv.Owner.(*call)
	switch inv.Phase {
	case wire.PhaseRequestFilter:
		h.RequestFilter((*PhaseRequestFilter)(c))
	case wire.PhaseRequestBodyFilter:
		h.RequestBodyFilter((*PhaseRequestBodyFilter)(c))
	case wire.PhaseResponseFilter:
		h.ResponseFilter((*PhaseResponseFilter)(c))
	case wire.PhaseResponseBodyFilter:
		h.ResponseBodyFilter((*PhaseResponseBodyFilter)(c))
	case wire.PhaseLogging:
		h.Logging((*PhaseLogging)(c))
	}
}

// staticSession is a session of a static entry, with everything its first handler needs.
type staticSession struct {
	core     session.Session
	handlers *Handlers
	chunks   *staticChunks
	first    call
	used     bool // first was given out
}

// perChunk is how many static sessions, and runs of further handlers, one allocation makes. None is used twice, since a
// plugin may keep pointers to it for ever; the garbage collector frees a chunk with its last user.
const perChunk = 16

// staticChunks are what one lane has left of its last chunks. Only the lane's leader takes from it.
type staticChunks struct {
	sessions []staticSession
	calls    []call
}

// carve takes the first of a chunk, or of a new one.
func carve[T any](chunk *[]T) *T {
	if len(*chunk) == 0 {
		*chunk = make([]T, perChunk)
	}
	t := &(*chunk)[0]
	*chunk = (*chunk)[1:]
	return t
}

func (c *staticChunks) session(handlers *Handlers) *session.Session {
	s := carve(&c.sessions)
	s.handlers, s.chunks = handlers, c
	s.core.Owner = s
	s.core.Share(handlers.wants())
	return &s.core
}

// NewCall implements session.Owner.
func (s *staticSession) NewCall() *session.Invocation {
	c := &s.first
	if s.used {
		c = carve(&s.chunks.calls)
	}
	s.used = true
	c.inv.Owner = c
	return &c.inv
}

// Open implements session.Owner: there is nothing to run.
func (s *staticSession) Open() {}

// Run implements session.Owner.
func (s *staticSession) Run(inv *session.Invocation) { s.handlers.run(inv) }
