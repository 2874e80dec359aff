package lane

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Eventfd is an inherited eventfd of which this side holds its own duplicate.
type Eventfd struct {
	file *os.File
	conn syscall.RawConn
	fd   int
}

// DupEventfd takes a nonblocking duplicate of fd into the runtime's poller.
func DupEventfd(fd int, name string) (*Eventfd, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("%s: dup: %w", name, err)
	}
	if err := unix.SetNonblock(own, true); err != nil {
		return nil, fmt.Errorf("%s: nonblock: %w", name, err)
	}
	f := os.NewFile(uintptr(own), name)
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("%s: poll: %w", name, err)
	}
	return &Eventfd{file: f, conn: conn, fd: own}, nil
}

// Ring adds one. A counter at its limit is read first, or the write would make no edge.
func (e *Eventfd) Ring() {
	one := [8]byte{1}
	for {
		// The descriptor is nonblocking, yet x/sys has no raw write; the scheduler hooks cost little beside the call.
		_, err := unix.Write(e.fd, one[:])
		switch err {
		case unix.EINTR:
		case unix.EAGAIN:
			var drain [8]byte
			_, _ = unix.Read(e.fd, drain[:])
		default:
			return
		}
	}
}

// Wait sleeps in the runtime's poller until ready says true, asking it again after each edge. The descriptor is
// never read: each write makes a new edge.
func (e *Eventfd) Wait(ready func(fd uintptr) bool) error { return e.conn.Read(ready) }

// Close closes the duplicate and ends a Wait.
func (e *Eventfd) Close() { _ = e.file.Close() }

// NetParker parks in Go's netpoller on the worker bell: far cheaper for the runtime than a thread in FUTEX_WAIT.
type NetParker struct {
	bell *Eventfd
	poll func() bool
	ask  func(uintptr) bool
}

// NewNetParker parks on bell.
func NewNetParker(bell *Eventfd) *NetParker {
	p := &NetParker{bell: bell}
	p.ask = func(uintptr) bool { return p.poll() }
	return p
}

// Park implements Parker. The poller's readiness is reset before the first poll arms, so an edge after it counts.
func (p *NetParker) Park(poll func() bool) {
	p.poll = poll
	_ = p.bell.Wait(p.ask)
}

// Wake implements Parker.
func (p *NetParker) Wake() { p.bell.Ring() }

// Close implements Parker.
func (p *NetParker) Close() { p.bell.Close() }

// FutexParker parks in FUTEX_WAIT on the peer's bell word: the lowest latency, at the price of a thread.
type FutexParker struct{ bell *uint32 }

// NewFutexParker parks on the bell word of the peer's lane.
func NewFutexParker(bell *uint32) *FutexParker { return &FutexParker{bell} }

// Park implements Parker.
func (p *FutexParker) Park(poll func() bool) {
	for {
		// Acquire, before poll arms: a bump for the new epoch always differs from b.
		b := atomic.LoadUint32(p.bell)
		if poll() {
			return
		}
		Futex{}.Wait(p.bell, b)
	}
}

// Wake implements Parker.
func (p *FutexParker) Wake() { Futex{}.Wake(p.bell) }

// Close implements Parker.
func (p *FutexParker) Close() { p.Wake() }

// Dup is another descriptor of the same bell.
func (e *Eventfd) Dup() (*Eventfd, error) { return DupEventfd(e.fd, e.file.Name()) }
