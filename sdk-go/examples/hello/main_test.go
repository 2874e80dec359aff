package main

import (
	"strings"
	"testing"

	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

func TestHello(t *testing.T) {
	h := nylontest.New(t, register)
	res := h.Request("hello", nylontest.Request{Upstream: nylontest.Response{Body: []byte("upstream")}})
	if res.Status != 200 || string(res.Body) != "upstream" || res.Headers.Get("x-nylon-pid") == "" {
		t.Fatalf("%+v", res)
	}
	res = h.Request("myapp", nylontest.Request{Path: "/x", Service: true})
	if res.Status != 200 || !strings.Contains(string(res.Body), "GET /x") {
		t.Fatalf("%+v", res)
	}
}
