package testhost

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// firstSocket is where the tokens of conversations begin: behind those of invocations.
const firstSocket = 1 << 12

// Message is something on its way to a client: a message, a ping, or the close.
type Message struct {
	Method  uint32 // MethodWebsocketSendText, SendBinary, Ping or Close
	Data    []byte
	Closing wire.Closing // of a Close

	cost uint64 // of the worker's window, 0 for what came from a room
}

// Socket is the host's side of a conversation.
type Socket struct {
	ID  string
	Sid uint32

	host  *Host
	lane  *hostLane
	token wire.Token
	down  sync.Mutex // one event at a time
	winMu sync.Mutex // orders WINDOW frames; taken before mu

	mu      sync.Mutex
	moved   *sync.Cond
	in      wire.Window // DATA from the worker
	out     wire.Window // DATA to the worker
	taken   uint64      // cost of what was handed on, and the worker was not told of
	order   wire.Messages
	partial []byte // of a message whose last piece has not come
	client  []Message
	closing bool // the worker asked for the end
	closed  bool // the client is gone
	told    bool // the last event is on its way
	final   *Final
}

// Converse opens a conversation in a session whose verdict was an upgrade. before is the one that had the socket until
// now, nil for a new socket.
func (h *Host) Converse(sid uint32, id, protocol string, before *Socket) *Socket {
	s := &Socket{ID: id, Sid: sid, host: h, lane: h.lane(sid)}
	s.moved = sync.NewCond(&s.mu)
	s.in, s.out = wire.NewWindow(uint32(wire.LimitConversation)), wire.NewWindow(uint32(wire.LimitConversation))
	h.mu.Lock()
	at := slices.Index(h.sockets, nil)
	if at < 0 {
		at = len(h.sockets)
		h.sockets, h.socketGens = append(h.sockets, nil), append(h.socketGens, 0)
	}
	h.sockets[at] = s
	h.socketGens[at]++
	s.token = wire.Token{Idx: uint32(firstSocket + at), Gen: h.socketGens[at]}
	h.mu.Unlock()
	var flags uint32
	if before != nil {
		flags = wire.SocketResumed
		before.mu.Lock()
		s.client, before.client = before.client, nil
		before.mu.Unlock()
		for i := range s.client {
			s.client[i].cost = 0
		}
		h.rooms.takeOver(s)
	}
	var step wire.StepWriter
	step.WebSocket(&wire.WebSocketSection{Flags: flags, ID: id, Protocol: protocol})
	rec, err := step.Finish()
	if err != nil {
		h.opt.Fault(err)
		return s
	}
	f := s.frame(wire.KindCall)
	f.Method = wire.MethodWebsocketOnOpen
	s.lane.prod.Send(&f, rec)
	h.rescueWatch()
	return s
}

func (s *Socket) frame(kind uint8) (f lane.Frame) {
	f.Kind, f.Sid, f.CallIdx, f.CallGen = kind, s.Sid, s.token.Idx, s.token.Gen
	return f
}

// deliveryPiece is what one DATA to a worker holds at most.
const deliveryPiece = wire.LimitConversation/2 - wire.LimitMessageCost

// Deliver sends a message of the client, or an error. It waits for the window; false says that the conversation is over,
// or that stop said so.
func (s *Socket) Deliver(method uint32, data []byte, stop func() bool) bool {
	s.down.Lock()
	defer s.down.Unlock()
	for {
		n := min(len(data), deliveryPiece)
		cost := uint64(n + wire.LimitMessageCost)
		s.mu.Lock()
		for s.out.Room() < cost && s.final == nil && !s.told && !stop() {
			s.moved.Wait()
		}
		if s.final != nil || s.told || s.out.Room() < cost {
			s.mu.Unlock()
			return false
		}
		_ = s.out.Take(uint32(cost))
		s.mu.Unlock()
		f := s.frame(wire.KindData)
		f.Method = method
		if n < len(data) {
			f.Flags = wire.FlagMore
		}
		s.lane.prod.Send(&f, data[:n])
		s.host.rescueWatch()
		if data = data[n:]; len(data) == 0 {
			return true
		}
	}
}

