package sdk_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

// B01, S5: a handler that never finishes is given up, nothing of it is applied, and the author is told once.
func TestBug_b01_NeverFinishes(t *testing.T) {
	watchdog(t)
	var held *sdk.PhaseRequestFilter
	h := nylontest.New(t, filter(func(ctx *sdk.PhaseRequestFilter) {
		ctx.Response().SetHeader("x-half", "done")
		held = ctx
	}), nylontest.Timeout(30*time.Millisecond))
	res := h.Request("filter", request{})
	if res.Status != 504 || res.Headers.Get("x-half") != "" {
		t.Fatalf("%+v", res)
	}
	held.Next() // too late: dropped
	wait(t, "the final frame", func() bool { return h.Stats().Late == 1 })
}

// B02: only the first verdict of a phase counts.
func TestBug_b02_DuplicateVerdicts(t *testing.T) {
	watchdog(t)
	h := nylontest.New(t, func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("twice", func(phase *sdk.PhaseHandler) {
			phase.RequestFilter(func(ctx *sdk.PhaseRequestFilter) {
				ctx.Next()
				ctx.Next()
				ctx.End()
				ctx.Response().SetStatus(500)
			})
			phase.ResponseFilter(func(ctx *sdk.PhaseResponseFilter) {
				ctx.SetResponseHeader("x-response", "ran")
				ctx.Next()
			})
		})
	})
	res := h.Request("twice", request{Upstream: response{Body: []byte("up")}})
	if res.Status != 200 || string(res.Body) != "up" || res.Headers.Get("x-response") != "ran" || len(res.Verdicts) != 2 {
		t.Fatalf("%+v", res)
	}
}

// B02 by name: a verdict that names its phase does not reach the handler of another one.
func TestBug_b02_LateVerdictByName(t *testing.T) {
	watchdog(t)
	h := nylontest.New(t, func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("late", func(phase *sdk.PhaseHandler) {
			late := func(method sdk.NylonMethods) {
				if err := sdk.RequestMethod(phase.SessionId, 1, method, nil); err != nil {
					t.Errorf("%s: %v", method, err)
				}
			}
			phase.RequestFilter(func(ctx *sdk.PhaseRequestFilter) { late(sdk.NylonMethodNext) })
			phase.ResponseFilter(func(ctx *sdk.PhaseResponseFilter) {
				for _, method := range []sdk.NylonMethods{
					sdk.NylonMethodNext, sdk.NylonMethodEnd, sdk.NylonMethodSetResponseStreamEnd,
				} {
					late(method)
				}
				ctx.SetResponseHeader("x-after", "kept")
				if err := sdk.RequestMethod(phase.SessionId, 2, sdk.NylonMethodEnd, nil); err != nil {
					t.Error(err)
				}
			})
			phase.ResponseBodyFilter(func(ctx *sdk.PhaseResponseBodyFilter) {
				late(sdk.NylonMethodEnd)
				ctx.Response().BodyRaw([]byte("filtered"))
				ctx.Next()
			})
		})
	})
	res := h.Request("late", request{Upstream: response{Body: []byte("up")}})
	if res.Headers.Get("x-after") != "kept" || string(res.Body) != "filtered" || res.Verdicts[1].Verdict != "End" {
		t.Fatalf("%+v", res)
	}
}

// B02 without a phase: while a handler that gave its verdict still runs, a second one does not reach the next phase,
// which waits for its turn.
func TestBug_b02_WaitingPhaseIsNotCurrent(t *testing.T) {
	watchdog(t)
	var down func() uint64
	h := nylontest.New(t, func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("busy", func(phase *sdk.PhaseHandler) {
			phase.RequestFilter(func(ctx *sdk.PhaseRequestFilter) {
				before := down()
				ctx.Next()
				wait(t, "the next phase to be sent", func() bool { return down() > before })
				time.Sleep(5 * time.Millisecond) // to be taken as well
				if err := sdk.RequestMethod(phase.SessionId, 0, sdk.NylonMethodNext, nil); err != nil {
					t.Error(err)
				}
			})
			phase.ResponseFilter(func(ctx *sdk.PhaseResponseFilter) {
				ctx.SetResponseHeader("x-response", "ran")
				ctx.Next()
			})
		})
	})
	down = func() uint64 { return h.Stats().Down }
	if res := h.Request("busy", request{}); res.Headers.Get("x-response") != "ran" {
		t.Fatalf("%+v", res)
	}
}

