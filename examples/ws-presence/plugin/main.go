// Command ws-presence is a Nylon plugin that lets the members of a team see who else is there, on whichever gateway.
package main

import (
	_ "embed"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

//go:embed page.html
var page string

func main() {
	register(sdk.NewNylonPlugin())
	sdk.Serve()
}

func register(plugin *sdk.NylonPlugin) {
	plugin.AddStaticHandler("page", sdk.Handlers{RequestFilter: func(p *sdk.PhaseRequestFilter) {
		p.Response().BodyHTML(page)
		p.End()
	}})
	plugin.AddPhaseHandler("presence", presence)
}
