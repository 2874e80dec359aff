package wire

import (
	"encoding/binary"
	"iter"
)

// MutationWriter appends one mutation record (SPEC.md 4.5): everything one invocation changes, whole or not at all.
// Reset starts a record; the zero value is one that starts an own slice.
type MutationWriter struct {
	buf      []byte
	start    int
	count    uint32
	tooLarge bool
}

// Reset starts a record at the end of dst.
func (w *MutationWriter) Reset(dst []byte) {
	*w = MutationWriter{buf: appendZeros(dst, MutationEntries), start: len(dst)}
}

// Count is the number of entries so far.
func (w *MutationWriter) Count() int { return int(w.count) }

// SetHeader replaces all response headers of that name.
func (w *MutationWriter) SetHeader(name, value string) {
	entry(w, MethodSetResponseHeader, 0, name, value)
}

// AddHeader adds a response header and keeps earlier ones.
func (w *MutationWriter) AddHeader(name, value string) {
	entry(w, MethodAddResponseHeader, 0, name, value)
}

// RemoveHeader removes all response headers of that name.
func (w *MutationWriter) RemoveHeader(name string) {
	entry(w, MethodRemoveResponseHeader, 0, name, "")
}

// Status sets the response status.
func (w *MutationWriter) Status(status uint16) {
	value := [2]byte{byte(status >> 8), byte(status)}
	entry(w, MethodSetResponseStatus, 0, "", value[:])
}

// Body sets the response body; empty is an empty body.
func (w *MutationWriter) Body(body []byte) { entry(w, MethodSetResponseFullBody, 0, "", body) }

// BodyStaged sets the response body to the DATA sent before.
func (w *MutationWriter) BodyStaged() {
	entry(w, MethodSetResponseFullBody, OpflagStaged, "", "")
}

// SetMethod sets the request method (since 1.1).
func (w *MutationWriter) SetMethod(method string) { entry(w, MethodSetRequestMethod, 0, "", method) }

// SetPath sets the request path (since 1.1).
func (w *MutationWriter) SetPath(path string) { entry(w, MethodSetRequestPath, 0, "", path) }

// SetQuery sets the request query (since 1.1).
func (w *MutationWriter) SetQuery(query string) { entry(w, MethodSetRequestQuery, 0, "", query) }

// SetRequestHeader replaces all request headers of that name (since 1.1).
func (w *MutationWriter) SetRequestHeader(name, value string) {
	entry(w, MethodSetRequestHeader, 0, name, value)
}

// RemoveRequestHeader removes all request headers of that name (since 1.1).
func (w *MutationWriter) RemoveRequestHeader(name string) {
	entry(w, MethodRemoveRequestHeader, 0, name, "")
}

// RequestBody sets the request body (since 1.1); empty is an empty body.
func (w *MutationWriter) RequestBody(body []byte) { entry(w, MethodSetRequestBody, 0, "", body) }

// RequestBodyStaged sets the request body to the DATA sent before (since 1.1).
func (w *MutationWriter) RequestBodyStaged() {
	entry(w, MethodSetRequestBody, OpflagStaged, "", "")
}

// Append appends op, as a reader gave it.
func (w *MutationWriter) Append(op Op) {
	if op.Method == MethodSetResponseStatus {
		w.Status(op.Status)
		return
	}
	var flags uint16
	if op.Staged {
		flags = OpflagStaged
	}
	entry(w, op.Method, flags, op.Name, op.Value)
}

// Finish writes the record's length and count and returns the slice; on error it is as it was before Reset.
func (w *MutationWriter) Finish() ([]byte, error) {
	if w.buf == nil {
		w.Reset(nil)
	}
	if w.tooLarge {
		return w.buf[:w.start], ErrTooLarge
	}
	rec := w.buf[w.start:]
	binary.LittleEndian.PutUint32(rec[MutationLen:], uint32(len(rec)))
	binary.LittleEndian.PutUint32(rec[MutationCount:], w.count)
	return w.buf, nil
}

func entry[K, V []byte | string](w *MutationWriter, op uint32, flags uint16, key K, value V) {
	if w.buf == nil {
		w.Reset(nil)
	}
	end := len(w.buf) - w.start + MutationOpBytes + len(key) + len(value)
	if w.tooLarge || end > LimitRecord {
		w.tooLarge = true
		return
	}
	le := binary.LittleEndian
	b := le.AppendUint16(w.buf, uint16(op))
	b = le.AppendUint16(b, flags)
	b = le.AppendUint32(b, uint32(len(key)))
	b = le.AppendUint32(b, uint32(len(value)))
	b = le.AppendUint32(b, 0)
	b = append(b, key...)
	b = append(b, value...)
	w.buf = pad8(b, w.start)
	w.count++
}

