package testhost

import (
	"fmt"
	"sync"
	"time"

	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Fault is an ERROR of the worker, or of the host itself.
type Fault struct {
	Code uint32
	Text string
}

func (f *Fault) Error() string { return f.Text }

// Final is how an invocation ended.
type Final struct {
	Method uint32 // NEXT, END or STREAM_END
	Wants  uint32
	Ran    time.Duration // the handler, as it says
	Ops    []wire.Op     // copies
	Staged map[uint32][]byte
	Fault  *Fault
	// Cancelled is why the host gave the invocation up, one of wire.Cancel*; 0 = the worker ended it.
	Cancelled uint32
}

// Step is one run of one phase.
type Step struct {
	Sid    uint32
	Open   bool
	Phase  uint8
	Budget time.Duration // 0 = none
	Record []byte

	// Body answers RawBody and Body; nil is an empty body. It runs in a goroutine of its own and returns pieces.
	Body func() [][]byte
	// Payload answers GET_PAYLOAD.
	Payload []byte
	// SoFar answers READ_RESPONSE_FULL_BODY.
	SoFar []byte
	// Header is called when a streamed response starts, with the committed entries; an error refuses them.
	Header func(ops []wire.Op) error
	// Chunk takes a streamed piece; an error means that the client is gone. It may block: the window fills.
	Chunk func(piece []byte) error
	// Cancel, when closed, cancels the invocation as "client gone".
	Cancel <-chan struct{}
}

// Invocation is a step in flight.
type Invocation struct {
	step   *Step
	host   *Host
	lane   *hostLane
	token  wire.Token
	in     wire.Window // DATA from the worker
	out    wire.Window // DATA to the worker
	taken  uint64      // bytes handed on, not yet returned to the worker's window
	winMu  sync.Mutex  // orders WINDOW frames
	staged map[uint32][]byte
	stream bool     // STREAM_HEADER came
	queue  [][]byte // streamed pieces on their way to the client
	over   bool
	final  Final
	done   chan struct{}
}

// Run runs a step to its end.
func (h *Host) Run(step *Step) Final {
	inv := h.begin(step)
	var budget <-chan time.Time
	if step.Budget > 0 {
		t := time.NewTimer(step.Budget)
		defer t.Stop()
		budget = t.C
	}
	for gone := step.Cancel; ; {
		select {
		case <-inv.done:
			return inv.final
		case <-budget:
			budget = nil
			if !h.streams(inv) { // a stream is past the phase's time
				h.Cancel(inv, wire.CancelDeadline)
			}
		case <-gone:
			gone = nil
			h.Cancel(inv, wire.CancelClientGone)
		}
	}
}

func (h *Host) streams(inv *Invocation) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return inv.stream
}

// Begin starts a step; Wait waits for its end.
func (h *Host) Begin(step *Step) *Invocation { return h.begin(step) }

// Wait waits for the final frame.
func (inv *Invocation) Wait() Final {
	<-inv.done
	return inv.final
}

// Over says whether the final frame came.
func (inv *Invocation) Over() bool {
	select {
	case <-inv.done:
		return true
	default:
		return false
	}
}

func (h *Host) begin(step *Step) *Invocation {
	l := h.lane(step.Sid)
	inv := &Invocation{
		step: step, host: h, lane: l, done: make(chan struct{}),
		in: wire.NewWindow(h.opt.Window), out: wire.NewWindow(h.opt.Window),
	}
	h.mu.Lock()
	idx := -1
	for i, o := range h.slab {
		if o == nil {
			idx = i
			break
		}
	}
	if idx < 0 {
		idx = len(h.slab)
		h.slab, h.gens = append(h.slab, nil), append(h.gens, 0)
	}
	h.slab[idx] = inv
	h.gens[idx]++
	inv.token = wire.Token{Idx: uint32(idx), Gen: h.gens[idx]}
	h.flying++
	h.mu.Unlock()
	h.rescueWatch()
	f := inv.frame(wire.KindCall)
	if step.Open {
		f.Flags = wire.FlagOpen
	}
	f.Status = uint32(step.Budget / time.Millisecond)
	l.prod.Send(&f, step.Record)
	return inv
}

func (inv *Invocation) frame(kind uint8) (f lane.Frame) {
	f.Kind, f.Phase, f.Sid = kind, inv.step.Phase, inv.step.Sid
	f.CallIdx, f.CallGen = inv.token.Idx, inv.token.Gen
	return f
}

var cancelText = map[uint32]string{
	wire.CancelDeadline: "no answer in time", wire.CancelClientGone: "the client left", wire.CancelShutdown: "shutdown",
}

