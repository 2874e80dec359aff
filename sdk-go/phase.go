package sdk

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/nylon-rs/nylon/sdk-go/internal/session"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// PhaseHandler is one request in one entry: the factory registers its handlers here.
type PhaseHandler struct {
	// SessionId names this request in the plugin.
	SessionId int32

	core     *session.Session
	handlers Handlers
}

// RequestFilter runs before an upstream is chosen.
func (h *PhaseHandler) RequestFilter(f func(*PhaseRequestFilter)) {
	h.handlers.RequestFilter = f
	h.core.Want(wire.PhaseRequestFilter)
}

// RequestBodyFilter runs once per piece of the request body on its way to the upstream.
func (h *PhaseHandler) RequestBodyFilter(f func(*PhaseRequestBodyFilter)) {
	h.handlers.RequestBodyFilter = f
	h.core.Want(wire.PhaseRequestBodyFilter)
}

// ResponseFilter runs when there are response headers.
func (h *PhaseHandler) ResponseFilter(f func(*PhaseResponseFilter)) {
	h.handlers.ResponseFilter = f
	h.core.Want(wire.PhaseResponseFilter)
}

// ResponseBodyFilter runs once per piece of the response body.
func (h *PhaseHandler) ResponseBodyFilter(f func(*PhaseResponseBodyFilter)) {
	h.handlers.ResponseBodyFilter = f
	h.core.Want(wire.PhaseResponseBodyFilter)
}

// Logging runs after the response is complete or has failed.
func (h *PhaseHandler) Logging(f func(*PhaseLogging)) {
	h.handlers.Logging = f
	h.core.Want(wire.PhaseLogging)
}

// ownSession is a session of an entry that makes its handlers per request, with everything its first handler needs: one
// allocation.
type ownSession struct {
	core    session.Session
	handler PhaseHandler
	factory func(*PhaseHandler)
	first   call
	used    bool // first was given out
}

func newSession(factory func(*PhaseHandler)) *session.Session {
	s := &ownSession{factory: factory}
	s.core.Owner = s
	return &s.core
}

// Open implements session.Owner.
func (s *ownSession) Open() {
	s.handler.SessionId = int32(s.core.SID())
	s.handler.core = &s.core
	s.factory(&s.handler)
}

// NewCall implements session.Owner.
func (s *ownSession) NewCall() *session.Invocation {
	c := &s.first
	if s.used {
		c = &call{}
	}
	s.used = true
	c.inv.Owner = c
	return &c.inv
}

// Run implements session.Owner.
func (s *ownSession) Run(inv *session.Invocation) { s.handler.handlers.run(inv) }

// call is one run of a handler. The public phase types, Request and Response are all views of it.
type call struct {
	inv session.Invocation
}

// payload decodes the item's payload anew, so that a handler may change what it got.
func (c *call) payload() map[string]any {
	text, err := c.inv.Payload()
	if err != nil {
		c.spoil("GetPayload", err)
		return nil
	}
	if len(text) == 0 {
		return nil
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		c.spoil("GetPayload", err)
		return nil
	}
	return m
}

// spoil makes the verdict a failure because of a call that cannot tell its handler that it failed: a handler that
// takes nil for an empty body must not let a request pass.
func (c *call) spoil(what string, err error) {
	code := wire.ErrorInternal
	var host *session.HostError
	if errors.As(err, &host) {
		code = host.Code
	}
	c.inv.Spoil(code, what+": "+err.Error())
}

// NylonHttpPluginCtx is a handler run without its phase.
type NylonHttpPluginCtx call

// GetPayload returns the `payload` of this middleware item or service, nil when none is configured.
func (p *NylonHttpPluginCtx) GetPayload() map[string]any { return (*call)(p).payload() }

// Next is the verdict "go on".
func (p *NylonHttpPluginCtx) Next() { p.inv.Finish(wire.MethodNext) }

// End is the verdict "answer with what was collected".
func (p *NylonHttpPluginCtx) End() { p.inv.Finish(wire.MethodEnd) }

// PhaseRequestFilter runs before an upstream is chosen: it may answer itself, or change the request.
type PhaseRequestFilter call

// Request is the request.
func (p *PhaseRequestFilter) Request() *Request { return (*Request)(p) }

// Response is the response as far as plugins made it.
func (p *PhaseRequestFilter) Response() *Response { return (*Response)(p) }

// GetPayload returns the `payload` of this middleware item or service, nil when none is configured.
func (p *PhaseRequestFilter) GetPayload() map[string]any { return (*call)(p).payload() }

// Context is cancelled when the client leaves or the time of this phase is used up.
func (p *PhaseRequestFilter) Context() context.Context { return p.inv.Context() }

// Next is the verdict "go on".
func (p *PhaseRequestFilter) Next() { p.inv.Finish(wire.MethodNext) }

// End is the verdict "answer with what was collected".
func (p *PhaseRequestFilter) End() { p.inv.Finish(wire.MethodEnd) }

// SetMethod changes the method the upstream sees.
func (p *PhaseRequestFilter) SetMethod(method string) {
	_ = p.inv.Edit(wire.MethodSetRequestMethod, "", method)
}

// SetPath changes the path the upstream sees.
func (p *PhaseRequestFilter) SetPath(path string) {
	_ = p.inv.Edit(wire.MethodSetRequestPath, "", path)
}

// SetQuery changes the query the upstream sees, without '?'.
func (p *PhaseRequestFilter) SetQuery(query string) {
	_ = p.inv.Edit(wire.MethodSetRequestQuery, "", query)
}

