package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// AppendFault appends the payload of an ERROR (SPEC.md 7): code is one of Error*; text past its limit is cut off,
// between two characters.
func AppendFault(dst []byte, code uint32, text string) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, code)
	return append(dst, cutText(text, LimitErrorText)...)
}

// ParseFault splits the payload of an ERROR; text past its limit is cut off and is not checked to be UTF-8.
func ParseFault(payload []byte) (code uint32, text []byte, err error) {
	if len(payload) < 4 {
		return 0, nil, violate("error", "payload of %d bytes", len(payload))
	}
	text = payload[4:]
	return binary.LittleEndian.Uint32(payload), text[:min(len(text), LimitErrorText)], nil
}

// cutText is text without what is past its first n bytes, cut between two characters.
func cutText(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
