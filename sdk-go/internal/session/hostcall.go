package session

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// hostCall is a CALL of ours that the host works on. Its fields are guarded by the invocation's mu.
type hostCall struct {
	num    uint32
	method uint32
	stream bool     // pieces wait for a reader instead of being joined
	data   []byte   // joined
	pieces [][]byte // not read yet
	held   uint64   // bytes of a stream that came and were not read
	eager  bool     // the host was told of all that came, read or not
	done   bool
	err    error
}

// traffic is what an invocation has beyond its CALL and its verdict: host calls and bodies on their way. Its fields are
// guarded by the invocation's mu.
type traffic struct {
	moved    sync.Cond   // a host call, a window or a cancellation moved
	calls    []*hostCall // not answered yet
	streams  []*hostCall // whose pieces somebody reads
	lastNum  uint32
	out      wire.Window // DATA we send
	in       wire.Window // DATA we receive
	windowMu sync.Mutex  // orders WINDOW frames; taken before mu
	unacked  uint64      // bytes handed on of which the host was not told
	ahead    *hostCall   // for the request body, answered before it is made
	waited   time.Duration
}

// talk is the invocation's traffic, made when it is first needed. The caller holds mu.
func (inv *Invocation) talk() *traffic {
	if inv.traffic == nil {
		window := wire.NewWindow(inv.Session.w.Window)
		inv.traffic = &traffic{out: window, in: window}
		inv.traffic.moved.L = &inv.mu
		inv.heavy.Store(true)
	}
	return inv.traffic
}

// moved wakes those who wait. The caller holds mu.
func (inv *Invocation) moved() {
	if inv.traffic != nil {
		inv.traffic.moved.Broadcast()
	}
}

// startCall sends a CALL. It hands the lane over first, since the caller is going to wait.
func (inv *Invocation) startCall(method uint32, payload []byte, stream bool) (*hostCall, error) {
	s := inv.Session
	if s.w.Features&wire.FeatureHostCalls == 0 {
		return nil, ErrNotNegotiated
	}
	if !inv.isAnswered(method) {
		inv.blocks()
	}
	inv.mu.Lock()
	t := inv.talk()
	for inv.alive() == nil && len(t.calls) >= wire.LimitHostCalls {
		inv.wait()
	}
	if err := inv.alive(); err != nil {
		inv.mu.Unlock()
		return nil, err
	}
	t.lastNum++
	c := t.claim(method)
	c.num, c.stream = t.lastNum, stream
	if !c.done {
		t.calls = append(t.calls, c)
	}
	if stream {
		t.streams = append(t.streams, c)
	}
	inv.mu.Unlock()
	f := inv.of(wire.KindCall)
	f.Method, f.Status = method, c.num
	s.lane.Send(&f, payload, 0)
	return c, nil
}

// blocks is called before anything that may wait: the lane goes to another goroutine, and handlers of this entry and
// phase run off the leader from now on.
func (inv *Invocation) blocks() {
	inv.Session.lane.HandOver(inv.run.Load())
	inv.Session.entry.classes[inv.Phase].Blocked()
}

// wait waits for the next change and counts the time, which is the host's and not the handler's. The caller holds mu.
func (inv *Invocation) wait() {
	t, start := inv.talk(), lane.Now()
	t.moved.Wait()
	t.waited += lane.Now() - start
}

// Call asks the host and waits for the answer.
func (inv *Invocation) Call(method uint32, payload []byte) ([]byte, error) {
	c, err := inv.startCall(method, payload, false)
	if err != nil {
		return nil, err
	}
	inv.mu.Lock()
	defer inv.mu.Unlock()
	for !c.done {
		if err := inv.alive(); err != nil {
			return nil, err
		}
		inv.wait()
	}
	return c.data, c.err
}

// frame takes a frame of this invocation that is no CALL. It runs on the lane's leader.
func (inv *Invocation) frame(l *lane.Lane, f *lane.Frame) error {
	switch f.Kind {
	case wire.KindCancel:
		inv.void(max(f.Status, 1))
	case wire.KindWindow:
		total, err := wire.WindowTotal(f.Payload)
		if err != nil {
			return err
		}
		inv.mu.Lock()
		defer inv.mu.Unlock()
		if _, err := inv.talk().out.OnTotal(total); err != nil {
			return err
		}
		inv.moved()
	case wire.KindData:
		return inv.data(l, f)
	case wire.KindReply, wire.KindError:
		return inv.answer(l, f)
	}
	return nil
}

func (t *traffic) callOf(num uint32) *hostCall {
	for _, c := range t.calls {
		if c.num == num {
			return c
		}
	}
	return nil
}

// end closes a call. The caller holds mu.
func (t *traffic) end(c *hostCall, err error) {
	c.done, c.err = true, err
	if i := slices.Index(t.calls, c); i >= 0 {
		t.calls = slices.Delete(t.calls, i, i+1)
	}
	t.moved.Broadcast()
}

// hold counts bytes that came for a reader and wait for it. The caller holds mu.
func (t *traffic) hold(c *hostCall, n uint64) {
	if c.eager {
		t.unacked += n
	} else {
		c.held += n
	}
}

// hurry has the host send on without waiting for the readers of streams: they would wait for one who waits behind them.
func (inv *Invocation) hurry() {
	inv.mu.Lock()
	t := inv.talk()
	for _, c := range t.streams {
		if !c.eager {
			c.eager = true
			t.unacked += c.held
		}
	}
	inv.mu.Unlock()
	inv.returnWindow(t, true)
}

