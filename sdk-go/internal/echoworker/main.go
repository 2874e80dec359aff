//go:build linux

// Command echoworker is the other end of the latency benches (benches/README.md). Started by a host it is an ordinary
// plugin with one entry; as `echoworker lane busy|parked` it answers every frame of one lane with the same payload.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "lane" {
		if err := echo(os.Args[2] == "busy"); err != nil {
			fmt.Fprintln(os.Stderr, "echoworker:", err)
			os.Exit(1)
		}
		return
	}
	sdk.NewNylonPlugin().AddPhaseHandler("bench", bench)
	sdk.Serve()
}

// bench reads three fields, sets one header and goes on.
func bench(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		r := p.Request()
		if r.Method() != "GET" || r.Path() != "/bench" {
			p.Response().SetStatus(sdk.StatusBadRequest)
			p.End()
			return
		}
		p.Response().SetHeader("x-bench", r.Header("x-nonce"))
		p.Next()
	})
}

// Descriptors of a lane, as the bench leaves them.
const (
	fdHost = 3 + iota
	fdOwn
	fdHostBell
	fdBell
)

// echo serves lane 0 until standard input ends.
func echo(busy bool) error {
	host, err := shm.Map(fdHost, shm.DefaultGeometry(), false)
	if err != nil {
		return err
	}
	header, err := host.Header()
	if err != nil {
		return err
	}
	own, err := shm.Map(fdOwn, shm.DefaultGeometry(), true)
	if err != nil {
		return err
	}
	own.WriteHeader(&header)
	hostBell, err := lane.DupEventfd(fdHostBell, "host bell")
	if err != nil {
		return err
	}
	bell, err := lane.DupEventfd(fdBell, "worker bell")
	if err != nil {
		return err
	}
	var parker lane.Parker = lane.NewNetParker(bell)
	if busy {
		parker = lane.NewFutexParker(host.Lane(0).Bell)
	}
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1) // the leader has one to itself, as in sdk.Serve
	lane.New(lane.Config{
		Host: host.Lane(0), Own: own.Lane(0), SpinNs: host.U32(wire.HeaderSpinNsPeer),
		HostBell: hostBell.Ring, Parker: parker, Space: lane.Futex{}, Pool: &lane.Pool{}, Sink: sink{},
		Fault: func(err error) { fmt.Fprintln(os.Stderr, "echoworker:", err); os.Exit(70) },
	}).Start()
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// sink answers on the leader, with nothing in between.
type sink struct{}

// sevens is what a bench's payload is made of, after the number in its first 8 bytes.
var sevens = bytes.Repeat([]byte{7}, 64<<10)

// Frame implements lane.Sink. It looks at every byte, as the peers of the lane do.
func (sink) Frame(l *lane.Lane, f *lane.Frame) (lane.Job, *lane.Class) {
	if n := len(f.Payload); n < 8 || n > len(sevens) || !bytes.Equal(f.Payload[8:], sevens[8:n]) {
		fmt.Fprintf(os.Stderr, "echoworker: %d bytes are not what was sent\n", n)
		os.Exit(1)
	}
	var reply lane.Frame
	reply.Kind, reply.Method = wire.KindReply, wire.MethodNext
	reply.Phase, reply.Sid, reply.CallIdx, reply.CallGen = f.Phase, f.Sid, f.CallIdx, f.CallGen
	l.Send(&reply, f.Payload, 0)
	return nil, nil
}
