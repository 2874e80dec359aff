// Command otherabi is a worker of the next major: it reads the Hello and refuses, naming its own range (SPEC.md 1.1, 8.4).
//
// Its module path lies below the SDK's so that it may use the generated control messages.
package main

import (
	"os"

	flatbuffers "github.com/google/flatbuffers/go"
	"golang.org/x/sys/unix"

	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire/fb"
)

func main() {
	buffer := make([]byte, 1<<17)
	rights := make([]byte, 256)
	if _, _, _, _, err := unix.Recvmsg(int(wire.FdControl), buffer, rights, unix.MSG_CMSG_CLOEXEC); err != nil {
		os.Exit(1)
	}
	b := flatbuffers.NewBuilder(256)
	message := b.CreateString("this worker speaks 2.0-2.3")
	fb.RefuseStart(b)
	fb.RefuseAddCode(b, uint16(wire.RefuseVersion))
	fb.RefuseAddAbiMajor(b, wire.AbiMajor+1)
	fb.RefuseAddAbiMinorMin(b, 0)
	fb.RefuseAddAbiMinor(b, 3)
	fb.RefuseAddMessage(b, message)
	body := fb.RefuseEnd(b)
	fb.ControlStart(b)
	fb.ControlAddBodyType(b, fb.BodyRefuse)
	fb.ControlAddBody(b, body)
	b.Finish(fb.ControlEnd(b))
	_, _ = unix.Write(int(wire.FdControl), b.FinishedBytes())
	os.Exit(1)
}
