package main

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

// enter is a client that enters a room.
func enter(h *nylontest.Host, room, name string) *nylontest.Socket {
	return h.WebSocket("chat", nylontest.Request{
		Path: "/chat/" + url.PathEscape(room), Query: "name=" + name, Params: map[string]string{"room": room},
	})
}

// hears reads what a client is told next.
func hears(t *testing.T, client *nylontest.Socket, want said) {
	t.Helper()
	var got said
	m := client.Read()
	if err := json.Unmarshal([]byte(m.Text), &got); err != nil || got != want {
		t.Fatalf("%+v (%v), not %+v", m, err, want)
	}
}

func TestChat(t *testing.T) {
	h := nylontest.New(t, register)
	ada := enter(h, "lobby", "ada")
	hears(t, ada, said{Event: "join", From: "ada", Here: 1})
	bob := enter(h, "lobby", "bob")
	elsewhere := enter(h, "elsewhere", "eve")
	hears(t, elsewhere, said{Event: "join", From: "eve", Here: 1})
	for _, client := range []*nylontest.Socket{ada, bob} {
		hears(t, client, said{Event: "join", From: "bob", Here: 2})
	}
	bob.SendText("  <b>hello</b> ")
	for _, client := range []*nylontest.Socket{ada, bob} {
		hears(t, client, said{Event: "say", From: "bob", Text: "<b>hello</b>", Here: 2})
	}
	bob.SendText(" ")
	hears(t, bob, said{Event: "error", Text: "say something, in at most 4096 bytes"})
	bob.Drop()
	hears(t, ada, said{Event: "leave", From: "bob", Here: 1})
	ada.SendBinary([]byte{1})
	if code, reason := ada.Closed(); code != 1003 || reason == "" {
		t.Errorf("%d %q", code, reason)
	}
	elsewhere.Close(1000, "")
}

func TestUpgradeOfThePluginKeepsTheRoom(t *testing.T) {
	h := nylontest.New(t, register)
	ada := enter(h, "lobby", "ada")
	hears(t, ada, said{Event: "join", From: "ada", Here: 1})
	bob := enter(h, "lobby", "bob")
	hears(t, ada, said{Event: "join", From: "bob", Here: 2})
	ada.Resume()
	bob.SendText("still there?")
	hears(t, ada, said{Event: "say", From: "bob", Text: "still there?", Here: 2})
}

func TestWhoIsRefused(t *testing.T) {
	h := nylontest.New(t, register)
	for _, query := range []string{"", "name=", "name=a%20b", "name=" + strings.Repeat("x", 33)} {
		if res := h.Request("chat", nylontest.Request{Query: query}); res.Status != 400 || !strings.Contains(string(res.Body), "name=") {
			t.Errorf("%q: %d %s", query, res.Status, res.Body)
		}
	}
	if code, _ := enter(h, "a\nb", "ada").Closed(); code != 1008 {
		t.Errorf("closed with %d", code)
	}
}

func TestThePageNeedsNothingElse(t *testing.T) {
	h := nylontest.New(t, register)
	res := h.Request("page", nylontest.Request{Service: true})
	body := string(res.Body)
	if res.Status != 200 || !strings.HasPrefix(res.Headers.Get("content-type"), "text/html") || !strings.Contains(body, "new WebSocket(") {
		t.Fatalf("%d %v", res.Status, res.Headers)
	}
	for _, foreign := range []string{"src=", "href=", "http://", "https://", "innerHTML"} {
		if strings.Contains(body, foreign) {
			t.Errorf("the page has %s", foreign)
		}
	}
}
