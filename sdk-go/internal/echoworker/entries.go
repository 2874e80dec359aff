//go:build linux

package main

import (
	"encoding/binary"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// stamp is the response header that takes the request's number; the gateway bench gives each plugin its own.
var stamp = "x-bench"

func configure(config map[string]any) {
	if name, ok := config["stamp"].(string); ok {
		stamp = name
	}
}

// next goes on.
func next(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) { p.Next() })
}

// getters reads three fields, sets one header and goes on.
func getters(p *sdk.PhaseRequestFilter) {
	r := p.Request()
	if r.Method() != "GET" || r.Path() != "/bench" {
		p.Response().SetStatus(sdk.StatusBadRequest)
		p.End()
		return
	}
	p.Response().SetHeader(stamp, r.Header("x-nonce"))
	p.Next()
}

// payload reads its payload and a header, sets one header and goes on.
func payload(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		if given := p.GetPayload(); given["user"] != "ada" || given["key"] != "GET:/bench" {
			p.Response().SetStatus(sdk.StatusBadRequest)
			p.End()
			return
		}
		p.Response().SetHeader(stamp, p.Request().Header("x-nonce"))
		p.Next()
	})
}

// burner sets one header and goes on, now and then after 100 ms of work.
func burner(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		if p.Request().Header("x-burn") != "" {
			for start := time.Now(); time.Since(start) < 100*time.Millisecond; {
			}
		}
		p.Response().SetHeader(stamp, p.Request().Header("x-nonce"))
		p.Next()
	})
}

// page is how far apart body changes bytes.
const page = 4096

// body answers with the request's body, changed: the numbers at both ends inverted, one added to each page's first byte.
func body(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		b := p.Request().RawBody()
		n, same := number(b)
		if !same {
			p.Response().SetStatus(sdk.StatusBadRequest)
			p.End()
			return
		}
		for i := page; i < len(b)-8; i += page {
			b[i]++
		}
		binary.LittleEndian.PutUint64(b, ^n)
		binary.LittleEndian.PutUint64(b[len(b)-8:], ^n)
		p.Response().BodyNoCopy(b)
		p.End()
	})
}

// filters looks at a request and stamps its response: two phases.
func filters(phase *sdk.PhaseHandler) {
	var nonce string
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		if r := p.Request(); r.Method() == "GET" && r.Path() != "" {
			nonce = r.Header("x-nonce")
		}
		p.Next()
	})
	phase.ResponseFilter(func(p *sdk.PhaseResponseFilter) {
		p.SetResponseHeader(stamp, nonce)
		p.Next()
	})
}

// number is the one at both ends of a payload.
func number(b []byte) (n uint64, same bool) {
	if len(b) < 16 {
		return 0, false
	}
	n = binary.LittleEndian.Uint64(b)
	return n, n == binary.LittleEndian.Uint64(b[len(b)-8:])
}
