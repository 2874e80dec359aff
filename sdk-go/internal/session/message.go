package session

import (
	"errors"
	"unicode/utf8"

	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// messagePiece is what one DATA of a conversation holds at most: a quarter of the window, of which the host may hold back
// a part, and must never make us wait for it.
const messagePiece = wire.LimitConversation/4 - wire.LimitMessageCost

// refuses says why a message of that method cannot be sent, or nil. What goes to a room is taken until OnClose has
// returned. The caller holds mu.
func (c *Conversation) refuses(method uint32) error {
	switch {
	case c.stage == asked || c.stage >= void:
		return ErrClosed
	case method < wire.MethodWebsocketJoinRoom && (c.closing || c.stage == gone):
		return ErrClosed
	}
	return nil
}

// Send sends one message, ping or word about a room; name is the room's or the connection's, for the methods that have
// one. It waits while the client, or the host, takes no more.
func (c *Conversation) Send(method uint32, name string, b []byte) error {
	var head []byte
	switch method {
	case wire.MethodWebsocketBroadcastRoomText, wire.MethodWebsocketBroadcastRoomBinary,
		wire.MethodWebsocketSendTextTo, wire.MethodWebsocketSendBinaryTo:
		n := min(len(b), messagePiece-2-len(name))
		var small [256]byte
		head = wire.AppendAddressed(small[:0], name, b[:n])
		b = b[n:]
	default:
		n := min(len(b), messagePiece)
		head, b = b[:n], b[n:]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sending {
		c.await(func() bool { return !c.sending || c.refuses(method) != nil })
	}
	if err := c.refuses(method); err != nil {
		return err
	}
	c.sending = true
	err := c.pieces(method, head, b)
	c.sending = false
	c.sayFarewell()
	c.moved.Broadcast()
	return err
}

// pieces sends a message whose first piece is head. The caller holds mu, which is let go while it waits or sends.
func (c *Conversation) pieces(method uint32, head, rest []byte) error {
	for piece, begun := head, false; ; begun = true {
		cost := uint64(len(piece) + wire.LimitMessageCost)
		if c.out.Room() < cost {
			c.await(func() bool {
				return c.out.Room() >= cost || c.gaveUp(method, begun) || c.stage == leaving && !begun || c.stage == parting
			})
		}
		if c.gaveUp(method, begun) || c.out.Room() < cost {
			if begun && c.stage < void && c.farewell == nil { // what comes next is no more of it
				c.closing, c.farewell = true, []byte{}
			}
			return ErrClosed
		}
		c.send(method, piece, len(rest) > 0)
		if len(rest) == 0 {
			return nil
		}
		n := min(len(rest), messagePiece)
		piece, rest = rest[:n], rest[n:]
	}
}

// gaveUp says whether a message need not be sent, or its rest if it has begun. The caller holds mu.
func (c *Conversation) gaveUp(method uint32, begun bool) bool {
	if begun {
		return c.stage >= void || c.stage == gone && method < wire.MethodWebsocketJoinRoom
	}
	return c.refuses(method) != nil
}

// await waits until ready, without lane or mutex. The caller holds mu.
func (c *Conversation) await(ready func() bool) {
	for !ready() {
		c.mu.Unlock()
		c.inv.Session.lane.HandOver(c.run.Load())
		c.class(wire.MethodWebsocketOnMessageText).Blocked()
		c.mu.Lock()
		if !ready() {
			c.moved.Wait()
		}
	}
}

// send sends one piece, for which there is room. The caller holds mu, which is let go meanwhile.
func (c *Conversation) send(method uint32, piece []byte, more bool) {
	f := c.of(wire.KindData)
	f.Method, f.Len = method, uint32(len(piece))
	if more {
		f.Flags = wire.FlagMore
	}
	_ = c.out.Take(wire.Cost(&f.Frame))
	c.mu.Unlock()
	c.inv.Session.lane.Send(&f, piece, c.run.Load())
	c.mu.Lock()
}

// SendText sends a text message.
func (c *Conversation) SendText(method uint32, name, msg string) error {
	if !utf8.ValidString(msg) {
		return errNotText
	}
	return c.Send(method, name, shm.Bytes(msg))
}

var (
	errNotText     = errors.New("a text message is UTF-8")
	errPing        = errors.New("a ping has at most 125 bytes")
	errCloseCode   = errors.New("not a close code to send: 1000 to 1003, 1007 to 1014 or 3000 to 4999")
	errCloseReason = errors.New("the reason of a close is UTF-8 of at most 123 bytes")
)

// Ping sends a ping.
func (c *Conversation) Ping(data []byte) error {
	if len(data) > wire.LimitPing {
		return errPing
	}
	return c.Send(wire.MethodWebsocketPing, "", data)
}

// CloseWith is Close with a code that a peer may send.
func (c *Conversation) CloseWith(code uint16, reason string) error {
	switch {
	case !wire.CloseCode(code, wire.SideWorker):
		return errCloseCode
	case len(reason) > wire.LimitPing-2 || !utf8.ValidString(reason):
		return errCloseReason
	}
	return c.Close(code, reason)
}

// Close asks for the end, behind what was sent before; code 0 is none. It does not wait.
func (c *Conversation) Close(code uint16, reason string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refuses(wire.MethodWebsocketClose); err != nil {
		return err
	}
	c.closing = true
	c.farewell = wire.AppendClosing(make([]byte, 0, 2+len(reason)), wire.Closing{Code: code, Reason: reason})
	c.moved.Broadcast()
	if !c.sending { // else whoever sends does it
		c.sending = true
		c.sayFarewell()
		c.sending = false
		c.moved.Broadcast()
	}
	return nil
}

// sayFarewell sends the close that was asked for, or ends a message that was given up: the host drops what follows the
// end of a connection, but must not take a word about a room for more of that message. The caller holds mu, and sending is set.
func (c *Conversation) sayFarewell() {
	if farewell := c.farewell; farewell != nil {
		c.farewell = nil
		if c.stage < void {
			c.send(wire.MethodWebsocketClose, farewell, false)
		}
	}
}

// giveBack counts what was handled, and tells the host when it is a quarter of the window: a piece may be as large as
// half of it.
func (c *Conversation) giveBack(cost uint32) {
	c.windowMu.Lock() // totals leave in the order they were counted
	defer c.windowMu.Unlock()
	c.mu.Lock()
	c.unacked += uint64(cost)
	if c.stage == over || c.unacked < uint64(wire.LimitConversation/4) {
		c.mu.Unlock()
		return
	}
	total := c.in.Give(c.unacked)
	c.unacked = 0
	c.mu.Unlock()
	f := c.of(wire.KindWindow)
	c.inv.Session.lane.Send(&f, wire.AppendWindowTotal(nil, total), c.run.Load())
}
