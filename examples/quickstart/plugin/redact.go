package main

import (
	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// redact hides every digit of a request's body from the upstream, piece by piece as it passes.
func redact(phase *sdk.PhaseHandler) {
	phase.RequestBodyFilter(func(p *sdk.PhaseRequestBodyFilter) {
		piece := p.ReadBody()
		redacted := make([]byte, len(piece))
		for i, b := range piece {
			if b >= '0' && b <= '9' {
				b = '*'
			}
			redacted[i] = b
		}
		p.SetBody(redacted)
		p.Next()
	})
}
