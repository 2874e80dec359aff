package nylontest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

type (
	request  = nylontest.Request
	response = nylontest.Response
)

// one is a plugin with one entry, "it". The test must not hang.
func one(t *testing.T, factory func(*sdk.PhaseHandler), opts ...nylontest.Option) *nylontest.Host {
	t.Helper()
	watchdog := time.AfterFunc(25*time.Second, func() { panic(t.Name() + " hangs") })
	t.Cleanup(func() { watchdog.Stop() })
	return nylontest.New(t, func(p *sdk.NylonPlugin) { p.AddPhaseHandler("it", factory) }, opts...)
}

// all registers every response phase and notes which run.
func all(phase *sdk.PhaseHandler, ran *[]string) {
	phase.ResponseFilter(func(p *sdk.PhaseResponseFilter) {
		*ran = append(*ran, fmt.Sprint("res ", p.Response().Status()))
		p.SetResponseHeader("x-filtered", "yes")
		p.Next()
	})
	phase.ResponseBodyFilter(func(p *sdk.PhaseResponseBodyFilter) {
		*ran = append(*ran, fmt.Sprint("body ", p.Response().Status()))
		p.Next()
	})
	phase.Logging(func(p *sdk.PhaseLogging) {
		*ran = append(*ran, fmt.Sprint("log ", p.Response().Status(), " ", p.Response().Bytes(), " ", p.Response().Error()))
		p.Next()
	})
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("%s: ran %q, not %q", what, got, want)
	}
}

func code(t *testing.T, res *nylontest.Result) string {
	t.Helper()
	var page struct {
		Status int
		Error  string
	}
	if err := json.Unmarshal(res.Body, &page); err != nil || page.Status != res.Status {
		t.Errorf("status %d, page %s: %v", res.Status, res.Body, err)
	}
	return page.Error
}

// A stream is past the timeout of its phase.
func TestStreamOutlivesTheTimeout(t *testing.T) {
	h := one(t, func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
			out, err := p.Response().Stream()
			if err != nil {
				t.Error(err)
				return
			}
			time.Sleep(700 * time.Millisecond)
			if err := p.Context().Err(); err != nil {
				t.Error(err)
			}
			if _, err := out.Write([]byte("late")); err != nil {
				t.Error(err)
			}
			_ = out.End()
		})
	}, nylontest.Timeout(500*time.Millisecond))
	if res := h.Request("it", request{}); res.Status != 200 || string(res.Body) != "late" || res.Cut {
		t.Errorf("%+v", res)
	}
}

func TestServiceHasARequestFilterOnly(t *testing.T) {
	var ran []string
	h := one(t, func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
			if p.Request().Path() == "/next" {
				p.Next()
				return
			}
			p.Response().BodyText("served")
			p.End()
		})
		all(phase, &ran)
	})
	if res := h.Request("it", request{Service: true}); string(res.Body) != "served" || len(res.Verdicts) != 1 {
		t.Errorf("%+v", res)
	}
	if res := h.Request("it", request{Service: true, Path: "/next"}); res.Status != 500 || code(t, res) != "RUNTIME_ERROR" {
		t.Errorf("Next: %+v", res)
	}
	same(t, "service", ran)
}

func TestUpstreamErrorIsAResponse(t *testing.T) {
	var ran []string
	h := one(t, func(phase *sdk.PhaseHandler) { all(phase, &ran) })
	res := h.Request("it", request{UpstreamError: "connection refused"})
	if res.Status != 502 || res.Headers.Get("x-filtered") != "yes" || code(t, res) != "PINGORA_ERROR" || res.Upstream == nil {
		t.Errorf("%+v", res)
	}
	same(t, "upstream error", ran, "res 502", "body 502", fmt.Sprintf("log 502 %d connection refused", len(res.Body)))
}

