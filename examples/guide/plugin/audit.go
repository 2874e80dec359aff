package main

import (
	"strings"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// audit remembers something in one phase and uses it in another.
func audit(phase *sdk.PhaseHandler) {
	var agent string // of this request: the function runs once for each

	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		agent = p.Request().Header("user-agent")
		p.Next()
	})
	phase.ResponseFilter(func(p *sdk.PhaseResponseFilter) {
		if strings.HasPrefix(p.Response().Headers()["content-type"], "text/html") {
			p.SetResponseHeader("x-frame-options", "DENY")
		}
		p.Next()
	})
	phase.Logging(func(p *sdk.PhaseLogging) {
		request, response := p.Request(), p.Response()
		sdk.Logger().InfoContext(p.Context(), "answered",
			"method", request.Method(), "path", request.Path(), "agent", agent,
			"status", response.Status(), "bytes", response.Bytes(), "ms", response.Duration(), "error", response.Error())
		p.Next()
	})
}