// Cancel gives an invocation up: whatever it still sends is late.
func (h *Host) Cancel(inv *Invocation, reason uint32) {
	if h.end(inv, Final{Cancelled: reason, Fault: &Fault{wire.ErrorLate, cancelText[reason]}}) {
		h.sendCancel(inv, reason)
	}
}

// end is finish; false means that the invocation was over already.
func (h *Host) end(inv *Invocation, final Final) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if inv.over {
		return false
	}
	h.finish(inv, final)
	return true
}

func (h *Host) sendCancel(inv *Invocation, reason uint32) {
	f := inv.frame(wire.KindCancel)
	f.Status = reason
	inv.lane.prod.Send(&f, nil)
	h.rescueWatch()
}

// finish ends an invocation. The caller holds mu.
func (h *Host) finish(inv *Invocation, final Final) {
	if inv.over {
		return
	}
	inv.over = true
	inv.final = final
	inv.final.Staged = inv.staged
	h.slab[inv.token.Idx] = nil
	h.flying--
	h.cond.Broadcast()
	if !inv.stream || final.Fault != nil {
		close(inv.done)
	} // otherwise the client's goroutine closes it, once it has everything
}

// find returns the invocation of a frame, nil if it is late.
func (h *Host) find(f *lane.Frame) (*Invocation, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var slot wire.Issued
	in := int64(f.CallIdx) < int64(len(h.slab))
	var inv *Invocation
	if in {
		inv = h.slab[f.CallIdx]
		slot.Gen = h.gens[f.CallIdx]
		if inv != nil {
			slot.Live, slot.Sid, slot.Phase = true, inv.step.Sid, inv.step.Phase
		}
	}
	late, err := wire.CheckToken(&f.Frame, slot, in)
	if err != nil || late {
		if late {
			h.late++
		}
		return nil, err
	}
	return inv, nil
}

// ran is how long the handler ran, by its final frame.
func ran(f *lane.Frame) time.Duration {
	return time.Duration(f.Status>>wire.FinalTimeShift) * time.Microsecond
}

// frame takes one frame of the worker. It runs on the pump and never blocks.
func (h *Host) frame(l *hostLane, f *lane.Frame) error {
	if !wire.HasToken(f.Kind) {
		return nil // PONG, GOAWAY
	}
	if f.CallIdx >= firstSocket {
		return h.socketFrame(f)
	}
	inv, err := h.find(f)
	if inv == nil {
		return err
	}
	payload := append([]byte(nil), f.Payload...)
	switch f.Kind {
	case wire.KindReply:
		m, err := wire.ParseMutation(payload)
		if err != nil {
			return err
		}
		final := Final{Method: f.Method, Wants: f.Status & (1<<wire.FinalTimeShift - 1), Ran: ran(f)}
		for op := range m.Ops() {
			final.Ops = append(final.Ops, op)
		}
		h.mu.Lock()
		h.finish(inv, final)
		h.mu.Unlock()
	case wire.KindError:
		code, text, err := wire.ParseFault(payload)
		if err != nil {
			return err
		}
		h.mu.Lock()
		h.finish(inv, Final{Fault: &Fault{code, string(text)}, Ran: ran(f)})
		h.mu.Unlock()
	case wire.KindWindow:
		total, err := wire.WindowTotal(payload)
		if err != nil {
			return err
		}
		h.mu.Lock()
		_, err = inv.out.OnTotal(total)
		h.cond.Broadcast()
		h.mu.Unlock()
		return err
	case wire.KindData:
		return inv.data(f.Method, payload)
	case wire.KindCall:
		go inv.call(f.Method, f.Status, payload)
	}
	return nil
}

// data stages a body's piece, or hands a streamed one to the client.
func (inv *Invocation) data(method uint32, piece []byte) error {
	h := inv.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if inv.over {
		return nil
	}
	if err := inv.in.Take(uint32(len(piece))); err != nil {
		return err
	}
	if method == wire.MethodSetResponseStreamData {
		if !inv.stream {
			return violation("stream data before its head")
		}
		inv.queue = append(inv.queue, piece)
		h.cond.Broadcast()
		return nil
	}
	if inv.staged == nil {
		inv.staged = make(map[uint32][]byte)
	}
	inv.staged[method] = append(inv.staged[method], piece...)
	inv.taken += uint64(len(piece))
	if uint64(len(inv.staged[method])) > h.opt.Staged {
		text := fmt.Sprintf("a body over %d bytes", h.opt.Staged)
		h.finish(inv, Final{Cancelled: wire.CancelShutdown, Fault: &Fault{wire.ErrorBadRecord, text}})
		go h.sendCancel(inv, wire.CancelShutdown) // the pump never waits for space
		return nil
	}
	go inv.returnWindow()
	return nil
}

