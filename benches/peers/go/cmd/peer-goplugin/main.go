// Command peer-goplugin is hashicorp/go-plugin: its client starts the same program as a plugin, and speaks gRPC with it
// over the Unix socket go-plugin makes.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/nylon-rs/nylon/benches/peers/go/internal/client"
	"github.com/nylon-rs/nylon/benches/peers/go/internal/echo"
	"github.com/nylon-rs/nylon/benches/peers/go/internal/payload"
	"github.com/nylon-rs/nylon/benches/peers/go/internal/peersv1"
)

var handshake = plugin.HandshakeConfig{
	ProtocolVersion: 1, MagicCookieKey: "NYLON_PEERS", MagicCookieValue: "echo",
}

var plugins = plugin.PluginSet{"echo": &echoPlugin{}}

// echoPlugin is what both sides know of the plugin.
type echoPlugin struct {
	plugin.NetRPCUnsupportedPlugin
}

// GRPCServer implements plugin.GRPCPlugin.
func (*echoPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	peersv1.RegisterEchoServer(s, echo.Server{})
	return nil
}

// GRPCClient implements plugin.GRPCPlugin.
func (*echoPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return peersv1.NewEchoClient(c), nil
}

func main() {
	if os.Getenv(handshake.MagicCookieKey) != "" {
		plugin.Serve(&plugin.ServeConfig{
			HandshakeConfig: handshake, Plugins: plugins, Logger: hclog.NewNullLogger(),
			GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
				return grpc.NewServer(append(options, echo.ServerOptions()...)...)
			},
		})
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "peer-goplugin:", err)
		os.Exit(1)
	}
}

func run() error {
	itself, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := client.ServerCommand(itself)
	host := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: handshake, Plugins: plugins, Cmd: cmd, Logger: hclog.NewNullLogger(),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, GRPCDialOptions: echo.DialOptions(),
	})
	defer host.Kill()
	protocol, err := host.Client()
	if err != nil {
		return err
	}
	dispensed, err := protocol.Dispense("echo")
	if err != nil {
		return err
	}
	c, ok := dispensed.(peersv1.EchoClient)
	if !ok {
		return errors.New("the plugin is something else")
	}
	return client.Serve(cmd.Process.Pid, func(size, callers int) ([]client.Call, func(), error) {
		calls := make([]client.Call, callers)
		for i := range calls {
			in := &peersv1.Payload{Data: payload.Fresh(size)}
			calls[i] = func(number uint64) error { return echo.Call(c, in, number) }
		}
		return calls, func() {}, nil
	})
}
