package session

import (
	"context"
	"time"

	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// phaseCtx is the context of an invocation. The host owns the deadline, so there is no timer here: Done closes when
// the host cancels. Deadline moves while the handler waits for the host.
type phaseCtx struct {
	context.Context
	cancel context.CancelCauseFunc
	inv    *Invocation
}

type invocationKey struct{}

// Of finds the invocation whose context, or a child of it, ctx is.
func Of(ctx context.Context) *Invocation {
	if ctx == nil {
		return nil
	}
	inv, _ := ctx.Value(invocationKey{}).(*Invocation)
	return inv
}

// Context is cancelled when the host cancels the invocation.
func (inv *Invocation) Context() context.Context {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if inv.ctx == nil {
		base, cancel := context.WithCancelCause(context.Background())
		inv.ctx = &phaseCtx{base, cancel, inv}
		if reason := inv.voided.Load(); reason != 0 {
			inv.ctx.end(reason)
		}
	}
	return inv.ctx
}

func (c *phaseCtx) end(reason uint32) {
	switch reason {
	case wire.CancelDeadline:
		c.cancel(context.DeadlineExceeded)
	case wire.CancelShutdown:
		c.cancel(ErrShutdown)
	default:
		c.cancel(ErrClientGone)
	}
}

// Deadline implements context.Context. A stream has none: it is past the phase's time.
func (c *phaseCtx) Deadline() (time.Time, bool) {
	inv := c.inv
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if inv.budget == 0 || inv.streamed {
		return time.Time{}, false
	}
	end := inv.arrived + time.Duration(inv.budget)*time.Millisecond
	if inv.traffic != nil {
		end += inv.traffic.waited
	}
	return lane.Time(end), true
}

// Err implements context.Context.
func (c *phaseCtx) Err() error {
	err := c.Context.Err()
	if err != nil && context.Cause(c.Context) == context.DeadlineExceeded {
		return context.DeadlineExceeded
	}
	return err
}

// Value implements context.Context.
func (c *phaseCtx) Value(key any) any {
	if key == (invocationKey{}) {
		return c.inv
	}
	return c.Context.Value(key)
}

// socketCtx is the context of a conversation. It belongs to the request that became it.
type socketCtx struct {
	context.Context
	cancel context.CancelCauseFunc
	inv    *Invocation
}

// Context is cancelled when the connection ends, or another worker has taken it over.
func (c *Conversation) Context() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx == nil {
		base, cancel := context.WithCancelCause(context.Background())
		c.ctx = &socketCtx{base, cancel, c.inv}
		if c.stage >= parting {
			c.cancel()
		}
	}
	return c.ctx
}

// cancel ends the context. The caller holds mu.
func (c *Conversation) cancel() {
	if c.ctx != nil {
		c.ctx.cancel(ErrClosed)
	}
}

// Value implements context.Context.
func (c *socketCtx) Value(key any) any {
	if key == (invocationKey{}) {
		return c.inv
	}
	return c.Context.Value(key)
}