// Stuck says whether the worker's window has no room for a message of n bytes.
func (s *Socket) Stuck(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Room() < uint64(n+wire.LimitMessageCost)
}

// Close tells the worker that the socket is closed, once.
func (s *Socket) Close(c wire.Closing) {
	s.last(wire.MethodWebsocketOnClose, wire.AppendClosing(nil, c))
}

// HandOver tells the worker that another one takes the socket over.
func (s *Socket) HandOver() { s.last(wire.MethodWebsocketHandOver, nil) }

// last sends the last event. It does not wait for the window: the host keeps room for it.
func (s *Socket) last(method uint32, data []byte) {
	s.mu.Lock()
	was := s.told
	s.told = true // whoever waits for the window gives up
	s.closed = s.closed || method == wire.MethodWebsocketOnClose
	s.moved.Broadcast()
	s.mu.Unlock()
	if was {
		return
	}
	if method == wire.MethodWebsocketOnClose {
		s.host.rooms.leaveAll(s)
	}
	s.down.Lock()
	defer s.down.Unlock()
	f := s.frame(wire.KindData)
	f.Method = method
	s.lane.prod.Send(&f, data)
	s.host.rescueWatch()
}

// Cancel voids the conversation.
func (s *Socket) Cancel(reason uint32) {
	f := s.frame(wire.KindCancel)
	f.Status = reason
	s.lane.prod.Send(&f, nil)
	s.host.rescueWatch()
}

// Next takes what the client reads next, and waits for it; false says that nothing comes any more.
func (s *Socket) Next(stop func() bool) (Message, bool) {
	s.mu.Lock()
	for len(s.client) == 0 && s.final == nil && !stop() {
		s.moved.Wait()
	}
	if len(s.client) == 0 {
		s.mu.Unlock()
		return Message{}, false
	}
	m := s.client[0]
	s.client = s.client[1:]
	s.mu.Unlock()
	s.giveBack(m.cost)
	return m, true
}

// Wake lets Next look at its stop again.
func (s *Socket) Wake() {
	s.mu.Lock()
	s.moved.Broadcast()
	s.mu.Unlock()
}

// Wait waits for the final frame.
func (s *Socket) Wait(stop func() bool) (Final, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.final == nil && !stop() {
		s.moved.Wait()
	}
	if s.final == nil {
		return Final{}, false
	}
	return *s.final, true
}

// push queues m for the client, unless the socket is closed.
func (s *Socket) push(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.final == nil && !s.closed && !s.closing {
		s.client = append(s.client, m)
		s.moved.Broadcast()
		return
	}
	s.taken += m.cost
}

func (s *Socket) giveBack(cost uint64) {
	s.winMu.Lock()
	defer s.winMu.Unlock()
	s.mu.Lock()
	if s.taken += cost; s.taken == 0 || s.final != nil {
		s.mu.Unlock()
		return
	}
	total := s.in.Give(s.taken)
	s.taken = 0
	s.mu.Unlock()
	f := s.frame(wire.KindWindow)
	s.lane.prod.Send(&f, wire.AppendWindowTotal(nil, total))
}

// socketFrame takes a frame of a conversation. It runs on the pump and never blocks.
func (h *Host) socketFrame(f *lane.Frame) error {
	at := int(f.CallIdx) - firstSocket
	h.mu.Lock()
	var slot wire.Issued
	var s *Socket
	in := at < len(h.sockets)
	if in {
		s, slot.Gen = h.sockets[at], h.socketGens[at]
		if s != nil {
			slot.Live, slot.Sid = true, s.Sid
		}
	}
	late, err := wire.CheckToken(&f.Frame, slot, in)
	if late {
		h.late++
	}
	h.mu.Unlock()
	if late || err != nil {
		return err
	}
	switch f.Kind {
	case wire.KindReply:
		if f.Method != wire.MethodWebsocketOnClose {
			return violation("final frame of method %d", f.Method)
		}
		h.endSocket(at, &Final{Method: f.Method, Wants: f.Status})
	case wire.KindError:
		code, text, err := wire.ParseFault(f.Payload)
		if err != nil {
			return err
		}
		h.endSocket(at, &Final{Fault: &Fault{code, string(text)}})
	case wire.KindWindow:
		total, err := wire.WindowTotal(f.Payload)
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		_, err = s.out.OnTotal(total)
		s.moved.Broadcast()
		return err
	case wire.KindCall:
		if f.Method != wire.MethodWebsocketRoomSize {
			return violation("call of method %d in a conversation", f.Method)
		}
		answer := s.frame(wire.KindReply)
		answer.Method, answer.Status = f.Method, f.Status
		size := binary.LittleEndian.AppendUint64(nil, uint64(len(h.rooms.members(string(f.Payload)))))
		go s.lane.prod.Send(&answer, size) // the pump never waits for space
	case wire.KindData:
		return s.data(f)
	}
	return nil
}

