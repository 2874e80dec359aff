package main

import (
	"fmt"
	"strconv"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

func responses(plugin *sdk.NylonPlugin) {
	response(plugin, "set-header", func(p *sdk.PhaseResponseFilter) {
		p.SetResponseHeader("X-Dup", "plugin")
		p.RemoveResponseHeader("x-mixed-case")
		p.SetResponseHeader("x-order", "first")
		p.RemoveResponseHeader("x-order")
		p.SetResponseHeader("x-order", "last")
		p.Next()
	})
	response(plugin, "add-header", func(p *sdk.PhaseResponseFilter) {
		p.Response().AddHeader("set-cookie", "a=1")
		p.Response().AddHeader("set-cookie", "b=2")
		p.Next()
	})
	response(plugin, "read-head", func(p *sdk.PhaseResponseFilter) {
		headers := p.Response().Headers()
		p.SetResponseHeader("x-saw-status", strconv.Itoa(p.Response().Status()))
		p.SetResponseHeader("x-saw-type", headers["content-type"])
		p.SetResponseHeader("x-saw-mixed", headers["x-mixed-case"])
		p.SetResponseHeader("x-saw-request", p.GetRequestHeader("x-one"))
		p.Next()
	})
	response(plugin, "set-status", func(p *sdk.PhaseResponseFilter) {
		p.SetResponseStatus(uint16(number(p.GetPayload(), "status")))
		p.Next()
	})
	// What no response may carry, by the payload's "case".
	response(plugin, "bad-head", func(p *sdk.PhaseResponseFilter) {
		switch text(p.GetPayload(), "case") {
		case "crlf":
			p.SetResponseHeader("x-bad", "a\r\nx-injected: yes")
		case "nul":
			p.SetResponseHeader("x-bad", "a\x00b")
		case "name":
			p.SetResponseHeader("x bad", "a")
		case "framing":
			p.SetResponseHeader("content-length", "3")
			p.SetResponseHeader("transfer-encoding", "gzip, chunked")
			p.SetResponseHeader("connection", "x-upstream")
			p.SetResponseHeader("trailer", "x-upstream")
		}
		p.Next()
	})

	// Answers of the request phase, by the payload's "case".
	request(plugin, "answer", answer)

	// The head in two phases, which travels once if it still stands.
	plugin.AddPhaseHandler("log-head", func(phase *sdk.PhaseHandler) {
		see := func(where, path string, r *sdk.Response) {
			headers := r.Headers()
			trace("%s %s %d %s %s", where, path, r.Status(), headers["content-type"], headers["x-order"])
		}
		phase.ResponseFilter(func(p *sdk.PhaseResponseFilter) {
			see("filter", p.Request().Path(), p.Response())
			p.Next()
		})
		phase.Logging(func(p *sdk.PhaseLogging) {
			see("log", p.Request().Path(), p.Response())
			p.Next()
		})
	})

	// What Logging sees.
	plugin.AddPhaseHandler("log", func(phase *sdk.PhaseHandler) {
		phase.Logging(func(p *sdk.PhaseLogging) {
			r := p.Response()
			failed := "ok"
			if r.Error() != "" {
				failed = "error"
			}
			trace("log %s %d %d %s", p.Request().Path(), r.Status(), r.Bytes(), failed)
			fmt.Printf("printed %s in %d ms\n", p.Request().Path(), r.Duration())
			p.Next()
		})
	})
}

// response registers an entry that has a ResponseFilter only.
func response(plugin *sdk.NylonPlugin, name string, handler func(*sdk.PhaseResponseFilter)) {
	plugin.AddPhaseHandler(name, func(phase *sdk.PhaseHandler) { phase.ResponseFilter(handler) })
}

func answer(p *sdk.PhaseRequestFilter) {
	r := p.Response()
	switch text(p.GetPayload(), "case") {
	case "text":
		r.BodyText("plain")
	case "html":
		r.BodyHTML("<p>html</p>")
	case "json":
		r.BodyJSON(map[string]any{"json": true})
	case "redirect":
		r.Redirect("/elsewhere")
	case "moved":
		r.Redirect("/elsewhere", 301)
	case "empty":
		r.SetStatus(204)
	case "not-modified":
		r.SetStatus(304)
		r.BodyText("never sent")
	case "chunked":
		r.RemoveHeader("content-length")
		r.SetHeader("transfer-encoding", "chunked")
		r.BodyText("framed by hand")
	case "raw":
		r.BodyRaw([]byte("raw"))
	case "status":
		r.SetStatus(uint16(number(p.GetPayload(), "status")))
	case "next":
		r.BodyText("instead of the upstream's")
		p.Next()
		return
	}
	p.End()
}
