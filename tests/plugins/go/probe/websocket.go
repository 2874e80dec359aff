package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// WebSockets.
//
//	ws-echo   sends text and binary messages back. No trace, no greeting: what a benchmark and a conformance suite want.
//	ws-rooms  takes orders as text messages, see wsOrder, and answers each with one line of JSON, see wsAnswer. It traces
//	          "ws open ID resumed=BOOL", "ws error ID TEXT", "ws close ID CODE REASON", and when the request is logged
//	          "ws logged STATUS". Binary messages come back as they are. The request's query may have, separated by &:
//	            greet             OnOpen sends an answer with op "open"
//	            join=ROOM         OnOpen joins ROOM
//	            bye=ROOM          OnClose leaves ROOM and tells it "bye ID"
//	            next, end         calls Next or End behind the upgrade, which must do nothing (B14)
//	            panic=open|close  that callback panics
//	            protocol=NAME     the subprotocol on the 101
//	            header=VALUE      x-ws on the 101
//	            late=MS           waits before it asks for the upgrade
//	            unless=FILE       answers 403 once there is such a file
//	ws-refuse answers 403 to those without the query "ok", and echoes for the others.
//	ws-late   calls Next, and asks for the upgrade behind it: traces "ws-late ERROR".

// wsOrder is what a client says to ws-rooms: {"op": "join", "room": "lobby"}.
type wsOrder struct {
	// Answered, see wsAnswer: join leave broadcast broadcast-binary size send-to send-binary-to ping id pid resumed protocol
	// header path log sleep.
	// Not answered: block (for ever), until-closed (waits for the Context, and traces), panic, close (only its error is),
	// flood (n bytes in binary messages of 64 KiB, traced by the MiB), each (n text messages, "0" and on), big (one text
	// message of n bytes).
	Op   string `json:"op"`
	Room string `json:"room"` // join, leave, broadcast, broadcast-binary, size
	To   string `json:"to"`   // send-to, send-binary-to: the id of a connection
	Text string `json:"text"` // what is sent, logged, or the reason of a panic or a close; header: its name
	N    int    `json:"n"`    // sleep: ms; flood, big: bytes; each: how many
	Code uint16 `json:"code"` // close; 0 = Close without one
}

// wsAnswer is what ws-rooms says to an order, behind what the order itself sends to this connection.
type wsAnswer struct {
	Op    string `json:"op"`
	Error string `json:"error,omitempty"`
	Value string `json:"value,omitempty"`
}

func websockets(plugin *sdk.NylonPlugin) {
	echo := sdk.WebSocketCallbacks{
		OnMessageText:   func(ws *sdk.WebSocketConn, msg string) { _ = ws.SendText(msg) },
		OnMessageBinary: func(ws *sdk.WebSocketConn, msg []byte) { _ = ws.SendBinary(msg) },
	}
	upgrade := func(p *sdk.PhaseRequestFilter, on sdk.WebSocketCallbacks) {
		if err := p.WebSocketUpgrade(on); err != nil {
			trace("upgrade: %v", err)
			p.Response().SetStatus(http.StatusNotImplemented)
			p.Response().BodyText(err.Error())
			p.End()
		}
	}
	plugin.AddStaticHandler("ws-echo", sdk.Handlers{
		RequestFilter: func(p *sdk.PhaseRequestFilter) { upgrade(p, echo) },
	})
	request(plugin, "ws-refuse", func(p *sdk.PhaseRequestFilter) {
		if p.Request().Query() != "ok" {
			p.Response().SetStatus(http.StatusForbidden)
			p.End()
			return
		}
		upgrade(p, echo)
	})
	request(plugin, "ws-late", func(p *sdk.PhaseRequestFilter) {
		p.Next()
		trace("ws-late %v", p.WebSocketUpgrade(echo))
	})
	plugin.AddPhaseHandler("ws-rooms", func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
			asked := wsQuery(p.Request().Query())
			if asked["late"] != "" {
				ms, _ := time.ParseDuration(asked["late"] + "ms")
				time.Sleep(ms)
			}
			if _, err := os.Stat(asked["unless"]); asked["unless"] != "" && err == nil {
				p.Response().SetStatus(http.StatusForbidden)
				p.End()
				return
			}
			for key, header := range map[string]string{"protocol": "sec-websocket-protocol", "header": "x-ws"} {
				if asked[key] != "" {
					p.Response().SetHeader(header, asked[key])
				}
			}
			upgrade(p, wsRooms(asked))
			if _, ok := asked["next"]; ok {
				p.Next()
			}
			if _, ok := asked["end"]; ok {
				p.End()
			}
		})
		phase.Logging(func(p *sdk.PhaseLogging) {
			trace("ws logged %d", p.Response().Status())
			p.Next()
		})
	})
}

func wsQuery(query string) map[string]string {
	asked := map[string]string{}
	for _, part := range strings.Split(query, "&") {
		key, value, _ := strings.Cut(part, "=")
		asked[key] = value
	}
	return asked
}

