package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
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

// A send waits for a client that does not read, and holds up nobody else; the end of the client ends the wait.
func TestWebSocketBackPressure(t *testing.T) {
	watchdog(t)
	var sent atomic.Int64
	stopped := make(chan error, 1)
	on := echo
	on.OnMessageText = func(ws *sdk.WebSocketConn, msg string) {
		if msg != "flood" {
			_ = ws.SendText(msg)
			return
		}
		chunk := make([]byte, 10_000)
		for {
			if err := ws.SendBinary(chunk); err != nil {
				stopped <- err
				return
			}
			sent.Add(int64(len(chunk)))
		}
	}
	h := nylontest.New(t, socket(on))
	slow, other := h.WebSocket("ws", request{}), h.WebSocket("ws", request{})
	slow.SendText("flood")
	wait(t, "a full window", func() bool { return sent.Load() > 100_000 })
	time.Sleep(5 * time.Millisecond)
	if n := sent.Load(); n > int64(wire.LimitConversation) {
		t.Errorf("%d bytes sent to one who does not read", n)
	}
	for n := range 200 {
		other.SendText(fmt.Sprint(n))
		if m := other.Read(); m.Text != fmt.Sprint(n) {
			t.Fatalf("%+v", m)
		}
	}
	before := sent.Load()
	for range 30 { // the client reads: it goes on
		slow.Read()
	}
	wait(t, "more to be sent", func() bool { return sent.Load() > before+100_000 })
	slow.Drop()
	if err := <-stopped; !errors.Is(err, sdk.ErrClosed) {
		t.Error(err)
	}
}

// A message larger than the window that is given up in the middle is not taken for the beginning of the next.
func TestWebSocketGivesUpInTheMiddle(t *testing.T) {
	watchdog(t)
	stopped := make(chan error, 1)
	h := nylontest.New(t, socket(sdk.WebSocketCallbacks{
		OnOpen: func(ws *sdk.WebSocketConn) {
			go func() { stopped <- ws.SendBinary(make([]byte, 1<<20)) }()
		},
		OnClose: func(ws *sdk.WebSocketConn) {
			if err := <-stopped; !errors.Is(err, sdk.ErrClosed) {
				t.Error(err)
			}
			if err := ws.BroadcastText("room", "bye"); err != nil {
				t.Error(err)
			}
		},
	}))
	s := h.WebSocket("ws", request{})
	time.Sleep(2 * time.Millisecond) // some of it is there
	s.Drop()
}

// Close does not wait behind a client that does not read, and what was sent before it arrives before it.
func TestWebSocketClose(t *testing.T) {
	watchdog(t)
	var closed atomic.Int32
	h := nylontest.New(t, socket(sdk.WebSocketCallbacks{
		OnMessageText: func(ws *sdk.WebSocketConn, msg string) {
			switch msg {
			case "full":
				go func() {
					for ws.SendBinary(make([]byte, 1000)) == nil {
					}
				}()
				return
			case "codes":
				for code, fine := range map[uint16]bool{
					0: false, 999: false, 1000: true, 1004: false, 1005: false, 1006: false, 1015: false, 1016: false, 2999: false, 5000: false,
				} {
					if err := ws.CloseWith(code, strings.Repeat("x", 124)); err == nil || fine != strings.Contains(err.Error(), "reason") {
						t.Errorf("%d: %v", code, err)
					}
				}
				if ws.CloseWith(1000, "\xff") == nil || ws.SendText("\xff") == nil || ws.Ping(make([]byte, 126)) == nil {
					t.Error("not UTF-8, or too long")
				}
			}
			if msg == "codes" {
				_ = ws.SendText("last")
			}
			if err := ws.CloseWith(4001, "enough"); err != nil {
				t.Error(err)
			}
			if err := ws.SendText("late"); !errors.Is(err, sdk.ErrClosed) {
				t.Error(err)
			}
			if err := ws.Close(); !errors.Is(err, sdk.ErrClosed) {
				t.Error(err)
			}
		},
		OnClose: func(ws *sdk.WebSocketConn) {
			closed.Add(1)
			if code, reason := ws.CloseStatus(); code != 4001 || reason != "enough" {
				t.Errorf("%d %q", code, reason)
			}
		},
	}))
	s := h.WebSocket("ws", request{})
	s.SendText("codes")
	if m := s.Read(); m.Text != "last" {
		t.Fatalf("%+v", m)
	}
	if code, reason := s.Closed(); code != 4001 || reason != "enough" {
		t.Fatalf("%d %q", code, reason)
	}
	s.Wait()
	full := h.WebSocket("ws", request{})
	full.SendText("full")
	time.Sleep(2 * time.Millisecond)
	full.SendText("close")
	full.Wait() // nothing was read
	if n := closed.Load(); n != 2 {
		t.Errorf("OnClose ran %d times", n)
	}
}

