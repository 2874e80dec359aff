package sdk_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

// B14: NEXT and END behind an upgrade do nothing, in whatever way they are said; the socket goes on.
func TestBug_b14_VerdictsAfterAnUpgrade(t *testing.T) {
	watchdog(t)
	for name, verdict := range map[string]func(*sdk.PhaseHandler, *sdk.PhaseRequestFilter){
		"next": func(_ *sdk.PhaseHandler, p *sdk.PhaseRequestFilter) { p.Next() },
		"end":  func(_ *sdk.PhaseHandler, p *sdk.PhaseRequestFilter) { p.Response().SetStatus(500); p.End() },
		"by name": func(h *sdk.PhaseHandler, _ *sdk.PhaseRequestFilter) {
			_ = sdk.RequestMethod(h.SessionId, 0, sdk.NylonMethodNext, nil)
			_ = sdk.RequestMethod(h.SessionId, 1, sdk.NylonMethodEnd, nil)
		},
		"later": func(_ *sdk.PhaseHandler, p *sdk.PhaseRequestFilter) {
			go func() {
				time.Sleep(2 * time.Millisecond)
				p.Next()
			}()
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := nylontest.New(t, func(p *sdk.NylonPlugin) {
				p.AddPhaseHandler("ws", func(phase *sdk.PhaseHandler) {
					phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
						if err := p.WebSocketUpgrade(echo); err != nil {
							t.Error(err)
						}
						verdict(phase, p)
						if err := p.WebSocketUpgrade(echo); err == nil {
							t.Error("upgraded twice")
						}
					})
				})
			})
			s := h.WebSocket("ws", request{})
			for n := range 50 {
				s.SendText(fmt.Sprint(n))
				if m := s.Read(); m.Text != fmt.Sprint(n) {
					t.Fatalf("%d: %+v", n, m)
				}
				time.Sleep(100 * time.Microsecond)
			}
			s.Close(1000, "")
			if late := h.Stats().Late; late != 0 {
				t.Errorf("%d frames too many", late)
			}
		})
	}
}

// B14 the other way: a verdict was given, and an upgrade after it fails.
func TestBug_b14_UpgradeAfterAVerdict(t *testing.T) {
	watchdog(t)
	h := nylontest.New(t, filtered(func(p *sdk.PhaseRequestFilter) {
		p.Next()
		if err := p.WebSocketUpgrade(echo); err == nil {
			t.Error("upgraded after Next")
		}
	}))
	if res := h.Request("ws", request{}); res.Status != 200 {
		t.Fatalf("%+v", res)
	}
}

// B15: the callbacks of a connection run one at a time and in order, however long each takes.
func TestBug_b15_InOrder(t *testing.T) {
	watchdog(t)
	const messages = 300
	var log []string // not guarded: the callbacks of one connection never overlap
	var inside atomic.Int32
	enter := func(what string, pause time.Duration) {
		if inside.Add(1) != 1 {
			t.Error("two callbacks at a time")
		}
		if pause > 0 {
			time.Sleep(pause)
		}
		log = append(log, what)
		inside.Add(-1)
	}
	pause := func() time.Duration { return time.Duration(rand.IntN(3)/2) * 100 * time.Microsecond }
	h := nylontest.New(t, socket(sdk.WebSocketCallbacks{
		OnOpen:          func(*sdk.WebSocketConn) { enter("open", 5*time.Millisecond) },
		OnMessageText:   func(_ *sdk.WebSocketConn, msg string) { enter(msg, pause()) },
		OnMessageBinary: func(_ *sdk.WebSocketConn, msg []byte) { enter(string(msg), pause()) },
		OnError:         func(_ *sdk.WebSocketConn, text string) { enter(text, 0) },
		OnClose:         func(*sdk.WebSocketConn) { enter("close", 0) },
	}))
	s := h.WebSocket("ws", request{})
	want := []string{"open"}
	for n := range messages {
		if want = append(want, fmt.Sprint(n)); n%3 == 0 {
			s.SendBinary([]byte(fmt.Sprint(n)))
		} else {
			s.SendText(fmt.Sprint(n))
		}
	}
	s.Fail("reset")
	want = append(want, "reset", "close")
	if got := strings.Join(log, " "); got != strings.Join(want, " ") {
		t.Fatal(got)
	}
}

