package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// socketHead is {flags u32, id_len u16, protocol_len u16}, before both strings.
const socketHead = 8

// WebSocketSection is what a worker is told of a socket (SPEC.md 4.10).
type WebSocketSection struct {
	Flags    uint32 // Socket* bits; unknown ones are left to later minors
	ID       string // the connection's id, a name as of [ParseName]
	Protocol string // the subprotocol of the 101; empty: none
}

func parseWebSocket(body []byte) (WebSocketSection, error) {
	if len(body) < socketHead {
		return WebSocketSection{}, recordRule("step-websocket-len")
	}
	le := binary.LittleEndian
	id, protocol := int(le.Uint16(body[4:])), int(le.Uint16(body[6:]))
	if len(body) != socketHead+id+protocol {
		return WebSocketSection{}, recordRule("step-websocket-len")
	}
	strings := string(body[socketHead:])
	s := WebSocketSection{le.Uint32(body), strings[:id], strings[id:]}
	switch {
	case CheckName(s.ID) != nil:
		return WebSocketSection{}, recordRule("step-websocket-id")
	case !utf8.ValidString(s.Protocol):
		return WebSocketSection{}, recordRule("step-websocket-protocol")
	}
	return s, nil
}

func (s *WebSocketSection) append(b []byte) ([]byte, error) {
	if len(s.ID) > 0xffff || len(s.Protocol) > 0xffff {
		return b, ErrTooLarge
	}
	le := binary.LittleEndian
	b = le.AppendUint32(b, s.Flags)
	b = le.AppendUint16(b, uint16(len(s.ID)))
	b = le.AppendUint16(b, uint16(len(s.Protocol)))
	return append(append(b, s.ID...), s.Protocol...), nil
}
