package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

func TestEcho(t *testing.T) {
	h := nylontest.New(t, register)
	client := h.WebSocket("echo", nylontest.Request{Path: "/echo"})
	for _, text := range []string{"hello", "", strings.Repeat("long ", 10_000)} {
		client.SendText(text)
		if m := client.Read(); m.Text != text || m.Closed {
			t.Errorf("%+v", m)
		}
		client.SendBinary([]byte(text))
		if m := client.Read(); !bytes.Equal(m.Binary, []byte(text)) || m.Binary == nil {
			t.Errorf("%+v", m)
		}
	}
	client.Close(1000, "bye")
}

func TestOneWhoDoesNotReadHoldsUpNobody(t *testing.T) {
	h := nylontest.New(t, register)
	idle, client := h.WebSocket("echo", nylontest.Request{}), h.WebSocket("echo", nylontest.Request{})
	for range 4 {
		idle.SendBinary(make([]byte, 50_000)) // more than the gateway holds for one connection
	}
	client.SendText("hello")
	if m := client.Read(); m.Text != "hello" {
		t.Errorf("%+v", m)
	}
	idle.Drop()
}

func TestARequestThatIsNoWebSocket(t *testing.T) {
	h := nylontest.New(t, register)
	if res := h.Request("echo", nylontest.Request{}); res.Status != 400 {
		t.Errorf("%+v", res)
	}
}
