package session

import (
	"errors"
	"fmt"

	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Errors of a call that came too late or that the peer cannot serve.
var (
	ErrFinished      = errors.New("this phase was finished already")
	ErrClientGone    = errors.New("the client is gone")
	ErrDeadline      = errors.New("the time of this phase is used up")
	ErrShutdown      = errors.New("the plugin is being stopped")
	ErrNotNegotiated = errors.New("not negotiated: this host does not offer it")
	ErrStreaming     = errors.New("the response is streaming already")
	ErrClosed        = errors.New("the WebSocket is closed")
	errNoStreamHere  = errors.New("Stream() is for RequestFilter")
)

// HostError is an ERROR frame of the host.
type HostError struct {
	Code uint32
	Text string
}

func (e *HostError) Error() string { return fmt.Sprintf("host: %s (code %d)", e.Text, e.Code) }

// Is makes the codes that have a sentinel equal to it.
func (e *HostError) Is(target error) bool {
	switch e.Code {
	case wire.ErrorClientGone:
		return target == ErrClientGone
	case wire.ErrorNotNegotiated, wire.ErrorUnknownMethod:
		return target == ErrNotNegotiated
	case wire.ErrorLate, wire.ErrorClosed:
		return target == ErrFinished
	}
	return false
}

func notOpen(sid uint32) error { return fmt.Errorf("session %d not open", sid) }

func sendError(l *lane.Lane, f *lane.Frame, code uint32, text string) {
	f.Kind = wire.KindError
	l.Send(f, wire.AppendFault(nil, code, text), 0)
}
