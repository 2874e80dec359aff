// Command ws-chat is a Nylon plugin: a chat in rooms, with the page it is used from.
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
		p.Response().SetHeader("content-security-policy",
			"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'")
		p.Response().BodyHTML(page)
		p.End()
	}})
	plugin.AddPhaseHandler("chat", chat)
}
