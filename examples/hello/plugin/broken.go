package main

import (
	"context"
	"errors"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// oops has a bug.
func oops(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		p.Response().SetHeader("x-oops", "never sent")
		name := p.GetPayload()["name"].(string) // there is no payload, and no such key
		p.Response().BodyText(name)
		p.End()
	})
}

// slow does too much; its context says when nobody waits any more.
func slow(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		ctx := p.Context()
		select {
		case <-time.After(3 * time.Second):
			p.Response().BodyText("done\n")
			p.End()
		case <-ctx.Done():
			late := errors.Is(ctx.Err(), context.DeadlineExceeded)
			sdk.Logger().WarnContext(ctx, "gave up", "late", late)
		}
	})
}
