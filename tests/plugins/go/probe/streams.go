package main

import (
	"fmt"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

func streams(plugin *sdk.NylonPlugin) {
	// Five events, 60 ms apart.
	request(plugin, "events", func(p *sdk.PhaseRequestFilter) {
		p.Response().SetHeader("content-type", "text/event-stream")
		stream, err := p.Response().Stream()
		if err != nil {
			trace("stream: %v", err)
			return
		}
		for n := 1; n <= 5; n++ {
			if _, err := fmt.Fprintf(stream, "data: %d\n\n", n); err != nil {
				trace("write: %v", err)
				return
			}
			time.Sleep(60 * time.Millisecond)
		}
		if err := stream.End(); err != nil {
			trace("end: %v", err)
		}
	})

	// Writes until it is stopped or the payload's "mib" are through; the trace tells how far it came.
	request(plugin, "flood", func(p *sdk.PhaseRequestFilter) {
		stream, err := p.Response().Stream()
		if err != nil {
			trace("stream: %v", err)
			return
		}
		chunk := make([]byte, 64<<10)
		limit := number(p.GetPayload(), "mib") << 20
		for sent := 0; sent < limit; sent += len(chunk) {
			if _, err := stream.Write(chunk); err != nil {
				trace("flood stopped: %v", err)
				return
			}
			trace("flood %d", sent+len(chunk))
		}
		trace("flood done")
		_ = stream.End()
	})

	// A crash after the head went out.
	request(plugin, "broken-stream", func(p *sdk.PhaseRequestFilter) {
		stream, err := p.Response().Stream()
		if err != nil {
			return
		}
		_, _ = stream.Write([]byte("begun"))
		panic("after the head")
	})
}
