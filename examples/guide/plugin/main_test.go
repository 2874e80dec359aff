package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

func host(t *testing.T, opts ...nylontest.Option) *nylontest.Host {
	t.Helper()
	config := nylontest.Config(map[string]any{"users": map[string]string{"alice": "admin"}})
	return nylontest.New(t, register, append(opts, config)...)
}

func TestAudit(t *testing.T) {
	h := host(t)
	for contentType, frame := range map[string]string{"text/html; charset=utf-8": "DENY", "text/plain": ""} {
		res := h.Request("audit", nylontest.Request{
			Upstream: nylontest.Response{Headers: http.Header{"Content-Type": {contentType}}},
		})
		if res.Headers.Get("x-frame-options") != frame {
			t.Errorf("%s: %v", contentType, res.Headers)
		}
		var phases []string
		for _, v := range res.Verdicts {
			phases = append(phases, v.Phase)
		}
		if !slices.Equal(phases, []string{"RequestFilter", "ResponseFilter", "Logging"}) {
			t.Errorf("phases %q", phases)
		}
	}
}

func TestRoles(t *testing.T) {
	h := host(t)
	res := h.Request("roles", nylontest.Request{Params: map[string]string{"user": "alice"}})
	if res.Upstream == nil || res.Upstream.Headers.Get("x-role") != "admin" {
		t.Errorf("%d %+v", res.Status, res.Upstream)
	}
	res = h.Request("roles", nylontest.Request{Params: map[string]string{"user": "eve"}})
	if res.Upstream != nil || res.Status != 403 {
		t.Errorf("%d %+v", res.Status, res.Upstream)
	}
}

func TestRolesGiveUpWhenNobodyWaits(t *testing.T) {
	gaveUp := make(chan error, 1)
	was := lookup
	defer func() { lookup = was }()
	lookup = func(ctx context.Context, _ string) (string, error) {
		<-ctx.Done()
		gaveUp <- ctx.Err()
		return "", ctx.Err()
	}
	res := host(t, nylontest.Timeout(50*time.Millisecond)).Request("roles", nylontest.Request{})
	if err := <-gaveUp; res.Status != 504 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%d, %v", res.Status, err)
	}
}

func TestSigned(t *testing.T) {
	res := host(t, nylontest.MaxRawBody(10)).Request("signed", nylontest.Request{
		Method: "POST", Pieces: [][]byte{[]byte("he"), []byte("llo")},
	})
	const hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	if up := res.Upstream; up == nil || up.Headers.Get("x-body-sha256") != hello || string(up.Body) != "hello" {
		t.Errorf("%d %+v", res.Status, up)
	}
	res = host(t, nylontest.MaxRawBody(10)).Request("signed", nylontest.Request{Body: []byte("hello there")})
	if res.Status != 413 || res.Upstream != nil {
		t.Errorf("over the bound: %d %+v", res.Status, res.Upstream)
	}
}

func TestCount(t *testing.T) {
	h := host(t, nylontest.Window(1<<16), nylontest.MaxRawBody(10))
	res := h.Request("count", nylontest.Request{Service: true, Body: make([]byte, 1<<20)})
	if string(res.Body) != "1048576 bytes\n" {
		t.Errorf("%d %s", res.Status, res.Body)
	}
}

func TestCRLF(t *testing.T) {
	h := host(t)
	for _, cut := range []int{1, 2, 3, 4, 5, 6} {
		body := []byte("a\r\n\r\nb\r\n")
		res := h.Request("crlf", nylontest.Request{
			Method: "POST", Pieces: [][]byte{body[:cut], body[cut:]},
			Upstream: nylontest.Response{Pieces: [][]byte{[]byte("x\n"), []byte("y")}},
		})
		if res.Upstream == nil || string(res.Upstream.Body) != "a\n\nb\n" || string(res.Body) != "x\r\ny" {
			t.Errorf("cut at %d: up %+v, down %q", cut, res.Upstream, res.Body)
		}
	}
}

func TestClock(t *testing.T) {
	tick = time.Millisecond
	h := host(t)
	req := nylontest.Request{Service: true, Payload: map[string]any{"ticks": 3}}
	res := h.Request("clock", req)
	if string(res.Body) != "data: 0\n\ndata: 1\n\ndata: 2\n\n" || len(res.Chunks) != 3 || res.Cut {
		t.Errorf("%q in %d chunks", res.Body, len(res.Chunks))
	}
	seen := 0
	req.OnChunk = func([]byte) error {
		if seen++; seen == 2 {
			return sdk.ErrClientGone
		}
		return nil
	}
	if res = h.Request("clock", req); !res.Cut || len(res.Chunks) != 1 {
		t.Errorf("cut: %v, %d chunks", res.Cut, len(res.Chunks))
	}
}

func TestRefusesToStart(t *testing.T) {
	_, err := nylontest.Start(t, register)
	if err == nil || !strings.Contains(err.Error(), "config.users must be a map") {
		t.Errorf("started: %v", err)
	}
}
