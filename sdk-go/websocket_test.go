package sdk_test

import (
	"fmt"
	"strings"
	"testing"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

// socket is an entry whose request filter asks for a WebSocket.
func socket(on sdk.WebSocketCallbacks) func(*sdk.NylonPlugin) {
	return filtered(func(p *sdk.PhaseRequestFilter) {
		if err := p.WebSocketUpgrade(on); err != nil {
			p.Response().SetStatus(500)
			p.Response().BodyText(err.Error())
			p.End()
		}
	})
}

func filtered(f func(*sdk.PhaseRequestFilter)) func(*sdk.NylonPlugin) {
	return func(p *sdk.NylonPlugin) { p.AddStaticHandler("ws", sdk.Handlers{RequestFilter: f}) }
}

var echo = sdk.WebSocketCallbacks{
	OnMessageText:   func(ws *sdk.WebSocketConn, msg string) { _ = ws.SendText(msg) },
	OnMessageBinary: func(ws *sdk.WebSocketConn, msg []byte) { _ = ws.SendBinary(msg) },
}

// A client connects, is answered and leaves; messages of any size arrive whole.
func TestWebSocketEcho(t *testing.T) {
	watchdog(t)
	var log strings.Builder
	on := echo
	on.OnOpen = func(ws *sdk.WebSocketConn) {
		fmt.Fprint(&log, "open ", ws.Request().Header("x-user"), ";")
		if err := ws.SendText("hello"); err != nil {
			t.Error(err)
		}
	}
	on.OnClose = func(ws *sdk.WebSocketConn) {
		code, reason := ws.CloseStatus()
		fmt.Fprint(&log, "close ", code, " ", reason)
		if err := ws.SendText("late"); err != sdk.ErrClosed {
			t.Error(err)
		}
	}
	h := nylontest.New(t, socket(on))
	s := h.WebSocket("ws", request{Headers: map[string][]string{"X-User": {"ada"}}})
	if m := s.Read(); m.Text != "hello" {
		t.Fatalf("%+v", m)
	}
	for _, n := range []int{0, 1, 88, 89, 5000, 64 << 10, 65 << 10, 1 << 20} {
		text := strings.Repeat("x", n)
		done := make(chan nylontest.Message)
		go func() { done <- s.Read() }()
		s.SendText(text)
		if m := <-done; m.Text != text || m.Binary != nil {
			t.Fatalf("%d: %d", n, len(m.Text))
		}
		go func() { done <- s.Read() }()
		s.SendBinary([]byte(text))
		if m := <-done; string(m.Binary) != text || m.Binary == nil {
			t.Fatalf("%d: %d", n, len(m.Binary))
		}
	}
	s.Close(1000, "bye")
	if got := log.String(); got != "open ada;close 1000 bye" {
		t.Fatal(got)
	}
	wait(t, "the session to close", func() bool { return h.Stats().Sessions == 0 })
}
