package main

import (
	"strings"
	"testing"
	"time"

	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

func host(t *testing.T, opts ...nylontest.Option) *nylontest.Host {
	t.Helper()
	config := nylontest.Config(map[string]any{"greeting": "Hello"})
	return nylontest.New(t, register, append(opts, config)...)
}

func TestHello(t *testing.T) {
	res := host(t).Request("hello", nylontest.Request{
		Service: true, Payload: map[string]any{"name": "you"},
	})
	if res.Status != 200 || !strings.HasPrefix(string(res.Body), "Hello you, from process ") {
		t.Errorf("%d %q", res.Status, res.Body)
	}
}

func TestTiming(t *testing.T) {
	res := host(t).Request("timing", nylontest.Request{
		Path: "/files/a", Upstream: nylontest.Response{Status: 404, Body: []byte("no such file")},
	})
	if res.Status != 404 || string(res.Body) != "no such file" {
		t.Errorf("the upstream's answer came as %d %q", res.Status, res.Body)
	}
	if res.Headers.Get("x-took-ms") == "" {
		t.Errorf("no x-took-ms in %v", res.Headers)
	}
}

func TestOopsHarmsItsOwnRequest(t *testing.T) {
	h := host(t)
	res := h.Request("oops", nylontest.Request{Service: true})
	if res.Status != 502 || res.Headers.Get("x-oops") != "" || !strings.Contains(res.Error, "is nil, not string") {
		t.Errorf("%d %v: %s", res.Status, res.Headers, res.Error)
	}
	if res := h.Request("hello", nylontest.Request{Service: true}); res.Status != 200 {
		t.Errorf("the next request: %d %s", res.Status, res.Body)
	}
}

func TestSlowIsLate(t *testing.T) {
	res := host(t, nylontest.Timeout(50*time.Millisecond)).Request("slow", nylontest.Request{Service: true})
	if res.Status != 504 {
		t.Errorf("%d %s", res.Status, res.Body)
	}
}

func TestNoGreetingNoStart(t *testing.T) {
	if _, err := nylontest.Start(t, register); err == nil || !strings.Contains(err.Error(), "config.greeting") {
		t.Errorf("started: %v", err)
	}
}
