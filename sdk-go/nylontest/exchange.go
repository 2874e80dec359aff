package nylontest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/internal/testhost"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

var phaseNames = map[uint8]string{
	wire.PhaseRequestFilter: "RequestFilter", wire.PhaseRequestBodyFilter: "RequestBodyFilter",
	wire.PhaseResponseFilter: "ResponseFilter", wire.PhaseResponseBodyFilter: "ResponseBodyFilter",
	wire.PhaseLogging: "Logging",
}

var verdictNames = map[uint32]string{
	wire.MethodNext: "Next", wire.MethodEnd: "End", wire.MethodSetResponseStreamEnd: "StreamEnd",
}

// exchange is one request on its way through the phases.
type exchange struct {
	h      *Host
	req    Request
	res    *Result
	fields wire.RequestFields
	entry  uint16
	sid    uint32
	wants  uint32 // 0: no session is open
	known  bool   // the session told its wants
	start  time.Time

	mu      sync.Mutex // the stream's head comes from the host's goroutines
	status  int        // set by a plugin, 0 = not
	ops     []wire.Op  // on the response head, in order
	body    []byte     // set by a plugin
	bodySet bool
	sent    int
	over    bool // what a stream still brings does not count
}

// Request sends a request through one entry and returns what became of it.
func (h *Host) Request(entry string, req Request) *Result {
	h.t.Helper()
	x := &exchange{
		h: h, req: req, res: &Result{Headers: http.Header{}}, entry: h.entry(entry),
		sid: testhost.NewSid(), start: time.Now(),
	}
	x.defaults()
	x.run()
	if x.wants != 0 {
		h.local.CloseSession(x.sid)
	}
	return x.res
}

func (x *exchange) defaults() {
	r := &x.req
	for _, d := range []struct {
		at *string
		to string
	}{
		{&r.Method, "GET"}, {&r.Path, "/"}, {&r.Host, "example.com"}, {&r.ClientIP, "192.0.2.1"}, {&r.ID, "test-request"},
	} {
		if *d.at == "" {
			*d.at = d.to
		}
	}
	if r.Pieces == nil && len(r.Body) > 0 {
		r.Pieces = [][]byte{r.Body}
	}
	if up := &r.Upstream; up.Status == 0 {
		up.Status = 200
	}
	if up := &r.Upstream; up.Pieces == nil && len(up.Body) > 0 {
		up.Pieces = [][]byte{up.Body}
	}
	size := 0
	for _, p := range r.Pieces {
		size += len(p)
	}
	x.fields = wire.RequestFields{
		TimestampMs: x.start.UnixMilli(), Bytes: uint64(size), Port: uint16(r.Port), TLS: r.TLS, Version: 11,
		Method: r.Method, Path: r.Path, Query: r.Query, Host: r.Host, ClientIP: r.ClientIP, RequestID: r.ID,
		Headers: pairsOf(r.Headers), Params: paramsOf(r.Params),
	}
}

func pairsOf(h http.Header) (out []wire.Pair) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			out = append(out, wire.Pair{Name: strings.ToLower(name), Value: v})
		}
	}
	return out
}

func paramsOf(m map[string]string) (out []wire.Pair) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, wire.Pair{Name: name, Value: m[name]})
	}
	return out
}

// run goes through the phases in the gateway's order.
func (x *exchange) run() {
	final, ok := x.phase(wire.PhaseRequestFilter, nil)
	up := &Upstream{
		Method: x.req.Method, Path: x.req.Path, Query: x.req.Query, Headers: headerOf(x.fields.Headers), Pieces: x.req.Pieces,
	}
	switch {
	case !ok:
	case x.res.Streamed:
	case final.Method == wire.MethodEnd:
		x.apply(final)
		x.respond(200, nil, nil)
	case x.req.Service:
		x.fail(500, "INTERNAL_SERVER_ERROR", "the plugin service did not answer")
		return
	default:
		x.apply(final)
		x.applyRequest(up, final)
		if x.requestBody(up) {
			x.upstream(up)
		}
	}
	if !x.req.Service {
		x.logging()
	}
}

