// Command peer-nylon is the plugin of the gateway cases: it does in its two phases what the filter of peer-grpc does in
// two unary calls.
package main

import (
	sdk "github.com/nylon-rs/nylon/sdk-go"
)

func main() {
	sdk.NewNylonPlugin().AddPhaseHandler("bench", bench)
	sdk.Serve()
}

// bench reads three fields, sets one header and goes on; it sets one more when the response is there.
func bench(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		r := p.Request()
		if r.Method() != "GET" || r.Path() != "/bench" {
			p.Response().SetStatus(sdk.StatusBadRequest)
			p.End()
			return
		}
		p.Response().SetHeader("x-bench", r.Header("x-nonce"))
		p.Next()
	})
	phase.ResponseFilter(func(p *sdk.PhaseResponseFilter) {
		p.SetResponseHeader("x-content", p.Response().Headers()["content-type"])
		p.Next()
	})
}
