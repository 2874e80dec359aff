package main

import (
	"fmt"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// tick is the time between two events; tests make it short.
var tick = time.Second

// clock streams server-sent events until the client leaves.
func clock(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		ticks, _ := p.GetPayload()["ticks"].(float64) // numbers of a payload are float64, as in encoding/json
		p.Response().SetHeader("content-type", "text/event-stream")
		out, err := p.Response().Stream() // status and headers go out now
		if err != nil {
			return
		}
		for n := range int(ticks) {
			if _, err := fmt.Fprintf(out, "data: %d\n\n", n); err != nil {
				return // ErrClientGone, ErrDeadline: the client got what was written, and sees that it was cut off
			}
			select {
			case <-time.After(tick):
			case <-p.Context().Done():
				return
			}
		}
		_ = out.End() // the verdict: no Next or End after it
	})
}