func (h *Host) endSocket(at int, final *Final) {
	h.mu.Lock()
	s := h.sockets[at]
	h.sockets[at] = nil
	h.mu.Unlock()
	if !s.end(final) {
		h.rooms.leaveAll(s)
	}
}

// end takes the final frame; told says whether it was asked for.
func (s *Socket) end(final *Final) (told bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.final = final
	s.moved.Broadcast()
	return s.told
}

// data takes a piece of what the worker says.
func (s *Socket) data(f *lane.Frame) error {
	first, err := s.order.Take(&f.Frame)
	if err != nil {
		return err
	}
	cost := uint64(wire.Cost(&f.Frame))
	s.mu.Lock()
	if err := s.in.Take(uint32(cost)); err != nil {
		s.mu.Unlock()
		return err
	}
	if first {
		s.partial = nil
	}
	if s.partial = append(s.partial, f.Payload...); f.Has(wire.FlagMore) {
		s.taken += cost
		s.mu.Unlock()
		go s.giveBack(0)
		return nil
	}
	data := s.partial
	s.partial = nil
	s.mu.Unlock()
	return s.said(f.Method, data, cost)
}

// said acts on a whole word of the worker.
func (s *Socket) said(method uint32, data []byte, cost uint64) error {
	rooms := &s.host.rooms
	switch method {
	case wire.MethodWebsocketSendText, wire.MethodWebsocketSendBinary, wire.MethodWebsocketPing:
		s.push(Message{Method: method, Data: data, cost: cost})
		cost = 0
	case wire.MethodWebsocketClose:
		closing, err := wire.ParseClosing(data, wire.SideWorker)
		if err != nil {
			return err
		}
		s.push(Message{Method: method, Closing: closing})
		s.mu.Lock()
		s.closing = true
		s.mu.Unlock()
		go s.Close(closing) // the client answers at once
	case wire.MethodWebsocketJoinRoom:
		rooms.join(string(data), s)
	case wire.MethodWebsocketLeaveRoom:
		rooms.leave(string(data), s)
	case wire.MethodWebsocketRoomSize:
		return violation("a question as data")
	default:
		name, rest, err := wire.ParseAddressed(data)
		if err != nil {
			return err
		}
		m := Message{Method: wire.MethodWebsocketSendText, Data: rest}
		switch method {
		case wire.MethodWebsocketBroadcastRoomBinary, wire.MethodWebsocketSendBinaryTo:
			m.Method = wire.MethodWebsocketSendBinary
		}
		var members []*Socket
		switch method {
		case wire.MethodWebsocketBroadcastRoomText, wire.MethodWebsocketBroadcastRoomBinary:
			members = rooms.members(name)
		default:
			members = s.host.socket(name)
		}
		for _, member := range members {
			member.push(m)
		}
	}
	go s.giveBack(cost)
	return nil
}

// socket is the open one of that id.
func (h *Host) socket(id string) []*Socket {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sockets {
		if s != nil && s.ID == id {
			return []*Socket{s}
		}
	}
	return nil
}

// Sockets is how many conversations are open.
func (h *Host) Sockets() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sockets {
		if s != nil {
			n++
		}
	}
	return n
}
