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

// idOf is the id of a name in any case, 0 when the table has none.
func idOf(name string) uint32 {
	for i := range len(name) {
		if isUpper(name[i]) {
			return idOfMixed(name)
		}
	}
	return nameID(name)
}

func idOfMixed(name string) uint32 {
	var lower [32]byte
	if len(name) > len(lower) {
		return 0
	}
	for i := range len(name) {
		lower[i] = toLower(name[i])
	}
	return nameID(string(lower[:len(name)]))
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

func isUpper(c byte) bool { return c-'A' < 26 }

func toLower(c byte) byte {
	if isUpper(c) {
		return c | 0x20
	}
	return c
}
