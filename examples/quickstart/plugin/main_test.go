package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

// host runs the plugin in memory, with the config nylon.yaml gives it.
func host(t *testing.T) *nylontest.Host {
	return nylontest.New(t, register, nylontest.Config(map[string]any{"token": "let-me-in"}))
}

func TestHello(t *testing.T) {
	res := host(t).Request("hello", nylontest.Request{
		Service: true, Payload: map[string]any{"greeting": "Hello you"},
	})
	if res.Status != 200 || string(res.Body) != "Hello you\n" {
		t.Fatalf("%d %q", res.Status, res.Body)
	}
}

func TestAuthz(t *testing.T) {
	h := host(t)
	for _, c := range []struct {
		token  string
		status int
		asked  bool
	}{
		{"", 401, false},
		{"wrong", 401, false},
		{"let-me-in", 200, true},
	} {
		req := nylontest.Request{Path: "/private", Headers: http.Header{}}
		if c.token != "" {
			req.Headers.Set("X-API-Token", c.token)
		}
		res := h.Request("authz", req)
		if res.Status != c.status || (res.Upstream != nil) != c.asked {
			t.Errorf("token %q: status %d, upstream asked: %v", c.token, res.Status, res.Upstream != nil)
		}
	}
}

func TestNoTokenNoStart(t *testing.T) {
	if _, err := nylontest.Start(t, register); err == nil || !strings.Contains(err.Error(), "config.token") {
		t.Fatalf("started without a token: %v", err)
	}
}

func TestHeaders(t *testing.T) {
	res := host(t).Request("headers", nylontest.Request{
		Headers:  http.Header{"X-Internal": {"secret"}},
		Payload:  map[string]any{"request_id": "id-1"},
		Upstream: nylontest.Response{Headers: http.Header{"X-Upstream": {"echo"}}},
	})
	if res.Status != 200 || res.Upstream == nil {
		t.Fatalf("%d %s", res.Status, res.Error)
	}
	if got := res.Upstream.Headers.Get("x-request-id"); got != "id-1" {
		t.Errorf("the upstream saw the id %q", got)
	}
	if got := res.Upstream.Headers.Get("x-internal"); got != "" {
		t.Errorf("the upstream saw x-internal %q", got)
	}
	if res.Headers.Get("x-request-id") != "id-1" || res.Headers.Get("x-upstream") != "" {
		t.Errorf("the client saw %v", res.Headers)
	}
}

func TestRedact(t *testing.T) {
	res := host(t).Request("redact", nylontest.Request{
		Method: "POST", Pieces: [][]byte{[]byte("card 41"), []byte("11-2222")},
	})
	if res.Upstream == nil || string(res.Upstream.Body) != "card ****-****" {
		t.Fatalf("the upstream saw %+v", res.Upstream)
	}
}

func TestUpper(t *testing.T) {
	res := host(t).Request("upper", nylontest.Request{
		Upstream: nylontest.Response{Pieces: [][]byte{[]byte("one "), []byte("two")}},
	})
	if string(res.Body) != "ONE TWO" {
		t.Fatalf("%q", res.Body)
	}
}

func TestStream(t *testing.T) {
	res := host(t).Request("stream", nylontest.Request{Service: true, Payload: map[string]any{"events": 2}})
	if !res.Streamed || string(res.Body) != "data: event 1\n\ndata: event 2\n\n" {
		t.Fatalf("streamed: %v, %q", res.Streamed, res.Body)
	}
	if got := res.Headers.Get("content-type"); got != "text/event-stream" {
		t.Errorf("content-type %q", got)
	}
}

func TestAnswers(t *testing.T) {
	h := host(t)
	res := h.Request("json", nylontest.Request{Path: "/json", Service: true})
	var got map[string]any
	if err := json.Unmarshal(res.Body, &got); err != nil || got["path"] != "/json" {
		t.Errorf("%q: %v", res.Body, err)
	}
	res = h.Request("redirect", nylontest.Request{Service: true, Payload: map[string]any{"to": "/json"}})
	if res.Status != 302 || res.Headers.Get("location") != "/json" {
		t.Errorf("%d to %q", res.Status, res.Headers.Get("location"))
	}
}

func TestAccessLogRuns(t *testing.T) {
	res := host(t).Request("accesslog", nylontest.Request{})
	last := res.Verdicts[len(res.Verdicts)-1]
	if last.Phase != "Logging" || last.Verdict != "Next" {
		t.Fatalf("%+v", res.Verdicts)
	}
}
