package wire

import "encoding/binary"

// headPairs is where a head's pairs start: behind {status u16, headers u16, flags u32}.
const headPairs = 8

// AppendHead appends a response head (SPEC.md 4.4); flags is Head* bits, ids says whether names are ids
// (SPEC.md 4.8). On error dst comes back as it was.
func AppendHead(dst []byte, status uint16, flags uint32, headers []Pair, ids bool) ([]byte, error) {
	pairsEnd := headPairs + len(headers)*pairSize
	if pairsEnd > LimitRecord {
		return dst, ErrTooLarge
	}
	start := len(dst)
	le := binary.LittleEndian
	dst = le.AppendUint16(dst, status)
	dst = le.AppendUint16(dst, uint16(len(headers)))
	dst = le.AppendUint32(dst, flags)
	dst = appendZeros(dst, pairsEnd-headPairs)
	dst = appendPairs(dst, start, start+headPairs, headers, ids)
	if len(dst)-start > LimitRecord {
		return dst[:start], ErrTooLarge
	}
	return dst, nil
}

// Head is a checked response head. What it returns are views of the record.
type Head struct {
	record  []byte
	headers int
}

// ParseHead checks record, which is the head and nothing else; ids says whether FeatureHeaderNames is on.
func ParseHead(record []byte, ids bool) (Head, error) {
	if len(record) < headPairs {
		return Head{}, recordRule("head-pairs-past-end")
	}
	headers := int(binary.LittleEndian.Uint16(record[2:]))
	floor := headPairs + headers*pairSize
	if floor > len(record) {
		return Head{}, recordRule("head-pairs-past-end")
	}
	if err := checkHeaders(record, headPairs, floor, floor, "head", ids); err != nil {
		return Head{}, err
	}
	return Head{record, headers}, nil
}

// Stands takes the head of a session's step, or gives it the last one when the step says that it still stands; false
// when there was none (SPEC.md 4.9).
func (h *Head) Stands(step *Step) bool {
	switch {
	case step.HasResponse:
		*h = step.Response
	case step.ResponseKept:
		step.HasResponse, step.Response = true, *h
		return h.record != nil
	}
	return true
}

// Clone is the head in memory of its own.
func (h Head) Clone() Head {
	h.record = append([]byte(nil), h.record...)
	return h
}

// Record is the whole record; nil for the zero Head.
func (h Head) Record() []byte { return h.record }

// Status is the HTTP status.
func (h Head) Status() uint16 { return binary.LittleEndian.Uint16(h.record) }

// Flags is Head* bits; unknown ones are left to later minors.
func (h Head) Flags() uint32 { return binary.LittleEndian.Uint32(h.record[4:]) }

// HasBody says whether the host holds a body set by an earlier step.
func (h Head) HasBody() bool { return h.Flags()&HeadBody != 0 }

// Headers are the header pairs, names in lower case; repeated names are kept.
func (h Head) Headers() Pairs { return Pairs{h.record, headPairs, h.headers} }
