package nylontest

import (
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

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
	wire.MethodWebsocketUpgrade: "Upgrade",
}

// exchange is one request on its way through the phases.
type exchange struct {
	h      *Host
	req    Request
	res    *Result
	fields wire.RequestFields
	method string // as plugins left it
	entry  uint16
	start  time.Time

	sid      uint32
	wants    uint32 // of an open session
	known    bool   // the session told its wants
	upgraded bool   // its verdict was a WebSocket
	failed   bool   // the entry failed: nothing but Logging follows, in a session of its own

	ops     []wire.Op // for the response head, made before there was one
	body    []byte    // set by the plugin
	bodySet bool
	head    head

	mu    sync.Mutex // a stream comes from the host's goroutines
	begun bool       // the head went out
	over  bool       // what a stream still brings does not count
}

// Request sends a request through one entry and returns what became of it.
func (h *Host) Request(entry string, req Request) *Result {
	h.t.Helper()
	x := h.exchange(entry, req)
	x.run()
	if x.wants != 0 || x.upgraded {
		h.local.CloseSession(x.sid)
	}
	return x.res
}

func (h *Host) exchange(entry string, req Request) *exchange {
	h.t.Helper()
	x := &exchange{
		h: h, req: req, res: &Result{Headers: http.Header{}}, entry: h.entry(entry),
		sid: testhost.NewSid(), start: time.Now(), head: head{status: 200},
	}
	x.defaults()
	return x
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
	x.method = r.Method
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

func paramsOf(m map[string]string) (out []wire.Pair) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, wire.Pair{Name: name, Value: m[name]})
	}
	return out
}

// run goes through the phases in the gateway's order.
func (x *exchange) run() {
	final, ok := x.phase(wire.PhaseRequestFilter, nil)
	switch {
	case !ok || x.res.Streamed:
	case final.Method == wire.MethodWebsocketUpgrade: // and nobody asked for one
		x.upgraded = true
		x.respond(head{400, nil}, [][]byte{[]byte("Missing Sec-WebSocket-Key")})
	case final.Method == wire.MethodEnd:
		x.respond(head{status: 200}, nil)
	case x.req.Service:
		x.fail(failure{500, "RUNTIME_ERROR", "the plugin service neither ended nor streamed the response"})
	default:
		x.upstream(final)
	}
	x.log()
}

func (x *exchange) log() {
	x.phase(wire.PhaseLogging, func(w *wire.StepWriter) {
		x.writeHead(w)
		w.Stats(uint64(len(x.res.Body)), uint64(time.Since(x.start).Milliseconds()), x.res.Error)
	})
}

// runs says whether the gateway sends a phase.
func (x *exchange) runs(phase uint8) bool {
	switch {
	case x.req.Service:
		return phase == wire.PhaseRequestFilter
	case x.failed:
		return phase == wire.PhaseLogging
	}
	return !x.known || x.wants&(1<<phase) != 0
}

// phase runs one phase, if the gateway does, and takes its changes. ok is false when the request failed by it, and was
// answered.
func (x *exchange) phase(phase uint8, build func(*wire.StepWriter)) (final testhost.Final, ok bool) {
	if !x.runs(phase) {
		return testhost.Final{Method: wire.MethodNext}, true
	}
	final = x.h.local.Run(x.step(phase, build))
	why, failed := judge(final)
	v := Verdict{Phase: phaseNames[phase], Verdict: verdictNames[final.Method], Error: why.message}
	if failed {
		v.Verdict = "Error"
	}
	x.res.Verdicts = append(x.res.Verdicts, v)
	if !failed {
		x.known, x.wants = true, final.Wants
		x.take(phase, &final)
		return final, true
	}
	if final.Fault == nil || final.Cancelled != 0 { // an ERROR has closed the session
		x.h.local.CloseSession(x.sid)
	}
	x.sid, x.known, x.wants, x.failed = testhost.NewSid(), false, 0, true
	if phase != wire.PhaseLogging { // which fails open
		x.fail(why)
	}
	return final, false
}

// step is one run of a phase.
func (x *exchange) step(phase uint8, build func(*wire.StepWriter)) *testhost.Step {
	step := &testhost.Step{
		Sid: x.sid, Phase: phase, Open: !x.known, Budget: x.h.timeout, Cancel: x.req.Gone,
		Body: func() [][]byte { return x.req.Pieces }, SoFar: x.body,
		Header: x.streamHead, Chunk: x.chunk,
	}
	w := wire.StepWriter{NameIDs: true}
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
	return step
}

// take applies the changes of a step that concern the response.
func (x *exchange) take(phase uint8, final *testhost.Final) {
	final.Ops = slices.DeleteFunc(final.Ops, overruled)
	switch phase {
	case wire.PhaseRequestFilter:
		x.ops = append(x.ops, final.Ops...)
		if body, set := bodyOf(*final, wire.MethodSetResponseFullBody); set {
			x.body, x.bodySet = body, true
		}
	case wire.PhaseResponseFilter:
		if body, set := bodyOf(*final, wire.MethodSetResponseFullBody); set {
			x.replaceBody(body)
		}
		x.head.apply(final.Ops)
	}
}

// upstream sends the request up and its answer down.
func (x *exchange) upstream(final testhost.Final) {
	up := &Upstream{
		Method: x.req.Method, Path: x.req.Path, Query: x.req.Query, Headers: headerOf(x.fields.Headers), Pieces: x.req.Pieces,
	}
	up.apply(final)
	x.method = up.Method
	if !x.requestBody(up) {
		return
	}
	x.res.Upstream = up
	if why := x.req.UpstreamError; why != "" {
		x.res.Error = why
		x.errorPage(failure{502, "PINGORA_ERROR", why})
		return
	}
	x.respond(head{x.req.Upstream.Status, pairsOf(x.req.Upstream.Headers)}, x.req.Upstream.Pieces)
}

// requestBody sends the body up through the request body filter.
func (x *exchange) requestBody(up *Upstream) bool {
	parts := split(up.Pieces)
	up.Pieces = nil
	if len(parts) > 0 && x.runs(wire.PhaseRequestBodyFilter) {
		up.Headers.Del("Content-Length")
	}
	for i, piece := range parts {
		final, ok := x.phase(wire.PhaseRequestBodyFilter, func(w *wire.StepWriter) { w.Piece(piece, i == len(parts)-1) })
		if !ok {
			return false
		}
		if body, set := bodyOf(final, wire.MethodSetRequestBody); set {
			piece = body
		}
		up.Pieces = append(up.Pieces, piece)
		up.Body = append(up.Body, piece...)
	}
	return true
}

// closed goes on behind a WebSocket that is over.
func (x *exchange) closed(final testhost.Final) {
	if x.wants = final.Wants; final.Fault != nil {
		x.sid, x.known, x.wants, x.failed = testhost.NewSid(), false, 0, true
	}
	x.head = head{status: http.StatusSwitchingProtocols}
	x.head.apply(x.ops)
	x.log()
	if x.wants != 0 {
		x.h.local.CloseSession(x.sid)
	}
}

// again begins anew, in a session of its own.
func (x *exchange) again() { x.sid, x.known, x.wants, x.ops = testhost.NewSid(), false, 0, nil }

// split returns a body's pieces in parts that fit into a step record; there are no empty ones.
func split(pieces [][]byte) (parts [][]byte) {
	for _, p := range pieces {
		parts = slices.AppendSeq(parts, slices.Chunk(p, wire.LimitPiece))
	}
	return parts
}
