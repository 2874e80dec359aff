// Package program is the main function of a program that is its own client and server.
package program

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/nylon-rs/nylon/benches/peers/go/internal/client"
)

// Main runs `serve PATH` as the server, and nothing as the client of a server it starts.
func Main(serve func(path string) error, open func(path string) client.Open) {
	if err := run(serve, open); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
}

func run(serve func(path string) error, open func(path string) client.Open) error {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		EndWithInput()
		return serve(os.Args[2])
	}
	server, err := client.StartServer()
	if err != nil {
		return err
	}
	defer server.Stop()
	return client.Serve(server.Pid(), open(server.Path))
}

// EndWithInput ends this program when its standard input does, which is when its client is gone.
func EndWithInput() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
}
