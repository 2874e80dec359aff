// Command hello is the plugin of docs/tutorial.md.
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

func main() {
	register(sdk.NewNylonPlugin())
	sdk.Serve()
}

// register names the entries, for the gateway and for the tests.
func register(plugin *sdk.NylonPlugin) {
	plugin.InitializeE(initialize)
	plugin.AddPhaseHandler("hello", hello)
	plugin.AddPhaseHandler("timing", timing)
	plugin.AddPhaseHandler("oops", oops)
	plugin.AddPhaseHandler("slow", slow)
}

// greeting is what nylon.yaml says under `config`.
var greeting string

func initialize(config map[string]any) error {
	greeting, _ = config["greeting"].(string)
	if greeting == "" {
		return errors.New("config.greeting is missing")
	}
	return nil
}

// hello answers: END sends what was set.
func hello(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		name := p.GetPayload()["name"]
		p.Response().BodyText(fmt.Sprintf("%s %v, from process %d\n", greeting, name, os.Getpid()))
		p.End()
	})
}

// timing lets the request pass and tells the client how long it took: NEXT goes on.
func timing(phase *sdk.PhaseHandler) {
	phase.ResponseFilter(func(p *sdk.PhaseResponseFilter) {
		p.SetResponseHeader("x-took-ms", strconv.FormatInt(p.Response().Duration(), 10))
		p.Next()
	})
}
