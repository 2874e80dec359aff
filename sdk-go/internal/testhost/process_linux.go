package testhost

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Process is a host whose worker is a real process.
type Process struct {
	*Host
	Cmd *exec.Cmd
	Ok  *wire.HelloOk

	control *os.File
	closers []func()
}

// Refused is the error of a worker that refused.
type Refused struct{ wire.Refuse }

func (r *Refused) Error() string { return r.Message }

// Spawn starts cmd as a worker, shakes hands and pumps. change may alter the Hello before it is sent.
func Spawn(cmd *exec.Cmd, opt Options, change func(*wire.Hello)) (*Process, error) {
	fill(&opt)
	p := &Process{Cmd: cmd}
	ok := false
	defer func() {
		if !ok {
			p.release()
		}
	}()
	hfd, h, err := p.segment("nylon-h", opt.Geometry, unix.F_SEAL_FUTURE_WRITE)
	if err != nil {
		return nil, err
	}
	pfd, w, err := p.segment("nylon-p", opt.Geometry, 0)
	if err != nil {
		return nil, err
	}
	fds := []int{hfd, pfd}
	var bells [3]*lane.Eventfd
	for i, name := range []string{"host bell", "worker bell", "rescue bell"} {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			return nil, err
		}
		if bells[i], err = lane.DupEventfd(fd, name); err != nil {
			return nil, err
		}
		fds = append(fds, fd)
		p.closers = append(p.closers, func() { _ = unix.Close(fd) }, bells[i].Close)
	}
	doorbell := wire.DoorbellFutex
	p.Host = New(opt, h, w, Bells{
		Worker: func(i int) {
			if doorbell == wire.DoorbellEventfd {
				bells[1].Ring()
			} else {
				lane.Futex{}.Wake(h.Lane(i).Bell)
			}
		},
		Rescue: bells[2].Ring, Space: lane.Futex{}, Own: lane.NewNetParker(bells[0]),
	})
	if change != nil {
		change(&p.Hello)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	p.control = os.NewFile(uintptr(pair[0]), "control")
	theirs := os.NewFile(uintptr(pair[1]), "worker's control")
	cmd.ExtraFiles = []*os.File{theirs} // fd 3
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	_ = theirs.Close()
	msg := wire.EncodeControl(&p.Hello)
	if len(msg) > wire.LimitHello {
		fd, err := unix.MemfdCreate("hello", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			return nil, err
		}
		defer unix.Close(fd)
		if _, err := unix.Pwrite(fd, msg, 0); err != nil {
			return nil, err
		}
		fds = append(fds, fd)
		msg = binary.LittleEndian.AppendUint64(nil, uint64(len(msg)))
	}
	if err := unix.Sendmsg(pair[0], msg, unix.UnixRights(fds...), nil, 0); err != nil {
		return nil, err
	}
	answer, err := p.Recv()
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	switch a := answer.(type) {
	case *wire.HelloOk:
		if _, err := a.Check(&p.Hello); err != nil {
			return nil, err
		}
		p.Ok = a
	case *wire.Refuse:
		return nil, &Refused{*a}
	default:
		return nil, fmt.Errorf("handshake: %T", answer)
	}
	header, err := w.Header()
	if err != nil {
		return nil, err
	}
	if header.Epoch != p.Hello.Epoch {
		return nil, errors.New("handshake: P has another epoch")
	}
	doorbell = p.Ok.Doorbell
	p.Start()
	ok = true
	return p, nil
}

// segment makes and maps one sealed memfd.
func (p *Process) segment(name string, g wire.Geometry, seals int) (int, *shm.Segment, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return 0, nil, err
	}
	p.closers = append(p.closers, func() { _ = unix.Close(fd) })
	if err := unix.Fallocate(fd, 0, 0, int64(g.SegmentLen())); err != nil {
		return 0, nil, err
	}
	s, err := shm.Map(fd, g, seals != 0) // H read-write, P read-only
	if err != nil {
		return 0, nil, err
	}
	seals |= unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return 0, nil, err
	}
	return fd, s, nil
}

// Recv waits up to 10 s for a control message.
func (p *Process) Recv() (wire.Control, error) {
	fd := int(p.control.Fd())
	tv := unix.NsecToTimeval(int64(10 * time.Second))
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	buf := make([]byte, wire.LimitControl)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	for err == unix.EINTR { // with a time limit the kernel does not restart it
		n, _, err = unix.Recvfrom(fd, buf, 0)
	}
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, errors.New("the worker closed its control socket")
	}
	return wire.DecodeControl(buf[:n])
}

// Shutdown asks the worker to stop and waits for its Bye and its exit.
func (p *Process) Shutdown() error {
	if _, err := p.control.Write(wire.EncodeControl(wire.Shutdown{GraceMs: 1000})); err != nil {
		return err
	}
	if m, err := p.Recv(); err != nil {
		return err
	} else if _, ok := m.(wire.Bye); !ok {
		return fmt.Errorf("%T instead of Bye", m)
	}
	return p.Cmd.Wait()
}

// Hangup closes the control socket, as a host does that dies.
func (p *Process) Hangup() { _ = p.control.Close() }

// Release closes the host's end.
func (p *Process) Release() {
	p.Host.Close()
	p.release()
}

func (p *Process) release() {
	if p.control != nil {
		_ = p.control.Close()
	}
	for _, c := range p.closers {
		c()
	}
}
