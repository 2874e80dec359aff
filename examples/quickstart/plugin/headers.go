package main

import (
	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// headers gives the upstream a request id, hides a client's header from it, and shows the id to the client.
func headers(phase *sdk.PhaseHandler) {
	var id string // of this request: the function above runs once for each
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		id = payload(p.GetPayload(), "request_id")
		p.SetRequestHeader("x-request-id", id)
		p.RemoveRequestHeader("x-internal")
		p.Next()
	})
	phase.ResponseFilter(func(p *sdk.PhaseResponseFilter) {
		p.SetResponseHeader("x-request-id", id)
		p.RemoveResponseHeader("x-upstream")
		p.Next()
	})
}
