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

// A verdict ends what other goroutines of the handler wait for.
func TestVerdictEndsWaiting(t *testing.T) {
	watchdog(t)
	failed := make(chan error, 2)
	h := nylontest.New(t, filter(func(ctx *sdk.PhaseRequestFilter) {
		if ctx.Request().Path() == "/body" {
			r := ctx.Request().Body()
			buf := make([]byte, 100)
			if _, err := r.Read(buf); err != nil {
				t.Error(err)
			}
			reading := make(chan struct{})
			go func() {
				close(reading)
				_, err := io.Copy(io.Discard, r)
				failed <- err
			}()
			<-reading
			ctx.Next()
			if ctx.Response().Headers() == nil {
				t.Error("getters still answer")
			}
			return
		}
		stream, err := ctx.Response().Stream()
		if err != nil {
			t.Error(err)
			return
		}
		go func() {
			for err == nil {
				_, err = stream.Write(make([]byte, 5000))
			}
			failed <- err
		}()
		time.Sleep(5 * time.Millisecond)
		if err := stream.End(); err != nil {
			t.Error(err)
		}
	}), nylontest.Window(10_000))
	h.Request("filter", request{OnChunk: func([]byte) error { time.Sleep(20 * time.Millisecond); return nil }})
	if err := <-failed; !errors.Is(err, sdk.ErrFinished) && !strings.Contains(err.Error(), "not open") {
		t.Fatal(err)
	}
	h.Request("filter", request{Path: "/body", Body: make([]byte, 1_000_000)})
	if err := <-failed; err != nil && !errors.Is(err, sdk.ErrFinished) && !strings.Contains(err.Error(), "not open") {
		t.Fatal(err)
	}
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
		logger.WithGroup("g").InfoContext(ctx.Context(), "grouped", "n", 1)
		ctx.Next()
	}))
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	h.Request("filter", request{ID: "req-7", Headers: http.Header{"Traceparent": {trace}}})
	logger.Info("outside")
	lines := strings.Split(out.String(), "\n")
	if !strings.Contains(lines[0], "plugin=TestSlog entry=filter request_id=req-7") || strings.Contains(lines[2], "request_id") {
		t.Fatal(out.String())
	}
	if !strings.Contains(lines[1], " request_id=req-7 trace_id=4bf92f3577b34da6a3ce929d0e0e4736 g.n=1") {
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
