package main

import (
	"fmt"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// stream sends server-sent events, each as soon as it is written.
func stream(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		count, _ := p.GetPayload()["events"].(float64)
		p.Response().SetHeader("content-type", "text/event-stream")
		out, err := p.Response().Stream()
		if err != nil {
			fmt.Println("stream:", err)
			return
		}
		for n := 1; n <= int(count); n++ {
			if _, err := fmt.Fprintf(out, "data: event %d\n\n", n); err != nil {
				return // the client is gone
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-p.Context().Done():
				return
			}
		}
		_ = out.End()
	})
}
