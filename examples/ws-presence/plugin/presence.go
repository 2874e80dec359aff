package main

import (
	"encoding/json"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// note is what goes back and forth, as JSON. The plugin keeps no list: members tell each other, and what nobody renews
// is forgotten, so that a gateway that dies takes nothing along.
type note struct {
	// Of the plugin: "self", the first to a client; "here", somebody is there; "gone".
	// Of a client: "here", to all, from time to time; "welcome", to the one in To, in answer to a "here" that was new.
	Event string `json:"event"`
	ID    string `json:"id,omitempty"`
	Name  string `json:"name,omitempty"`
	To    string `json:"to,omitempty"`
	Here  int    `json:"here,omitempty"` // connections of the team, on all gateways
}

// presence is /presence/{team}/{name}.
func presence(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		params := p.Request().Params()
		team, name := "team:"+params["team"], params["name"]
		tell := func(ws *sdk.WebSocketConn, event string) {
			here, _ := ws.RoomSize(team)
			failed(ws, ws.BroadcastText(team, encode(note{Event: event, ID: ws.ID(), Name: name, Here: here})))
		}
		err := p.WebSocketUpgrade(sdk.WebSocketCallbacks{
			OnOpen: func(ws *sdk.WebSocketConn) {
				if err := ws.JoinRoom(team); err != nil {
					_ = ws.CloseWith(1008, err.Error())
					return
				}
				failed(ws, ws.SendText(encode(note{Event: "self", ID: ws.ID()})))
				tell(ws, "here")
			},
			OnMessageText: func(ws *sdk.WebSocketConn, msg string) {
				var said note
				switch err := json.Unmarshal([]byte(msg), &said); {
				case err != nil:
					_ = ws.CloseWith(1007, "not a note")
				case said.Event == "here":
					tell(ws, "here")
				case said.Event == "welcome":
					// Whichever gateway that connection is on, it is found by its id.
					failed(ws, ws.SendTo(said.To, encode(note{Event: "here", ID: ws.ID(), Name: name})))
				}
			},
			OnClose: func(ws *sdk.WebSocketConn) { tell(ws, "gone") },
		})
		if err != nil {
			p.Response().SetStatus(sdk.StatusInternalServerError)
			p.Response().BodyText(err.Error() + "\n")
			p.End()
		}
	})
}

func failed(ws *sdk.WebSocketConn, err error) {
	if err != nil {
		sdk.Logger().WarnContext(ws.Context(), "not told", "error", err)
	}
}

func encode(n note) string {
	b, _ := json.Marshal(n) // there is nothing in it that has no JSON form
	return string(b)
}
