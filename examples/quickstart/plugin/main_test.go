package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

// host runs the plugin in memory, with the config nylon.yaml gives it.
func host(t *testing.T) *nylontest.Host {
	t.Helper()
	return nylontest.New(t, register, nylontest.Config(map[string]any{"token": "let-me-in"}))
}

func TestNoTokenNoStart(t *testing.T) {
	for _, config := range []map[string]any{nil, {"token": ""}, {"token": 1}} {
		_, err := nylontest.Start(t, register, nylontest.Config(config))
		if err == nil || !strings.Contains(err.Error(), "config.token is missing") {
			t.Errorf("started with %v: %v", config, err)
		}
	}
}

func TestJSONShowsItsProcess(t *testing.T) {
	var got struct{ PID int }
	res := host(t).Request("json", nylontest.Request{Service: true})
	if err := json.Unmarshal(res.Body, &got); err != nil || got.PID != os.Getpid() {
		t.Errorf("%s: %v", res.Body, err)
	}
}

func TestStreamStopsWhenTheClientLeaves(t *testing.T) {
	h, sent := host(t), 0
	res := h.Request("stream", nylontest.Request{
		Service: true, Payload: map[string]any{"events": 20},
		OnChunk: func([]byte) error {
			if sent++; sent == 3 {
				return sdk.ErrClientGone
			}
			return nil
		},
	})
	if !res.Cut || len(res.Chunks) != 2 {
		t.Errorf("cut: %v, %d chunks", res.Cut, len(res.Chunks))
	}
}

// What a middleware does not register costs nothing: authz is one frame down and one up.
func TestAuthzIsOneFrame(t *testing.T) {
	h := host(t)
	before := h.Stats()
	if res := h.Request("authz", nylontest.Request{}); res.Status != 401 {
		t.Fatal(res.Status, res.Error)
	}
	after := h.Stats()
	if after.Down-before.Down > 2 || after.Up-before.Up != 1 { // the step, and the session's end
		t.Errorf("%d frames down, %d up", after.Down-before.Down, after.Up-before.Up)
	}
}