// A callback that panics, or ends its goroutine, ends its connection and nothing else; OnClose runs.
func TestWebSocketPanics(t *testing.T) {
	watchdog(t)
	for _, in := range []string{"open", "text", "binary", "error", "close"} {
		for _, how := range []string{"panic", "goexit"} {
			t.Run(in+" "+how, func(t *testing.T) {
				var ran []string
				fail := func(where string) {
					if ran = append(ran, where); where != in {
						return
					}
					if how == "panic" {
						panic("on purpose")
					}
					runtime.Goexit()
				}
				h := nylontest.New(t, socket(sdk.WebSocketCallbacks{
					OnOpen:          func(*sdk.WebSocketConn) { fail("open") },
					OnMessageText:   func(*sdk.WebSocketConn, string) { fail("text") },
					OnMessageBinary: func(*sdk.WebSocketConn, []byte) { fail("binary") },
					OnError:         func(*sdk.WebSocketConn, string) { fail("error") },
					OnClose:         func(*sdk.WebSocketConn) { fail("close") },
				}))
				s := h.WebSocket("ws", request{})
				s.SendText("x")
				s.SendBinary([]byte("x"))
				s.Fail("x")
				var want []string
				for _, where := range []string{"open", "text", "binary", "error", "close"} {
					if want = append(want, where); where == in && in != "close" {
						want = append(want, "close")
						break
					}
				}
				if fmt.Sprint(ran) != fmt.Sprint(want) {
					t.Errorf("%v, not %v", ran, want)
				}
				if code, _ := s.Closed(); code != 1011 && code != 0 {
					t.Errorf("closed with %d", code)
				}
				wait(t, "the session to close", func() bool { return h.Stats().Sessions == 0 })
				next := h.WebSocket("ws", request{})
				if next.SendText("x"); in == "open" || in == "text" {
					if code, _ := next.Closed(); code != 1011 {
						t.Errorf("closed with %d", code)
					}
				}
				next.Drop()
			})
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

// Sockets that end at any moment, from either side, have each OnClose once behind OnOpen; nothing is left of them.
func TestWebSocketEndsOnce(t *testing.T) {
	watchdog(t)
	before := runtime.NumGoroutine()
	t.Run("sockets", func(t *testing.T) {
		sockets := 500
		if raceEnabled {
			sockets = 150
		}
		type state struct{ opened, closed, after int }
		states := make(chan *state, sockets)
		h := nylontest.New(t, filtered(func(p *sdk.PhaseRequestFilter) {
			st := &state{} // its callbacks run one at a time
			message := func(ws *sdk.WebSocketConn, msg string) {
				if st.closed > 0 || st.opened != 1 {
					st.after++
				}
				switch msg {
				case "close":
					_ = ws.Close()
				case "panic":
					panic("on purpose")
				case "later":
					go func() { _ = ws.CloseWith(1001, "later") }()
				default:
					_ = ws.BroadcastText("room", msg)
				}
			}
			if err := p.WebSocketUpgrade(sdk.WebSocketCallbacks{
				OnOpen:        func(ws *sdk.WebSocketConn) { st.opened++; _ = ws.JoinRoom("room"); _ = ws.SendText("hi") },
				OnMessageText: message,
				OnClose:       func(*sdk.WebSocketConn) { st.closed++; states <- st },
			}); err != nil {
				t.Error(err)
			}
		}))
		ends := []func(*nylontest.Socket){
			(*nylontest.Socket).Drop, func(s *nylontest.Socket) { s.Close(1000, "") },
			func(s *nylontest.Socket) { s.SendText("close"); s.Wait() },
			func(s *nylontest.Socket) { s.SendText("panic"); s.SendText("x"); s.Wait() },
			func(s *nylontest.Socket) { s.SendText("later"); s.Drop() },
			func(s *nylontest.Socket) { s.SendText("close"); s.Drop() },
		}
		var wg sync.WaitGroup
		for n := range sockets {
			wg.Add(1)
			go func() {
				defer wg.Done()
				s := h.WebSocket("ws", request{})
				if n%3 == 0 {
					s.SendText("x")
				}
				ends[n%len(ends)](s)
			}()
		}
		wg.Wait()
		for range sockets {
			if st := <-states; st.opened != 1 || st.closed != 1 || st.after != 0 {
				t.Errorf("%+v", st)
			}
		}
		wait(t, "the sessions to close", func() bool { return h.Stats().Sessions == 0 })
	})
	wait(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
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
