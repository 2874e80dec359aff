package wire

import "encoding/binary"

// checkHeaders checks the pairs of headers from offset at to end of record: like spans, but with ids a name may be one
// of the table (SPEC.md 4.8).
func checkHeaders(record []byte, at, end, floor int, kind string, ids bool) error {
	for ; at < end; at += pairSize {
		v := binary.LittleEndian.Uint64(record[at:])
		switch id := v < 1<<32 && v != 0; {
		case !id || !ids:
			if err := checkSpan(record, at, floor, kind); err != nil {
				return err
			}
		case v >= uint64(len(names)):
			return recordRule(kind + "-name-id")
		}
		if err := checkSpan(record, at+spanSize, floor, kind); err != nil {
			return err
		}
	}
	return nil
}

// nameID is the id of a name in any case, 0 when the table has none.
func nameID(name string) uint32 {
	if len(name) < 2 {
		return 0
	}
	if id := nameSlots[nameSlot(name)]; len(names[id]) == len(name) && sameName(names[id], name) {
		return uint32(id)
	}
	return 0
}

// nameSlot is where nameSlots has a name: by its length, its first and its last two bytes, in either case.
func nameSlot(name string) uint8 {
	n := len(name)
	word := uint32(n)<<24 | uint32(name[0])<<16 | uint32(name[n-2])<<8 | uint32(name[n-1])
	return uint8((word | 0x202020) * nameFactor >> 24)
}

// sameName says whether name, in any case, is lower, a header name as records have them: both have the same length.
func sameName(lower []byte, name string) bool {
	if string(lower) == name {
		return true
	}
	for i, c := range lower {
		if c != toLower(name[i]) {
			return false
		}
	}
	return true
}

func toLower(c byte) byte {
	if c-'A' < 26 {
		return c | 0x20
	}
	return c
}
