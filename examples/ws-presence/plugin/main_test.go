package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

func arrive(h *nylontest.Host, team, name string) *nylontest.Socket {
	return h.WebSocket("presence", nylontest.Request{Params: map[string]string{"team": team, "name": name}})
}

func hears(t *testing.T, client *nylontest.Socket, want note) {
	t.Helper()
	var got note
	m := client.Read()
	if err := json.Unmarshal([]byte(m.Text), &got); err != nil || got != want {
		t.Fatalf("%+v (%v), not %+v", m, err, want)
	}
}

func TestPresence(t *testing.T) {
	h := nylontest.New(t, register)
	ada := arrive(h, "x", "ada")
	hears(t, ada, note{Event: "self", ID: ada.ID()})
	hears(t, ada, note{Event: "here", ID: ada.ID(), Name: "ada", Here: 1})
	bob := arrive(h, "x", "bob")
	arrive(h, "y", "eve") // another team
	hears(t, bob, note{Event: "self", ID: bob.ID()})
	for _, client := range []*nylontest.Socket{bob, ada} {
		hears(t, client, note{Event: "here", ID: bob.ID(), Name: "bob", Here: 2})
	}
	ada.SendText(`{"event":"welcome","to":"` + bob.ID() + `"}`)
	hears(t, bob, note{Event: "here", ID: ada.ID(), Name: "ada"})
	bob.SendText(`{"event":"here"}`)
	hears(t, ada, note{Event: "here", ID: bob.ID(), Name: "bob", Here: 2})
	bob.Drop()
	hears(t, ada, note{Event: "gone", ID: bob.ID(), Name: "bob", Here: 1})
	ada.SendText("not JSON")
	if code, _ := ada.Closed(); code != 1007 {
		t.Errorf("closed with %d", code)
	}
}

func TestThePageNeedsNothingElse(t *testing.T) {
	h := nylontest.New(t, register)
	body := string(h.Request("page", nylontest.Request{Service: true}).Body)
	if !strings.Contains(body, "new WebSocket(") {
		t.Error("no page")
	}
	for _, foreign := range []string{"src=", "href=", "http://", "https://", "innerHTML"} {
		if strings.Contains(body, foreign) {
			t.Errorf("the page has %s", foreign)
		}
	}
}