// B03: a stream's writer waits for a slow client, and fails once it is gone.
func TestBug_b03_StreamBackPressure(t *testing.T) {
	watchdog(t)
	const window = 64 << 10
	var written, read atomic.Int64
	h := nylontest.New(t, filter(func(ctx *sdk.PhaseRequestFilter) {
		ctx.Response().SetStatus(201)
		stream, err := ctx.Response().Stream()
		if err != nil {
			t.Error(err)
			return
		}
		piece := bytes.Repeat([]byte("x"), 10_000)
		for range 100 {
			if n, err := stream.Write(piece); err != nil || n != len(piece) {
				t.Errorf("wrote %d: %v", n, err)
				return
			}
			if ahead := written.Add(int64(len(piece))) - read.Load(); ahead > window+2*int64(len(piece)) {
				t.Errorf("%d bytes ahead of the client", ahead)
			}
		}
		if err := stream.End(); err != nil {
			t.Error(err)
		}
		if _, err := stream.Write(piece); err == nil {
			t.Error("written after the end")
		}
	}), nylontest.Window(window))
	res := h.Request("filter", request{OnChunk: func(p []byte) error {
		time.Sleep(100 * time.Microsecond)
		read.Add(int64(len(p)))
		return nil
	}})
	if res.Status != 201 || !res.Streamed || len(res.Body) != 1_000_000 || res.Cut || res.Verdicts[0].Verdict != "StreamEnd" {
		t.Fatalf("%d %v %d bytes %+v", res.Status, res.Headers, len(res.Body), res.Verdicts)
	}
}

// B04: a missing header is "".
func TestBug_b04_MissingHeader(t *testing.T) {
	watchdog(t)
	h := nylontest.New(t, filter(func(ctx *sdk.PhaseRequestFilter) {
		r := ctx.Request()
		if r.Header("x-api-key") != "" || r.Headers().Get("x-api-key") != "" || r.Headers().Values("x-api-key") != nil {
			t.Error("a missing header has a value")
		}
		if r.Header("X-Here") != "yes" || r.Headers().Get("x-HERE") != "yes" {
			t.Error("names have a case")
		}
		if got := fmt.Sprint(r.Headers().Values("X-Two"), r.Headers().GetAll()["x-two"], r.Header("x-two")); got != "[a b]bb" {
			t.Error(got)
		}
		ctx.Next()
	}))
	h.Request("filter", request{Headers: http.Header{"X-Here": {"yes"}, "X-Two": {"a", "b"}}})
}

// B05: parallel getters and host calls of one session never swap their answers.
func TestBug_b05_ParallelGetters(t *testing.T) {
	watchdog(t)
	h := nylontest.New(t, filter(func(ctx *sdk.PhaseRequestFilter) {
		var wg sync.WaitGroup
		for range 16 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for range 20 {
					r := ctx.Request()
					if r.Path() != "/path" || r.Query() != "q=1" || r.Header("x") != "y" || string(r.RawBody()) != "the body" ||
						ctx.GetPayload()["big"] != strings.Repeat("p", 20_000) {
						t.Error("answers mixed up")
					}
				}
			}()
		}
		wg.Wait()
		ctx.Next()
	}))
	h.Request("filter", request{
		Path: "/path", Query: "q=1", Headers: http.Header{"X": {"y"}}, Body: []byte("the body"),
		Payload: map[string]any{"big": strings.Repeat("p", 20_000)},
	})
}

// B06: bodies over 64 KiB, repeated reads, and the bound.
func TestBug_b06_RawBody(t *testing.T) {
	watchdog(t)
	body := bytes.Repeat([]byte("0123456789"), 100_000)
	h := nylontest.New(t, func(p *sdk.NylonPlugin) {
		filter(func(ctx *sdk.PhaseRequestFilter) {
			for range 3 {
				if !bytes.Equal(ctx.Request().RawBody(), body) {
					t.Error("another body")
				}
			}
			read, err := io.ReadAll(ctx.Request().Body())
			if err != nil || !bytes.Equal(read, body) {
				t.Errorf("Body after RawBody: %d bytes, %v", len(read), err)
			}
			ctx.Next()
		})(p)
		p.AddPhaseHandler("bounded", func(phase *sdk.PhaseHandler) {
			phase.RequestFilter(func(ctx *sdk.PhaseRequestFilter) {
				if ctx.Request().RawBody() != nil {
					t.Error("a body over the bound")
				}
				ctx.Next() // the handler cannot know; the client gets 413 all the same
			})
		})
	}, nylontest.MaxRawBody(len(body)))
	res := h.Request("filter", request{Method: "POST", Body: body})
	if res.Status != 200 || !bytes.Equal(res.Upstream.Body, body) {
		t.Fatalf("%d", res.Status)
	}
	res = h.Request("bounded", request{Method: "POST", Body: append(body, 'x')})
	if res.Status != 413 || res.Upstream != nil {
		t.Fatalf("%d", res.Status)
	}
}

