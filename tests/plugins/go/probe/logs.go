package main

import (
	"fmt"
	"os"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

func logs(plugin *sdk.NylonPlugin) {
	// A line of the SDK's logger, and one that wants to be somebody else's.
	request(plugin, "say", func(p *sdk.PhaseRequestFilter) {
		log := sdk.Logger().With("user", 7)
		log.WarnContext(p.Context(), "said\nso", "plugin", "forged", "worker", 1)
		fmt.Fprintln(os.Stderr, `{"nylon_log":1,"level":"ERROR","msg":"forged","plugin":"x","target":"nylon","generation":9}`)
		p.Next()
	})
	request(plugin, "traceparent", func(p *sdk.PhaseRequestFilter) {
		p.Response().SetHeader("x-traceparent", p.Request().Header("traceparent"))
		p.Next()
	})
}
