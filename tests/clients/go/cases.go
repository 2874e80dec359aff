package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

const snowman = "héllo ☃ 😀"

func subprotocol(ctx context.Context) object {
	s := dial(ctx, "/rooms?protocol=chat.v2&header=here", websocket.DialOptions{Subprotocols: []string{"chat.v1", "chat.v2"}})
	defer s.CloseNow()
	return object{"client": s.Subprotocol(), "plugin": s.ask(object{"op": "protocol"}), "header": s.head.Get("x-ws")}
}

// foreignSubprotocol is one that the plugin chooses and this client did not offer.
func foreignSubprotocol(ctx context.Context) object {
	s := dial(ctx, "/rooms?protocol=soap", websocket.DialOptions{Subprotocols: []string{"chat.v1"}})
	defer s.CloseNow()
	return object{"client": s.Subprotocol(), "plugin": s.ask(object{"op": "protocol"})}
}

// compression is offered, and declined: messages that would have been compressed go as they are.
func compression(ctx context.Context) object {
	s := dial(ctx, "/rooms", websocket.DialOptions{CompressionMode: websocket.CompressionContextTakeover})
	defer s.CloseNow()
	offered := s.ask(object{"op": "header", "text": "sec-websocket-extensions"})
	sent := bytes.Repeat([]byte("again "), 1000)
	s.say(websocket.MessageBinary, sent)
	return object{
		"offered": offered, "extensions": s.head.Get("sec-websocket-extensions"),
		"same": bytes.Equal(s.hear(websocket.MessageBinary), sent),
	}
}

func text(ctx context.Context) object {
	s := open(ctx, "/echo")
	defer s.CloseNow()
	s.say(websocket.MessageText, []byte(snowman))
	return object{"text": string(s.hear(websocket.MessageText))}
}

func binary(ctx context.Context) object {
	s := open(ctx, "/echo")
	defer s.CloseNow()
	s.say(websocket.MessageBinary, pattern(256))
	return object{"hex": hex.EncodeToString(s.hear(websocket.MessageBinary))}
}

func empty(ctx context.Context) object {
	s := open(ctx, "/echo")
	defer s.CloseNow()
	s.say(websocket.MessageText, nil)
	s.say(websocket.MessageBinary, nil)
	return object{"text": string(s.hear(websocket.MessageText)), "binary": len(s.hear(websocket.MessageBinary))}
}

func large(ctx context.Context) object {
	s := open(ctx, "/echo")
	defer s.CloseNow()
	s.say(websocket.MessageBinary, pattern(1<<20))
	got := s.hear(websocket.MessageBinary)
	return object{"bytes": len(got), "sha256": fmt.Sprintf("%x", sha256.Sum256(got))}
}

// order sends 1 000 messages without waiting, and counts those that come back in their place.
func order(ctx context.Context) object {
	s := open(ctx, "/echo")
	defer s.CloseNow()
	go func() {
		for n := range 1000 {
			s.say(websocket.MessageText, []byte(strconv.Itoa(n)))
		}
	}()
	inPlace := 0
	for n := range 1000 {
		if string(s.hear(websocket.MessageText)) == strconv.Itoa(n) {
			inPlace++
		}
	}
	return object{"in_place": inPlace}
}

// fragments cut a character in two, are empty, and have a ping among them.
func fragments(ctx context.Context) object {
	s := open(ctx, "/echo")
	defer s.CloseNow()
	w, err := s.Writer(ctx, websocket.MessageText)
	check(err)
	heard := make(chan string)
	go func() { heard <- string(s.hear(websocket.MessageText)) }() // reads the pong as well
	for _, piece := range []string{"h\xc3", "", "\xa9llo ☃ ", "😀"} {
		_, err := w.Write([]byte(piece))
		check(err)
		check(s.Ping(ctx))
	}
	check(w.Close())
	return object{"text": <-heard}
}

func ping(ctx context.Context) object {
	s := open(ctx, "/echo")
	defer s.CloseNow()
	reading := s.CloseRead(ctx)
	check(s.Ping(ctx))
	check(s.Ping(reading))
	return object{"pongs": 2}
}

