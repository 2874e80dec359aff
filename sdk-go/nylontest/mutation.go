package nylontest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/nylon-rs/nylon/sdk-go/internal/testhost"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// check says why the gateway refuses the changes of one step, all of them, or nil.
func check(ops []wire.Op) error {
	headers, size := 0, 0
	for _, op := range ops {
		var err error
		switch op.Method {
		case wire.MethodSetResponseHeader, wire.MethodAddResponseHeader, wire.MethodSetRequestHeader:
			headers++
			size += len(op.Name) + len(op.Value)
			if err = checkName(op.Name); err == nil && slices.ContainsFunc(op.Value, isControl) {
				err = fmt.Errorf("the value of header %q has a line break or control byte", op.Name)
			}
		case wire.MethodRemoveResponseHeader, wire.MethodRemoveRequestHeader:
			err = checkName(op.Name)
		case wire.MethodSetResponseStatus:
			if op.Status < 200 || op.Status > 599 {
				err = fmt.Errorf("status %d is not in 200..=599", op.Status)
			}
		case wire.MethodSetRequestMethod:
			if !isToken(op.Value) || string(op.Value) == "CONNECT" {
				err = fmt.Errorf("%q is no method to forward", op.Value)
			}
		case wire.MethodSetRequestPath:
			if !isVisible(op.Value, "?#") || !bytes.HasPrefix(op.Value, []byte("/")) {
				err = fmt.Errorf("%q is no path", op.Value)
			}
		case wire.MethodSetRequestQuery:
			if !isVisible(op.Value, "#") {
				err = fmt.Errorf("%q is no query", op.Value)
			}
		}
		if err != nil {
			return err
		}
		if headers > wire.LimitHeaders || size > wire.LimitHeaderBytes {
			return fmt.Errorf("more than %d headers or %d bytes of them", wire.LimitHeaders, wire.LimitHeaderBytes)
		}
	}
	return nil
}

func checkName(name []byte) error {
	if !isToken(name) {
		return fmt.Errorf("%q is no header name", name)
	}
	return nil
}

// isToken says whether b is what HTTP calls a token: a method, or the name of a header.
func isToken(b []byte) bool {
	for _, c := range b {
		letter := c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return len(b) > 0
}

func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

// isVisible says whether b is made of visible ASCII, without any of but.
func isVisible(b []byte, but string) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(but, c) >= 0 {
			return false
		}
	}
	return true
}

// framing are the headers that belong to one connection or frame a message: the gateway's business.
var framing = []string{
	"connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

// overruled says that the gateway takes a change and does not use it.
func overruled(op wire.Op) bool {
	name := strings.ToLower(string(op.Name))
	switch op.Method {
	case wire.MethodSetRequestHeader, wire.MethodRemoveRequestHeader:
		return name == "host" || slices.Contains(framing, name)
	case wire.MethodSetResponseHeader, wire.MethodAddResponseHeader, wire.MethodRemoveResponseHeader:
		return slices.Contains(framing, name)
	}
	return false
}

// bodyOf is the body that a step set with method.
func bodyOf(final testhost.Final, method uint32) (body []byte, set bool) {
	for _, op := range final.Ops {
		if op.Method == method {
			body, set = op.Value, true
			if op.Staged {
				body = final.Staged[method]
			}
		}
	}
	return body, set
}
