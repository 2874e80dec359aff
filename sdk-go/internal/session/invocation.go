package session

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Invocation is one run of one handler. It stays open after the handler returned; the first verdict closes it.
type Invocation struct {
	Session *Session
	Owner   any // what the API package wraps around it
	Phase   uint8

	ran     uint32 // how long its handler ran, us, once sent is set; only if the host wants to know
	token   wire.Token
	slot    *slot
	run     atomic.Uint64 // the lane's run number, if the handler was started on its leader
	arrived time.Duration // by the lane's clock
	budget  uint32        // ms; 0 = no limit
	queued  atomic.Uint32 // from its arrival to the start of its run, us
	step    wire.Step
	keep    bool // the host may run this phase again in this session

	// The flags and voided change under mu. Those that are atomic are also read without it.
	mu       sync.Mutex
	running  bool          // the handler has not returned; not kept up once the final frame is claimed, unless heavy
	done     bool          // a verdict was given, or it failed
	sending  bool          // the verdict's staged bodies are on their way
	sent     atomic.Bool   // the one final frame is claimed
	streamed bool          // STREAM_HEADER went out
	heavy    atomic.Bool   // it has bodies, or traffic
	voided   atomic.Uint32 // wire.Cancel*, 0 = not
	failure  *HostError    // turns the verdict into an ERROR
	ctx      *phaseCtx
	traffic  *traffic // made by talk

	mut       wire.MutationWriter
	mutBuf    [256]byte
	committed []byte // the record, once it was sent
	response  body   // op 103
	request   body   // op 225
}

type body struct {
	set bool
	b   []byte
}

// alive says why nothing more can be done, or nil. The caller holds mu.
func (inv *Invocation) alive() error {
	switch reason := inv.voided.Load(); {
	case reason == wire.CancelDeadline:
		return ErrDeadline
	case reason == wire.CancelShutdown:
		return ErrShutdown
	case reason != 0:
		return ErrClientGone
	case inv.Session.over.Load():
		return notOpen(inv.Session.sid)
	case inv.done:
		return ErrFinished
	}
	return nil
}

// Edit appends an entry to what the verdict will commit. After the verdict it does nothing.
func (inv *Invocation) Edit(op uint32, key, value string) error {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if err := inv.alive(); err != nil {
		return err
	}
	if inv.streamed {
		return ErrStreaming
	}
	inv.startRecord()
	switch op {
	case wire.MethodSetResponseHeader:
		inv.mut.SetHeader(key, value)
	case wire.MethodAddResponseHeader:
		inv.mut.AddHeader(key, value)
	case wire.MethodRemoveResponseHeader:
		inv.mut.RemoveHeader(key)
	default:
		inv.mut.Append(wire.Op{Method: op, Name: []byte(key), Value: []byte(value)})
		inv.Session.edits.note(op, key, value)
	}
	return nil
}

// SetStatus sets the response status.
func (inv *Invocation) SetStatus(status uint16) error {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if err := inv.alive(); err != nil {
		return err
	}
	if inv.streamed {
		return ErrStreaming
	}
	inv.startRecord()
	inv.mut.Status(status)
	return nil
}

// startRecord makes the first entries of a record go into the invocation itself.
func (inv *Invocation) startRecord() {
	if inv.mut.Count() == 0 {
		inv.mut.Reset(inv.mutBuf[:0])
	}
}

// record is what was collected so far, nil when nothing was. The caller holds mu.
func (inv *Invocation) record() ([]byte, error) {
	switch {
	case inv.sent.Load():
		return inv.committed, nil // on its way to the host, and written no more
	case inv.mut.Count() == 0:
		return nil, nil
	}
	return inv.mut.Finish()
}