// pinged says nothing for so long that the gateway pings it, more than once.
func pinged(ctx context.Context) object {
	s := open(ctx, "/pinged")
	defer s.CloseNow()
	id := s.id()
	time.AfterFunc(700*time.Millisecond, func() { s.tell(object{"op": "pid"}) })
	s.hear(websocket.MessageText)
	return object{"id": id, "pings": s.pings.Load(), "alive": s.id() == id}
}

func closeByClient(ctx context.Context) object {
	s := open(ctx, "/rooms")
	id := s.id()
	check(s.Close(4001, "bye ☃")) // nil if a close frame with the same code came back
	return object{"id": id, "code": 4001}
}

func closeByPlugin(ctx context.Context) object {
	s := open(ctx, "/rooms")
	id := s.id()
	s.tell(object{"op": "close", "code": 4002, "text": "go ☃"})
	code, reason := s.closed()
	return object{"id": id, "code": code, "reason": reason}
}

func closeWithoutCode(ctx context.Context) object {
	s := open(ctx, "/rooms")
	id := s.id()
	s.tell(object{"op": "close"})
	code, reason := s.closed()
	return object{"id": id, "code": code, "reason": reason}
}

func tooLarge(ctx context.Context) object {
	s := open(ctx, "/rooms")
	id := s.id()
	go func() { _ = s.Write(ctx, websocket.MessageBinary, pattern(1<<20+1)) }() // the gateway need not read it all
	code, _ := s.closed()
	return object{"id": id, "code": code}
}

func origin(ctx context.Context) object {
	with := func(origin string) *websocket.DialOptions {
		return &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}}
	}
	conn, response, err := websocket.Dial(ctx, base+"/guarded", with("http://evil.test"))
	if err == nil {
		conn.CloseNow()
	}
	s := dial(ctx, "/guarded", *with("http://good.test"))
	defer s.CloseNow()
	s.say(websocket.MessageText, []byte("in"))
	return object{"evil": response.StatusCode, "good": string(s.hear(websocket.MessageText))}
}

// rooms has two members who speak, until one leaves.
func rooms(ctx context.Context) object {
	a, b := open(ctx, "/rooms?join=lobby"), open(ctx, "/rooms?join=lobby")
	defer a.CloseNow()
	defer b.CloseNow()
	var atA, atB []string
	hear := func(s *socket, into *[]string, count int) {
		for range count {
			*into = append(*into, s.next())
		}
	}
	hear(a, &atA, 1)
	hear(b, &atB, 1)
	size := a.ask(object{"op": "size", "room": "lobby"})
	a.tell(object{"op": "broadcast", "room": "lobby", "text": snowman})
	hear(a, &atA, 2)
	hear(b, &atB, 1)
	b.tell(object{"op": "broadcast-binary", "room": "lobby", "text": "bytes"})
	hear(b, &atB, 2)
	hear(a, &atA, 1)
	b.tell(object{"op": "send-to", "to": a.id(), "text": "between us"})
	hear(a, &atA, 1)
	hear(b, &atB, 1)
	b.ask(object{"op": "leave", "room": "lobby"})
	a.tell(object{"op": "broadcast", "room": "lobby", "text": "alone"})
	hear(a, &atA, 2)
	b.tell(object{"op": "path"}) // the next that b hears, as it hears nothing of the room
	hear(b, &atB, 1)
	return object{"size": size, "a": atA, "b": atB}
}

// drop cuts the connection without a word; who stays in the room hears of it from OnClose.
func drop(ctx context.Context) object {
	stays, goes := open(ctx, "/rooms?join=gone"), open(ctx, "/rooms?join=gone&bye=gone")
	defer stays.CloseNow()
	stays.next()
	goes.next()
	id := goes.id()
	check(goes.CloseNow())
	return object{"id": id, "heard": stays.next() == "text: bye "+id}
}

// exit leaves it to the kernel to end the connection.
func exit(ctx context.Context) object {
	return object{"id": open(ctx, "/rooms").id()}
}

// pattern is n bytes: 0 to 250, and again.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}
