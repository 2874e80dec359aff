package session

import (
	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// A host that expects RawBody sends the request body along with the step, before the CALL that it answers (SPEC.md 5.10).
// The CALL is made all the same: it tells the host that it was right.

// callFor is the call that a piece of data answers, or nil. The caller holds mu.
func (inv *Invocation) callFor(f *lane.Frame) *hostCall {
	t := inv.talk()
	if f.Status != 0 || inv.Session.w.Features&wire.FeatureBodyAhead == 0 {
		return t.callOf(f.Status)
	}
	if t.ahead == nil {
		t.ahead = &hostCall{method: f.Method}
		for _, c := range t.calls { // made before the first piece was taken
			if c.method == f.Method {
				t.ahead = c
			}
		}
	}
	if t.ahead.done {
		return nil
	}
	return t.ahead
}

// claim is a call to make: the one that is answered ahead, or a new one. The caller holds mu.
func (t *traffic) claim(method uint32) *hostCall {
	if c := t.ahead; c != nil && c.num == 0 && c.method == method {
		return c
	}
	return &hostCall{method: method}
}

// isAnswered says whether the answer of a call is here before it is made.
func (inv *Invocation) isAnswered(method uint32) bool {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	c := inv.talk().ahead
	return c != nil && c.num == 0 && c.method == method && c.done
}
