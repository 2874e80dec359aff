package sdk

import (
	"context"

	"github.com/nylon-rs/nylon/sdk-go/internal/session"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// WebSocketCallbacks are the events of a WebSocket; nil for those that a plugin does not want.
//
// Of one connection they run one at a time and in order: OnOpen first, then the messages as they came, OnClose last and
// exactly once. One that blocks holds up its own connection and no other; the messages behind it wait at the gateway, which
// then reads no more from that client. Callbacks of different connections run at the same time.
//
// A callback that panics ends its connection with code 1011; OnClose runs all the same.
type WebSocketCallbacks struct {
	// OnOpen runs when the client is a WebSocket.
	OnOpen func(*WebSocketConn)
	// OnMessageText gets each text message, whole.
	OnMessageText func(*WebSocketConn, string)
	// OnMessageBinary gets each binary message, whole; the bytes are the plugin's.
	OnMessageBinary func(*WebSocketConn, []byte)
	// OnClose runs when the connection is over, whoever ended it; CloseStatus says how. Rooms can still be left and be
	// broadcast to. It does not run when another worker of the plugin takes the connection over.
	OnClose func(*WebSocketConn)
	// OnError gets what went wrong before OnClose, if anything did: "connection reset by peer".
	OnError func(*WebSocketConn, string)
}

// WebSocketConn is one WebSocket. Its methods may be called from any goroutine, also after the callback that got it has
// returned; once the connection is over they return [ErrClosed].
type WebSocketConn struct {
	core    session.Conversation
	on      WebSocketCallbacks
	request *Request
}

// WebSocketUpgrade asks for the request to become a WebSocket. It is the verdict of this phase: Next and End do nothing
// after it. It returns at once, and OnOpen runs when the client is connected; none of the callbacks runs if it cannot be,
// as when it did not ask for a WebSocket: then the gateway answers with 400.
//
// Headers set on Response go onto the 101; "Sec-WebSocket-Protocol" is the subprotocol chosen of those that the client
// offered. Other middleware of the route is skipped, but for Logging, which runs when the connection is over.
//
// An error says that nothing has happened, and the handler goes on: [ErrNotNegotiated] when the gateway is too old,
// [ErrFinished] after a verdict.
func (p *PhaseRequestFilter) WebSocketUpgrade(on WebSocketCallbacks) error {
	ws := &WebSocketConn{on: on, request: p.Request()}
	return p.inv.Upgrade(&ws.core, (*listener)(ws))
}

// listener hands events to the callbacks.
type listener WebSocketConn

// Opened implements session.Listener.
func (l *listener) Opened() {
	if l.on.OnOpen != nil {
		l.on.OnOpen((*WebSocketConn)(l))
	}
}

// Text implements session.Listener.
func (l *listener) Text(msg string) {
	if l.on.OnMessageText != nil {
		l.on.OnMessageText((*WebSocketConn)(l), msg)
	}
}

// Binary implements session.Listener.
func (l *listener) Binary(msg []byte) {
	if l.on.OnMessageBinary != nil {
		l.on.OnMessageBinary((*WebSocketConn)(l), msg)
	}
}

// Failed implements session.Listener.
func (l *listener) Failed(text string) {
	if l.on.OnError != nil {
		l.on.OnError((*WebSocketConn)(l), text)
	}
}

// Closed implements session.Listener.
func (l *listener) Closed() {
	if l.on.OnClose != nil {
		l.on.OnClose((*WebSocketConn)(l))
	}
}

// ID names the connection, in all gateways that share their rooms: it is what SendTo takes.
func (ws *WebSocketConn) ID() string { return ws.core.ID() }

// Resumed says whether the client was connected before: another worker of this plugin, of an earlier version or one that
// crashed, had the connection. Its rooms are as they were; what else that worker knew is gone.
func (ws *WebSocketConn) Resumed() bool { return ws.core.Resumed() }

// Subprotocol is the one the client was told, "" for none.
func (ws *WebSocketConn) Subprotocol() string { return ws.core.Subprotocol() }

// Request is the request that became this connection. It stays valid.
func (ws *WebSocketConn) Request() *Request { return ws.request }

// Context is cancelled when the connection is over, before OnClose runs, or once another worker has taken it over. Lines
// logged with it carry the request's id.
func (ws *WebSocketConn) Context() context.Context { return ws.core.Context() }

// CloseStatus is how the connection ended, from OnClose on: the code of the close frame, 1005 if that had none,
// 1006 if there was no close frame; and its reason.
func (ws *WebSocketConn) CloseStatus() (code uint16, reason string) { return ws.core.Ended() }

// SendText sends a text message, which must be UTF-8. While the client reads too slowly it waits, or drops messages or
// the client, as the route's configuration says. An error says that the message will not arrive; nil does not say that
// it has.
func (ws *WebSocketConn) SendText(msg string) error {
	return ws.core.SendText(wire.MethodWebsocketSendText, "", msg)
}

// SendBinary sends a binary message, as SendText does. data may be used again when it returns.
func (ws *WebSocketConn) SendBinary(data []byte) error {
	return ws.core.Send(wire.MethodWebsocketSendBinary, "", data)
}

// SendTo sends a text message to the connection of that id, on whichever gateway it is. If it is gone by now, nothing
// happens.
func (ws *WebSocketConn) SendTo(id string, msg string) error {
	if err := session.CheckID(id); err != nil {
		return err
	}
	return ws.core.SendText(wire.MethodWebsocketSendTextTo, id, msg)
}

// SendBinaryTo sends a binary message to the connection of that id.
func (ws *WebSocketConn) SendBinaryTo(id string, data []byte) error {
	if err := session.CheckID(id); err != nil {
		return err
	}
	return ws.core.Send(wire.MethodWebsocketSendBinaryTo, id, data)
}

// Ping sends a ping with up to 125 bytes. The gateway sends its own to find dead clients.
func (ws *WebSocketConn) Ping(data []byte) error { return ws.core.Ping(data) }

// Close closes the connection behind what was sent before, without a code. It does not wait: OnClose runs when the client
// has answered, or did not in time.
func (ws *WebSocketConn) Close() error { return ws.core.Close(0, "") }

// CloseWith is Close with a code, 1000 to 1003, 1007 to 1014 or 3000 to 4999, and a reason of at most 123 bytes.
func (ws *WebSocketConn) CloseWith(code uint16, reason string) error {
	return ws.core.CloseWith(code, reason)
}

// JoinRoom adds the connection to a room, which is there as long as it has members. Rooms are those of the gateway, and of
// all that share them through Redis. A name has up to 128 bytes of UTF-8 without control characters; a connection is in
// up to 64 rooms, and leaves them when it is over.
func (ws *WebSocketConn) JoinRoom(room string) error { return ws.core.Join(room) }

// LeaveRoom takes the connection out of a room.
func (ws *WebSocketConn) LeaveRoom(room string) error { return ws.core.Leave(room) }

// BroadcastText sends a text message to every member of a room: to this connection too if it is one, which it need not
// be. It crosses to the gateway once, however many members there are.
func (ws *WebSocketConn) BroadcastText(room, msg string) error {
	if err := session.CheckRoom(room); err != nil {
		return err
	}
	return ws.core.SendText(wire.MethodWebsocketBroadcastRoomText, room, msg)
}

// BroadcastBinary sends a binary message to every member of a room.
func (ws *WebSocketConn) BroadcastBinary(room string, data []byte) error {
	if err := session.CheckRoom(room); err != nil {
		return err
	}
	return ws.core.Send(wire.MethodWebsocketBroadcastRoomBinary, room, data)
}

// RoomSize is how many connections are in a room, on all gateways that share it. It asks the gateway and waits.
func (ws *WebSocketConn) RoomSize(room string) (int, error) { return ws.core.RoomSize(room) }
