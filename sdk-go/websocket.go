package sdk

import "context"

// WebSocketCallbacks are the events of a WebSocket.
type WebSocketCallbacks struct {
	OnOpen          func(*WebSocketConn)
	OnMessageText   func(*WebSocketConn, string)
	OnMessageBinary func(*WebSocketConn, []byte)
	OnClose         func(*WebSocketConn)
	OnError         func(*WebSocketConn, string)
}

// WebSocketConn is one WebSocket. This version of the wire does not carry WebSockets: every call returns
// ErrNotNegotiated.
type WebSocketConn struct{ id string }

// ID names the connection.
func (ws *WebSocketConn) ID() string { return ws.id }

// Resumed says whether the connection outlived another worker of this plugin.
func (ws *WebSocketConn) Resumed() bool { return false }

// Context is cancelled when the connection ends.
func (ws *WebSocketConn) Context() context.Context { return context.Background() }

// SendText sends a text message.
func (ws *WebSocketConn) SendText(msg string) error { return ErrNotNegotiated }

// SendBinary sends a binary message.
func (ws *WebSocketConn) SendBinary(data []byte) error { return ErrNotNegotiated }

// SendTo sends a text message to the connection of that id.
func (ws *WebSocketConn) SendTo(id string, msg string) error { return ErrNotNegotiated }

// Close closes the connection.
func (ws *WebSocketConn) Close() error { return ErrNotNegotiated }

// CloseWith closes the connection with a code and a reason.
func (ws *WebSocketConn) CloseWith(code uint16, reason string) error { return ErrNotNegotiated }

// JoinRoom adds the connection to a room.
func (ws *WebSocketConn) JoinRoom(room string) error { return ErrNotNegotiated }

// LeaveRoom takes the connection out of a room.
func (ws *WebSocketConn) LeaveRoom(room string) error { return ErrNotNegotiated }

// BroadcastText sends a text message to every member of a room.
func (ws *WebSocketConn) BroadcastText(room, msg string) error { return ErrNotNegotiated }

// BroadcastBinary sends a binary message to every member of a room.
func (ws *WebSocketConn) BroadcastBinary(room string, data []byte) error { return ErrNotNegotiated }
