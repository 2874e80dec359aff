package nylontest

import (
	"net/http"
	"strconv"

	"github.com/nylon-rs/nylon/sdk-go/internal/testhost"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Request is what a client sends. Empty fields get useful values: GET / on example.com from 192.0.2.1.
type Request struct {
	Method, Path, Query, Host, ClientIP, ID string
	TLS                                     bool
	Port                                    int
	Headers                                 http.Header
	Params                                  map[string]string
	Payload                                 any // the item's `payload`, nil for none

	Body   []byte
	Pieces [][]byte // the body in these pieces, instead of Body

	Upstream Response // what the upstream answers
	// UpstreamError makes the upstream fail with this text.
	UpstreamError string

	// OnChunk is the client of a streamed response: it may be slow, and its error means that the client left.
	OnChunk func(piece []byte) error
	// Gone, when closed, is the client leaving: nobody is answered any more, and Result.Status is 0 unless a head was
	// sent before.
	Gone <-chan struct{}
	// Service makes the entry that of a plugin service: it has a RequestFilter only, and nowhere to go on to by Next.
	Service bool
}

// Response is what an upstream answers. An empty one is 200 without a body.
type Response struct {
	Status  int
	Headers http.Header
	Body    []byte
	Pieces  [][]byte // the body in these pieces, instead of Body
}

// Upstream is the request as the upstream got it.
type Upstream struct {
	Method, Path, Query string
	Headers             http.Header
	Body                []byte
	Pieces              [][]byte
}

// apply takes a request filter's changes to the request.
func (up *Upstream) apply(final testhost.Final) {
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
		}
	}
	if body, set := bodyOf(final, wire.MethodSetRequestBody); set {
		up.Pieces = [][]byte{body}
		up.Headers.Set("Content-Length", strconv.Itoa(len(body)))
	}
}

// Result is what became of a request. Headers are those of plugin and upstream; what frames the body on the wire, as
// Transfer-Encoding does, is the gateway's and not among them.
type Result struct {
	Status  int // 0 when the client left before there was one
	Headers http.Header
	Body    []byte
	Chunks  [][]byte // of a streamed response, as they were written

	Verdicts []Verdict // of each phase run, in order
	Upstream *Upstream // nil when no upstream was asked
	Streamed bool
	Cut      bool   // the response was cut off after it began
	Error    string // why the request failed
}

// Verdict is how one run of a phase ended.
type Verdict struct {
	Phase   string // as the SDK names it: RequestFilter, …
	Verdict string // Next, End, StreamEnd, or Error
	Error   string
}
