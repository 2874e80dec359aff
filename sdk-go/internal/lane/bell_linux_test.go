package lane

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Both kernel doorbells under a busy garbage collector: every frame wakes the sleeper, and GC never waits for it.
func TestDoorbellsUnderGC(t *testing.T) {
	for _, kind := range []string{"eventfd", "futex"} {
		t.Run(kind, func(t *testing.T) {
			g := wire.Geometry{Lanes: 1, Slots: 64, Arena: 256 << 10}
			seg := func() *shm.Segment {
				fd, err := unix.MemfdCreate("ring", unix.MFD_CLOEXEC)
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Close(fd)
				if err := unix.Ftruncate(fd, int64(g.SegmentLen())); err != nil {
					t.Fatal(err)
				}
				s, err := shm.Map(fd, g, true)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			h, p := seg().Lane(0), seg().Lane(0)
			var parker Parker = NewFutexParker(h.Bell)
			wake := func() { Futex{}.Wake(h.Bell) }
			if kind == "eventfd" {
				fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
				if err != nil {
					t.Fatal(err)
				}
				bell, err := DupEventfd(fd, "bell")
				if err != nil {
					t.Fatal(err)
				}
				_ = unix.Close(fd)
				defer bell.Close()
				parker, wake = NewNetParker(bell), bell.Ring
			}
			fault := func(err error) { t.Error(err) }
			prod := NewProducer(wire.SideHost, h, p, wake, Futex{}, fault)
			cons := NewConsumer(wire.SideHost, p, h, func() { Futex{}.Wake(p.SpaceBell) }, fault)
			const n = 5000
			var taken atomic.Int64
			done := make(chan struct{})
			go func() {
				defer close(done)
				var f Frame
				for taken.Load() < n {
					cons.Release()
					parker.Park(func() bool { cons.Disarm(); return cons.Ready() || !cons.Arm() })
					cons.Disarm()
					for cons.Pop(&f) {
						taken.Add(1)
					}
				}
			}()
			for i := range n {
				prod.Send(ping(uint32(i)), nil)
				if i%500 == 0 {
					runtime.GC()
					time.Sleep(100 * time.Microsecond)
				}
			}
			select {
			case <-done:
			case <-time.After(20 * time.Second):
				t.Fatalf("%d of %d frames taken", taken.Load(), n)
			}
		})
	}
}

// A saturated eventfd still makes an edge.
func TestSaturatedBell(t *testing.T) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	bell, err := DupEventfd(fd, "bell")
	if err != nil {
		t.Fatal(err)
	}
	defer bell.Close()
	bell.Ring()
	var count [8]byte
	if _, err := unix.Read(fd, count[:]); err != nil || count[0] != 1 {
		t.Fatalf("%v %v", count, err)
	}
}
