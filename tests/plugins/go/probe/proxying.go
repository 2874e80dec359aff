package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// proxying is about what reaches the other side of the gateway, and what is still there later.
func proxying(plugin *sdk.NylonPlugin) {
	request(plugin, "answer-raw-body", func(p *sdk.PhaseRequestFilter) {
		p.Response().BodyText(sum(p.Request().RawBody()))
		p.End()
	})
	// Asks for the request body when it is long gone upstream.
	plugin.AddPhaseHandler("late-body", func(phase *sdk.PhaseHandler) {
		phase.ResponseFilter(func(p *sdk.PhaseResponseFilter) {
			p.SetResponseHeader("x-late-body", sum(p.Request().RawBody()))
			p.Next()
		})
		phase.Logging(func(p *sdk.PhaseLogging) {
			trace("late-body %s", sum(p.Request().RawBody()))
			p.Next()
		})
	})
	request(plugin, "stream-echo", func(p *sdk.PhaseRequestFilter) {
		stream, err := p.Response().Stream()
		if err != nil {
			trace("stream-echo %v", err)
			return
		}
		n, err := io.Copy(stream, p.Request().Body())
		trace("stream-echo %d %v", n, err)
		_ = stream.End()
	})
	// Reads a little of the body, then all of it, then the rest.
	request(plugin, "body-thrice", func(p *sdk.PhaseRequestFilter) {
		body := p.Request().Body()
		first := make([]byte, 3)
		_, _ = io.ReadFull(body, first)
		whole := p.Request().RawBody()
		rest, err := io.ReadAll(body)
		p.Response().BodyText(fmt.Sprintf("%s, %s, %v", sum(whole), sum(append(first, rest...)), err))
		p.End()
	})
	request(plugin, "role", func(p *sdk.PhaseRequestFilter) {
		p.SetRequestHeader("X-Role", "admin")
		p.Next()
	})
	request(plugin, "headers-early", func(p *sdk.PhaseRequestFilter) {
		p.Response().SetHeader("access-control-allow-origin", "*")
		p.Response().SetHeader("content-type", "text/x-mine")
		p.Response().SetStatus(201)
		p.Next()
	})
	response(plugin, "body-late", func(p *sdk.PhaseResponseFilter) {
		p.Response().BodyText("instead")
		p.Next()
	})
	// Its own failure is what an access log is for.
	plugin.AddPhaseHandler("fails-and-logs", func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(*sdk.PhaseRequestFilter) { panic("on purpose") })
		phase.Logging(func(p *sdk.PhaseLogging) {
			trace("failed with %d", p.Response().Status())
			p.Next()
		})
	})
	// Prints nothing, and that as fast as it can, for three seconds.
	request(plugin, "chatter", func(p *sdk.PhaseRequestFilter) {
		lines := bytes.Repeat([]byte{'\n'}, 64<<10)
		for _, to := range []*os.File{os.Stdout, os.Stderr} {
			go func() {
				for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
					_, _ = to.Write(lines)
				}
			}()
		}
		p.Next()
	})
	plugin.AddPhaseHandler("amplify", func(phase *sdk.PhaseHandler) {
		phase.ResponseBodyFilter(func(p *sdk.PhaseResponseBodyFilter) {
			p.Response().BodyRaw(make([]byte, 8<<20))
			p.Next()
		})
	})
	response(plugin, "fails-late", func(*sdk.PhaseResponseFilter) { panic("on purpose") })
}
