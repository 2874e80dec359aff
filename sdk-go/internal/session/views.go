package session

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// requestEdits is what the session changed in the request: getters show a plugin its own changes.
type requestEdits struct {
	any  atomic.Bool // without a change, getters take no lock
	mu   sync.Mutex
	list []edit
}

type edit struct {
	op         uint32
	key, value string
}

func (e *requestEdits) note(op uint32, key, value string) {
	if op >= wire.MethodSetRequestMethod && op <= wire.MethodRemoveRequestHeader {
		e.mu.Lock()
		e.list = append(e.list, edit{op, key, value})
		e.any.Store(true)
		e.mu.Unlock()
	}
}

// last is the value of the last edit of op.
func (e *requestEdits) last(op uint32) (string, bool) {
	if !e.any.Load() {
		return "", false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := len(e.list) - 1; i >= 0; i-- {
		if e.list[i].op == op {
			return e.list[i].value, true
		}
	}
	return "", false
}

// header is what the edits make of a header; of a removed one "".
func (e *requestEdits) header(name string) (value string, edited bool) {
	if !e.any.Load() {
		return "", false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := len(e.list) - 1; i >= 0; i-- {
		if e := e.list[i]; strings.EqualFold(e.key, name) {
			switch e.op {
			case wire.MethodSetRequestHeader, wire.MethodRemoveRequestHeader:
				return e.value, true
			}
		}
	}
	return "", false
}

// Method, Path and Query are those of the request with the session's own changes.
func (s *Session) Method() string { return s.field(wire.MethodSetRequestMethod, s.req.Method) }
func (s *Session) Path() string   { return s.field(wire.MethodSetRequestPath, s.req.Path) }
func (s *Session) Query() string  { return s.field(wire.MethodSetRequestQuery, s.req.Query) }

func (s *Session) field(op uint32, of func() []byte) string {
	if v, ok := s.edits.last(op); ok {
		return v
	}
	return shm.String(of())
}

// Header is the last value of a request header, with the session's own changes.
func (s *Session) Header(name string) string {
	if value, edited := s.edits.header(name); edited {
		return value
	}
	value, _ := s.req.Headers().Last(name)
	return shm.String(value)
}

// Headers are the request headers in order, names in lower case, with the session's own changes.
func (s *Session) Headers() []wire.Pair {
	out := pairs(s.req.Headers())
	s.edits.mu.Lock()
	defer s.edits.mu.Unlock()
	for _, e := range s.edits.list {
		switch e.op {
		case wire.MethodSetRequestHeader:
			out = append(without(out, e.key), wire.Pair{Name: strings.ToLower(e.key), Value: e.value})
		case wire.MethodRemoveRequestHeader:
			out = without(out, e.key)
		}
	}
	return out
}

// pairs are views of a record.
func pairs(of wire.Pairs) []wire.Pair {
	out := make([]wire.Pair, 0, of.Len()+4)
	for n, v := range of.All() {
		out = append(out, wire.Pair{Name: shm.String(n), Value: shm.String(v)})
	}
	return out
}

func without(in []wire.Pair, name string) []wire.Pair {
	out := in[:0]
	for _, p := range in {
		if !strings.EqualFold(p.Name, name) {
			out = append(out, p)
		}
	}
	return out
}

// ResponseHeaders are the response headers as they stand, names in lower case, with the pending changes in call order.
func (inv *Invocation) ResponseHeaders() []wire.Pair {
	var out []wire.Pair
	if inv.step.HasResponse {
		out = pairs(inv.step.Response.Headers())
		for i := range out {
			out[i].Name = strings.ToLower(out[i].Name)
		}
	}
	inv.Pending(func(e wire.Op) {
		key := string(e.Name)
		switch e.Method {
		case wire.MethodSetResponseHeader:
			out = append(without(out, key), wire.Pair{Name: strings.ToLower(key), Value: string(e.Value)})
		case wire.MethodAddResponseHeader:
			out = append(out, wire.Pair{Name: strings.ToLower(key), Value: string(e.Value)})
		case wire.MethodRemoveResponseHeader:
			out = without(out, key)
		}
	})
	return out
}

// Status is the response status as it will be sent.
func (inv *Invocation) Status() int {
	status := 200
	if inv.step.HasResponse {
		status = int(inv.step.Response.Status())
	}
	inv.Pending(func(e wire.Op) {
		if e.Method == wire.MethodSetResponseStatus {
			status = int(e.Status)
		}
	})
	return status
}

// ResponseBody is the body set so far; in a body filter the piece, as edited.
func (inv *Invocation) ResponseBody() ([]byte, error) {
	if b, set := inv.PendingBody(wire.MethodSetResponseFullBody); set {
		return b, nil
	}
	if inv.step.HasPiece {
		return inv.step.Piece, nil
	}
	if inv.step.HasResponse && inv.step.Response.HasBody() {
		return inv.Call(wire.MethodReadResponseFullBody, nil)
	}
	return nil, nil
}

// RequestPiece is the piece of a request body filter, as edited.
func (inv *Invocation) RequestPiece() []byte {
	if b, set := inv.PendingBody(wire.MethodSetRequestBody); set {
		return b
	}
	return inv.step.Piece
}

// Last says that no piece follows.
func (inv *Invocation) Last() bool { return inv.step.PieceLast }

// ResponseBytes is how many bytes were sent; before Logging, how many were set.
func (inv *Invocation) ResponseBytes() int64 {
	if inv.step.HasStats {
		return int64(inv.step.Stats.Bytes)
	}
	b, _ := inv.PendingBody(wire.MethodSetResponseFullBody)
	return int64(len(b))
}

// Duration is the time since the request arrived, in ms.
func (inv *Invocation) Duration() int64 {
	if inv.step.HasStats {
		return int64(inv.step.Stats.DurationMs)
	}
	return max(0, time.Now().UnixMilli()-inv.Session.req.TimestampMs())
}

// ErrorText is why the request failed; only Logging knows.
func (inv *Invocation) ErrorText() string {
	return string(inv.step.Stats.Error)
}

// Payload is the JSON of the item's payload, empty when there is none.
func (inv *Invocation) Payload() ([]byte, error) {
	inv.mu.Lock()
	kind, payload := inv.step.PayloadKind, inv.step.Payload
	inv.mu.Unlock()
	switch kind {
	case wire.PayloadInline:
		return payload, nil
	case wire.PayloadByID:
		if all := inv.Session.w.Payloads; int64(inv.step.PayloadID) < int64(len(all)) {
			return all[inv.step.PayloadID], nil
		}
	case wire.PayloadByCall:
		b, err := inv.Call(wire.MethodGetPayload, nil)
		if err != nil {
			return nil, err
		}
		inv.mu.Lock()
		defer inv.mu.Unlock()
		inv.step.PayloadKind, inv.step.Payload = wire.PayloadInline, b
		return b, nil
	}
	return nil, nil
}
