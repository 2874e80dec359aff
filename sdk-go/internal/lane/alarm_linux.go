package lane

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Alarm is an inherited eventfd that a thread waits for in a system call. Go's poller will not do: while a handler
// computes, nobody may be there to ask it (RATIONALE.md).
type Alarm struct{ fd int }

// DupAlarm takes a duplicate of fd.
func DupAlarm(fd int, name string) (*Alarm, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("%s: dup: %w", name, err)
	}
	if err := unix.SetNonblock(own, true); err != nil {
		return nil, fmt.Errorf("%s: nonblock: %w", name, err)
	}
	return &Alarm{own}, nil
}

// Wait sleeps until the eventfd was rung, and takes all rings so far.
func (a *Alarm) Wait() error {
	fds := [1]unix.PollFd{{Fd: int32(a.fd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Ppoll(fds[:], nil, nil); err != nil && err != unix.EINTR {
			return err
		}
		var rings [8]byte
		if _, err := unix.Read(a.fd, rings[:]); err == nil {
			return nil
		} else if err != unix.EAGAIN && err != unix.EINTR {
			return err
		}
	}
}
