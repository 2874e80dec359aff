package session

import (
	"sync"
	"sync/atomic"
)

// tableSize is a power of two. Ids are given in order, so sessions share a place only when so many are open.
const tableSize = 1024

// table is the open sessions by id. Each has a place by the low bits of its id, taken and left without a lock; those
// whose place is taken go into a map.
type table struct {
	places [tableSize]atomic.Pointer[Session]
	size   atomic.Int64

	crowded atomic.Int64 // how many are in the map, counted before they get there
	mu      sync.Mutex
	rest    map[uint32]*Session
}

func (t *table) place(sid uint32) *atomic.Pointer[Session] { return &t.places[sid%tableSize] }

func (t *table) lookup(sid uint32) *Session {
	if s := t.place(sid).Load(); s != nil && s.sid == sid {
		return s
	}
	if t.crowded.Load() == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rest[sid]
}

// insert adds s and returns the session of the same id that it replaces. One goroutine inserts an id at a time: the
// leader of the lane that its host pins the id to.
func (t *table) insert(s *Session) (old *Session) {
	if old = t.lookup(s.sid); old != nil {
		t.remove(old)
	}
	t.size.Add(1)
	if t.place(s.sid).CompareAndSwap(nil, s) {
		return old
	}
	t.crowded.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rest == nil {
		t.rest = make(map[uint32]*Session)
	}
	t.rest[s.sid] = s
	return old
}

// remove forgets s, but not a later session of the same id.
func (t *table) remove(s *Session) {
	if t.place(s.sid).CompareAndSwap(s, nil) {
		t.size.Add(-1)
		return
	}
	if t.crowded.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rest[s.sid] == s {
		delete(t.rest, s.sid)
		t.crowded.Add(-1)
		t.size.Add(-1)
	}
}
