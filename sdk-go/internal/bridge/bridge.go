// Package bridge lets a host in the same process start a plugin without the API package exporting how.
package bridge

import (
	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Link is what connects a worker to a host in the same process.
type Link struct {
	Host, Own *shm.Segment
	HostBell  func()
	Space     lane.SpaceWaiter
	Fault     func(error)
	Warn      func(msg string, kv ...any)
}

// Worker is a plugin that runs in this process.
type Worker struct {
	Lanes    []*lane.Lane
	Entries  []string
	Sessions func() int // open sessions
	Shutdown func()     // runs the plugin's shutdown hooks
	Stop     func()     // stops the lanes and waits for their goroutines
}

// Set by package sdk.
var (
	// New returns an empty *sdk.NylonPlugin.
	New func() any
	// Start initialises plugin and starts its lanes; parkers has one per lane.
	Start func(plugin any, hello *wire.Hello, link Link, parkers []lane.Parker) (*Worker, error)
)
