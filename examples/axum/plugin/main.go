// Command axum is the plugin of the axum example: a guard, a filter of bodies both ways, and a journal.
package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

func main() {
	register(sdk.NewNylonPlugin())
	sdk.Serve()
}

func register(plugin *sdk.NylonPlugin) {
	plugin.AddPhaseHandler("journal", journal)
	plugin.AddPhaseHandler("guard", guard)
	plugin.AddPhaseHandler("rewrite", rewrite)
}

// guard lets nobody in without a token, tells the service who came, and signs what goes out.
func guard(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		user, known := strings.CutPrefix(p.Request().Header("authorization"), "Bearer ")
		if !known {
			p.Response().SetStatus(sdk.StatusForbidden)
			p.Response().BodyText("who are you?\n")
			p.End()
			return
		}
		p.SetRequestHeader("x-user", user)
		p.RemoveRequestHeader("authorization")
		p.Next()
	})
	phase.ResponseFilter(func(p *sdk.PhaseResponseFilter) {
		p.SetResponseHeader("x-guard", "nylon")
		p.RemoveResponseHeader("x-secret")
		p.Next()
	})
}

// rewrite hides digits from the service and answers in capitals, piece by piece in both directions.
func rewrite(phase *sdk.PhaseHandler) {
	phase.RequestBodyFilter(func(p *sdk.PhaseRequestBodyFilter) {
		p.SetBody(bytes.Map(redact, p.ReadBody()))
		p.Next()
	})
	phase.ResponseBodyFilter(func(p *sdk.PhaseResponseBodyFilter) {
		p.Response().BodyRaw(bytes.ToUpper(p.Response().ReadBody()))
		p.Next()
	})
}

func redact(r rune) rune {
	if '0' <= r && r <= '9' {
		return '*'
	}
	return r
}

var lines struct {
	sync.Mutex
	text []string
}

// journal remembers a line for each request once it is answered, and answers /journal itself.
func journal(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		if p.Request().Path() != "/journal" {
			p.Next()
			return
		}
		lines.Lock()
		p.Response().BodyText(strings.Join(lines.text, "\n"))
		lines.Unlock()
		p.End()
	})
	phase.Logging(func(p *sdk.PhaseLogging) {
		request, response := p.Request(), p.Response()
		line := fmt.Sprintf("%s %s from %s: %d, %d bytes", request.Method(), request.Path(), request.ClientIP(),
			response.Status(), response.Bytes())
		if why := response.Error(); why != "" {
			line += ", " + why
		}
		lines.Lock()
		lines.text = append(lines.text, line)
		lines.Unlock()
		p.Next()
	})
}
