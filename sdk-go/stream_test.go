package sdk_test

import (
	"context"
	"errors"
	"io"
	"testing"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

func TestStreamClientGone(t *testing.T) {
	watchdog(t)
	failed := make(chan error, 1)
	h := nylontest.New(t, filter(func(ctx *sdk.PhaseRequestFilter) {
		stream, err := ctx.Response().Stream()
		for err == nil {
			_, err = stream.Write(make([]byte, 1000))
		}
		if ctx.Context().Err() != context.Canceled || !errors.Is(context.Cause(ctx.Context()), sdk.ErrClientGone) {
			t.Errorf("context: %v, %v", ctx.Context().Err(), context.Cause(ctx.Context()))
		}
		failed <- err
	}))
	res := h.Request("filter", request{OnChunk: func([]byte) error { return io.ErrClosedPipe }})
	if err := <-failed; !errors.Is(err, sdk.ErrClientGone) {
		t.Fatal(err)
	}
	if !res.Cut {
		t.Fatalf("%+v", res)
	}
}

// A handler that panics after the response began cuts it off; it never looks complete.
func TestStreamPanicCutsOff(t *testing.T) {
	watchdog(t)
	h := nylontest.New(t, filter(func(ctx *sdk.PhaseRequestFilter) {
		stream, err := ctx.Response().Stream()
		if err != nil {
			t.Error(err)
		}
		_, _ = stream.Write([]byte("begun"))
		panic("in mid-stream")
	}))
	if res := h.Request("filter", request{}); !res.Cut || res.Status != 200 {
		t.Fatalf("%+v", res)
	}
}

// Outside a request filter Stream fails by itself: nothing is asked or left behind, and the handler goes on.
func TestStreamIsForRequestFilter(t *testing.T) {
	watchdog(t)
	none := func(res *sdk.Response) {
		if _, err := res.Stream(); err == nil || err.Error() != "Stream() is for RequestFilter" {
			t.Errorf("Stream: %v", err)
		}
		if res.Headers()["transfer-encoding"] != "" {
			t.Error("a header of the stream that is none")
		}
	}
	h := nylontest.New(t, func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("elsewhere", func(phase *sdk.PhaseHandler) {
			phase.ResponseFilter(func(ctx *sdk.PhaseResponseFilter) {
				none(ctx.Response())
				if sdk.RequestMethod(phase.SessionId, 2, sdk.NylonMethodSetResponseStreamHeader, nil) == nil {
					t.Error("streaming by name")
				}
				ctx.SetResponseHeader("x-after", "kept")
				ctx.Next()
			})
			phase.ResponseBodyFilter(func(ctx *sdk.PhaseResponseBodyFilter) { none(ctx.Response()); ctx.Next() })
			phase.Logging(func(ctx *sdk.PhaseLogging) { none(ctx.Response()); ctx.Next() })
		})
	})
	before := h.Stats()
	res := h.Request("elsewhere", request{Upstream: response{Body: []byte("up")}})
	if res.Headers.Get("x-after") != "kept" || string(res.Body) != "up" || len(res.Verdicts) != 4 {
		t.Fatalf("%+v", res)
	}
	if up := h.Stats().Up - before.Up; up != 4 {
		t.Errorf("%d frames for 4 verdicts", up)
	}
}

// A stream is past the time of its phase: what is dialled with its context must not fail for that.
func TestStreamHasNoDeadline(t *testing.T) {
	watchdog(t)
	h := nylontest.New(t, filter(func(ctx *sdk.PhaseRequestFilter) {
		if _, ok := ctx.Context().Deadline(); !ok {
			t.Error("no deadline before the stream")
		}
		stream, err := ctx.Response().Stream()
		if err != nil {
			t.Error(err)
			return
		}
		if d, ok := ctx.Context().Deadline(); ok {
			t.Error("a deadline in the stream: ", d)
		}
		_ = stream.End()
	}))
	if res := h.Request("filter", request{}); !res.Streamed || res.Cut {
		t.Fatalf("%+v", res)
	}
}