// What a handler's failure makes of the request, and which phases its entry still gets.
func TestFailures(t *testing.T) {
	type failing struct {
		name   string
		filter func(*sdk.PhaseRequestFilter)
		status int
		code   string
		text   string
	}
	for _, f := range []failing{
		{"panic", func(*sdk.PhaseRequestFilter) { panic("boom") }, 502, "PLUGIN_PANICKED", "the handler failed: boom"},
		{"late", func(p *sdk.PhaseRequestFilter) { <-p.Context().Done() }, 504, "PLUGIN_TIMEOUT", "no answer in time"},
		{"refused", func(p *sdk.PhaseRequestFilter) {
			p.Response().SetStatus(99)
			p.End()
		}, 502, "PLUGIN_REFUSED", "refused: status 99 is not in 200..=599"},
		{"refused head of a stream", func(p *sdk.PhaseRequestFilter) {
			p.Response().SetHeader("x", "a\r\nb")
			if _, err := p.Response().Stream(); err == nil {
				t.Error("it streams")
			}
			p.Next()
		}, 502, "PLUGIN_REFUSED", `refused: the value of header "x" has a line break or control byte`},
	} {
		t.Run(f.name, func(t *testing.T) {
			var ran []string
			factories, timeout := 0, 5*time.Second
			if f.name == "late" {
				timeout = 300 * time.Millisecond
			}
			h := one(t, func(phase *sdk.PhaseHandler) {
				factories++
				phase.RequestFilter(f.filter)
				all(phase, &ran)
			}, nylontest.Timeout(timeout))
			res := h.Request("it", request{})
			if res.Status != f.status || code(t, res) != f.code || res.Error != f.text || res.Upstream != nil || res.Streamed {
				t.Errorf("%+v", res)
			}
			same(t, f.name, ran, fmt.Sprintf("log %d %d %s", f.status, len(res.Body), f.text))
			if factories != 2 {
				t.Errorf("%d factories: Logging has a session of its own", factories)
			}
		})
	}
}

func TestNobodyIsAnswered(t *testing.T) {
	gone := make(chan struct{})
	var ran []string
	h := one(t, func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
			close(gone)
			<-p.Context().Done()
		})
		all(phase, &ran)
	})
	res := h.Request("it", request{Gone: gone})
	if res.Status != 0 || len(res.Body) != 0 || len(res.Headers) != 0 || res.Cut || res.Error != "the client left" {
		t.Errorf("%+v", res)
	}
	same(t, "client gone", ran, "log 200 0 the client left")
}

// Once a body filter runs, the head is out: what fails then cuts the body off.
func TestBodyFilterFailureCuts(t *testing.T) {
	for first, kept := range map[bool]string{true: "", false: "one"} {
		h := one(t, func(phase *sdk.PhaseHandler) {
			phase.ResponseBodyFilter(func(p *sdk.PhaseResponseBodyFilter) {
				if first || string(p.Response().ReadBody()) != "one" {
					panic("boom")
				}
				p.Next()
			})
		})
		up := response{Status: 201, Headers: http.Header{"X-Up": {"1"}, "Content-Length": {"6"}}, Pieces: [][]byte{[]byte("one"), []byte("two")}}
		res := h.Request("it", request{Upstream: up})
		if res.Status != 201 || !res.Cut || string(res.Body) != kept || res.Headers.Get("x-up") != "1" ||
			res.Headers.Get("content-length") != "" {
			t.Errorf("%+v", res)
		}
	}
}

// Responses without a body have no piece to filter.
func TestNoBodyNoFilter(t *testing.T) {
	var ran []string
	h := one(t, func(phase *sdk.PhaseHandler) { all(phase, &ran) })
	for name, req := range map[string]request{
		"HEAD":         {Method: "HEAD", Upstream: response{Body: []byte("up")}},
		"204":          {Upstream: response{Status: 204, Body: []byte("up")}},
		"304":          {Upstream: response{Status: 304, Body: []byte("up")}},
		"empty":        {},
		"empty pieces": {Upstream: response{Pieces: [][]byte{{}, nil}}},
	} {
		ran = nil
		res := h.Request("it", req)
		if len(res.Body) != 0 {
			t.Errorf("%s: %q", name, res.Body)
		}
		same(t, name, ran, fmt.Sprint("res ", res.Status), fmt.Sprintf("log %d 0 ", res.Status))
	}
	// The same for a request without a body.
	h = one(t, func(phase *sdk.PhaseHandler) {
		phase.RequestBodyFilter(func(p *sdk.PhaseRequestBodyFilter) { t.Error("no piece"); p.Next() })
	})
	h.Request("it", request{Pieces: [][]byte{{}}})
}
