// Package echo is the gRPC service of an echo, for gRPC itself and for go-plugin.
package echo

import (
	"context"
	"runtime"

	"google.golang.org/grpc"

	"github.com/nylon-rs/nylon/benches/peers/go/internal/payload"
	"github.com/nylon-rs/nylon/benches/peers/go/internal/peersv1"
)

// Server answers with what it was given.
type Server struct {
	peersv1.UnimplementedEchoServer
}

// Call implements peersv1.EchoServer.
func (Server) Call(_ context.Context, in *peersv1.Payload) (*peersv1.Payload, error) {
	if _, err := payload.Check(in.GetData()); err != nil {
		return nil, err
	}
	return in, nil
}

// window holds the payloads of many calls; the default of 64 KiB is less than one of the bench.
const window = 16 << 20

// maxMessage has room for a payload and what is around it; the default of 4 MiB would do.
const maxMessage = payload.Max + 1<<10

// ServerOptions are for a server of many small and a few large messages on one connection.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.InitialWindowSize(window), grpc.InitialConnWindowSize(window),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.WriteBufferSize(128 << 10), grpc.ReadBufferSize(128 << 10),
		grpc.NumStreamWorkers(uint32(runtime.GOMAXPROCS(0))),
	}
}

// DialOptions are the same for a client.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithWriteBufferSize(128 << 10), grpc.WithReadBufferSize(128 << 10),
	}
}

// Call makes the call of a number with in, a payload of its own.
func Call(c peersv1.EchoClient, in *peersv1.Payload, number uint64) error {
	payload.Stamp(in.Data, number)
	out, err := c.Call(context.Background(), in)
	if err != nil {
		return err
	}
	return payload.CheckAnswer(out.GetData(), len(in.Data), number)
}
