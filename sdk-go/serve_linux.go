package sdk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// control is the control socket to the host.
type control struct {
	file *os.File
	conn syscall.RawConn
	buf  []byte
}

// underGateway says whether a gateway started this program: descriptor 3 is its control socket.
var underGateway = sync.OnceValue(func() bool {
	kind, err := unix.GetsockoptInt(int(wire.FdControl), unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && kind == unix.SOCK_SEQPACKET
})

// openControl takes the inherited socket, if it is one.
func openControl() (*control, error) {
	fd := int(wire.FdControl)
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_SEQPACKET {
		return nil, errors.New("descriptor 3 is not the gateway's control socket")
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "control")
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &control{file: f, conn: conn, buf: make([]byte, wire.LimitControl)}, nil
}

// recv waits for one message and its descriptors, in the runtime's poller. io.EOF: the host is gone.
func (c *control) recv() (msg []byte, fds []int, err error) {
	oob := make([]byte, unix.CmsgSpace(8*4))
	var n, oobn, flags int
	readErr := c.conn.Read(func(fd uintptr) bool {
		for {
			n, oobn, flags, _, err = unix.Recvmsg(int(fd), c.buf, oob, unix.MSG_CMSG_CLOEXEC)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if err = errors.Join(err, readErr); err != nil {
		return nil, nil, err
	}
	if n == 0 {
		return nil, nil, io.EOF
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return nil, nil, errors.New("control message too long")
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, nil, err
	}
	for i := range messages {
		got, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return nil, nil, err
		}
		fds = append(fds, got...)
	}
	return append([]byte(nil), c.buf[:n]...), fds, nil
}

func (c *control) send(m wire.Control) error {
	msg := wire.EncodeControl(m)
	var err error
	writeErr := c.conn.Write(func(fd uintptr) bool {
		for {
			err = unix.Sendto(int(fd), msg, unix.MSG_NOSIGNAL, nil)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	return errors.Join(err, writeErr)
}

// refuse says why the worker does not serve; the exit code is 1.
func (c *control) refuse(reason *wire.RefuseReason) int {
	fmt.Fprintln(os.Stderr, "nylon: refused to start:", reason.Message)
	if err := c.send(&wire.Refuse{Code: reason.Code, Versions: wire.Versions, Message: reason.Message}); err != nil {
		fmt.Fprintln(os.Stderr, "nylon: refuse:", err)
	}
	return 1
}

// The descriptors of a Hello, in order (SPEC.md 8.2).
const (
	fdHost = iota
	fdOwn
	fdHostBell
	fdWorkerBell
	fdRescue
	fdHello // only with a Hello over 64 KiB
)

// readHello receives Hello and its descriptors.
func (c *control) readHello() (*wire.Hello, []int, error) {
	msg, fds, err := c.recv()
	if err != nil {
		return nil, nil, err
	}
	if len(fds) == fdHello+1 && len(msg) == 8 {
		size := binary.LittleEndian.Uint64(msg)
		if size > 1<<30 {
			return nil, nil, fmt.Errorf("hello of %d bytes", size)
		}
		msg = make([]byte, size)
		if n, err := unix.Pread(fds[fdHello], msg, 0); err != nil || uint64(n) != size {
			return nil, nil, fmt.Errorf("hello of %d bytes: read %d: %w", size, n, err)
		}
		_ = unix.Close(fds[fdHello])
		fds = fds[:fdHello]
	}
	if len(fds) != fdHello {
		return nil, nil, fmt.Errorf("hello with %d descriptors", len(fds))
	}
	m, err := wire.DecodeControl(msg)
	if err != nil {
		return nil, nil, err
	}
	hello, ok := m.(*wire.Hello)
	if !ok {
		return nil, nil, fmt.Errorf("expected a hello, not %T", m)
	}
	return hello, fds, nil
}

// serve is the whole life of a worker; it returns its exit code.
func serve(o options) int {
	c, err := openControl()
	if err != nil {
		return usage(err.Error())
	}
	// Ctrl-C in a terminal reaches the whole process group; the gateway decides when a plugin stops.
	signal.Ignore(os.Interrupt)
	hello, fds, err := c.readHello()
	if err != nil {
		fmt.Fprintln(os.Stderr, "nylon: handshake:", err)
		return 1
	}
	link, reason := attach(hello, fds)
	if reason != nil {
		return c.refuse(reason)
	}
	if err := o.plugin.initialize(hello.Config); err != nil {
		code := wire.RefuseInit
		if isConfigError(err) {
			code = wire.RefuseConfig
		}
		return c.refuse(&wire.RefuseReason{Code: code, Message: err.Error()})
	}
	w := newWorker(o.plugin, hello) // an initialiser may have added entries; from here on they are final
	lanes, err := link.lanes(w, hello)
	if err != nil {
		return c.refuse(&wire.RefuseReason{Code: wire.RefuseSegment, Message: err.Error()})
	}
	if err := c.send(accept(hello, entryNames(w), link.doorbell)); err != nil {
		fmt.Fprintln(os.Stderr, "nylon: handshake:", err)
		return 1
	}
	link.start(lanes) // while the host wakes up: what it sends before waits in the rings
	return c.run(o.plugin)
}

// run is the control goroutine: it waits for Shutdown, or for the host to be gone.
func (c *control) run(p *NylonPlugin) int {
	for {
		msg, _, err := c.recv()
		if err != nil {
			return 0 // the host is gone
		}
		m, err := wire.DecodeControl(msg)
		if err != nil {
			fmt.Fprintln(os.Stderr, "nylon: the host broke the protocol:", err)
			return exitViolation
		}
		if _, ok := m.(wire.Shutdown); ok {
			p.shutdown()
			_ = c.send(wire.Bye{})
			return 0
		}
	}
}
