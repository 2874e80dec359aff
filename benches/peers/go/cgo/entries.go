package main

import "github.com/nylon-rs/nylon/benches/peers/go/internal/payload"

// register names the handlers of the bench.
func register() {
	entries["next"] = func(s *session, _ []byte) { s.command(methodNext, nil) }
	entries["getters"] = getters
	entries["echo"] = echo
}

// getters reads three fields, sets one header and goes on.
func getters(s *session, _ []byte) {
	method, path := s.ask(methodReadMethod, nil), s.ask(methodReadPath, nil)
	nonce := s.ask(methodReadHeader, []byte("x-nonce"))
	if string(method) != "GET" || string(path) != "/bench" {
		s.command(methodEnd, nil)
		return
	}
	s.command(methodSetResponseHeader, append([]byte("x-bench\x00"), nonce...))
	s.command(methodNext, nil)
}

// echo looks at the payload and sends it back.
func echo(s *session, data []byte) {
	if _, err := payload.Check(data); err != nil {
		s.command(methodEnd, nil)
		return
	}
	s.command(methodNext, data)
}