// B15: one handler that blocks for ever leaves a thousand other sockets of its worker alone, and an idle socket has no
// goroutine.
func TestBug_b15_OneBlocked(t *testing.T) {
	watchdog(t)
	sockets, messages := 1000, 20
	if testing.Short() || raceEnabled {
		sockets = 200
	}
	release, blocked := make(chan struct{}), make(chan struct{})
	on := echo
	on.OnMessageText = func(ws *sdk.WebSocketConn, msg string) {
		if msg == "block" {
			close(blocked)
			<-release
			return
		}
		_ = ws.SendText(msg)
	}
	h := nylontest.New(t, socket(on))
	defer close(release)
	stuck := h.WebSocket("ws", request{})
	stuck.SendText("block")
	<-blocked
	before := runtime.NumGoroutine()
	all := make([]*nylontest.Socket, sockets)
	for i := range all {
		all[i] = h.WebSocket("ws", request{})
	}
	if more := runtime.NumGoroutine() - before; more > 80 {
		t.Errorf("%d goroutines more for %d idle sockets", more, sockets)
	}
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range messages {
				text := fmt.Sprint(i, "-", n)
				s.SendText(text)
				if m := s.Read(); m.Text != text {
					t.Errorf("%s: %+v", text, m)
					return
				}
			}
		}()
	}
	wg.Wait()
}

// B16: a message is handed over once and whole, in however many pieces it came.
func TestBug_b16_WholeMessages(t *testing.T) {
	watchdog(t)
	var got []string
	h := nylontest.New(t, socket(sdk.WebSocketCallbacks{
		OnMessageText:   func(_ *sdk.WebSocketConn, msg string) { got = append(got, msg) },
		OnMessageBinary: func(_ *sdk.WebSocketConn, msg []byte) { got = append(got, string(msg)) },
	}))
	s := h.WebSocket("ws", request{})
	var want []string
	for _, n := range []int{0, 1, 64 << 10, 200_000, 3, 5 << 20, 65535, 65536, 65537} {
		msg := strings.Repeat("é", n/2) + strings.Repeat("x", n%2)
		want = append(want, msg, msg)
		s.SendText(msg)
		s.SendBinary([]byte(msg))
	}
	s.Close(1000, "")
	if len(got) != len(want) {
		t.Fatalf("%d messages, not %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("message %d: %d bytes, not %d", i, len(got[i]), len(want[i]))
		}
	}
}

// B17: a broadcast reaches every member of a room, the sender if it is one, and nobody else.
func TestBug_b17_Broadcast(t *testing.T) {
	watchdog(t)
	h := nylontest.New(t, socket(sdk.WebSocketCallbacks{
		OnOpen: func(ws *sdk.WebSocketConn) {
			if ws.Request().Path() == "/member" {
				if err := ws.JoinRoom("room"); err != nil {
					t.Error(err)
				}
			}
		},
		OnMessageText: func(ws *sdk.WebSocketConn, msg string) {
			size, err := ws.RoomSize("room")
			if err = anError(err, ws.BroadcastText("room", fmt.Sprint(msg, " to ", size)), ws.BroadcastBinary("room", []byte(msg))); err != nil {
				t.Error(err)
			}
		},
	}))
	member, other := h.WebSocket("ws", request{Path: "/member"}), h.WebSocket("ws", request{Path: "/member"})
	outside := h.WebSocket("ws", request{})
	for _, from := range []*nylontest.Socket{member, outside} {
		from.SendText("hi")
		for _, to := range []*nylontest.Socket{member, other} {
			if m := to.Read(); m.Text != "hi to 2" {
				t.Fatalf("%+v", m)
			}
			if m := to.Read(); string(m.Binary) != "hi" {
				t.Fatalf("%+v", m)
			}
		}
	}
	member.Drop()
	other.SendText("still")
	if m := other.Read(); m.Text != "still to 1" {
		t.Fatalf("%+v", m)
	}
	outside.Close(1000, "")
	if code, _ := outside.Closed(); code != 0 {
		t.Errorf("a message, or a close: %d", code)
	}
}

// anError is the first one that is not nil.
func anError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
