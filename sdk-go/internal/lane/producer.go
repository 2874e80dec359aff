package lane

import (
	"sync"
	"sync/atomic"

	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Producer writes the ring that stands in its own segment. Its users share one mutex, which no one holds while waiting.
type Producer struct {
	mu   sync.Mutex
	cond sync.Cond // those who wait for space behind the one on the futex

	own, peer *shm.Lane
	wake      func()      // rings the consumer's doorbell
	space     SpaceWaiter // where to wait for space
	fault     func(error)
	side      wire.Side

	pos       uint64 // next slot
	head      uint64 // released slots, as last read
	apos      uint64 // next arena byte
	arenaHead uint64 // released arena bytes, as last read
	lastWoken uint32 // last odd `wait` answered by a bell
	epoch     uint32 // of own.SpaceWait
	waiting   bool   // someone is on the futex

	rung   atomic.Int64 // ns spent ringing
	closed bool
}

// NewProducer makes the producer of own's ring, whose consumer words stand in peer.
func NewProducer(side wire.Side, own, peer *shm.Lane, wake func(), space SpaceWaiter, fault func(error)) *Producer {
	p := &Producer{side: side, own: own, peer: peer, wake: wake, space: space, fault: fault}
	p.cond.L = &p.mu
	return p
}

// Sent is how many frames were published.
func (p *Producer) Sent() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pos
}

// TrySend publishes the frame with payload, or says that there is no space.
func (p *Producer) TrySend(f *Frame, payload []byte) bool {
	p.mu.Lock()
	ok := p.publish(f, payload) || p.closed
	p.mu.Unlock()
	return ok
}

// Send publishes the frame, waiting for space as long as it takes. A closed producer drops it.
func (p *Producer) Send(f *Frame, payload []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed && !p.publish(f, payload) {
		if p.waiting {
			p.cond.Wait()
			continue
		}
		p.waiting = true
		bell := atomic.LoadUint32(p.peer.SpaceBell)
		p.epoch++ // odd
		// Sequentially consistent store, then the loads of publish: pairs with the consumer's store of head, load of
		// space_wait in Release. One of the two sees the other.
		atomic.StoreUint32(p.own.SpaceWait, p.epoch)
		sent := p.publish(f, payload)
		if !sent {
			p.mu.Unlock()
			p.space.Wait(p.peer.SpaceBell, bell)
			p.mu.Lock()
		}
		p.epoch++ // even
		atomic.StoreUint32(p.own.SpaceWait, p.epoch)
		p.waiting = false
		p.cond.Broadcast()
		if sent {
			return
		}
	}
}

// Close drops what is waiting and what will come.
func (p *Producer) Close() {
	p.mu.Lock()
	p.closed = true
	p.cond.Broadcast()
	p.mu.Unlock()
	p.space.Wake(p.peer.SpaceBell)
}

// publish puts the frame into the ring and rings the bell if the consumer sleeps. The caller holds mu.
func (p *Producer) publish(f *Frame, payload []byte) bool {
	inline := len(payload) <= wire.SizeInline
	n := p.own.N
	if p.side == wire.SideHost && !inline {
		n -= n / 8 // the last slots take only frames without arena payload (SPEC.md 3.10)
	}
	if p.pos-p.head >= n {
		// Acquire: pairs with the release of head in Consumer.Release; the slot's bytes have been read.
		head, err := wire.CheckHead(p.pos, p.head, atomic.LoadUint32(p.peer.Head))
		if err != nil {
			p.fault(err)
			return false
		}
		p.head = head
		if p.pos-p.head >= n {
			return false
		}
	}
	f.Len = uint32(len(payload))
	apos := p.apos
	if inline {
		f.Flags |= wire.FlagInline
		f.ArenaPos = 0
	} else {
		f.Flags &^= wire.FlagInline
		at, next := wire.Bump(apos, f.Len, p.own.A)
		if next-p.arenaHead > p.own.A {
			found, err := wire.CheckArenaHead(p.apos, p.arenaHead, atomic.LoadUint64(p.peer.ArenaHead))
			if err != nil {
				p.fault(err)
				return false
			}
			p.arenaHead = found
			if next-found > p.own.A {
				return false
			}
		}
		f.ArenaPos = at
		copy(p.own.Arena[at&(p.own.A-1):], payload)
		apos = next
		payload = nil
	}
	f.write(p.own.Slot(p.pos), payload)
	// Release: pairs with the acquire load of seq in Consumer.Pop (frame and payload visible). Being sequentially
	// consistent it also orders this store before the load of wait: pairs with Consumer.arm.
	atomic.StoreUint32(p.own.Seq(p.pos), wire.SeqOf(p.pos))
	p.pos++
	p.apos = apos
	if w := atomic.LoadUint32(p.peer.Wait); w&1 == 1 && w != p.lastWoken {
		p.lastWoken = w
		atomic.AddUint32(p.own.Bell, 1)
		start := Now()
		p.wake()
		p.rung.Add(int64(Now() - start))
	}
	return true
}
