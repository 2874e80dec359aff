package sdk

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/session"
	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// link is a mapped segment pair and its three bells.
type link struct {
	host, own            *shm.Segment
	hostBell, workerBell *lane.Eventfd
	rescue               *lane.Alarm
	doorbell             uint8
}

// attach checks a Hello, maps both segments, writes P's header and closes the descriptors.
func attach(hello *wire.Hello, fds []int) (*link, *wire.RefuseReason) {
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	if _, err := hello.Check(wire.Versions); err != nil {
		if reason, ok := err.(*wire.RefuseReason); ok {
			return nil, reason
		}
		return nil, &wire.RefuseReason{Code: wire.RefuseVersion, Message: err.Error()}
	}
	k := &link{doorbell: wire.DoorbellEventfd}
	if hello.SpinNs > 0 {
		k.doorbell = wire.DoorbellFutex // policy latency: both sides spin, and the sleeper is a thread
	}
	if err := k.open(hello, fds); err != nil {
		return nil, &wire.RefuseReason{Code: wire.RefuseSegment, Message: err.Error()}
	}
	return k, nil
}

func (k *link) open(hello *wire.Hello, fds []int) (err error) {
	if k.host, err = shm.Map(fds[fdHost], hello.Geometry, false); err != nil {
		return err
	}
	header, err := k.host.Header()
	if err != nil {
		return err
	}
	if header.Epoch != hello.Epoch {
		return fmt.Errorf("header: epoch %#x, not %#x", header.Epoch, hello.Epoch)
	}
	if k.own, err = shm.Map(fds[fdOwn], hello.Geometry, true); err != nil {
		return err
	}
	header.AbiMinor, header.Features = wire.AbiMinor, agreed(hello.Features) // P's own; the rest is H's
	k.own.WriteHeader(&header)
	if k.hostBell, err = lane.DupEventfd(fds[fdHostBell], "host bell"); err != nil {
		return err
	}
	if k.workerBell, err = lane.DupEventfd(fds[fdWorkerBell], "worker bell"); err != nil {
		return err
	}
	k.rescue, err = lane.DupAlarm(fds[fdRescue], "rescue bell")
	return err
}

// lanes opens every lane for w.
func (k *link) lanes(w *session.Worker, hello *wire.Hello) ([]*lane.Lane, error) {
	pool := &lane.Pool{}
	lanes := make([]*lane.Lane, hello.Geometry.Lanes)
	for i := range lanes {
		host := k.host.Lane(i)
		var parker lane.Parker = lane.NewFutexParker(host.Bell)
		if k.doorbell == wire.DoorbellEventfd {
			bell := k.workerBell
			if i > 0 { // one bell for all lanes: each leader parks on a duplicate of its own
				var err error
				if bell, err = k.workerBell.Dup(); err != nil {
					return nil, err
				}
			}
			parker = lane.NewNetParker(bell)
		}
		lanes[i] = lane.New(lane.Config{
			Host: host, Own: k.own.Lane(i), SpinNs: k.host.U32(wire.HeaderSpinNsPeer),
			HostBell: k.hostBell.Ring, Parker: parker, Space: lane.Futex{},
			Pool: pool, Sink: w.Sink(), Fault: w.Fault, WebSocket: w.Features&wire.FeatureWebsocket != 0,
		})
	}
	return lanes, nil
}

// start puts a leader on every lane, and one goroutine on the rescue bell.
func (k *link) start(lanes []*lane.Lane) {
	if n := procs(len(lanes)); n != runtime.GOMAXPROCS(0) { // stops the world
		runtime.GOMAXPROCS(n)
	}
	for _, l := range lanes {
		l.Start()
	}
	go k.standby(lanes)
}

// standby waits for the rescue bell: a handler holds a lane without having said that it would wait.
func (k *link) standby(lanes []*lane.Lane) {
	for k.rescue.Wait() == nil {
		for _, l := range lanes {
			l.Rescue()
		}
		// A new leader stands in line behind this goroutine, which is about to keep its processor in a system call.
		runtime.Gosched()
	}
}