// phase runs one phase, if the session wants it. ok is false when the request failed by it.
func (x *exchange) phase(phase uint8, build func(*wire.StepWriter)) (final testhost.Final, ok bool) {
	if x.known && x.wants&(1<<phase) == 0 {
		return testhost.Final{Method: wire.MethodNext}, true
	}
	step := &testhost.Step{
		Sid: x.sid, Phase: phase, Open: !x.known, Budget: x.h.timeout, Cancel: x.req.Gone,
		Body: func() [][]byte { return x.req.Pieces }, SoFar: x.body,
		Header: x.streamHead, Chunk: x.chunk,
	}
	var w wire.StepWriter
	if step.Open {
		w.Entry(x.entry)
		w.Request(&x.fields)
	}
	if x.req.Payload != nil {
		if p := mustJSON(x.req.Payload); len(p) <= wire.LimitPayloadInline {
			w.Payload(p)
		} else {
			step.Payload = p
			w.PayloadCall()
		}
	}
	if phase == wire.PhaseLogging {
		step.Cancel = nil // that the client left is what is logged
	}
	if build != nil {
		build(&w)
	}
	rec, err := w.Finish()
	if err != nil {
		x.h.t.Fatalf("nylontest: step record: %v", err)
	}
	step.Record = rec
	final = x.h.local.Run(step)
	v := Verdict{Phase: phaseNames[phase], Verdict: verdictNames[final.Method]}
	if final.Fault == nil {
		x.known, x.wants = true, final.Wants
		x.res.Verdicts = append(x.res.Verdicts, v)
		return final, true
	}
	x.known, x.wants = true, 0 // an ERROR ends the session, and so does a cancellation
	if final.Late {
		x.h.local.CloseSession(x.sid)
	}
	v.Verdict, v.Error = "Error", final.Fault.Text
	x.res.Verdicts = append(x.res.Verdicts, v)
	if phase != wire.PhaseLogging { // logging fails open
		status, code := fault(final.Fault, final.Late)
		x.fail(status, code, final.Fault.Text)
	}
	return final, false
}

// fail answers with an error, or cuts off what was begun.
func (x *exchange) fail(status int, code, message string) {
	x.mu.Lock()
	x.over = true
	x.mu.Unlock()
	x.res.Error = message
	if x.res.Streamed || x.sent > 0 {
		x.res.Cut = true
		return
	}
	body, _ := json.Marshal(map[string]any{"status": status, "error": code, "message": message})
	x.res.Status, x.res.Body = status, body
	x.res.Headers = http.Header{"Content-Type": {"application/json"}}
}

// apply takes the changes of one step to the response.
func (x *exchange) apply(final testhost.Final) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, op := range final.Ops {
		switch op.Method {
		case wire.MethodSetResponseStatus:
			x.status = int(op.Status)
		case wire.MethodSetResponseFullBody:
			x.bodySet, x.body = true, op.Value
			if op.Staged {
				x.body = final.Staged[op.Method]
			}
		case wire.MethodSetResponseHeader, wire.MethodAddResponseHeader, wire.MethodRemoveResponseHeader:
			x.ops = append(x.ops, op)
		}
	}
}

func (x *exchange) applyRequest(up *Upstream, final testhost.Final) {
	for _, op := range final.Ops {
		switch op.Method {
		case wire.MethodSetRequestMethod:
			up.Method = string(op.Value)
		case wire.MethodSetRequestPath:
			up.Path = string(op.Value)
		case wire.MethodSetRequestQuery:
			up.Query = string(op.Value)
		case wire.MethodSetRequestHeader:
			up.Headers.Set(string(op.Name), string(op.Value))
		case wire.MethodRemoveRequestHeader:
			up.Headers.Del(string(op.Name))
		case wire.MethodSetRequestBody:
			body := op.Value
			if op.Staged {
				body = final.Staged[op.Method]
			}
			up.Pieces = [][]byte{body}
		}
	}
}

// requestBody sends the body up through the request body filter.
func (x *exchange) requestBody(up *Upstream) bool {
	pieces := up.Pieces
	up.Pieces = nil
	split(pieces, func(piece []byte, last bool) bool {
		final, ok := x.phase(wire.PhaseRequestBodyFilter, func(w *wire.StepWriter) { w.Piece(piece, last) })
		if !ok {
			return false
		}
		for _, op := range final.Ops {
			if op.Method == wire.MethodSetRequestBody {
				piece = op.Value
				if op.Staged {
					piece = final.Staged[op.Method]
				}
			}
		}
		up.Pieces = append(up.Pieces, piece)
		up.Body = append(up.Body, piece...)
		return true
	})
	return x.res.Error == ""
}

