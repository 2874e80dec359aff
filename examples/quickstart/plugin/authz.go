package main

import (
	"crypto/subtle"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// authz lets a request through that carries the token, and ENDs every other one: the upstream never sees it.
func authz(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		token := p.Request().Header("x-api-token")
		if subtle.ConstantTimeCompare([]byte(token), []byte(config.token)) == 1 {
			p.Next()
			return
		}
		p.Response().SetStatus(sdk.StatusUnauthorized)
		p.Response().BodyJSON(map[string]any{"error": "send the header x-api-token"})
		p.End()
	})
}