func (inv *Invocation) answer(l *lane.Lane, f *lane.Frame) error {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	t := inv.talk()
	c := t.callOf(f.Status)
	switch {
	case f.Status > t.lastNum:
		return fmt.Errorf("answer to call %d, which was never made", f.Status)
	case c == nil:
		return nil // answered before
	}
	if c.method != f.Method {
		return fmt.Errorf("answer of method %d to call %d", f.Method, f.Status)
	}
	var err error
	if f.Kind == wire.KindError {
		code, text, bad := wire.ParseFault(f.Payload)
		if bad != nil {
			return bad
		}
		err = &HostError{code, string(text)}
	} else if len(f.Payload) > 0 {
		c.data = append(c.data, f.Payload...)
	}
	t.end(c, err)
	return nil
}

func (inv *Invocation) data(l *lane.Lane, f *lane.Frame) error {
	inv.mu.Lock()
	t := inv.talk()
	c := inv.callFor(f)
	if c == nil || c.method != f.Method {
		inv.mu.Unlock()
		return fmt.Errorf("data of method %d for call %d, which is not open", f.Method, f.Status)
	}
	if err := t.in.Take(f.Len); err != nil {
		inv.mu.Unlock()
		return err
	}
	if c.stream {
		if f.Len > 0 {
			c.pieces = append(c.pieces, l.Keep(f))
		}
		t.hold(c, uint64(f.Len))
		t.moved.Broadcast()
	} else {
		c.take(f.Payload)
		t.unacked += uint64(f.Len)
	}
	last := f.Flags&wire.FlagMore == 0
	if last {
		t.end(c, nil)
	}
	inv.mu.Unlock()
	if !last {
		inv.returnWindow(t, false)
	}
	return nil
}

// returnWindow tells the host how much was taken: when it is half the window, or with all, anything. What is held back
// at the end of one body is told in the course of the next.
func (inv *Invocation) returnWindow(t *traffic, all bool) {
	t.windowMu.Lock() // totals leave in the order they were counted
	defer t.windowMu.Unlock()
	inv.mu.Lock()
	if inv.sent.Load() || t.unacked == 0 || !all && t.unacked < uint64(inv.Session.w.Window/2) {
		inv.mu.Unlock()
		return
	}
	total := t.in.Give(t.unacked)
	t.unacked = 0
	inv.mu.Unlock()
	f := inv.of(wire.KindWindow)
	inv.Session.lane.Send(&f, wire.AppendWindowTotal(nil, total), 0)
}

// sendData sends b as pieces within the window; last says that nothing follows. It waits, without lane or mutex.
func (inv *Invocation) sendData(method uint32, b []byte, last bool) (int, error) {
	s := inv.Session
	if s.w.Features&wire.FeatureStreams == 0 {
		return 0, ErrNotNegotiated
	}
	// Half a window: the host may hold back a part of what it took, and must never make us wait for it.
	piece := max(1, min(wire.LimitData, int(s.w.Window/2)))
	for n := 0; ; {
		inv.mu.Lock()
		t, size := inv.talk(), min(piece, len(b)-n)
		waits := func() bool {
			return inv.voided.Load() == 0 && !inv.sent.Load() && t.out.Room() < uint64(size)
		}
		for waits() {
			inv.mu.Unlock()
			inv.blocks()
			inv.mu.Lock()
			if waits() {
				inv.wait()
			}
		}
		if inv.voided.Load() != 0 || inv.sent.Load() {
			err := inv.alive()
			inv.mu.Unlock()
			return n, err
		}
		err := t.out.Take(uint32(size))
		inv.mu.Unlock()
		if err != nil {
			return n, err
		}
		f := inv.of(wire.KindData)
		f.Method = method
		if end := n+size == len(b); !end || !last {
			f.Flags = wire.FlagMore
		}
		s.lane.Send(&f, b[n:n+size], inv.run.Load())
		if n += size; n >= len(b) {
			return n, nil
		}
	}
}

// CanStream says why no stream can begin here, or nil. The host voids an invocation that asks for one elsewhere, so it
// is not asked.
func (inv *Invocation) CanStream() error {
	switch {
	case inv.Phase != wire.PhaseRequestFilter:
		return errNoStreamHere
	case inv.Session.w.Features&wire.FeatureStreams == 0:
		return ErrNotNegotiated
	}
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if err := inv.alive(); err != nil {
		return err
	}
	if inv.streamed {
		return ErrStreaming
	}
	return nil
}

// Stream commits what was set so far and starts a streamed response.
func (inv *Invocation) Stream() error {
	if err := inv.CanStream(); err != nil {
		return err
	}
	inv.mu.Lock()
	rec, err := inv.record()
	rec = append([]byte(nil), rec...)
	inv.mu.Unlock()
	if err != nil {
		return err
	}
	if _, err = inv.Call(wire.MethodSetResponseStreamHeader, rec); err != nil {
		return err
	}
	inv.mu.Lock()
	inv.streamed = true
	inv.mu.Unlock()
	return nil
}

// Write sends a piece of a streamed response.
func (inv *Invocation) Write(b []byte) (int, error) {
	inv.mu.Lock()
	err := inv.alive()
	if err == nil && !inv.streamed {
		err = errors.New("the response is not streaming")
	}
	inv.mu.Unlock()
	if err != nil || len(b) == 0 {
		return 0, err
	}
	return inv.sendData(wire.MethodSetResponseStreamData, b, false)
}

// EndStream finishes a streamed response.
func (inv *Invocation) EndStream() error {
	inv.mu.Lock()
	err := inv.alive()
	if err == nil && !inv.streamed {
		err = errors.New("the response is not streaming")
	}
	inv.mu.Unlock()
	if err == nil {
		inv.Finish(wire.MethodSetResponseStreamEnd)
	}
	return err
}
