package session

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Listener is the public side of a conversation: what the API package makes of its events. Its methods run one at a
// time, in the order of the events.
type Listener interface {
	Opened()
	Text(msg string)
	Binary(msg []byte)
	Failed(text string)
	Closed()
}

// Conversation is one WebSocket, from the verdict that asked for it to its final frame. Like an invocation it is a job
// of its lane: it runs while there are events to deliver, and has no goroutine of its own while there are none.
type Conversation struct {
	listener Listener
	inv      *Invocation // whose verdict it was
	token    wire.Token
	slot     *slot
	run      atomic.Uint64 // the lane's run number, if it was started on the leader

	// What the host said when it opened it; not written after that.
	id, protocol string
	resumed      bool

	// What has come of a message whose last piece has not. Only the lane's leader looks at these.
	partial []byte
	kind    uint32 // its method; 0 = none
	order   wire.Messages

	windowMu sync.Mutex // orders WINDOW frames; taken before mu

	mu      sync.Mutex
	moved   sync.Cond // anything below changed that somebody may wait for
	queue   []event   // from first on not delivered yet
	first   int
	running bool // somebody delivers
	stage   stage
	closing bool // we asked for the end
	broken  bool // a callback panicked: of the events only the end is delivered
	ending  bool // the event that ends it is in the queue
	code    uint16
	reason  string
	ctx     *socketCtx

	sending  bool   // a message is on its way: its pieces stand together
	farewell []byte // the closing record to send once it is through
	out      wire.Window
	in       wire.Window
	unacked  uint64 // cost of what was handled and the host was not told of
	withheld uint64 // cost of the pieces of a message behind others that are not handled
	calls    []*hostCall
	lastNum  uint32
	rooms    []string
}

// stage is how far a conversation is.
type stage uint8

const (
	asked   stage = iota // the verdict is on its way
	open                 // the host opened it
	leaving              // another worker takes it over
	parting              // it is closed, and the client still gets what is said to what it said before, unless that waits
	gone                 // nothing reaches the client any more, but rooms are there
	void                 // nothing reaches the host
	over                 // the final frame is claimed
)

// Upgrade gives the verdict that the client is to become a WebSocket, whose events listener gets. What was collected for
// the response head goes onto the 101. On an error nothing was decided, but for that of a step that has failed already.
func (inv *Invocation) Upgrade(c *Conversation, listener Listener) error {
	s := inv.Session
	if s.w.Features&wire.FeatureWebsocket == 0 {
		return ErrNotNegotiated
	}
	inv.mu.Lock()
	err := inv.alive()
	if err == nil && inv.streamed {
		err = ErrStreaming
	}
	var rec []byte
	if failure := inv.failure; err == nil && failure != nil {
		inv.mu.Unlock()
		inv.Finish(wire.MethodEnd) // which says so
		return failure
	}
	if err == nil {
		rec, err = inv.record()
	}
	if err != nil {
		inv.mu.Unlock()
		return err
	}
	inv.settle()
	c.inv, c.listener = inv, listener
	c.moved.L = &c.mu
	c.in, c.out = wire.NewWindow(uint32(wire.LimitConversation)), wire.NewWindow(uint32(wire.LimitConversation))
	s.conversation.Store(c)
	inv.done, inv.committed = true, rec
	inv.stop()
	inv.sent.Store(true)
	inv.moved()
	inv.mu.Unlock()
	f := inv.of(wire.KindReply)
	f.Method, f.Status = wire.MethodWebsocketUpgrade, s.later()|inv.ran<<wire.FinalTimeShift
	inv.release()
	s.lane.Send(&f, rec, inv.run.Load())
	inv.forget()
	return nil
}

// later is the set of phases that the session wants once the socket is over.
func (s *Session) later() uint32 { return s.wants.Load() &^ (1 << wire.PhaseRequestFilter) }

// settle copies what the session keeps of its first step out of the memory of others: a socket stays for long. The
// caller holds mu.
func (inv *Invocation) settle() {
	s := inv.Session
	s.req = s.req.Clone()
	inv.step.Request = s.req
	inv.step.Payload = append([]byte(nil), inv.step.Payload...)
	inv.step.Response = inv.step.Response.Clone()
}

