package lane

import (
	"sync"
	"sync/atomic"
)

// Parker is where a consumer sleeps. poll arms the consumer: true means awake (a frame, or closed), false means armed.
// Park calls poll until it says true, sleeping in between until Wake or the peer's bell.
type Parker interface {
	Park(poll func() bool)
	Wake()
	Close()
}

// SpaceWaiter is where a producer out of space sleeps: a futex, or its model in one process.
type SpaceWaiter interface {
	Wait(addr *uint32, old uint32)
	Wake(addr *uint32)
}

// ChanParker parks on a channel: the doorbell between two sides in one process.
type ChanParker struct{ bell chan struct{} }

// NewChanParker returns a parker that Wake rings.
func NewChanParker() *ChanParker { return &ChanParker{make(chan struct{}, 1)} }

// Park implements Parker.
func (p *ChanParker) Park(poll func() bool) {
	for !poll() {
		<-p.bell
	}
}

// Wake implements Parker.
func (p *ChanParker) Wake() {
	select {
	case p.bell <- struct{}{}:
	default:
	}
}

// Close implements Parker.
func (p *ChanParker) Close() { p.Wake() }

// Monitor models a futex by a mutex and a condition.
type Monitor struct {
	mu   sync.Mutex
	cond *sync.Cond
}

// NewMonitor returns a monitor for the words of one segment pair.
func NewMonitor() *Monitor {
	m := &Monitor{}
	m.cond = sync.NewCond(&m.mu)
	return m
}

// Wait implements SpaceWaiter.
func (m *Monitor) Wait(addr *uint32, old uint32) {
	m.mu.Lock()
	if atomic.LoadUint32(addr) == old {
		m.cond.Wait()
	}
	m.mu.Unlock()
}

// Wake implements SpaceWaiter.
func (m *Monitor) Wake(*uint32) {
	m.mu.Lock()
	m.cond.Broadcast()
	m.mu.Unlock()
}