func (inv *Invocation) returnWindow() {
	inv.winMu.Lock()
	defer inv.winMu.Unlock()
	inv.host.mu.Lock()
	if inv.over || inv.taken == 0 {
		inv.host.mu.Unlock()
		return
	}
	total := inv.in.Give(inv.taken)
	inv.taken = 0
	inv.host.mu.Unlock()
	f := inv.frame(wire.KindWindow)
	inv.lane.prod.Send(&f, wire.AppendWindowTotal(nil, total))
}

// client hands streamed pieces on in order and returns the window as it goes.
func (inv *Invocation) client() {
	h := inv.host
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		for len(inv.queue) == 0 && !inv.over {
			h.cond.Wait()
		}
		if inv.over && inv.final.Fault != nil {
			return
		}
		if len(inv.queue) == 0 {
			close(inv.done)
			return
		}
		piece := inv.queue[0]
		inv.queue = inv.queue[1:]
		h.mu.Unlock()
		var gone error
		if inv.step.Chunk != nil {
			gone = inv.step.Chunk(piece)
		}
		if gone != nil {
			h.Cancel(inv, wire.CancelClientGone)
		}
		h.mu.Lock()
		if inv.taken += uint64(len(piece)); !inv.over {
			h.mu.Unlock()
			inv.returnWindow()
			h.mu.Lock()
		} else if gone != nil && inv.final.Fault == nil { // the stream had ended already
			close(inv.done)
			return
		}
	}
}

// call answers a worker's CALL.
func (inv *Invocation) call(method, num uint32, payload []byte) {
	h := inv.host
	answer := inv.frame(wire.KindReply)
	answer.Method, answer.Status = method, num
	fail := func(code uint32, text string) {
		answer.Kind = wire.KindError
		inv.lane.prod.Send(&answer, wire.AppendFault(nil, code, text))
	}
	// void fails the call and the invocation with it, first: whatever the handler makes of the error is late.
	void := func(code uint32, text string) {
		open := h.end(inv, Final{Cancelled: wire.CancelShutdown, Fault: &Fault{code, text}})
		fail(code, text)
		if open {
			h.sendCancel(inv, wire.CancelShutdown)
		}
	}
	switch method {
	case wire.MethodReadRequestFullBody, wire.MethodStreamRequestBody:
		var pieces [][]byte
		if inv.step.Body != nil {
			pieces = inv.step.Body()
		}
		size := 0
		for _, p := range pieces {
			size += len(p)
		}
		if method == wire.MethodReadRequestFullBody && size > h.opt.RawBody {
			fail(wire.ErrorTooLarge, "request body too large")
			return
		}
		inv.sendBody(method, num, pieces)
	case wire.MethodGetPayload:
		inv.lane.prod.Send(&answer, inv.step.Payload)
	case wire.MethodReadResponseFullBody:
		inv.lane.prod.Send(&answer, inv.step.SoFar)
	case wire.MethodSetResponseStreamHeader:
		m, err := wire.ParseMutation(payload)
		if err != nil || inv.step.Header == nil {
			fail(wire.ErrorBadState, "no stream here")
			return
		}
		h.mu.Lock()
		if inv.stream || inv.over {
			h.mu.Unlock()
			fail(wire.ErrorBadState, "streaming already")
			return
		}
		inv.stream = true
		h.mu.Unlock()
		var ops []wire.Op
		for op := range m.Ops() {
			ops = append(ops, op)
		}
		if err := inv.step.Header(ops); err != nil {
			void(wire.ErrorBadRecord, err.Error())
			return
		}
		go inv.client()
		inv.lane.prod.Send(&answer, nil)
	default:
		void(wire.ErrorUnknownMethod, fmt.Sprintf("unknown method %d", method))
	}
}

// sendBody sends pieces as DATA within the window, in parts of at most 64 KiB.
func (inv *Invocation) sendBody(method, num uint32, pieces [][]byte) {
	var parts [][]byte
	for _, p := range pieces {
		for len(p) > 0 {
			n := min(len(p), wire.LimitData, int(inv.host.opt.Window/2))
			parts = append(parts, p[:n])
			p = p[n:]
		}
	}
	if len(parts) == 0 {
		parts = [][]byte{nil}
	}
	h := inv.host
	for i, p := range parts {
		h.mu.Lock()
		for !inv.over && !h.closed.Load() && inv.out.Room() < uint64(len(p)) {
			h.cond.Wait()
		}
		over := inv.over || h.closed.Load()
		if !over {
			_ = inv.out.Take(uint32(len(p)))
		}
		h.mu.Unlock()
		if over {
			return
		}
		f := inv.frame(wire.KindData)
		f.Method, f.Status = method, num
		if i < len(parts)-1 {
			f.Flags = wire.FlagMore
		}
		inv.lane.prod.Send(&f, p)
	}
}