// ID names the connection.
func (c *Conversation) ID() string { return c.id }

// Subprotocol is what the client was told.
func (c *Conversation) Subprotocol() string { return c.protocol }

// Resumed says whether another worker had the connection before.
func (c *Conversation) Resumed() bool { return c.resumed }

// Ended is the code and reason of the end, zero before it.
func (c *Conversation) Ended() (code uint16, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code, c.reason
}

// Conversation is the session's, nil unless its verdict was an upgrade.
func (s *Session) Conversation() *Conversation { return s.conversation.Load() }

// converse opens the conversation that a session's verdict asked for.
func (k *sink) converse(l *lane.Lane, f *lane.Frame) (lane.Job, *lane.Class) {
	w := k.w
	step, err := wire.ParseStep(f.Payload, false, w.Features&wire.FeatureHeaderNames != 0)
	if err == nil && (!step.HasWebSocket || w.Features&wire.FeatureWebsocket == 0) {
		err = fmt.Errorf("session %d: a conversation about nothing", f.Sid)
	}
	at, err2 := k.slot(f.CallIdx)
	if err == nil {
		err = err2
	}
	if err != nil {
		w.Fault(err)
		return nil, nil
	}
	var c *Conversation
	if s := w.Lookup(f.Sid); s != nil {
		s.head = s.head.Clone()
		c = s.conversation.Load()
	}
	if c == nil || !c.begin(f.Token(), at, &step.WebSocket) {
		answer := newFrame(0, f.Phase, f.Sid, f.Token())
		sendError(l, &answer, wire.ErrorClosed, notOpen(f.Sid).Error())
		return nil, nil
	}
	at.conversation.Store(c)
	return c.push(event{method: f.Method})
}

// begin takes what the host says of the socket; false if it is not waited for.
func (c *Conversation) begin(t wire.Token, at *slot, of *wire.WebSocketSection) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stage != asked {
		return false
	}
	c.stage, c.token, c.slot = open, t, at
	c.id, c.protocol = of.ID, of.Protocol
	c.resumed = of.Flags&wire.SocketResumed != 0
	return true
}

// Codes of closed sockets (RFC 6455 7.4.1).
const (
	closeNone     = 1005 // the close frame had none
	closeAbnormal = 1006 // there was no close frame
	closeInternal = 1011 // the plugin failed
)

// end sends the final frame.
func (c *Conversation) end(failure *HostError) {
	s := c.inv.Session
	c.mu.Lock()
	c.stage, c.queue, c.first, c.rooms = over, nil, 0, nil
	c.moved.Broadcast()
	c.cancel()
	c.mu.Unlock()
	c.slot.conversation.CompareAndSwap(c, nil)
	f := c.of(wire.KindReply)
	if failure != nil {
		s.close()
		sendError(s.lane, &f, failure.Code, failure.Text)
		return
	}
	f.Method, f.Status = wire.MethodWebsocketOnClose, s.later()
	if f.Status == 0 {
		s.close()
	}
	s.lane.Send(&f, nil, c.run.Load())
}

// of is a frame of this conversation.
func (c *Conversation) of(kind uint8) lane.Frame {
	return newFrame(kind, wire.PhaseNone, c.inv.Session.sid, c.token)
}

// lost ends a conversation that the host gave up; one that was never opened has no callback to run. It returns the
// job that delivers the end, if nobody does.
func (c *Conversation) lost() (lane.Job, *lane.Class) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stage == asked {
		c.stage = over
		return nil, nil
	}
	c.leave(void, closeAbnormal, "")
	return c.add(event{method: wire.MethodWebsocketOnClose})
}

// leave notes that the client is gone or about to go, and how; the first of several counts. The caller holds mu.
func (c *Conversation) leave(to stage, code uint16, reason string) {
	if c.stage < parting {
		c.code, c.reason = code, reason
		if code == 0 {
			c.code = closeNone
		}
		c.cancel()
	}
	if c.stage < to {
		c.stage = to
		c.moved.Broadcast()
	}
}
