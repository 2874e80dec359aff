// Command websocket-client speaks to the plugin "probe" as a user of github.com/coder/websocket would, and prints what it
// saw: a line of JSON for each case. tests/tests/websocket_clients.rs says what is right.
//
//	websocket-client ws://127.0.0.1:PORT
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"time"
)

// object is a line of output.
type object map[string]any

var cases = []struct {
	name string
	run  func(context.Context) object
}{
	{"subprotocol", subprotocol},
	{"foreign-subprotocol", foreignSubprotocol},
	{"compression", compression},
	{"text", text},
	{"binary", binary},
	{"empty", empty},
	{"large", large},
	{"order", order},
	{"fragments", fragments},
	{"ping", ping},
	{"pinged", pinged},
	{"close-by-client", closeByClient},
	{"close-by-plugin", closeByPlugin},
	{"close-without-code", closeWithoutCode},
	{"too-large", tooLarge},
	{"origin", origin},
	{"rooms", rooms},
	{"drop", drop},
	{"exit", exit},
}

// base is the address of the gateway, without a path.
var base string

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: websocket-client ws://HOST:PORT")
	}
	base = os.Args[1]
	out := json.NewEncoder(os.Stdout)
	for _, c := range cases {
		log.SetPrefix(c.name + ": ")
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		saw := c.run(ctx)
		cancel()
		saw["case"] = c.name
		if err := out.Encode(saw); err != nil {
			log.Fatal(err)
		}
	}
}
