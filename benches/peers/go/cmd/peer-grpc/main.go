// Command peer-grpc PATH serves the echo and the filter of proto/peers.proto over a Unix socket.
package main

import (
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc"

	"github.com/nylon-rs/nylon/benches/peers/go/internal/echo"
	"github.com/nylon-rs/nylon/benches/peers/go/internal/peersv1"
	"github.com/nylon-rs/nylon/benches/peers/go/internal/program"
)

func main() {
	program.EndWithInput()
	if err := serve(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "peer-grpc:", err)
		os.Exit(1)
	}
}

func serve(path string) error {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	server := grpc.NewServer(echo.ServerOptions()...)
	peersv1.RegisterEchoServer(server, echo.Server{})
	peersv1.RegisterFilterServer(server, filter{})
	fmt.Println("ready")
	return server.Serve(listener)
}
