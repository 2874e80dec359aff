package main

import (
	"os"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// hello greets as the payload says.
func hello(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		p.Response().BodyText(payload(p.GetPayload(), "greeting") + "\n")
		p.End()
	})
}

// answerJSON shows what a plugin knows of the request and who it is.
func answerJSON(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		p.Response().BodyJSON(map[string]any{
			"method":    p.Request().Method(),
			"path":      p.Request().Path(),
			"client_ip": p.Request().ClientIP(),
			"headers":   p.Request().Headers().GetAll(),
			"pid":       os.Getpid(),
		})
		p.End()
	})
}

// redirect sends the client to the payload's `to`.
func redirect(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		p.Response().Redirect(payload(p.GetPayload(), "to"))
		p.End()
	})
}
