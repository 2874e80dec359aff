package sdk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/internal/testhost"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

type (
	request  = nylontest.Request
	response = nylontest.Response
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
	if res.Status != 201 || !res.Streamed || len(res.Body) != 1_000_000 || res.Cut ||
		res.Headers.Get("transfer-encoding") != "chunked" || res.Verdicts[0].Verdict != "StreamEnd" {
		t.Fatalf("%d %v %d bytes %+v", res.Status, res.Headers, len(res.Body), res.Verdicts)
	}
}

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

func TestBodyReader(t *testing.T) {
	watchdog(t)
	body := bytes.Repeat([]byte("abcdefghij"), 50_000)
	h := nylontest.New(t, filter(func(ctx *sdk.PhaseRequestFilter) {
		var got []byte
		buf := make([]byte, 7777)
		r := ctx.Request().Body()
		for {
			n, err := r.Read(buf)
			got = append(got, buf[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Error(err)
				break
			}
		}
		ctx.Response().BodyRaw(got)
		ctx.End()
	}), nylontest.Window(20_000))
	res := h.Request("filter", request{Method: "POST", Pieces: [][]byte{body[:100_001], body[100_001:100_002], body[100_002:]}})
	if !bytes.Equal(res.Body, body) {
		t.Fatalf("%d bytes, %q", len(res.Body), res.Error)
	}
	if res = h.Request("filter", request{}); len(res.Body) != 0 || res.Status != 200 {
		t.Fatalf("empty body: %+v", res)
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

// State captured by the factory belongs to one request; the phases share it.
func TestFactoryPerRequest(t *testing.T) {
	watchdog(t)
	var factories atomic.Int32
	h := nylontest.New(t, func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("state", func(phase *sdk.PhaseHandler) {
			factories.Add(1)
			var seen []string
			note := func(s string) { seen = append(seen, s) }
			phase.RequestFilter(func(ctx *sdk.PhaseRequestFilter) { note("req"); ctx.Next() })
			phase.ResponseFilter(func(ctx *sdk.PhaseResponseFilter) { note("res"); ctx.Next() })
			phase.ResponseBodyFilter(func(ctx *sdk.PhaseResponseBodyFilter) { note("body"); ctx.Next() })
			phase.Logging(func(ctx *sdk.PhaseLogging) {
				note("log")
				if got := strings.Join(seen, ","); got != "req,res,body,log" || phase.SessionId <= 0 {
					t.Error(got, phase.SessionId)
				}
				ctx.Next()
			})
		})
	})
	for range 10 {
		h.Request("state", request{Upstream: response{Body: []byte("x")}})
	}
	if factories.Load() != 10 {
		t.Fatalf("%d factories", factories.Load())
	}
	wait(t, "the sessions to close", func() bool { return h.Stats().Sessions == 0 })
}

// A verdict given later, from another goroutine.
func TestFinishLater(t *testing.T) {
	watchdog(t)
	h := nylontest.New(t, filter(func(ctx *sdk.PhaseRequestFilter) {
		go func() {
			time.Sleep(20 * time.Millisecond)
			ctx.Response().BodyText("later")
			ctx.End()
		}()
	}))
	if res := h.Request("filter", request{}); string(res.Body) != "later" || res.Status != 200 {
		t.Fatalf("%+v", res)
	}
}

// The context carries the deadline and ends with it; the late verdict changes nothing.
func TestDeadline(t *testing.T) {
	watchdog(t)
	done := make(chan error, 1)
	h := nylontest.New(t, filter(func(ctx *sdk.PhaseRequestFilter) {
		c := ctx.Context()
		if d, ok := c.Deadline(); !ok || time.Until(d) > 50*time.Millisecond {
			t.Errorf("deadline %v %v", d, ok)
		}
		child, cancel := context.WithCancel(c)
		defer cancel()
		<-child.Done()
		ctx.Response().SetStatus(299)
		ctx.End()
		done <- c.Err()
	}), nylontest.Timeout(50*time.Millisecond))
	res := h.Request("filter", request{})
	if res.Status != 504 {
		t.Fatalf("%+v", res)
	}
	if err := <-done; err != context.DeadlineExceeded {
		t.Fatal(err)
	}
	wait(t, "the one final frame", func() bool { return h.Stats().Late == 1 })
}

func TestClientGone(t *testing.T) {
	watchdog(t)
	gone := make(chan struct{})
	entered := make(chan struct{})
	go func() { <-entered; close(gone) }()
	h := nylontest.New(t, filter(func(ctx *sdk.PhaseRequestFilter) {
		close(entered)
		<-ctx.Context().Done()
		if _, err := ctx.Response().Stream(); !errors.Is(err, sdk.ErrClientGone) {
			t.Errorf("stream: %v", err)
		}
	}))
	h.Request("filter", request{Gone: gone})
	wait(t, "the one final frame", func() bool { return h.Stats().Late == 1 })
}

// Request changes travel up; the plugin sees its own.
func TestRequestChanges(t *testing.T) {
	watchdog(t)
	large := bytes.Repeat([]byte("L"), 300_000)
	h := nylontest.New(t, filter(func(ctx *sdk.PhaseRequestFilter) {
		ctx.SetMethod("PUT")
		ctx.SetPath("/new")
		ctx.SetQuery("b=2")
		ctx.SetRequestHeader("X-Set", "1")
		ctx.RemoveRequestHeader("x-secret")
		ctx.SetRequestBody(large)
		r := ctx.Request()
		if got := fmt.Sprint(r.Method(), r.URL(), r.Header("x-set"), r.Header("x-secret"), r.Headers().GetAll()); got !=
			"PUThttp://example.com/new?b=21map[x-keep:k x-set:1]" && got != "PUT http://example.com/new?b=2 1  map[x-keep:k x-set:1]" {
			t.Error(got)
		}
		ctx.Next()
	}))
	res := h.Request("filter", request{
		Query: "a=1", Headers: http.Header{"X-Secret": {"s"}, "X-Keep": {"k"}}, Body: []byte("old"),
	})
	up := res.Upstream
	if up.Method != "PUT" || up.Path != "/new" || up.Query != "b=2" || up.Headers.Get("x-set") != "1" ||
		up.Headers.Get("x-secret") != "" || !bytes.Equal(up.Body, large) {
		t.Fatalf("%s %s %s %v %d", up.Method, up.Path, up.Query, up.Headers, len(up.Body))
	}
}

func TestRequestBodyFilter(t *testing.T) {
	watchdog(t)
	var last []bool
	h := nylontest.New(t, func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("upper", func(phase *sdk.PhaseHandler) {
			phase.RequestBodyFilter(func(ctx *sdk.PhaseRequestBodyFilter) {
				last = append(last, ctx.IsLast())
				ctx.SetBody(bytes.ToUpper(ctx.ReadBody()))
				ctx.Next()
			})
		})
	})
	big := strings.Repeat("x", 120_000)
	res := h.Request("upper", request{Method: "POST", Pieces: [][]byte{[]byte("abc"), []byte(big)}})
	if string(res.Upstream.Body) != "ABC"+strings.ToUpper(big) || fmt.Sprint(last) != "[false false false true]" {
		t.Fatal(len(res.Upstream.Body), last)
	}
}

// Bodies of every size around the bounds: in the slot, in the record, staged within the window.
func TestLargeBodies(t *testing.T) {
	watchdog(t)
	var size int
	h := nylontest.New(t, filter(func(ctx *sdk.PhaseRequestFilter) {
		ctx.Response().SetHeader("x-pad", strings.Repeat("h", 20_000))
		ctx.Response().BodyRaw(bytes.Repeat([]byte("b"), size))
		ctx.End()
	}), nylontest.Window(100_000))
	for _, size = range []int{0, 1, 60, 64, 4096, 40_000, 45_000, 49_152, 49_153, 65_536, 100_000, 1_000_000, 8 << 20} {
		res := h.Request("filter", request{})
		if res.Status != 200 || len(res.Body) != size {
			t.Fatalf("%d: %d %d %s", size, res.Status, len(res.Body), res.Error)
		}
	}
	size = 8<<20 + 1
	if res := h.Request("filter", request{}); res.Status == 200 {
		t.Fatalf("over the staging bound: %d", res.Status)
	}
}

// More headers than fit into a record fail the step whole.
func TestTooManyChanges(t *testing.T) {
	watchdog(t)
	h := nylontest.New(t, filter(func(ctx *sdk.PhaseRequestFilter) {
		for range 100 {
			ctx.Response().AddHeader("x", strings.Repeat("v", 1000))
		}
		ctx.End()
	}))
	if res := h.Request("filter", request{}); res.Status != 502 || res.Headers.Get("x") != "" {
		t.Fatalf("%d", res.Status)
	}
}

func TestBodyHelpers(t *testing.T) {
	watchdog(t)
	h := nylontest.New(t, filter(func(ctx *sdk.PhaseRequestFilter) {
		res := ctx.Response()
		switch ctx.Request().Path() {
		case "/json":
			res.BodyJSON(map[string]int{"a": 1})
		case "/bad-json":
			res.BodyJSON(func() {})
		case "/text":
			res.BodyText("t")
		case "/html":
			res.BodyHTML("<p>")
		case "/redirect":
			res.Redirect("/to")
		case "/moved":
			res.BodyText("gone").Redirect("/to", 301)
		}
		ctx.End()
	}))
	for path, want := range map[string]string{
		"/json": `200 application/json  {"a":1}`, "/text": "200 text/plain; charset=utf-8  t", "/html": "200 text/html; charset=utf-8  <p>",
		"/redirect": "302  /to ", "/moved": "301 text/plain; charset=utf-8 /to ",
	} {
		res := h.Request("filter", request{Path: path})
		if got := fmt.Sprintf("%d %s %s %s", res.Status, res.Headers.Get("content-type"), res.Headers.Get("location"), res.Body); got != want {
			t.Errorf("%s: %q, not %q", path, got, want)
		}
	}
	if res := h.Request("filter", request{Path: "/bad-json"}); res.Status != 502 {
		t.Errorf("a value without JSON form answered %d", res.Status)
	}
}

func TestPayload(t *testing.T) {
	watchdog(t)
	h := nylontest.New(t, filter(func(ctx *sdk.PhaseRequestFilter) {
		p := ctx.GetPayload()
		if ctx.Request().Path() == "/none" {
			if p != nil {
				t.Errorf("%v", p)
			}
		} else {
			p["list"].([]any)[0] = "changed"
			if q := ctx.GetPayload(); q["list"].([]any)[0] != "a" || q["n"] != 1.5 {
				t.Errorf("%v", q)
			}
		}
		ctx.Next()
	}))
	h.Request("filter", request{Path: "/none"})
	h.Request("filter", request{Payload: map[string]any{"list": []string{"a"}, "n": 1.5}})
}

// A constant payload is named by id.
func TestPayloadByID(t *testing.T) {
	var got any
	l := local(t, testhost.Options{Payloads: [][]byte{[]byte(`{"id":0}`), []byte(`{"id":1}`)}}, filter(func(ctx *sdk.PhaseRequestFilter) {
		got = ctx.GetPayload()["id"]
		ctx.Next()
	}))
	var w wire.StepWriter
	w.Entry(0)
	w.Request(&wire.RequestFields{Method: "GET", Path: "/"})
	w.PayloadID(1)
	rec, _ := w.Finish()
	l.Run(&testhost.Step{Sid: testhost.NewSid(), Open: true, Phase: 1, Record: rec})
	if got != 1.0 {
		t.Fatal(got)
	}
}

// Features that were not offered: a clear error, not a violation.
func TestNotNegotiated(t *testing.T) {
	var errs []error
	l := local(t, testhost.Options{Features: wire.FeatureRequestBodyFilter}, filter(func(ctx *sdk.PhaseRequestFilter) {
		_, err := ctx.Response().Stream()
		errs = append(errs, err, ctx.WebSocketUpgrade(sdk.WebSocketCallbacks{}))
		_, err = ctx.Request().Body().Read(make([]byte, 1))
		errs = append(errs, err)
		ctx.Next()
	}))
	if final := open(t, l.Host, 0, "/"); final.Fault != nil {
		t.Fatal(final.Fault)
	}
	for _, err := range errs {
		if !errors.Is(err, sdk.ErrNotNegotiated) {
			t.Error(err)
		}
	}
}

func TestSlog(t *testing.T) {
	watchdog(t)
	var out bytes.Buffer
	logger := slog.New(sdk.NewLogHandler(slog.NewTextHandler(&out, nil)))
	h := nylontest.New(t, filter(func(ctx *sdk.PhaseRequestFilter) {
		logger.With("k", "v").InfoContext(ctx.Context(), "checked")
		ctx.Next()
	}))
	h.Request("filter", request{ID: "req-7"})
	logger.Info("outside")
	lines := strings.Split(out.String(), "\n")
	if !strings.Contains(lines[0], "plugin=TestSlog entry=filter request_id=req-7") || strings.Contains(lines[1], "request_id") {
		t.Fatal(out.String())
	}
}

func TestInitializers(t *testing.T) {
	watchdog(t)
	type config struct{ Port int }
	setup := func(p *sdk.NylonPlugin) {
		p.Initialize(sdk.NewInitializer(func(c config) {
			if c.Port != 80 {
				t.Errorf("%+v", c)
			}
		}))
		filter(func(ctx *sdk.PhaseRequestFilter) { ctx.Next() })(p)
	}
	nylontest.New(t, setup, nylontest.Config(map[string]any{"port": 80}))
	if _, err := nylontest.Start(t, setup, nylontest.Config(map[string]any{"port": "eighty"})); err == nil || !strings.Contains(err.Error(), "Port") {
		t.Fatal(err)
	}
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
