// Command quickstart is a Nylon plugin with an entry for each thing a plugin does most: ask for a token, edit headers,
// rewrite a body, stream, answer JSON, redirect and log. Each file holds one idea.
package main

import (
	"errors"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// config is what nylon.yaml says under `config`.
var config struct {
	token string
}

func main() {
	register(sdk.NewNylonPlugin())
	sdk.Serve()
}

// register names every entry; the tests register them with a host in memory.
func register(plugin *sdk.NylonPlugin) {
	plugin.InitializeE(initialize)
	plugin.AddPhaseHandler("hello", hello)
	plugin.AddPhaseHandler("authz", authz)
	plugin.AddPhaseHandler("headers", headers)
	plugin.AddPhaseHandler("redact", redact)
	plugin.AddPhaseHandler("upper", upper)
	plugin.AddPhaseHandler("stream", stream)
	plugin.AddPhaseHandler("json", answerJSON)
	plugin.AddPhaseHandler("redirect", redirect)
	plugin.AddPhaseHandler("accesslog", accesslog)
}

// initialize refuses to start without a token: an open door must not come from a missing line.
func initialize(values map[string]any) error {
	token, _ := values["token"].(string)
	if token == "" {
		return errors.New("config.token is missing: it is what authz asks clients for")
	}
	config.token = token
	return nil
}

// payload is one string of an item's payload, as nylon.yaml says it, templates expanded.
func payload(values map[string]any, key string) string {
	text, _ := values[key].(string)
	return text
}
