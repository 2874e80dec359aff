package lane

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// ring is one ring with both its ends: the host's ring, taken by the worker.
type ring struct {
	h, p   *shm.Segment
	prod   *Producer
	cons   *Consumer
	bell   *ChanParker
	faults []string
}

func newRing(t *testing.T) *ring {
	t.Helper()
	g := wire.Geometry{Lanes: 1, Slots: 64, Arena: 256 << 10}
	r := &ring{h: shm.New(g), p: shm.New(g), bell: NewChanParker()}
	fault := func(err error) { r.faults = append(r.faults, err.Error()) }
	space := NewMonitor()
	h, p := r.h.Lane(0), r.p.Lane(0)
	r.prod = NewProducer(wire.SideHost, h, p, r.bell.Wake, space, fault)
	r.cons = NewConsumer(wire.SideHost, p, h, func() { space.Wake(p.SpaceBell) }, fault)
	timer := time.AfterFunc(25*time.Second, func() {
		buf := make([]byte, 1<<20)
		panic("watchdog: " + t.Name() + "\n" + string(buf[:runtime.Stack(buf, true)]))
	})
	t.Cleanup(func() { timer.Stop() })
	return r
}

// start puts both ends at position pos, as if that many frames had passed.
func (r *ring) start(pos uint64) {
	r.prod.pos, r.prod.head, r.cons.pos, r.cons.released = pos, pos, pos, pos
	atomic.StoreUint32(r.p.Lane(0).Head, uint32(pos))
	for i := range r.prod.own.N {
		last := pos + i // the slot's next position; it was used a lap before
		if last >= r.prod.own.N {
			atomic.StoreUint32(r.prod.own.Seq(last), wire.SeqOf(last-r.prod.own.N))
		}
	}
}

func ping(status uint32) *Frame {
	f := &Frame{}
	f.Kind, f.Status = wire.KindPing, status
	return f
}

// Payloads of every interesting size pass unharmed, in order, across laps of the ring, of the arena, and of the
// 32-bit words.
func TestEverySizeInOrder(t *testing.T) {
	for _, from := range []uint64{0, 1<<32 - 100} {
		r := newRing(t)
		r.start(from)
		sizes := []int{0, 1, 24, 25, 63, 64, 88, 89, 127, 128, 129, 4096, 40_000, 65_536}
		want := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, sizes[i%len(sizes)]) }
		const n = 3000
		go func() {
			for i := range n {
				r.prod.Send(ping(uint32(i)), want(i))
			}
		}()
		var f Frame
		for i := 0; i < n; {
			if !r.cons.Pop(&f) {
				r.cons.Release()
				r.bell.Park(func() bool { r.cons.Disarm(); return r.cons.Ready() || !r.cons.Arm() })
				r.cons.Disarm()
				continue
			}
			if f.Status != uint32(i) || !bytes.Equal(f.Payload, want(i)) {
				t.Fatalf("frame %d: status %d, %d bytes", i, f.Status, len(f.Payload))
			}
			i++
		}
		if len(r.faults) != 0 {
			t.Fatal(r.faults)
		}
	}
}

// A full ring refuses; the last N/8 slots of the host's take only frames without arena payload.
func TestSpace(t *testing.T) {
	r := newRing(t)
	large := make([]byte, 100)
	n := 0
	for r.prod.TrySend(ping(0), large) {
		n++
	}
	if n != 64-8 {
		t.Fatalf("%d frames with arena payload", n)
	}
	for r.prod.TrySend(ping(0), nil) {
		n++
	}
	if n != 64 {
		t.Fatalf("%d frames in 64 slots", n)
	}
	var f Frame
	for range 15 {
		r.cons.Pop(&f)
	}
	if r.prod.TrySend(ping(0), nil) {
		t.Fatal("released too early")
	}
	r.cons.Pop(&f) // the 16th of 64: a quarter
	if !r.prod.TrySend(ping(0), nil) {
		t.Fatal("not released after a quarter")
	}
}

// One bell per sleep: frames to a consumer that is awake, or was rung for already, ring nothing.
func TestOneBellPerSleep(t *testing.T) {
	r := newRing(t)
	rings := func() uint32 { return atomic.LoadUint32(r.h.Lane(0).Bell) }
	r.prod.Send(ping(0), nil)
	if rings() != 0 {
		t.Fatal("rung for a consumer that is awake")
	}
	if r.cons.Arm() {
		t.Fatal("armed over a frame")
	}
	var f Frame
	r.cons.Pop(&f)
	if !r.cons.Arm() {
		t.Fatal("not armed")
	}
	for range 5 {
		r.prod.Send(ping(0), nil)
	}
	if rings() != 1 {
		t.Fatalf("rung %d times for one sleep", rings())
	}
}