// B07, and the order of operations: SetHeader replaces, AddHeader keeps, Remove then Set sets.
func TestBug_b07_HeaderOperations(t *testing.T) {
	watchdog(t)
	h := nylontest.New(t, func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("ops", func(phase *sdk.PhaseHandler) {
			phase.ResponseFilter(func(ctx *sdk.PhaseResponseFilter) {
				res := ctx.Response()
				res.SetHeader("Server", "nylon")
				res.RemoveHeader("x-order")
				res.SetHeader("X-Order", "set last")
				res.SetHeader("x-gone", "1")
				res.RemoveHeader("X-Gone")
				res.AddHeader("Set-Cookie", "a=1")
				res.AddHeader("Set-Cookie", "b=2")
				if got := res.Headers(); got["server"] != "nylon" || got["x-order"] != "set last" || got["content-type"] != "text/x" ||
					got["set-cookie"] != "b=2" || got["x-gone"] != "" {
					t.Errorf("B09: Headers() is %v", got)
				}
				ctx.Next()
			})
		})
	})
	res := h.Request("ops", request{Upstream: response{Headers: http.Header{
		"Server": {"up"}, "X-Order": {"1"}, "Content-Type": {"text/x"}, "Set-Cookie": {"z=0"},
	}}})
	want := http.Header{
		"Server": {"nylon"}, "X-Order": {"set last"}, "Content-Type": {"text/x"}, "Set-Cookie": {"z=0", "a=1", "b=2"},
	}
	if fmt.Sprint(res.Headers) != fmt.Sprint(want) {
		t.Fatalf("%v", res.Headers)
	}
}

// B08: the upstream's status stays, and Status() says it.
func TestBug_b08_Status(t *testing.T) {
	watchdog(t)
	h := nylontest.New(t, func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("status", func(phase *sdk.PhaseHandler) {
			phase.ResponseFilter(func(ctx *sdk.PhaseResponseFilter) {
				if got := ctx.Response().Status(); got != 404 {
					t.Errorf("status %d", got)
				}
				if ctx.Request().Path() == "/change" {
					ctx.SetResponseStatus(410)
					if got := ctx.Response().Status(); got != 410 {
						t.Errorf("own status %d", got)
					}
				}
				ctx.Next()
			})
		})
	})
	for path, want := range map[string]int{"/": 404, "/change": 410} {
		if res := h.Request("status", request{Path: path, Upstream: response{Status: 404}}); res.Status != want {
			t.Fatalf("%s: %d", path, res.Status)
		}
	}
}

// B11: a body of zero bytes blanks the upstream's. B12: a body filter sees each piece once.
func TestBug_b11_b12_Bodies(t *testing.T) {
	watchdog(t)
	var pieces []string
	h := nylontest.New(t, func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("blank", func(phase *sdk.PhaseHandler) {
			phase.ResponseFilter(func(ctx *sdk.PhaseResponseFilter) {
				ctx.Response().BodyRaw(nil)
				ctx.Next()
			})
		})
		p.AddPhaseHandler("mark", func(phase *sdk.PhaseHandler) {
			phase.ResponseBodyFilter(func(ctx *sdk.PhaseResponseBodyFilter) {
				piece := string(ctx.Response().ReadBody())
				pieces = append(pieces, fmt.Sprint(piece, ctx.IsLast()))
				ctx.Response().BodyRaw([]byte(piece + "|"))
				if got := string(ctx.Response().ReadBody()); got != piece+"|" {
					t.Errorf("own change unseen: %q", got)
				}
				ctx.Next()
			})
		})
	})
	if res := h.Request("blank", request{Upstream: response{Body: []byte("secret")}}); len(res.Body) != 0 {
		t.Fatalf("%q", res.Body)
	}
	up := response{Pieces: [][]byte{[]byte("one "), []byte("two "), []byte("three")}}
	if res := h.Request("mark", request{Upstream: up}); string(res.Body) != "one |two |three|" {
		t.Fatalf("%q", res.Body)
	}
	if fmt.Sprint(pieces) != "[one false two false threetrue]" && fmt.Sprint(pieces) != "[one  false two  false three true]" {
		t.Fatal(pieces)
	}
}

// B13: what Logging may ask.
func TestBug_b13_Logging(t *testing.T) {
	watchdog(t)
	var line string
	h := nylontest.New(t, func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("log", func(phase *sdk.PhaseHandler) {
			phase.Logging(func(ctx *sdk.PhaseLogging) {
				res := ctx.Response()
				line = fmt.Sprint(res.Status(), res.Bytes(), res.Duration() >= 0, res.Error())
				ctx.Next()
			})
		})
	})
	h.Request("log", request{Upstream: response{Body: []byte("12345")}})
	if line != "200 5 true" {
		t.Fatal(line)
	}
	h.Request("log", request{UpstreamError: "connection refused"})
	if !strings.HasPrefix(line, "502 ") || !strings.HasSuffix(line, "connection refused") {
		t.Fatal(line)
	}
}
