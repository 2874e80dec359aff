package nylontest

import (
	"slices"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// respond sends a response down through the response filter.
func (x *exchange) respond(h head, pieces [][]byte) {
	x.head = h
	if x.bodySet {
		x.replaceBody(x.body)
	}
	x.head.apply(x.ops)
	if _, ok := x.phase(wire.PhaseResponseFilter, x.writeHead); !ok {
		return
	}
	if x.bodySet {
		pieces = [][]byte{x.body}
	}
	x.send(pieces)
}

// replaceBody puts the plugin's body in place of another: what described that one goes.
func (x *exchange) replaceBody(body []byte) {
	x.body, x.bodySet = body, true
	x.head.remove("content-length", "content-encoding", "etag")
}

func (x *exchange) writeHead(w *wire.StepWriter) {
	flags := uint32(0)
	if x.bodySet {
		flags = wire.HeadBody
	}
	w.Response(uint16(x.head.status), flags, x.head.headers)
}

// send sends the head, and the body through the response body filter.
func (x *exchange) send(pieces [][]byte) {
	parts := split(pieces)
	none := x.head.status == 204 || x.head.status == 304
	if none {
		x.head.remove("content-length")
	}
	filtered := len(parts) > 0 && !none && x.method != "HEAD" && x.runs(wire.PhaseResponseBodyFilter)
	if filtered {
		x.head.remove("content-length")
	}
	x.mu.Lock()
	x.begun = true
	x.mu.Unlock()
	x.res.Status, x.res.Headers = x.head.status, headerOf(x.head.headers)
	if none || x.req.Method == "HEAD" {
		return
	}
	for i, piece := range parts {
		if filtered {
			final, ok := x.phase(wire.PhaseResponseBodyFilter, func(w *wire.StepWriter) {
				x.writeHead(w)
				w.Piece(piece, i == len(parts)-1)
			})
			if !ok {
				return
			}
			if body, set := bodyOf(final, wire.MethodSetResponseFullBody); set {
				piece = body
			}
		}
		x.res.Body = append(x.res.Body, piece...)
	}
}

// fail answers with an error, or cuts off what was begun.
func (x *exchange) fail(f failure) {
	x.mu.Lock()
	x.over = true
	begun := x.begun
	x.mu.Unlock()
	x.res.Error = f.message
	switch {
	case begun:
		x.res.Cut = true
	case f.status != 0:
		x.errorPage(f)
	}
}

// errorPage is an answer of the gateway's own; what the plugin wanted of another response does not apply to it.
func (x *exchange) errorPage(f failure) {
	x.ops, x.body, x.bodySet = nil, nil, false
	x.respond(head{f.status, []wire.Pair{{Name: "content-type", Value: "application/json"}}}, [][]byte{f.page()})
}

// streamHead commits the head of a streamed response.
func (x *exchange) streamHead(ops []wire.Op) error {
	if err := check(ops); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return sdk.ErrClientGone
	}
	x.head.apply(slices.DeleteFunc(ops, overruled))
	x.begun, x.res.Streamed = true, true
	x.res.Status, x.res.Headers = x.head.status, headerOf(x.head.headers)
	return nil
}

// chunk hands a piece of a streamed response to the client.
func (x *exchange) chunk(piece []byte) error {
	if x.req.OnChunk != nil {
		if err := x.req.OnChunk(piece); err != nil {
			return err
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return sdk.ErrClientGone
	}
	x.res.Chunks = append(x.res.Chunks, piece)
	x.res.Body = append(x.res.Body, piece...)
	return nil
}