// Op is one entry of a mutation record. What names and values may hold is the receiver's business.
type Op struct {
	Method uint32 // one of the Method* that are entries
	Name   []byte // header name
	Value  []byte // header value, body, method, path or query
	Status uint16 // of MethodSetResponseStatus
	Staged bool   // the body came before, as DATA of the same method
}

// Mutation is a checked mutation record. Its ops are views of the record.
type Mutation struct {
	entries []byte
	count   uint32
}

// ParseMutation checks a whole payload; an empty one is a mutation without entries.
func ParseMutation(payload []byte) (Mutation, error) {
	switch {
	case len(payload) == 0:
		return Mutation{}, nil
	case len(payload) > LimitRecord:
		return Mutation{}, recordRule("mutation-too-large")
	case len(payload) < MutationEntries:
		return Mutation{}, recordRule("mutation-len")
	case uint64(binary.LittleEndian.Uint32(payload[MutationLen:])) != uint64(len(payload)):
		return Mutation{}, recordRule("mutation-len")
	}
	m := Mutation{payload[MutationEntries:], binary.LittleEndian.Uint32(payload[MutationCount:])}
	rest := m.entries
	for range m.count {
		var err error
		if _, rest, err = parseOp(rest); err != nil {
			return Mutation{}, err
		}
	}
	if len(rest) != 0 {
		return Mutation{}, recordRule("mutation-left-over")
	}
	return m, nil
}

// Len is the number of entries.
func (m Mutation) Len() int { return int(m.count) }

// Ops iterates over the entries in order.
func (m Mutation) Ops() iter.Seq[Op] {
	return func(yield func(Op) bool) {
		rest := m.entries
		for range m.count {
			op, after, err := parseOp(rest)
			if err != nil || !yield(op) {
				return
			}
			rest = after
		}
	}
}

// parseOp checks the first entry of b and returns it with what follows.
func parseOp(b []byte) (Op, []byte, error) {
	fail := func(rule string) (Op, []byte, error) { return Op{}, nil, recordRule(rule) }
	if len(b) < MutationOpBytes {
		return fail("mutation-entry-past-end")
	}
	le := binary.LittleEndian
	keyLen, valueLen := uint64(le.Uint32(b[MutationKeyLen:])), uint64(le.Uint32(b[MutationValueLen:]))
	if le.Uint32(b[MutationOpReserved:]) != 0 {
		return fail("mutation-reserved")
	}
	if keyLen+valueLen > 0xffff_ffff {
		return fail("mutation-overflow")
	}
	end := MutationOpBytes + int(keyLen+valueLen)
	padded := round8(end)
	if padded > len(b) {
		return fail("mutation-entry-past-end")
	}
	if !allZero(b[end:padded]) {
		return fail("mutation-padding")
	}
	valueAt := MutationOpBytes + int(keyLen)
	op := Op{
		Method: uint32(le.Uint16(b[MutationOp:])),
		Name:   b[MutationOpBytes:valueAt:valueAt],
		Value:  b[valueAt:end:end],
	}
	if rule := op.check(le.Uint16(b[MutationOpFlags:])); rule != "" {
		return fail(rule)
	}
	return op, b[padded:], nil
}

// check holds an entry to its op's shape and fills in Staged and Status.
func (op *Op) check(flags uint16) (rule string) {
	isBody := op.Method == MethodSetResponseFullBody || op.Method == MethodSetRequestBody
	op.Staged = flags == OpflagStaged
	switch {
	case flags != 0 && !(isBody && op.Staged):
		return "mutation-flags"
	case op.Staged && len(op.Value) != 0:
		return "mutation-staged-value"
	}
	unused := op.Name
	switch op.Method {
	case MethodSetResponseHeader, MethodAddResponseHeader, MethodSetRequestHeader:
		unused = nil
	case MethodRemoveResponseHeader, MethodRemoveRequestHeader:
		unused = op.Value
	case MethodSetResponseStatus:
		if len(op.Value) != 2 {
			return "mutation-status-len"
		}
		op.Status = binary.BigEndian.Uint16(op.Value)
	case MethodSetResponseFullBody, MethodSetRequestBody,
		MethodSetRequestMethod, MethodSetRequestPath, MethodSetRequestQuery:
	default:
		return "mutation-op"
	}
	if len(unused) != 0 {
		return "mutation-unused"
	}
	return ""
}
