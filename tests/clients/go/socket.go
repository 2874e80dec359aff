package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"sync/atomic"

	"github.com/coder/websocket"
)

// socket is a connection whose case ends the program when it goes another way than expected.
type socket struct {
	*websocket.Conn
	ctx   context.Context
	head  http.Header  // of the 101
	pings atomic.Int32 // that the gateway sent
}

// dial opens base+path.
func dial(ctx context.Context, path string, options websocket.DialOptions) *socket {
	s := &socket{ctx: ctx}
	options.OnPingReceived = func(context.Context, []byte) bool {
		s.pings.Add(1)
		return true
	}
	conn, response, err := websocket.Dial(ctx, base+path, &options)
	check(err)
	conn.SetReadLimit(2 << 20)
	s.Conn, s.head = conn, response.Header
	return s
}

// open opens base+path as most do.
func open(ctx context.Context, path string) *socket {
	return dial(ctx, path, websocket.DialOptions{})
}

// say sends a message.
func (s *socket) say(kind websocket.MessageType, message []byte) {
	check(s.Write(s.ctx, kind, message))
}

// hear is the next message, which is of this kind.
func (s *socket) hear(kind websocket.MessageType) []byte {
	got, message, err := s.Read(s.ctx)
	check(err)
	if got != kind {
		log.Fatalf("a message of kind %v: %.100q", got, message)
	}
	return message
}

// next is the next message with its kind before it: "text: hello", "binary: hello".
func (s *socket) next() string {
	kind, message, err := s.Read(s.ctx)
	check(err)
	if kind == websocket.MessageText {
		return "text: " + string(message)
	}
	return "binary: " + string(message)
}

// tell gives ws-rooms an order, without waiting for an answer.
func (s *socket) tell(order object) {
	line, err := json.Marshal(order)
	check(err)
	s.say(websocket.MessageText, line)
}

// ask gives ws-rooms an order: the value of its answer.
func (s *socket) ask(order object) string {
	s.tell(order)
	var answer struct{ Op, Error, Value string }
	check(json.Unmarshal(s.hear(websocket.MessageText), &answer))
	if answer.Op != order["op"] || answer.Error != "" {
		log.Fatalf("%v: %+v", order, answer)
	}
	return answer.Value
}

// id is what the plugin calls this connection.
func (s *socket) id() string { return s.ask(object{"op": "id"}) }

// closed waits for the end: the code and the reason of the close frame that came.
func (s *socket) closed() (websocket.StatusCode, string) {
	for {
		_, _, err := s.Read(s.ctx)
		var closing websocket.CloseError
		if errors.As(err, &closing) {
			return closing.Code, closing.Reason
		}
		check(err)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