// SetRequestHeader replaces a header the upstream sees.
func (p *PhaseRequestFilter) SetRequestHeader(key, value string) {
	_ = p.inv.Edit(wire.MethodSetRequestHeader, key, value)
}

// RemoveRequestHeader removes a header the upstream would see.
func (p *PhaseRequestFilter) RemoveRequestHeader(key string) {
	_ = p.inv.Edit(wire.MethodRemoveRequestHeader, key, "")
}

// SetRequestBody replaces the body the upstream sees.
func (p *PhaseRequestFilter) SetRequestBody(body []byte) {
	_ = p.inv.SetBody(wire.MethodSetRequestBody, body, false)
}

// PhaseRequestBodyFilter runs once per piece of the request body on its way to the upstream.
type PhaseRequestBodyFilter call

// Request is the request.
func (p *PhaseRequestBodyFilter) Request() *Request { return (*Request)(p) }

// GetPayload returns the `payload` of this middleware item, nil when none is configured.
func (p *PhaseRequestBodyFilter) GetPayload() map[string]any { return (*call)(p).payload() }

// Context is cancelled when the client leaves or the time of this phase is used up.
func (p *PhaseRequestBodyFilter) Context() context.Context { return p.inv.Context() }

// ReadBody is this piece, as edited by earlier middleware and by SetBody.
func (p *PhaseRequestBodyFilter) ReadBody() []byte { return p.inv.RequestPiece() }

// SetBody replaces this piece.
func (p *PhaseRequestBodyFilter) SetBody(piece []byte) {
	_ = p.inv.SetBody(wire.MethodSetRequestBody, piece, false)
}

// IsLast says that no piece follows.
func (p *PhaseRequestBodyFilter) IsLast() bool { return p.inv.Last() }

// Next is the verdict "go on".
func (p *PhaseRequestBodyFilter) Next() { p.inv.Finish(wire.MethodNext) }

// PhaseResponseFilter runs when there are response headers.
type PhaseResponseFilter call

// Request is the request.
func (p *PhaseResponseFilter) Request() *Request { return (*Request)(p) }

// Response is the response as it stands.
func (p *PhaseResponseFilter) Response() *Response { return (*Response)(p) }

// GetPayload returns the `payload` of this middleware item, nil when none is configured.
func (p *PhaseResponseFilter) GetPayload() map[string]any { return (*call)(p).payload() }

// Context is cancelled when the client leaves or the time of this phase is used up.
func (p *PhaseResponseFilter) Context() context.Context { return p.inv.Context() }

// Next is the verdict "go on".
func (p *PhaseResponseFilter) Next() { p.inv.Finish(wire.MethodNext) }

// End stops the middleware after this one in this phase; the response goes out as it stands.
func (p *PhaseResponseFilter) End() { p.inv.Finish(wire.MethodEnd) }

// SetResponseHeader replaces a response header.
func (p *PhaseResponseFilter) SetResponseHeader(key, value string) {
	p.Response().SetHeader(key, value)
}

// RemoveResponseHeader removes a response header.
func (p *PhaseResponseFilter) RemoveResponseHeader(key string) { p.Response().RemoveHeader(key) }

// SetResponseStatus sets the response status.
func (p *PhaseResponseFilter) SetResponseStatus(status uint16) { p.Response().SetStatus(status) }

// GetRequestHeader looks a request header up by its lower-case name.
func (p *PhaseResponseFilter) GetRequestHeader(key string) string { return p.GetRequestHeaders()[key] }

// GetRequestHeaders returns the request headers by lower-case name.
func (p *PhaseResponseFilter) GetRequestHeaders() map[string]string {
	return p.Request().Headers().GetAll()
}

// PhaseResponseBodyFilter runs once per piece of the response body. Response().ReadBody() is the piece,
// Response().BodyRaw() replaces it.
type PhaseResponseBodyFilter call

// Request is the request.
func (p *PhaseResponseBodyFilter) Request() *Request { return (*Request)(p) }

// Response is the response; its body is this piece.
func (p *PhaseResponseBodyFilter) Response() *Response { return (*Response)(p) }

// GetPayload returns the `payload` of this middleware item, nil when none is configured.
func (p *PhaseResponseBodyFilter) GetPayload() map[string]any { return (*call)(p).payload() }

// Context is cancelled when the client leaves or the time of this phase is used up.
func (p *PhaseResponseBodyFilter) Context() context.Context { return p.inv.Context() }

// IsLast says that no piece follows.
func (p *PhaseResponseBodyFilter) IsLast() bool { return p.inv.Last() }

// Next is the verdict "go on".
func (p *PhaseResponseBodyFilter) Next() { p.inv.Finish(wire.MethodNext) }

// PhaseLogging runs after the response is complete or has failed.
type PhaseLogging call

// Request is the request.
func (p *PhaseLogging) Request() *Request { return (*Request)(p) }

// Response is the response that was sent.
func (p *PhaseLogging) Response() *Response { return (*Response)(p) }

// GetPayload returns the `payload` of this middleware item, nil when none is configured.
func (p *PhaseLogging) GetPayload() map[string]any { return (*call)(p).payload() }

// Context is cancelled when the time of this phase is used up.
func (p *PhaseLogging) Context() context.Context { return p.inv.Context() }

// Next is the verdict "go on".
func (p *PhaseLogging) Next() { p.inv.Finish(wire.MethodNext) }