func wsRooms(asked map[string]string) sdk.WebSocketCallbacks {
	return sdk.WebSocketCallbacks{
		OnOpen: func(ws *sdk.WebSocketConn) {
			trace("ws open %s resumed=%v", ws.ID(), ws.Resumed())
			if asked["panic"] == "open" {
				panic("in OnOpen")
			}
			if room := asked["join"]; room != "" {
				wsTell(ws, "join", "", ws.JoinRoom(room))
			}
			if _, ok := asked["greet"]; ok {
				wsTell(ws, "open", fmt.Sprintf("%s %s %v %q", ws.ID(), process, ws.Resumed(), ws.Subprotocol()), nil)
			}
		},
		OnMessageText: func(ws *sdk.WebSocketConn, msg string) {
			var order wsOrder
			if err := json.Unmarshal([]byte(msg), &order); err != nil {
				wsTell(ws, "?", "", err)
				return
			}
			wsObey(ws, &order)
		},
		OnMessageBinary: func(ws *sdk.WebSocketConn, msg []byte) { _ = ws.SendBinary(msg) },
		OnError:         func(ws *sdk.WebSocketConn, text string) { trace("ws error %s %s", ws.ID(), text) },
		OnClose: func(ws *sdk.WebSocketConn) {
			code, reason := ws.CloseStatus()
			trace("ws close %s %d %s", ws.ID(), code, reason)
			if room := asked["bye"]; room != "" {
				if err := ws.LeaveRoom(room); err != nil {
					trace("ws leave: %v", err)
				}
				if err := ws.BroadcastText(room, "bye "+ws.ID()); err != nil {
					trace("ws bye: %v", err)
				}
			}
			if asked["panic"] == "close" {
				panic("in OnClose")
			}
		},
	}
}

// wsTell answers an order.
func wsTell(ws *sdk.WebSocketConn, op, value string, err error) {
	answer := wsAnswer{Op: op, Value: value}
	if err != nil {
		answer.Error = err.Error()
	}
	line, _ := json.Marshal(answer)
	if err := ws.SendText(string(line)); err != nil {
		trace("ws send %s: %v", ws.ID(), err)
	}
}

func wsObey(ws *sdk.WebSocketConn, order *wsOrder) {
	var err error
	value := ""
	switch order.Op {
	case "join":
		err = ws.JoinRoom(order.Room)
	case "leave":
		err = ws.LeaveRoom(order.Room)
	case "broadcast":
		err = ws.BroadcastText(order.Room, order.Text)
	case "broadcast-binary":
		err = ws.BroadcastBinary(order.Room, []byte(order.Text))
	case "send-to":
		err = ws.SendTo(order.To, order.Text)
	case "send-binary-to":
		err = ws.SendBinaryTo(order.To, []byte(order.Text))
	case "size":
		var size int
		size, err = ws.RoomSize(order.Room)
		value = fmt.Sprint(size)
	case "ping":
		err = ws.Ping([]byte(order.Text))
	case "id":
		value = ws.ID()
	case "pid":
		value = process
	case "resumed":
		value = fmt.Sprint(ws.Resumed())
	case "protocol":
		value = ws.Subprotocol()
	case "header":
		value = ws.Request().Header(order.Text)
	case "path":
		value = ws.Request().Path()
	case "log":
		trace("ws log %s", order.Text)
	case "sleep":
		time.Sleep(time.Duration(order.N) * time.Millisecond)
	case "until-closed": // waits as long as the connection is there, then traces
		<-ws.Context().Done()
		trace("ws until-closed %s", ws.ID())
		return
	case "block": // for ever
		trace("ws blocked %s", ws.ID())
		select {}
	case "panic":
		panic(order.Text)
	case "flood": // n bytes in messages of 64 KiB; it traces how many were taken, mebibyte by mebibyte
		wsFlood(ws, order.N)
		return
	case "each": // n text messages, "0" to "n-1"
		for n := range order.N {
			if err := ws.SendText(fmt.Sprint(n)); err != nil {
				trace("ws each stopped %d: %v", n, err)
				return
			}
		}
		return
	case "big": // one text message of n bytes
		if err := ws.SendText(strings.Repeat("x", order.N)); err != nil {
			trace("ws big: %v", err)
		}
		return
	case "close":
		if order.Code == 0 {
			err = ws.Close()
		} else {
			err = ws.CloseWith(order.Code, order.Text)
		}
		if err == nil {
			return
		}
	default:
		err = fmt.Errorf("no order %q", order.Op)
	}
	wsTell(ws, order.Op, value, err)
}

func wsFlood(ws *sdk.WebSocketConn, n int) {
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	for sent := 0; sent < n; sent += len(chunk) {
		if err := ws.SendBinary(chunk[:min(len(chunk), n-sent)]); err != nil {
			trace("ws flood stopped %d: %v", sent, err)
			return
		}
		if sent%(1<<20) == 0 {
			trace("ws flood %d", sent)
		}
	}
	trace("ws flood done")
}
