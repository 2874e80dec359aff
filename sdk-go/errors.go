package sdk

import "github.com/nylon-rs/nylon/sdk-go/internal/session"

// Errors of a handler's calls, by when they occur.
var (
	// ErrFinished: the verdict was given already.
	ErrFinished = session.ErrFinished
	// ErrClientGone: the client left.
	ErrClientGone = session.ErrClientGone
	// ErrDeadline: the time of this phase is used up.
	ErrDeadline = session.ErrDeadline
	// ErrNotNegotiated: this gateway does not offer what was asked for.
	ErrNotNegotiated = session.ErrNotNegotiated
	// ErrStreaming: the response is streaming already.
	ErrStreaming = session.ErrStreaming
	// ErrClosed: the WebSocket is closed, or is being closed.
	ErrClosed = session.ErrClosed
)
