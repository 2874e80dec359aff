package session

import (
	"sync"
	"testing"
)

// Sessions that share a place, replace each other, or leave while others look, are found and counted rightly.
func TestTable(t *testing.T) {
	var open table
	first, second := &Session{sid: 7}, &Session{sid: 7 + tableSize}
	for range 2 { // the second round finds what the first left
		if open.insert(first) != nil || open.insert(second) != nil {
			t.Fatal("replaced nobody's session")
		}
		if open.lookup(7) != first || open.lookup(7+tableSize) != second || open.lookup(7+2*tableSize) != nil {
			t.Fatal("lookup")
		}
		again, later := &Session{sid: 7}, &Session{sid: 7 + tableSize}
		if open.insert(again) != first || open.insert(later) != second || open.size.Load() != 2 {
			t.Fatal("a session of the same id is replaced")
		}
		open.remove(first) // both are over: their successors stay
		open.remove(second)
		if open.lookup(7) != again || open.lookup(7+tableSize) != later {
			t.Fatal("removed a later session")
		}
		open.remove(again)
		if open.lookup(7+tableSize) != later {
			t.Fatal("a neighbour went with it")
		}
		open.remove(later)
		if open.size.Load() != 0 || open.crowded.Load() != 0 || open.lookup(7) != nil {
			t.Fatalf("%d left, %d of them crowded", open.size.Load(), open.crowded.Load())
		}
	}
}

// Every lane inserts its own ids; anybody removes and looks up.
func TestTableFromManyLanes(t *testing.T) {
	var open table
	var lanes sync.WaitGroup
	for l := range uint32(4) {
		lanes.Go(func() {
			var removers sync.WaitGroup
			for i := range uint32(3000) {
				s := &Session{sid: l + 4*i + 1}
				open.insert(s)
				if open.lookup(s.sid) != s {
					t.Errorf("%d is not there", s.sid)
				}
				removers.Go(func() { open.remove(s) })
			}
			removers.Wait()
		})
	}
	lanes.Wait()
	if open.size.Load() != 0 || open.crowded.Load() != 0 {
		t.Fatalf("%d left, %d of them crowded", open.size.Load(), open.crowded.Load())
	}
}
