package sdk

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Option changes how Serve works.
type Option func(*options)

type options struct {
	plugin *NylonPlugin
}

// Serve attaches to the gateway that started this program and serves its requests. It does not return: it exits with 0
// when the gateway stops the plugin, at once when the gateway is gone, and with 2 when no gateway started it.
func Serve(opts ...Option) {
	o := options{plugin: NewNylonPlugin()}
	for _, opt := range opts {
		opt(&o)
	}
	os.Exit(serve(o))
}

// usage is what a plugin says that was started by hand.
func usage(why string) int {
	path, err := os.Executable()
	if err != nil {
		path = os.Args[0]
	}
	fmt.Fprintf(os.Stderr, `%s is a plugin of the Nylon gateway, not a program to run by itself (%s).
Name it in the gateway's configuration, and run the gateway:

plugins:
  - name: %s
    type: process
    file: %s

nylon run -c nylon.yaml
`, filepath.Base(path), why, filepath.Base(path), path)
	return 2
}

// procs is the GOMAXPROCS of a worker: lanes' leaders must not starve other goroutines where few CPUs are used.
func procs(lanes int) int {
	n := runtime.GOMAXPROCS(0)
	if n < 4 {
		return n + lanes
	}
	return n
}

// accept is the answer to a Hello that was attached to.
func accept(hello *wire.Hello, entries []string, doorbell uint8) *wire.HelloOk {
	return &wire.HelloOk{
		Versions: wire.Versions, LayoutHash: wire.LayoutHash, Epoch: hello.Epoch,
		Features: agreed(hello.Features), CPUs: uint32(procs(int(hello.Geometry.Lanes))),
		Doorbell: doorbell, SDK: Version, Entries: entries,
	}
}