// SetBody takes a copy of b as the new body, or b itself if it is ours: op is MethodSetResponseFullBody or
// MethodSetRequestBody.
func (inv *Invocation) SetBody(op uint32, b []byte, ours bool) error {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if err := inv.alive(); err != nil {
		return err
	}
	if inv.streamed {
		return ErrStreaming
	}
	of := &inv.response
	if op == wire.MethodSetRequestBody {
		of = &inv.request
	}
	inv.heavy.Store(true)
	of.set = true
	if !ours {
		b = append([]byte(nil), b...)
	}
	of.b = b
	return nil
}

// PendingBody is the body set so far, and whether one was.
func (inv *Invocation) PendingBody(op uint32) ([]byte, bool) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if op == wire.MethodSetRequestBody {
		return inv.request.b, inv.request.set
	}
	return inv.response.b, inv.response.set
}

// Pending walks the entries collected so far.
func (inv *Invocation) Pending(each func(wire.Op)) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	rec, err := inv.record()
	if err != nil {
		return
	}
	if m, err := wire.ParseMutation(rec); err == nil {
		for op := range m.Ops() {
			each(op)
		}
	}
}

// Spoil makes the verdict an ERROR: the handler could not see that something it relies on failed.
func (inv *Invocation) Spoil(code uint32, text string) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if inv.failure == nil {
		inv.failure = &HostError{code, text}
	}
}

// Finish gives the verdict. Only the first counts; one that comes after a cancellation is dropped.
func (inv *Invocation) Finish(method uint32) {
	inv.mu.Lock()
	if inv.done || inv.voided.Load() != 0 {
		inv.mu.Unlock()
		return
	}
	inv.done = true
	inv.moved() // other goroutines of the handler that wait for the host wait no longer
	if inv.streamed {
		method = wire.MethodSetResponseStreamEnd
	}
	failure := inv.failure
	if failure == nil && !inv.streamed && (inv.response.set || inv.request.set) {
		inv.sending = true
		failure = inv.stageBodies()
		inv.sending = false
	}
	if inv.voided.Load() != 0 {
		late := inv.claimLate()
		inv.mu.Unlock()
		if late {
			inv.sendLate()
		}
		return
	}
	var rec []byte
	if !inv.streamed {
		var err error
		if rec, err = inv.record(); err != nil && failure == nil {
			failure = &HostError{wire.ErrorBadRecord, "the changes of one step: " + err.Error()}
		}
	}
	inv.committed = rec
	inv.stop()
	inv.sent.Store(true)
	inv.moved()
	inv.mu.Unlock()
	f := inv.of(wire.KindReply)
	if failure != nil {
		inv.sendError(failure.Code, failure.Text)
		return
	}
	wants := inv.asked()
	f.Method, f.Status = method, wants|inv.ran<<wire.FinalTimeShift
	inv.release()
	if wants == 0 {
		inv.Session.close()
	}
	inv.Session.lane.Send(&f, rec, inv.run.Load())
	inv.forget()
}

// stageBodies adds the bodies to the record: as values, or when they are large, as DATA sent before it. The caller
// holds mu, which is let go while data is on its way.
func (inv *Invocation) stageBodies() *HostError {
	for _, of := range []struct {
		op uint32
		*body
	}{{wire.MethodSetRequestBody, &inv.request}, {wire.MethodSetResponseFullBody, &inv.response}} {
		if !of.set {
			continue
		}
		inv.startRecord()
		rec, err := inv.record()
		if err != nil {
			return nil // the verdict says so
		}
		if len(of.b) <= wire.LimitInlineBody && len(rec)+len(of.b)+64 <= wire.LimitRecord {
			inv.mut.Append(wire.Op{Method: of.op, Value: of.b})
			continue
		}
		inv.mu.Unlock()
		_, err = inv.sendData(of.op, of.b, true)
		inv.mu.Lock()
		if err != nil {
			return &HostError{wire.ErrorInternal, err.Error()}
		}
		inv.mut.Append(wire.Op{Method: of.op, Staged: true})
	}
	return nil
}

