package lane

import (
	"sync/atomic"
	"time"

	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Consumer takes frames from the ring in the peer's segment. Only one goroutine at a time may use it.
type Consumer struct {
	own, peer *shm.Lane
	from      wire.Side
	spaceWake func() // wakes a producer that waits for space, after space_bell was bumped
	fault     func(error)
	chunks    shm.Chunks
	agreed    bool // whether a worker may use the features that show in its frames
	place     func(*Frame) []byte

	// WebSocket says whether FeatureWebsocket is on. Set it before the first Pop.
	WebSocket bool

	pos       uint64 // next slot
	apos      uint64 // where the producer's arena stands by our reckoning
	released  uint64 // slots
	arenaRel  uint64 // bytes
	epoch     uint32 // of own.Wait
	lastSpace uint32 // last odd space_wait answered
}

// NewConsumer makes the consumer of the ring in peer; its words stand in own.
func NewConsumer(from wire.Side, own, peer *shm.Lane, spaceWake func(), fault func(error)) *Consumer {
	return &Consumer{own: own, peer: peer, from: from, spaceWake: spaceWake, fault: fault, agreed: true}
}

// Taken is how many frames were taken: the statistic of its own segment.
func (c *Consumer) Taken() uint64 { return atomic.LoadUint64(c.own.Stats[wire.StatTaken]) }

// Ready says whether a frame is there.
func (c *Consumer) Ready() bool {
	return atomic.LoadUint32(c.peer.Seq(c.pos)) == wire.SeqOf(c.pos)
}

// Pop takes one frame and its payload out of the ring.
func (c *Consumer) Pop(f *Frame) bool {
	// Acquire: pairs with the release of seq in Producer.publish (frame and payload visible).
	if seq := atomic.LoadUint32(c.peer.Seq(c.pos)); seq != wire.SeqOf(c.pos) {
		if _, err := wire.CheckSeq(c.pos, uint32(c.peer.N), seq); err != nil {
			c.fault(err)
		}
		return false
	}
	f.read(c.peer.Slot(c.pos))
	ctx := wire.FrameContext{
		Arena: c.peer.A, Apos: c.apos, HostCalls: c.agreed, HandlerTime: c.agreed, WebSocket: c.WebSocket,
	}
	if err := wire.CheckFrame(&f.Frame, c.from, ctx); err != nil {
		c.fault(err)
		return false
	}
	if !f.Has(wire.FlagInline) {
		if c.place != nil {
			f.Payload = c.place(f)
		}
		if f.Payload == nil {
			f.Payload = c.chunks.Take(int(f.Len))
		}
		copy(f.Payload, c.peer.Arena[f.ArenaPos&(c.peer.A-1):])
		c.apos = wire.NextApos(&f.Frame, ctx)
	}
	c.pos++
	publish(c.own.Stats[wire.StatTaken], c.pos)
	if c.pos-c.released >= c.peer.N/4 || c.apos-c.arenaRel >= c.peer.A/4 || atomic.LoadUint32(c.peer.SpaceWait)&1 == 1 {
		c.Release()
	}
	return true
}

// Keep returns the payload as bytes that stay after the next Pop.
func (c *Consumer) Keep(f *Frame) []byte {
	if !f.Has(wire.FlagInline) || len(f.Payload) == 0 {
		return f.Payload
	}
	b := c.chunks.Take(len(f.Payload))
	copy(b, f.Payload)
	return b
}

// Release gives back what was taken, and wakes the producer if it waits for space.
func (c *Consumer) Release() {
	if c.arenaRel != c.apos {
		c.arenaRel = c.apos
		atomic.StoreUint64(c.own.ArenaHead, c.apos)
	}
	if c.released != c.pos {
		c.released = c.pos
		// Release: pairs with the acquire of head in Producer.publish. Sequentially consistent before the load of
		// space_wait: pairs with Producer.Send.
		atomic.StoreUint32(c.own.Head, uint32(c.pos))
	}
	if w := atomic.LoadUint32(c.peer.SpaceWait); w&1 == 1 && w != c.lastSpace {
		c.lastSpace = w
		atomic.AddUint32(c.own.SpaceBell, 1)
		c.spaceWake()
	}
}

// Arm announces sleep under a new epoch and looks again. False: a frame is there, and the announcement is withdrawn.
func (c *Consumer) Arm() bool {
	c.epoch += 1 + c.epoch&1 // the next odd value
	// Sequentially consistent store, then load of seq: pairs with the store of seq, load of wait in publish.
	atomic.StoreUint32(c.own.Wait, c.epoch)
	if c.Ready() {
		c.Disarm()
		return false
	}
	return true
}

// Disarm says that the consumer is awake.
func (c *Consumer) Disarm() {
	if c.epoch&1 == 1 {
		c.epoch++
		atomic.StoreUint32(c.own.Wait, c.epoch)
	}
}

// spin looks for a frame for at most d.
func (c *Consumer) spin(d time.Duration) bool {
	for end := Now() + d; ; {
		for range 64 {
			if c.Ready() {
				return true
			}
			pause()
		}
		if Now() >= end {
			return false
		}
	}
}
