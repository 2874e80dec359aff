package lane

import (
	"golang.org/x/sys/unix"

	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
)

// Shared futex: the word is in memory of two processes, so no FUTEX_PRIVATE_FLAG.
const (
	futexWait = 0
	futexWake = 1
)

// Futex is the kernel's futex on a shared word.
type Futex struct{}

// Wait sleeps while *addr is old. Spurious returns are fine, callers look again.
func (Futex) Wait(addr *uint32, old uint32) {
	// Syscall6, never RawSyscall6: the scheduler must know that this thread blocks, or a stop of the world hangs.
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, shm.Addr(addr), futexWait, uintptr(old), 0, 0, 0)
}

// Wake wakes one sleeper.
func (Futex) Wake(addr *uint32) {
	_, _, _ = unix.RawSyscall6(unix.SYS_FUTEX, shm.Addr(addr), futexWake, 1, 0, 0, 0)
}
