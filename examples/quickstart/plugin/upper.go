package main

import (
	"bytes"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// upper rewrites a response's body piece by piece as it passes; the gateway frames it anew.
func upper(phase *sdk.PhaseHandler) {
	phase.ResponseBodyFilter(func(p *sdk.PhaseResponseBodyFilter) {
		p.Response().BodyRaw(bytes.ToUpper(p.Response().ReadBody()))
		p.Next()
	})
}
