package main

import (
	"context"
	"errors"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// rolesEntry asks somebody else and gives its verdict when the answer is there, from another goroutine.
func rolesEntry(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		go func() {
			role, err := lookup(p.Context(), p.Request().Params()["user"])
			if err != nil {
				p.Response().SetStatus(sdk.StatusForbidden)
				p.Response().BodyText("nobody knows you\n")
				p.End()
				return
			}
			p.SetRequestHeader("x-role", role)
			p.Next()
		}()
	})
}

// lookup stands for a database: it is slow, and gives up when nobody waits any more.
var lookup = func(ctx context.Context, user string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if role, ok := roles[user]; ok {
		return role, nil
	}
	return "", errors.New("no such user")
}
