package nylontest

import "net/http"

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
	// Gone, when closed, is the client leaving.
	Gone <-chan struct{}
	// Service runs only the request filter, as the entry of a plugin service does.
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

// Result is what became of a request.
type Result struct {
	Status  int
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