// split hands pieces out in parts that fit into a step record, and says which is the last.
func split(pieces [][]byte, each func(piece []byte, last bool) bool) {
	var parts [][]byte
	for _, p := range pieces {
		for len(p) > wire.LimitPiece {
			parts = append(parts, p[:wire.LimitPiece])
			p = p[wire.LimitPiece:]
		}
		parts = append(parts, p)
	}
	for i, p := range parts {
		if !each(p, i == len(parts)-1) {
			return
		}
	}
}

// upstream asks the upstream and sends its answer down.
func (x *exchange) upstream(up *Upstream) {
	x.res.Upstream = up
	if x.req.UpstreamError != "" {
		x.fail(502, "PINGORA_ERROR", x.req.UpstreamError)
		return
	}
	x.respond(x.req.Upstream.Status, pairsOf(x.req.Upstream.Headers), x.req.Upstream.Pieces)
}

// respond sends a response down through response filter and response body filter.
func (x *exchange) respond(status int, headers []wire.Pair, pieces [][]byte) {
	flags := uint32(0)
	x.mu.Lock()
	headers = applyOps(headers, x.ops)
	x.ops = nil
	if x.status != 0 {
		status = x.status
	}
	x.status = 0
	if x.bodySet {
		pieces, flags = [][]byte{x.body}, wire.HeadBody
		headers = applyOps(headers, []wire.Op{{Method: wire.MethodRemoveResponseHeader, Name: []byte("content-length")}})
	}
	x.mu.Unlock()
	final, ok := x.phase(wire.PhaseResponseFilter, func(w *wire.StepWriter) { w.Response(uint16(status), flags, headers) })
	if !ok {
		return
	}
	replaced := false
	for _, op := range final.Ops {
		replaced = replaced || op.Method == wire.MethodSetResponseFullBody
	}
	x.apply(final)
	headers = applyOps(headers, x.ops)
	if x.status != 0 {
		status = x.status
	}
	if replaced {
		pieces = [][]byte{x.body}
	}
	x.res.Status, x.res.Headers = status, headerOf(headers)
	split(pieces, func(piece []byte, last bool) bool {
		final, ok := x.phase(wire.PhaseResponseBodyFilter, func(w *wire.StepWriter) { w.Piece(piece, last) })
		if !ok {
			return false
		}
		for _, op := range final.Ops {
			if op.Method == wire.MethodSetResponseFullBody {
				piece = op.Value
				if op.Staged {
					piece = final.Staged[op.Method]
				}
			}
		}
		x.sent += len(piece)
		x.res.Body = append(x.res.Body, piece...)
		return true
	})
}

// streamHead commits the head of a streamed response.
func (x *exchange) streamHead(ops []wire.Op) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.res.Streamed, x.res.Status = true, 200
	for _, op := range ops {
		if op.Method == wire.MethodSetResponseStatus {
			x.res.Status = int(op.Status)
		}
	}
	x.res.Headers = headerOf(applyOps(nil, slices.DeleteFunc(append(x.ops, ops...), func(op wire.Op) bool {
		return op.Method != wire.MethodSetResponseHeader && op.Method != wire.MethodAddResponseHeader &&
			op.Method != wire.MethodRemoveResponseHeader
	})))
}

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
	x.sent += len(piece)
	return nil
}

func (x *exchange) logging() {
	x.phase(wire.PhaseLogging, func(w *wire.StepWriter) {
		w.Response(uint16(x.res.Status), 0, pairsOf(x.res.Headers))
		w.Stats(uint64(len(x.res.Body)), uint64(time.Since(x.start).Milliseconds()), x.res.Error)
	})
}

// applyOps applies header entries in call order.
func applyOps(headers []wire.Pair, ops []wire.Op) []wire.Pair {
	out := slices.Clone(headers)
	for _, op := range ops {
		p := wire.Pair{Name: strings.ToLower(string(op.Name)), Value: string(op.Value)}
		if op.Method != wire.MethodAddResponseHeader {
			out = slices.DeleteFunc(out, func(o wire.Pair) bool { return o.Name == p.Name })
		}
		if op.Method != wire.MethodRemoveResponseHeader {
			out = append(out, p)
		}
	}
	return out
}

func headerOf(pairs []wire.Pair) http.Header {
	h := http.Header{}
	for _, p := range pairs {
		h.Add(p.Name, p.Value)
	}
	return h
}