// fail answers with an ERROR, unless a verdict was given before.
func (inv *Invocation) fail(code uint32, text string) {
	inv.mu.Lock()
	if inv.done || inv.voided.Load() != 0 || inv.sent.Load() {
		inv.mu.Unlock()
		return
	}
	inv.done = true
	inv.stop()
	inv.sent.Store(true)
	inv.moved()
	inv.mu.Unlock()
	inv.sendError(code, text)
}

// stop notes how long the handler ran until its verdict, without what it waited for the host. The caller holds mu.
func (inv *Invocation) stop() {
	if !inv.timed() {
		return
	}
	ran := lane.Now() - inv.arrived
	if inv.traffic != nil {
		ran -= inv.traffic.waited
	}
	inv.ran = uint32(min(max(ran/time.Microsecond-time.Duration(inv.queued.Load()), 0), time.Duration(wire.FinalTimeMax)))
}

// timed says whether the host wants to know how long handlers run.
func (inv *Invocation) timed() bool { return inv.Session.w.Features&wire.FeatureHandlerTime != 0 }

// returned notes that the handler came back, and returns how long it ran until its verdict, if that is known: else 0.
func (inv *Invocation) returned() time.Duration {
	if inv.sent.Load() && !inv.heavy.Load() {
		return inv.known() // the usual case; nobody asks any more
	}
	defer inv.forget()
	inv.mu.Lock()
	inv.running = false
	late := inv.voided.Load() != 0 && inv.claimLate()
	open, streamed := !inv.done && inv.voided.Load() == 0, inv.streamed
	var ran time.Duration
	if inv.sent.Load() && inv.traffic == nil {
		ran = inv.known()
	}
	inv.mu.Unlock()
	if late {
		inv.sendLate()
	}
	if open {
		inv.Session.entry.warn(inv.Session.w, inv.Phase, streamed)
	}
	return ran
}

// known is how long the handler ran until its verdict, which is sent.
func (inv *Invocation) known() time.Duration {
	if !inv.timed() {
		return 0
	}
	return time.Duration(max(inv.ran, 1)) * time.Microsecond
}

// void applies a CANCEL.
func (inv *Invocation) void(reason uint32) {
	inv.mu.Lock()
	if inv.voided.Load() != 0 || inv.sent.Load() {
		ctx := inv.ctx
		inv.mu.Unlock()
		if ctx != nil {
			ctx.end(reason)
		}
		return
	}
	inv.voided.Store(reason)
	late := inv.claimLate()
	ctx := inv.ctx
	inv.moved()
	inv.mu.Unlock()
	if ctx != nil {
		ctx.end(reason)
	}
	if late {
		inv.sendLate()
	}
}

// claimLate decides who sends the one final frame of a voided invocation: nobody while the handler runs or its
// staged bodies are on their way. The caller holds mu.
func (inv *Invocation) claimLate() bool {
	if inv.running || inv.sending || inv.sent.Load() {
		return false
	}
	inv.sent.Store(true)
	return true
}

func (inv *Invocation) sendLate() {
	inv.sendError(wire.ErrorLate, "the invocation was cancelled")
}

// sendError sends the final ERROR, which is also the end of the session: it says of no phase that it is wanted.
func (inv *Invocation) sendError(code uint32, text string) {
	inv.release()
	inv.Session.close()
	f := inv.of(wire.KindError)
	f.Status = inv.ran << wire.FinalTimeShift
	sendError(inv.Session.lane, &f, code, text)
	inv.forget()
}

// release lets go of the slab slot, before the final frame allows the host to use it again.
func (inv *Invocation) release() { inv.slot.inv.CompareAndSwap(inv, nil) }

// of is a frame of this invocation.
func (inv *Invocation) of(kind uint8) lane.Frame {
	return newFrame(kind, inv.Phase, inv.Session.sid, inv.token)
}

func newFrame(kind, phase uint8, sid uint32, t wire.Token) (f lane.Frame) {
	f.Kind, f.Phase, f.Sid, f.CallIdx, f.CallGen = kind, phase, sid, t.Idx, t.Gen
	return f
}
