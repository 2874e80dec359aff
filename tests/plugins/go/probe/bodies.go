package main

import (
	"bytes"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

func bodies(plugin *sdk.NylonPlugin) {
	piece := func(name string, change func([]byte) []byte) {
		plugin.AddPhaseHandler(name, func(phase *sdk.PhaseHandler) {
			phase.ResponseBodyFilter(func(p *sdk.PhaseResponseBodyFilter) {
				p.Response().BodyRaw(change(p.Response().ReadBody()))
				p.Next()
			})
		})
	}
	piece("upper", bytes.ToUpper)
	piece("blank", func([]byte) []byte { return []byte{} })
	piece("brackets", func(b []byte) []byte { return append(append([]byte("["), b...), ']') })
	piece("flip", flip)

	// The request's body on its way up, every byte changed.
	plugin.AddPhaseHandler("flip-up", func(phase *sdk.PhaseHandler) {
		phase.RequestBodyFilter(func(p *sdk.PhaseRequestBodyFilter) {
			p.SetBody(flip(p.ReadBody()))
			p.Next()
		})
	})
}

// flip is the body with every byte changed.
func flip(body []byte) []byte {
	flipped := make([]byte, len(body))
	for i, b := range body {
		flipped[i] = b ^ 0x5a
	}
	return flipped
}
