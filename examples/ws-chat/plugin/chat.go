package main

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

const (
	longestName = 32   // bytes
	longestSay  = 4096 // bytes
)

// said is what clients get, as JSON.
type said struct {
	Event string `json:"event"` // join, leave, say, error
	From  string `json:"from,omitempty"`
	Text  string `json:"text,omitempty"`
	Here  int    `json:"here,omitempty"` // how many are in the room
}

// chat puts a client into the room of its path, /chat/{room}?name=NAME, and passes on what it says.
func chat(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		room, name := p.Request().Params()["room"], nameOf(p.Request().Query())
		if name == "" {
			refuse(p, sdk.StatusBadRequest, "name= must be 1 to 32 letters, digits, - or _")
			return
		}
		if err := p.WebSocketUpgrade(member{room, name}.callbacks()); err != nil {
			refuse(p, sdk.StatusInternalServerError, err.Error())
		}
	})
}

func refuse(p *sdk.PhaseRequestFilter, status uint16, why string) {
	p.Response().SetStatus(status)
	p.Response().BodyText(why + "\n")
	p.End()
}

// member is one client in one room.
type member struct{ room, name string }

func (m member) callbacks() sdk.WebSocketCallbacks {
	return sdk.WebSocketCallbacks{
		OnOpen: func(ws *sdk.WebSocketConn) {
			if ws.Resumed() {
				return // a new version of this plugin: the client is in its room already
			}
			if err := ws.JoinRoom(m.room); err != nil {
				_ = ws.CloseWith(1008, err.Error()) // as for a name that no room may have
				return
			}
			m.tell(ws, said{Event: "join", From: m.name})
		},
		OnMessageText: func(ws *sdk.WebSocketConn, text string) {
			if text = strings.TrimSpace(text); text == "" || len(text) > longestSay {
				only(ws, said{Event: "error", Text: "say something, in at most 4096 bytes"})
				return
			}
			m.tell(ws, said{Event: "say", From: m.name, Text: text})
		},
		OnMessageBinary: func(ws *sdk.WebSocketConn, _ []byte) {
			_ = ws.CloseWith(1003, "this is a chat of words")
		},
		OnClose: func(ws *sdk.WebSocketConn) {
			// Out of the room already, and the others may still be told.
			m.tell(ws, said{Event: "leave", From: m.name})
		},
	}
}

// tell tells everybody in the room, ws too while it is a member.
func (m member) tell(ws *sdk.WebSocketConn, what said) {
	what.Here, _ = ws.RoomSize(m.room)
	if err := ws.BroadcastText(m.room, text(what)); err != nil {
		sdk.Logger().WarnContext(ws.Context(), "not told", "room", m.room, "error", err)
	}
}

// only tells one client.
func only(ws *sdk.WebSocketConn, what said) { _ = ws.SendText(text(what)) }

func text(what said) string {
	b, _ := json.Marshal(what) // there is nothing in it that has no JSON form
	return string(b)
}

// nameOf is the name in a query, "" when there is none that may be shown to others.
func nameOf(query string) string {
	for _, part := range strings.Split(query, "&") {
		name, is := strings.CutPrefix(part, "name=")
		if is && name != "" && len(name) <= longestName && utf8.ValidString(name) && strings.Trim(name, letters) == "" {
			return name
		}
	}
	return ""
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
