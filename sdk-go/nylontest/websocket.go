package nylontest

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nylon-rs/nylon/sdk-go/internal/testhost"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Socket is a client that is connected by WebSocket. What it does not Read it has not received: once as much waits as
// the gateway holds for a plugin, 128 KiB, the plugin's sends wait too. What comes from a room is not bounded.
//
// It fails the test when it waits for longer than the host's Timeout.
type Socket struct {
	// Headers are those the plugin put onto the 101.
	Headers http.Header

	x      *exchange
	socket *testhost.Socket
	code   uint16
	reason string
	ended  bool
}

// Message is what a client got.
type Message struct {
	Text   string // of a text message
	Binary []byte // of a binary message, nil for others
	Ping   []byte // of a ping, nil for others
	// Closed says that the connection is over, and nothing comes any more; Socket.Closed says how.
	Closed bool
}

// WebSocket connects a client to an entry that asks for it by WebSocketUpgrade. An entry that does not fails the test;
// Request shows what it does instead.
func (h *Host) WebSocket(entry string, req Request) *Socket {
	h.t.Helper()
	x := h.exchange(entry, req)
	s := &Socket{x: x}
	s.connect(nil)
	h.t.Cleanup(s.abandon)
	return s
}

// abandon is the end of the test: callbacks that still wait for this client do so no more.
func (s *Socket) abandon() {
	s.socket.Close(wire.Closing{Code: closeAbnormal})
	stop, done := s.deadline()
	defer done()
	s.socket.Wait(stop)
}

// closeAbnormal is the code of a connection that ended without a close frame.
const closeAbnormal = 1006

// lastConn numbers the connections of this process.
var lastConn atomic.Uint32

// connect runs the request filter, which asks for the WebSocket, and opens it.
func (s *Socket) connect(before *testhost.Socket) {
	x := s.x
	x.h.t.Helper()
	final, ok := x.phase(wire.PhaseRequestFilter, nil)
	if !ok || final.Method != wire.MethodWebsocketUpgrade {
		x.h.t.Fatalf("nylontest: the entry does not ask for a WebSocket: %+v", x.res.Verdicts)
	}
	head := head{status: http.StatusSwitchingProtocols}
	head.apply(x.ops)
	s.Headers = headerOf(head.headers)
	id := "test:" + strconv.Itoa(int(lastConn.Add(1)))
	if before != nil {
		id = before.ID
	}
	s.socket = x.h.local.Converse(x.sid, id, s.Headers.Get("Sec-WebSocket-Protocol"), before)
}

// ID is the connection's, as WebSocketConn.ID says it.
func (s *Socket) ID() string { return s.socket.ID }

// SendText sends a text message to the plugin. It waits while the plugin has not handled what was sent before; false says
// that the connection is over.
func (s *Socket) SendText(msg string) bool {
	s.x.h.t.Helper()
	return s.deliver(wire.MethodWebsocketOnMessageText, []byte(msg))
}

// SendBinary sends a binary message to the plugin.
func (s *Socket) SendBinary(data []byte) bool {
	s.x.h.t.Helper()
	return s.deliver(wire.MethodWebsocketOnMessageBinary, data)
}

func (s *Socket) deliver(method uint32, data []byte) (ok bool) {
	s.x.h.t.Helper()
	s.within("the plugin to take a message", func(stop func() bool) bool {
		ok = s.socket.Deliver(method, data, stop)
		return !stop()
	})
	return ok
}

// Close closes the connection as a client does, and waits until the plugin's OnClose has returned. Code 0 is none.
func (s *Socket) Close(code uint16, reason string) {
	s.x.h.t.Helper()
	s.close(wire.Closing{Code: code, Reason: reason})
}

// Drop is a client that is gone without a word, and waits until the plugin's OnClose has returned.
func (s *Socket) Drop() {
	s.x.h.t.Helper()
	s.Fail("")
}

// Fail is Drop with what OnError is told, if why is not empty.
func (s *Socket) Fail(why string) {
	s.x.h.t.Helper()
	if why != "" {
		s.deliver(wire.MethodWebsocketOnError, []byte(why))
	}
	s.close(wire.Closing{Code: closeAbnormal})
}

func (s *Socket) close(c wire.Closing) {
	s.x.h.t.Helper()
	s.socket.Close(c)
	s.Wait()
}

// Wait waits until the connection is over on the plugin's side: OnClose has returned, and Logging after it.
func (s *Socket) Wait() {
	s.x.h.t.Helper()
	final := s.wait()
	if s.ended {
		return
	}
	s.ended = true
	s.x.closed(final)
}

func (s *Socket) wait() (final testhost.Final) {
	s.x.h.t.Helper()
	s.within("OnClose", func(stop func() bool) (ok bool) {
		final, ok = s.socket.Wait(stop)
		return ok
	})
	return final
}

// Read is what the client reads next; it waits for it.
func (s *Socket) Read() Message {
	s.x.h.t.Helper()
	var m testhost.Message
	open := true
	s.within("a message", func(stop func() bool) bool {
		m, open = s.socket.Next(stop)
		return open || !stop()
	})
	switch {
	case !open:
		return Message{Closed: true}
	case m.Method == wire.MethodWebsocketClose:
		s.code, s.reason = m.Closing.Code, strings.Clone(m.Closing.Reason)
		return Message{Closed: true}
	case m.Method == wire.MethodWebsocketSendText:
		return Message{Text: string(m.Data)}
	case m.Method == wire.MethodWebsocketPing:
		return Message{Ping: append([]byte{}, m.Data...)}
	}
	return Message{Binary: append([]byte{}, m.Data...)}
}

// Closed is how the plugin closed the connection: it reads on until there is nothing more. The code is 0 for a Close
// without one, and when it was not the plugin that closed it.
func (s *Socket) Closed() (code uint16, reason string) {
	s.x.h.t.Helper()
	for !s.Read().Closed {
	}
	return s.code, s.reason
}

// Resume has another worker of the plugin take the connection over, as an upgrade of the plugin does with
// `on_worker_loss: resume`: the callbacks of this one get no OnClose, and those of the next a Resumed connection. It
// returns s.
func (s *Socket) Resume() *Socket {
	s.x.h.t.Helper()
	before := s.socket
	before.HandOver()
	s.wait()
	s.x.h.local.CloseSession(s.x.sid)
	s.x.again()
	s.connect(before)
	return s
}

// within runs f, which gives up and says false when stop does: the test fails then.
func (s *Socket) within(what string, f func(stop func() bool) bool) {
	s.x.h.t.Helper()
	stop, done := s.deadline()
	defer done()
	if !f(stop) {
		s.x.h.t.Fatalf("nylontest: waited %v for %s", s.x.h.timeout, what)
	}
}

// deadline says when the host's timeout is over, and wakes who waits then.
func (s *Socket) deadline() (over func() bool, done func()) {
	socket, late := s.socket, &atomic.Bool{}
	timer := time.AfterFunc(s.x.h.timeout, func() {
		late.Store(true)
		socket.Wake()
	})
	return late.Load, func() { timer.Stop() }
}
