package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// Closing is how a WebSocket is closed (SPEC.md 4.12): of a worker, what the host sends on; of a host, what happened.
type Closing struct {
	Code   uint16 // 0 = the close frame has none; a host's is read as 1005 then
	Reason string // for people, at most 123 bytes; empty without a code
}

// ParseClosing reads what from says.
func ParseClosing(b []byte, from Side) (Closing, error) {
	switch len(b) {
	case 0:
		return Closing{}, nil
	case 1:
		return Closing{}, recordRule("closing-one-byte")
	}
	c := Closing{binary.LittleEndian.Uint16(b), string(b[2:])}
	switch {
	case len(b) > LimitPing:
		return Closing{}, recordRule("closing-long")
	case !CloseCode(c.Code, from):
		return Closing{}, recordRule("closing-code")
	case !utf8.ValidString(c.Reason):
		return Closing{}, recordRule("closing-utf8")
	}
	return c, nil
}

// AppendClosing appends the payload of a close; a reason past its limit is cut off, between two characters.
func AppendClosing(dst []byte, c Closing) []byte {
	if c.Code == 0 {
		return dst
	}
	return append(binary.LittleEndian.AppendUint16(dst, c.Code), cutText(c.Reason, LimitPing-2)...)
}

// CloseCode says whether from may give code: those that stand in a close frame (RFC 6455 7.4 and its registry), and from
// a host also 1005, there was none, and 1006, there was no close frame.
func CloseCode(code uint16, from Side) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
		return true
	}
	return from == SideHost && (code == 1005 || code == 1006)
}
