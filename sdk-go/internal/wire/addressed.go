package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// ParseAddressed splits the first piece of a message to a room or to a connection (SPEC.md 4.11) into its name, see
// [ParseName], and what the message begins with, a view of piece. Later pieces are bytes only.
func ParseAddressed(piece []byte) (name string, rest []byte, err error) {
	if len(piece) < 2 {
		return "", nil, recordRule("addressed-short")
	}
	end := 2 + int(binary.LittleEndian.Uint16(piece))
	if end > len(piece) {
		return "", nil, recordRule("addressed-short")
	}
	name, err = ParseName(piece[2:end])
	return name, piece[end:], err
}

// AppendAddressed appends the first piece of a message to name, which has at most LimitRoomName bytes.
func AppendAddressed(dst []byte, name string, b []byte) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(name)))
	return append(append(dst, name...), b...)
}

// ParseName is b as the name of a room or of a connection (SPEC.md 4.11): 1 to 128 bytes of UTF-8, none below 0x20, nor
// 0x7f.
func ParseName(b []byte) (string, error) {
	name := string(b)
	return name, CheckName(name)
}

// CheckName checks a name as [ParseName] does.
func CheckName(name string) error {
	switch {
	case name == "":
		return recordRule("name-empty")
	case len(name) > LimitRoomName:
		return recordRule("name-long")
	case !utf8.ValidString(name):
		return recordRule("name-utf8")
	}
	for i := range len(name) {
		if name[i] < 0x20 || name[i] == 0x7f {
			return recordRule("name-control")
		}
	}
	return nil
}
