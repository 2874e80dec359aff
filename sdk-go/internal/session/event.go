package session

import (
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// event is something that a conversation delivers.
type event struct {
	method uint32
	cost   uint32 // of the window, given back once it is handled
	data   []byte
}

// keptQueue is how many events a conversation that has none keeps room for.
const keptQueue = 16

// push adds an event. It returns the conversation as a job if nobody delivers.
func (c *Conversation) push(e event) (lane.Job, *lane.Class) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.add(e)
}

// add is push. The caller holds mu.
func (c *Conversation) add(e event) (lane.Job, *lane.Class) {
	if c.ending || c.stage == over {
		return nil, nil // nothing follows the end
	}
	switch e.method {
	case wire.MethodWebsocketOnClose, wire.MethodWebsocketHandOver:
		c.ending = true
	}
	if len(c.queue) == cap(c.queue) && c.first >= (len(c.queue)+1)/2 && c.first > 0 {
		n := copy(c.queue, c.queue[c.first:])
		clear(c.queue[n:])
		c.queue, c.first = c.queue[:n], 0
	}
	c.queue = append(c.queue, e)
	if c.running {
		return nil, nil
	}
	c.running = true
	return c, c.class(e.method)
}

// class is what learns how long the callback of an event runs.
func (c *Conversation) class(method uint32) *lane.Class {
	classes := &c.inv.Session.entry.classes
	switch method {
	case wire.MethodWebsocketOnMessageText, wire.MethodWebsocketOnMessageBinary:
		return &classes[classMessage]
	}
	return &classes[classSocket]
}

// next is the event that waited longest; ok is false when there is none, and nobody delivers from then on.
func (c *Conversation) next() (e event, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first == len(c.queue) {
		c.running, c.first = false, 0
		c.unacked += c.withheld
		c.withheld = 0
		if c.queue = c.queue[:0]; cap(c.queue) > keptQueue {
			c.queue = nil
		}
		return event{}, false
	}
	e = c.queue[c.first]
	c.queue[c.first] = event{}
	c.first++
	return e, true
}

// Run implements lane.Job: it delivers what there is.
func (c *Conversation) Run(run uint64, _ time.Duration) time.Duration {
	if run != 0 {
		c.run.Store(run) // never taken back: a run that is over moves no token
	}
	for {
		e, ok := c.next()
		if !ok {
			c.giveBack(0)
			return 0
		}
		c.deliver(&e)
	}
}

// deliver runs the callback of one event. What ends it early ends the connection, and nothing else.
func (c *Conversation) deliver(e *event) {
	returned := false
	defer func() {
		if returned {
			c.handled(e, nil)
			return
		}
		s := c.inv.Session
		if r := recover(); r != nil {
			s.w.Panicked(s.entry.Name, r, debug.Stack())
			c.handled(e, &HostError{wire.ErrorPanic, fmt.Sprint(r)})
			return
		}
		s.w.Warn("a WebSocket callback ended its goroutine; the connection is closed", "entry", s.entry.Name)
		c.handled(e, &HostError{wire.ErrorGoexit, "the callback ended its goroutine"})
		go c.Run(0, lane.Now())
	}()
	switch {
	case e.method == wire.MethodWebsocketHandOver:
	case e.method == wire.MethodWebsocketOnClose:
		c.mu.Lock()
		c.leave(gone, 0, "")
		c.mu.Unlock()
		c.listener.Closed()
	case c.broken: // only whoever delivers writes it
	case e.method == wire.MethodWebsocketOnMessageText:
		c.listener.Text(shm.String(e.data))
	case e.method == wire.MethodWebsocketOnMessageBinary:
		c.listener.Binary(e.data)
	case e.method == wire.MethodWebsocketOnError:
		c.listener.Failed(shm.String(e.data))
	default:
		c.listener.Opened()
	}
	returned = true
}

// handled goes on from an event, whose callback may have failed.
func (c *Conversation) handled(e *event, failure *HostError) {
	switch e.method {
	case wire.MethodWebsocketOnClose, wire.MethodWebsocketHandOver:
		c.end(failure)
		return
	}
	if failure != nil {
		c.broken = true
		_ = c.Close(closeInternal, "")
	}
	c.giveBack(e.cost)
}

// frame takes a frame of this conversation. It runs on the lane's leader.
func (c *Conversation) frame(f *lane.Frame) (lane.Job, *lane.Class, error) {
	switch f.Kind {
	case wire.KindCancel:
		job, class := c.lost()
		return job, class, nil
	case wire.KindWindow:
		total, err := wire.WindowTotal(f.Payload)
		if err != nil {
			return nil, nil, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		_, err = c.out.OnTotal(total)
		c.moved.Broadcast()
		return nil, nil, err
	case wire.KindReply, wire.KindError:
		return nil, nil, c.answer(f)
	}
	return c.data(f)
}

// data takes a piece of an event.
func (c *Conversation) data(f *lane.Frame) (lane.Job, *lane.Class, error) {
	if _, err := c.order.Take(&f.Frame); err != nil {
		return nil, nil, err
	}
	cost := wire.Cost(&f.Frame)
	c.mu.Lock()
	err := c.in.Take(cost)
	c.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	piece := c.take(f)
	if f.Has(wire.FlagMore) {
		c.kind = f.Method
		c.mu.Lock()
		behind := c.running
		if behind { // it must not fill the memory before it is its turn
			c.withheld += uint64(cost)
		}
		c.mu.Unlock()
		if !behind {
			c.giveBack(cost)
		}
		return nil, nil, nil
	}
	c.partial, c.kind = nil, 0
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f.Method {
	case wire.MethodWebsocketOnClose:
		closing, err := wire.ParseClosing(piece, wire.SideHost)
		if err != nil {
			return nil, nil, err
		}
		to := parting
		if closing.Code == closeAbnormal {
			to = gone // nobody is there any more
		}
		c.leave(to, closing.Code, closing.Reason)
	case wire.MethodWebsocketHandOver:
		if c.stage == open {
			c.stage = leaving // who waits for the client waits no more; the context is for those who go on
			c.moved.Broadcast()
		}
	}
	job, class := c.add(event{method: f.Method, cost: cost, data: piece})
	return job, class, nil
}

// take is the message so far, this piece included. A message has memory of its own: a plugin may keep one of many.
func (c *Conversation) take(f *lane.Frame) []byte {
	if f.Has(wire.FlagInline) || len(f.Payload) == 0 {
		if !c.collects(f) {
			return append(make([]byte, 0, len(f.Payload)), f.Payload...)
		}
		c.partial = append(c.partial, f.Payload...)
		return c.partial
	}
	if c.collects(f) {
		c.partial = c.partial[:len(c.partial)+len(f.Payload)] // placed behind the rest
		return c.partial
	}
	return f.Payload // placed
}

// collects says whether a piece is not the whole message. One that is none of the message before leaves that.
func (c *Conversation) collects(f *lane.Frame) bool {
	if c.kind != f.Method {
		c.partial = nil
	}
	return c.partial != nil || f.Has(wire.FlagMore)
}

// place is where a piece is copied to, straight out of the arena. It runs on the leader.
func (c *Conversation) place(f *lane.Frame) []byte {
	n := int(f.Len)
	if !c.collects(f) {
		return make([]byte, n)
	}
	c.kind = f.Method
	c.partial = slices.Grow(c.partial, n)
	return c.partial[len(c.partial) : len(c.partial)+n]
}
