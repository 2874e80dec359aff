// Command apikey is a Nylon plugin that lets requests through which carry a known key, and tells the upstream whose it is.
package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// clientHeader tells the upstream who asks. Whatever a client sends under this name is replaced.
const clientHeader = "x-api-client"

// digest of a key: of one length whatever the key's, so that comparing takes one time whatever the key.
type digest = [sha256.Size]byte

// keys are the digests by the name of their owner, from nylon.yaml.
var keys map[string]digest

func main() {
	register(sdk.NewNylonPlugin())
	sdk.Serve()
}

func register(plugin *sdk.NylonPlugin) {
	plugin.InitializeE(initialize)
	plugin.AddPhaseHandler("apikey", apikey)
}

// initialize refuses to start without keys, and with one that could be guessed.
func initialize(config map[string]any) error {
	list, _ := config["keys"].(map[string]any)
	if len(list) == 0 {
		return fmt.Errorf("config.keys is missing: write `keys: {name: key}`")
	}
	found := make(map[string]digest, len(list))
	for name, value := range list {
		key, _ := value.(string)
		if len(key) < 16 {
			return fmt.Errorf("config.keys.%s is not a text of 16 characters or more", name)
		}
		found[name] = sha256.Sum256([]byte(key))
	}
	keys = found
	return nil
}

func apikey(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		header, _ := p.GetPayload()["header"].(string)
		if header == "" {
			header = "x-api-key"
		}
		name, known := owner(p.Request().Header(header))
		if !known {
			p.Response().SetStatus(sdk.StatusUnauthorized)
			p.Response().BodyJSON(map[string]any{"error": "send a valid key in the header " + header})
			p.End()
			return
		}
		p.SetRequestHeader(clientHeader, name)
		p.RemoveRequestHeader(header) // the upstream needs no key
		p.Next()
	})
}

// owner looks at every key, also after a match: how long it takes says nothing about any of them.
func owner(key string) (name string, known bool) {
	sum := sha256.Sum256([]byte(key))
	for of, want := range keys {
		if subtle.ConstantTimeCompare(sum[:], want[:]) == 1 {
			name, known = of, true
		}
	}
	return name, known
}
