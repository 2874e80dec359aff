package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

const alice = "2b7e151628aed2a6abf7158809cf4f3c"

func host(t *testing.T) *nylontest.Host {
	t.Helper()
	return nylontest.New(t, register, nylontest.Config(map[string]any{
		"keys": map[string]any{"alice": alice, "build": "603deb1015ca71be2b73aef0857d7781"},
	}))
}

func TestAPIKey(t *testing.T) {
	h := host(t)
	for _, c := range []struct {
		name    string
		header  string // in the payload, "" for none
		send    http.Header
		status  int
		client  string // who the upstream thinks it is
		removed string // what the upstream does not see
	}{
		{name: "no key", status: 401},
		{name: "empty key", send: http.Header{"X-Api-Key": {""}}, status: 401},
		{name: "wrong key", send: http.Header{"X-Api-Key": {strings.ToUpper(alice)}}, status: 401},
		{name: "a part of a key", send: http.Header{"X-Api-Key": {alice[:31]}}, status: 401},
		{name: "right key", send: http.Header{"X-Api-Key": {alice}}, status: 200, client: "alice", removed: "x-api-key"},
		{
			name: "right key in the wrong header", header: "x-token", send: http.Header{"X-Api-Key": {alice}}, status: 401,
		},
		{
			name: "header from the payload", header: "X-Token", send: http.Header{"X-Token": {alice}},
			status: 200, client: "alice", removed: "x-token",
		},
		{
			name: "a forged name is replaced", send: http.Header{"X-Api-Key": {alice}, "X-Api-Client": {"root"}},
			status: 200, client: "alice",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := nylontest.Request{Headers: c.send}
			if c.header != "" {
				req.Payload = map[string]any{"header": c.header}
			}
			res := h.Request("apikey", req)
			if res.Status != c.status || (res.Upstream != nil) != (c.status == 200) {
				t.Fatalf("%d %s, upstream %+v", res.Status, res.Body, res.Upstream)
			}
			if res.Upstream == nil {
				return
			}
			if got := res.Upstream.Headers.Values("x-api-client"); len(got) != 1 || got[0] != c.client {
				t.Errorf("the upstream takes it for %q", got)
			}
			if got := res.Upstream.Headers.Values(c.removed); c.removed != "" && len(got) > 0 {
				t.Errorf("the upstream saw the key: %q", got)
			}
		})
	}
}

func TestRefusesToStart(t *testing.T) {
	for want, config := range map[string]map[string]any{
		"config.keys is missing": nil,
		"config.keys.bob is not": {"keys": map[string]any{"bob": "short"}},
		"config.keys.eve is not": {"keys": map[string]any{"eve": 1234567890123456789}},
	} {
		if _, err := nylontest.Start(t, register, nylontest.Config(config)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, not %q", config, err, want)
		}
	}
}
