package sdk_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

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
	var given atomic.Int32
	h := nylontest.New(t, socket(sdk.WebSocketCallbacks{
		OnOpen: func(ws *sdk.WebSocketConn) {
			go func() { stopped <- ws.SendBinary(make([]byte, 1<<20)) }()
		},
		OnClose: func(ws *sdk.WebSocketConn) {
			switch err := <-stopped; {
			case errors.Is(err, sdk.ErrClosed):
				given.Add(1)
			case err != nil:
				t.Error(err)
			}
			if err := ws.BroadcastText("room", "bye"); err != nil {
				t.Error(err)
			}
		},
	}))
	for tries := 0; given.Load() < 3; tries++ { // one that was faster than the client's leave went out whole
		if tries == 1000 {
			t.Fatal("no message was given up")
		}
		s := h.WebSocket("ws", request{})
		time.Sleep(time.Duration(tries%20) * 100 * time.Microsecond)
		s.Drop()
	}
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
