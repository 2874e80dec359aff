// Command peer-netrpc is net/rpc of the standard library over a Unix socket: gob, one connection, and calls that are
// open at once share it.
package main

import (
	"fmt"
	"net"
	"net/rpc"

	"github.com/nylon-rs/nylon/benches/peers/go/internal/client"
	"github.com/nylon-rs/nylon/benches/peers/go/internal/payload"
	"github.com/nylon-rs/nylon/benches/peers/go/internal/program"
)

// Echo is the service.
type Echo struct{}

// Call answers with what it was given.
func (Echo) Call(in []byte, out *[]byte) error {
	_, err := payload.Check(in)
	*out = in
	return err
}

func main() { program.Main(serve, open) }

func serve(path string) error {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	server := rpc.NewServer()
	if err := server.Register(Echo{}); err != nil {
		return err
	}
	fmt.Println("ready")
	server.Accept(listener)
	return nil
}

func open(path string) client.Open {
	var c *rpc.Client
	return func(size, callers int) ([]client.Call, func(), error) {
		if c == nil {
			conn, err := rpc.Dial("unix", path)
			if err != nil {
				return nil, nil, err
			}
			c = conn
		}
		calls := make([]client.Call, callers)
		for i := range calls {
			in, out := payload.Fresh(size), []byte(nil)
			calls[i] = func(number uint64) error {
				payload.Stamp(in, number)
				if err := c.Call("Echo.Call", in, &out); err != nil {
					return err
				}
				return payload.CheckAnswer(out, size, number)
			}
		}
		return calls, func() {}, nil
	}
}
