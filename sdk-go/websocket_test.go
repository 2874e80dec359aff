package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/internal/bridge"
	"github.com/nylon-rs/nylon/sdk-go/internal/testhost"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
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

// What the handshake is made of reaches both sides, and the request stays for as long as the socket.
func TestWebSocketHandshake(t *testing.T) {
	watchdog(t)
	var conn *sdk.WebSocketConn
	var logged int
	opened := make(chan struct{})
	h := nylontest.New(t, func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("ws", func(phase *sdk.PhaseHandler) {
			phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
				p.Response().SetHeader("Sec-WebSocket-Protocol", "chat.v2")
				p.Response().SetHeader("X-Ws", "1")
				p.SetRequestHeader("x-own", "edited")
				if err := p.WebSocketUpgrade(sdk.WebSocketCallbacks{
					OnOpen: func(ws *sdk.WebSocketConn) { conn = ws; close(opened) },
				}); err != nil {
					t.Error(err)
				}
			})
			phase.Logging(func(p *sdk.PhaseLogging) { logged = p.Response().Status(); p.Next() })
		})
	})
	s := h.WebSocket("ws", request{
		Path: "/room/7", Query: "q", Headers: map[string][]string{"X-A": {"b"}}, Params: map[string]string{"id": "7"},
	})
	<-opened
	if s.Headers.Get("x-ws") != "1" || s.Headers.Get("sec-websocket-protocol") != "chat.v2" || conn.Subprotocol() != "chat.v2" {
		t.Errorf("%v %q", s.Headers, conn.Subprotocol())
	}
	if conn.ID() != s.ID() || conn.ID() == "" || conn.Resumed() {
		t.Errorf("%q %q %v", conn.ID(), s.ID(), conn.Resumed())
	}
	for range 200 { // other requests pass through the same memory
		h.Request("ws", request{Path: "/other", Headers: map[string][]string{"X-A": {"other"}}})
	}
	runtime.GC()
	logged = 0
	ctx := conn.Context()
	s.Close(0, "")
	r := conn.Request()
	if r.Path() != "/room/7" || r.Query() != "q" || r.Header("x-a") != "b" || r.Header("x-own") != "edited" ||
		r.Params()["id"] != "7" || r.RawBody() != nil {
		t.Errorf("%s %v", r.URL(), r.Headers().GetAll())
	}
	if code, reason := conn.CloseStatus(); code != 1005 || reason != "" {
		t.Errorf("%d %q", code, reason)
	}
	if logged != 101 {
		t.Errorf("logged with %d", logged)
	}
	if ctx.Err() == nil || !errors.Is(context.Cause(ctx), sdk.ErrClosed) {
		t.Errorf("%v", context.Cause(ctx))
	}
	for what, err := range map[string]error{
		"send": conn.SendText("x"), "join": conn.JoinRoom("r"), "close": conn.Close(), "ping": conn.Ping(nil),
		"broadcast": conn.BroadcastText("r", "x"), "to": conn.SendTo("x", "x"),
	} {
		if !errors.Is(err, sdk.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := conn.RoomSize("r"); !errors.Is(err, sdk.ErrClosed) {
		t.Error(err)
	}
	wait(t, "the sessions to close", func() bool { return h.Stats().Sessions == 0 })
}

// A request that cannot become a WebSocket runs no callback, and its session ends.
func TestWebSocketRefused(t *testing.T) {
	watchdog(t)
	var ctx context.Context
	h := nylontest.New(t, filtered(func(p *sdk.PhaseRequestFilter) {
		ctx = p.Context()
		never := func(*sdk.WebSocketConn) { t.Error("a callback ran") }
		if err := p.WebSocketUpgrade(sdk.WebSocketCallbacks{OnOpen: never, OnClose: never}); err != nil {
			t.Error(err)
		}
	}))
	if res := h.Request("ws", request{}); res.Status != 400 || string(res.Body) != "Missing Sec-WebSocket-Key" {
		t.Fatalf("%+v", res)
	}
	wait(t, "the session to close", func() bool { return h.Stats().Sessions == 0 })
	wait(t, "the context to end", func() bool { return ctx.Err() != nil })
}

// A gateway that does not offer WebSockets is told apart at once, and the handler goes on.
func TestWebSocketNotOffered(t *testing.T) {
	watchdog(t)
	for _, lacks := range []uint64{wire.FeatureWebsocket, wire.FeatureStreams, wire.FeatureHostCalls} {
		plugin := bridge.New().(*sdk.NylonPlugin)
		var got error
		filtered(func(p *sdk.PhaseRequestFilter) {
			got = p.WebSocketUpgrade(echo)
			p.End()
		})(plugin)
		h, err := testhost.NewLocal(plugin, testhost.Options{
			Features: wire.FeatureKnown &^ lacks, Fault: func(err error) { t.Error(err) },
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Stop)
		if final := open(t, h.Host, 0, "/"); final.Method != wire.MethodEnd || !errors.Is(got, sdk.ErrNotNegotiated) {
			t.Fatalf("%+v %v", final, got)
		}
	}
}

// Names of rooms and how many there may be are held to before anything is sent.
func TestWebSocketRooms(t *testing.T) {
	watchdog(t)
	on := sdk.WebSocketCallbacks{
		OnMessageText: func(ws *sdk.WebSocketConn, _ string) {
			for name, fine := range map[string]bool{
				"": false, "a": true, strings.Repeat("x", 128): true, strings.Repeat("x", 129): false, "a\xff": false, "a\nb": false,
				"a\x00": false, "\x7f": false, "zwölf Gäste": true,
			} {
				size := 0
				var err error
				for what, did := range map[string]error{
					"join": ws.JoinRoom(name), "text": ws.BroadcastText(name, "x"), "binary": ws.BroadcastBinary(name, nil),
				} {
					if (did == nil) != fine {
						t.Errorf("%s %q: %v", what, name, did)
					}
				}
				if size, err = ws.RoomSize(name); (err == nil) != fine || fine && size != 1 {
					t.Errorf("%q: %d, %v", name, size, err)
				}
				if err := ws.LeaveRoom(name); (err == nil) != fine {
					t.Errorf("leave %q: %v", name, err)
				}
				if size, err = ws.RoomSize(name); fine && (err != nil || size != 0) {
					t.Errorf("%q: %d, %v", name, size, err)
				}
			}
			for n := range 64 {
				if err := anError(ws.JoinRoom(fmt.Sprint(n)), ws.JoinRoom(fmt.Sprint(n))); err != nil {
					t.Error(err)
				}
			}
			if ws.JoinRoom("one more") == nil {
				t.Error("in 65 rooms")
			}
			if err := anError(ws.LeaveRoom("7"), ws.JoinRoom("one more"), ws.SendText("done")); err != nil {
				t.Error(err)
			}
			if ws.SendTo("", "x") == nil || ws.SendBinaryTo(strings.Repeat("x", 129), nil) == nil {
				t.Error("no id")
			}
		},
	}
	h := nylontest.New(t, socket(on))
	s := h.WebSocket("ws", request{})
	s.SendText("go")
	for got := 0; ; got++ {
		if m := s.Read(); m.Text == "done" {
			if got != 3*2 {
				t.Errorf("%d broadcasts", got)
			}
			break
		}
	}
}

// OnClose may leave rooms and tell them; a message goes to one connection by its id; a ping arrives.
func TestWebSocketToOthers(t *testing.T) {
	watchdog(t)
	h := nylontest.New(t, socket(sdk.WebSocketCallbacks{
		OnOpen: func(ws *sdk.WebSocketConn) { _ = ws.JoinRoom("all") },
		OnMessageText: func(ws *sdk.WebSocketConn, to string) {
			if to == "" {
				_ = ws.Ping([]byte("there?"))
				return
			}
			if err := anError(ws.SendTo(to, "psst"), ws.SendBinaryTo(to, []byte("psst")), ws.SendTo("nobody", "x"), ws.Ping([]byte("there?"))); err != nil {
				t.Error(err)
			}
		},
		OnClose: func(ws *sdk.WebSocketConn) {
			if err := anError(ws.LeaveRoom("all"), ws.BroadcastText("all", "bye "+ws.ID())); err != nil {
				t.Error(err)
			}
			if size, err := ws.RoomSize("all"); size > 1 || err != nil { // 0 when the test is over
				t.Error(size, err)
			}
			if ws.SendText("x") == nil || ws.Close() == nil {
				t.Error("sent to a client that is gone")
			}
		},
	}))
	a, b := h.WebSocket("ws", request{}), h.WebSocket("ws", request{})
	b.SendText("") // is in the room by then
	a.SendText(b.ID())
	if m := a.Read(); string(m.Ping) != "there?" {
		t.Fatalf("%+v", m)
	}
	if m := b.Read(); string(m.Ping) != "there?" {
		t.Fatalf("%+v", m)
	}
	if m := b.Read(); m.Text != "psst" {
		t.Fatalf("%+v", m)
	}
	if m := b.Read(); string(m.Binary) != "psst" {
		t.Fatalf("%+v", m)
	}
	a.Close(1001, "")
	if m := b.Read(); m.Text != "bye "+a.ID() {
		t.Fatalf("%+v", m)
	}
}

// Another worker takes a socket over: what came before is delivered, no OnClose runs, and the next OnOpen is Resumed, in
// the same rooms.
func TestWebSocketResume(t *testing.T) {
	watchdog(t)
	var closed atomic.Int32
	var first context.Context
	h := nylontest.New(t, socket(sdk.WebSocketCallbacks{
		OnOpen: func(ws *sdk.WebSocketConn) {
			if ws.Resumed() {
				_ = ws.SendText("again " + ws.ID())
				return
			}
			first = ws.Context()
			_ = ws.JoinRoom("room")
		},
		OnMessageText: func(ws *sdk.WebSocketConn, msg string) {
			time.Sleep(time.Millisecond)
			_ = ws.BroadcastText("room", msg)
		},
		OnClose: func(*sdk.WebSocketConn) { closed.Add(1) },
	}))
	s := h.WebSocket("ws", request{})
	id := s.ID()
	for n := range 10 {
		s.SendText(fmt.Sprint(n))
	}
	if s.Resume().ID() != id {
		t.Error("another id")
	}
	for n := range 10 {
		if m := s.Read(); m.Text != fmt.Sprint(n) {
			t.Fatalf("%d: %+v", n, m)
		}
	}
	if m := s.Read(); m.Text != "again "+id {
		t.Fatalf("%+v", m)
	}
	if closed.Load() != 0 || first.Err() == nil {
		t.Error("OnClose ran, or the context goes on")
	}
	s.SendText("hi")
	if m := s.Read(); m.Text != "hi" {
		t.Fatalf("%+v", m)
	}
	s.Drop()
	if closed.Load() != 1 {
		t.Error("OnClose did not run")
	}
	wait(t, "the sessions to close", func() bool { return h.Stats().Sessions == 0 })
}

// The methods by name, as the original has them.
func TestWebSocketByName(t *testing.T) {
	watchdog(t)
	h := nylontest.New(t, func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("ws", func(phase *sdk.PhaseHandler) {
			do := func(method sdk.NylonMethods, data string) {
				if err := sdk.RequestMethod(phase.SessionId, 0, method, []byte(data)); err != nil {
					t.Errorf("%s: %v", method, err)
				}
			}
			phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
				if err := sdk.RequestMethod(phase.SessionId, 0, sdk.NylonMethodWebSocketUpgrade, nil); err == nil {
					t.Error("upgraded without callbacks")
				}
				_ = p.WebSocketUpgrade(sdk.WebSocketCallbacks{OnOpen: func(*sdk.WebSocketConn) {
					do(sdk.NylonMethodWebSocketJoinRoom, "room")
					do(sdk.NylonMethodWebSocketSendText, "text")
					do(sdk.NylonMethodWebSocketSendBinary, "binary")
					do(sdk.NylonMethodWebSocketBroadcastRoomText, "room\x00all")
					do(sdk.NylonMethodWebSocketBroadcastRoomBinary, "room\x00all\x00")
					do(sdk.NylonMethodWebSocketLeaveRoom, "room")
					do(sdk.NylonMethodWebSocketClose, "")
					if sdk.RequestMethod(phase.SessionId, 0, sdk.NylonMethodWebSocketOnOpen, nil) == nil {
						t.Error("an event was issued")
					}
				}})
			})
		})
	})
	s := h.WebSocket("ws", request{})
	got := ""
	for m := s.Read(); !m.Closed; m = s.Read() {
		got += m.Text + string(m.Binary) + ";"
	}
	if got != "text;binary;all;all\x00;" {
		t.Fatalf("%q", got)
	}
}
