//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Descriptors of a lane, as the bench leaves them.
const (
	fdHost = 3 + iota
	fdOwn
	fdHostBell
	fdBell
)

// echo serves lane 0 until standard input ends.
func echo(futex bool, answer *sink) error {
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
	if futex {
		parker = lane.NewFutexParker(host.Lane(0).Bell)
	}
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1) // the leader has one to itself, as in sdk.Serve
	lane.New(lane.Config{
		Host: host.Lane(0), Own: own.Lane(0), SpinNs: host.U32(wire.HeaderSpinNsPeer),
		HostBell: hostBell.Ring, Parker: parker, Space: lane.Futex{}, Pool: &lane.Pool{}, Sink: answer,
		Fault: func(err error) { fail(err.Error()) },
	}).Start()
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// sink answers on the leader, with nothing in between but a look at the payload: at the numbers at its ends, or at all
// of it.
type sink struct {
	expected []byte               // what a payload of a peer is made of, after the number in its first 8 bytes; nil: not looked at
	body     [wire.LimitData]byte // where every payload is copied to, as it is sent before the next comes
}

// Place implements lane.Placer.
func (s *sink) Place(f *lane.Frame) []byte { return s.body[:f.Len] }

// Frame implements lane.Sink.
func (s *sink) Frame(l *lane.Lane, f *lane.Frame) (lane.Job, *lane.Class) {
	if s.expected != nil {
		if n := len(f.Payload); n < 8 || !bytes.Equal(f.Payload[8:], s.expected[8:n]) {
			fail(fmt.Sprintf("%d bytes are not what was sent", n))
		}
	} else if _, same := number(f.Payload); !same {
		fail("a payload with two numbers")
	}
	var reply lane.Frame
	reply.Kind, reply.Method = wire.KindReply, wire.MethodNext
	reply.Phase, reply.Sid, reply.CallIdx, reply.CallGen = f.Phase, f.Sid, f.CallIdx, f.CallGen
	l.Send(&reply, f.Payload, 0)
	return nil, nil
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, "echoworker:", why)
	os.Exit(70)
}