// What a worker does not accept, by the rule it breaks: one word of a good slot is changed.
func TestViolations(t *testing.T) {
	le := binary.LittleEndian
	for _, c := range []struct {
		name    string
		payload int
		spoil   func(slot []byte, l *shm.Lane)
		want    string
	}{
		{"seq ahead", 0, func(_ []byte, l *shm.Lane) { atomic.StoreUint32(l.Seq(0), 2) }, "seq 2"},
		{"kind zero", 0, func(s []byte, _ *shm.Lane) { s[wire.SlotKind] = 0 }, "kind 0"},
		{"kind of a worker", 0, func(s []byte, _ *shm.Lane) { s[wire.SlotKind] = wire.KindPong }, "kind 6"},
		{"flags", 0, func(s []byte, _ *shm.Lane) { le.PutUint16(s[wire.SlotFlags:], 0x81) }, "flags"},
		{"phase", 0, func(s []byte, _ *shm.Lane) { s[wire.SlotPhase] = 6 }, "phase 6"},
		{"inline too long", 0, func(s []byte, _ *shm.Lane) { le.PutUint32(s[wire.SlotLen:], 89) }, "inline"},
		{"inline in the arena", 0, func(s []byte, _ *shm.Lane) { le.PutUint64(s[wire.SlotArenaPos:], 64) }, "inline"},
		{"arena payload empty", 100, func(s []byte, _ *shm.Lane) { le.PutUint32(s[wire.SlotLen:], 0) }, "len 0"},
		{"past a quarter", 100, func(s []byte, _ *shm.Lane) { le.PutUint32(s[wire.SlotLen:], 64<<10+1) }, "len"},
		{"arena position", 100, func(s []byte, _ *shm.Lane) { le.PutUint64(s[wire.SlotArenaPos:], 64) }, "arena_pos"},
		{"method", 0, func(s []byte, _ *shm.Lane) { le.PutUint32(s[wire.SlotMethod:], 1<<16) }, "method"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRing(t)
			r.prod.Send(ping(0), make([]byte, c.payload))
			l := r.h.Lane(0)
			c.spoil(l.Slot(0), l)
			var f Frame
			if r.cons.Pop(&f) || len(r.faults) != 1 || !strings.Contains(r.faults[0], c.want) {
				t.Fatalf("%q", r.faults)
			}
		})
	}
	for name, spoil := range map[string]func(*shm.Lane){
		"head":       func(l *shm.Lane) { atomic.StoreUint32(l.Head, 65) },
		"arena_head": func(l *shm.Lane) { atomic.StoreUint64(l.ArenaHead, 1<<40) },
	} {
		r := newRing(t)
		payload := make([]byte, 60<<10)
		if name == "head" {
			payload = nil
		}
		for r.prod.TrySend(ping(0), payload) {
		}
		spoil(r.p.Lane(0))
		if r.prod.TrySend(ping(0), payload) || len(r.faults) != 1 || !strings.Contains(r.faults[0], name) {
			t.Fatalf("%s: %q", name, r.faults)
		}
	}
}

// Sending and taking allocate nothing but the copy of an arena payload, which is carved from a chunk.
func TestRingAllocations(t *testing.T) {
	r := newRing(t)
	var f Frame
	out := ping(1)
	for _, size := range []int{0, 64, 600} {
		payload := make([]byte, size)
		n := testing.AllocsPerRun(1000, func() {
			r.prod.Send(out, payload)
			if !r.cons.Pop(&f) {
				t.Fatal("nothing there")
			}
		})
		t.Logf("%d bytes: %.2f allocations", size, n)
		if n > 0.1 {
			t.Errorf("%d bytes: %.2f allocations per frame", size, n)
		}
	}
}

// Random delays on both sides, sleeping each time: no wake is lost.
func TestNoLostWake(t *testing.T) {
	r := newRing(t)
	const n = 50_000
	go func() {
		for i := range n {
			r.prod.Send(ping(uint32(i)), nil)
			if i%7 == 0 {
				runtime.Gosched()
			}
		}
	}()
	var f Frame
	for i := 0; i < n; {
		r.bell.Park(func() bool { r.cons.Disarm(); return r.cons.Ready() || !r.cons.Arm() })
		r.cons.Disarm()
		for r.cons.Pop(&f) {
			if f.Status != uint32(i) {
				t.Fatalf("%d after %d", f.Status, i)
			}
			i++
		}
		r.cons.Release()
	}
}

func TestClassLearns(t *testing.T) {
	var c Class
	short, slow := slowRun/2, slowRun*2
	for range 100 {
		c.ran(short)
	}
	c.ran(slow)
	c.ran(slow)
	for range 16 {
		c.ran(short)
	}
	c.ran(slow)
	if c.Long() {
		t.Fatal("3 slow runs of 19 are not 3 of 16")
	}
	c.ran(slow)
	c.ran(slow)
	if !c.Long() {
		t.Fatal("3 slow runs of 16")
	}
	for range shortAgain - 1 {
		c.ran(short)
	}
	c.ran(slow)
	if !c.Long() {
		t.Fatal("not 64 short runs in a row")
	}
	for range shortAgain {
		c.ran(short)
	}
	if c.Long() {
		t.Fatal("64 short runs in a row")
	}
	c.Blocked()
	if !c.Long() {
		t.Fatal("it blocked")
	}
}

// A lane that has to be rescued time and again from the same handlers gets them back ever later.
func TestClassStalls(t *testing.T) {
	var c Class
	stall := func(now time.Duration) (again int) {
		c.Blocked()
		c.Stalled(now)
		for ; c.Long(); again++ {
			c.ran(time.Microsecond)
		}
		return again
	}
	now := time.Second
	for _, want := range []int{64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 16384} {
		if got := stall(now); got != want {
			t.Fatalf("after a stall at %v: %d short runs, not %d", now, got, want)
		}
		now += time.Second
	}
	if got := stall(now + stallsPast); got != shortAgain {
		t.Fatalf("%d short runs after a quiet time", got)
	}
}

func ExampleClass() {
	var c Class
	fmt.Println(c.Long())
	c.Blocked()
	fmt.Println(c.Long())
	// Output:
	// false
	// true
}
