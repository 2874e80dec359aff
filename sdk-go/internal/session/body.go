package session

import (
	"io"
	"slices"
	"sync"

	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// smallPiece is what is not worth a buffer of its own: it comes out of a chunk.
const smallPiece = 16 << 10

// announced is as much memory as a Content-Length is believed before the bytes are there.
const announced = 1 << 20

// buffers are for the pieces of bodies that are read as they arrive. They are seen outside of this package only by a
// Write, and an io.Writer must not keep what it is given.
var buffers = sync.Pool{New: func() any { return new([wire.LimitData]byte) }}

// recycle gives back the buffer of a piece that was read.
func recycle(piece []byte) {
	if cap(piece) == wire.LimitData {
		buffers.Put((*[wire.LimitData]byte)(piece[:wire.LimitData]))
	}
}

// place is where a piece of a body is copied to, straight out of the arena: behind what its call collected, or for a
// reader into a buffer. It runs on the leader, which alone writes a call's data until the call is done.
func (inv *Invocation) place(f *lane.Frame) []byte {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	t, n := inv.talk(), int(f.Len)
	c := inv.callFor(f)
	switch {
	case c == nil || c.method != f.Method || uint64(n) > t.in.Room() || c.stream && n <= smallPiece:
		return nil
	case c.stream:
		return buffers.Get().(*[wire.LimitData]byte)[:n]
	case c.data == nil && c.method == wire.MethodReadRequestFullBody:
		size := max(n, int(min(inv.Session.req.Bytes(), announced)))
		if size >= largeBody {
			ballast()
		}
		c.data = make([]byte, 0, size)
	default:
		c.data = slices.Grow(c.data, n)
	}
	return c.data[len(c.data) : len(c.data)+n]
}

// take adds a piece, which may have been placed already. The caller holds the invocation's mu.
func (c *hostCall) take(piece []byte) {
	n := len(c.data)
	if placed := c.data[n:min(n+1, cap(c.data))]; len(placed) > 0 && len(piece) > 0 && &placed[0] == &piece[0] {
		c.data = c.data[:n+len(piece)]
		return
	}
	c.data = append(c.data, piece...)
}

// RawBody is the whole request body; the session keeps it.
func (inv *Invocation) RawBody() ([]byte, error) {
	s := inv.Session
	if !s.bodyMu.TryLock() {
		inv.blocks()
		s.bodyMu.Lock()
	}
	defer s.bodyMu.Unlock()
	if s.hasRaw {
		return s.body, nil
	}
	inv.hurry()
	b, err := inv.Call(wire.MethodReadRequestFullBody, nil)
	if err != nil {
		return nil, err
	}
	s.body, s.hasRaw = b, true
	return b, nil
}

// BodyReader reads the request body as it arrives.
type BodyReader struct {
	mu    sync.Mutex // a buffer read by two goroutines at once would be given back twice
	inv   *Invocation
	call  *hostCall
	piece []byte // of which rest is unread
	rest  []byte
	err   error
}

// Body starts reading at the first Read.
func (inv *Invocation) Body() *BodyReader { return &BodyReader{inv: inv} }

// Read implements io.Reader.
func (r *BodyReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(p) == 0 || !r.fill() {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.took(n)
	return n, nil
}

// WriteTo implements io.WriterTo: w is given each piece where it was received, for the time of its Write.
func (r *BodyReader) WriteTo(w io.Writer) (total int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.fill() {
		size := len(r.rest)
		n, err := w.Write(r.rest)
		n = min(max(n, 0), size)
		r.took(n)
		if total += int64(n); err == nil && n < size {
			err = io.ErrShortWrite
		}
		if err != nil {
			return total, err
		}
	}
	if r.err == io.EOF {
		return total, nil
	}
	return total, r.err
}

// fill waits until there is something to read; err says why there is not.
func (r *BodyReader) fill() bool {
	inv := r.inv
	if len(r.rest) > 0 || r.err != nil {
		return r.err == nil
	}
	if r.call == nil {
		if r.call, r.err = inv.startCall(wire.MethodStreamRequestBody, nil, true); r.err != nil {
			return false
		}
	}
	inv.mu.Lock()
	defer inv.mu.Unlock()
	c, t := r.call, inv.talk()
	for len(c.pieces) == 0 && !c.done && inv.alive() == nil {
		inv.mu.Unlock()
		inv.blocks()
		inv.returnWindow(t, true) // nothing is held back from a host that may wait for it
		inv.mu.Lock()
		if len(c.pieces) == 0 && !c.done && inv.alive() == nil {
			inv.wait()
		}
	}
	switch {
	case len(c.pieces) > 0:
		r.piece, c.pieces = c.pieces[0], c.pieces[1:]
		r.rest = r.piece
		return true
	case c.done && c.err == nil:
		r.err = io.EOF
	case c.done:
		r.err = c.err
	default:
		r.err = inv.alive()
	}
	return false
}

// took goes on by n bytes that were read, and tells the host.
func (r *BodyReader) took(n int) {
	if r.rest = r.rest[n:]; len(r.rest) == 0 {
		recycle(r.piece)
		r.piece = nil
	}
	inv := r.inv
	inv.mu.Lock()
	t := inv.talk()
	if !r.call.eager {
		r.call.held -= uint64(n)
		t.unacked += uint64(n)
	}
	inv.mu.Unlock()
	inv.returnWindow(t, false)
}

// RawBody is the request body if it was read before.
func (s *Session) RawBody() ([]byte, bool) {
	if !s.bodyMu.TryLock() {
		return nil, false
	}
	defer s.bodyMu.Unlock()
	return s.body, s.hasRaw
}
